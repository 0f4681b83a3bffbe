use proptest::prelude::*;

use super::{FuzzyWord, Glyph, Phrase, TextPredicate, Wildcard, WildcardScope};

fn phrase(text: &str, is_prefix: bool) -> TextPredicate {
    TextPredicate::Phrase(Phrase::new(text, is_prefix).unwrap())
}

fn wildcard(text: &str, scope: WildcardScope) -> TextPredicate {
    let glyph = |c| if c == '*' { Glyph::Many } else { Glyph::Char(c) };
    let glyphs: Vec<Glyph> = text.chars().map(glyph).collect();
    TextPredicate::Wildcard(Wildcard::new(&glyphs, scope).unwrap())
}

fn fuzzy(text: &str, edits: usize) -> TextPredicate {
    TextPredicate::Fuzzy(FuzzyWord::new(text, edits).unwrap())
}

fn check(cases: &[(TextPredicate, &str, bool)]) {
    for (predicate, text, expected) in cases {
        assert_eq!(predicate.matches(text), *expected, "{predicate:?} in {text:?}");
    }
}

#[test]
fn words_and_phrases_are_whole_tokens_in_any_letter_case() {
    check(&[
        (phrase("declined", false), "Payment DECLINED.", true),
        (phrase("declin", false), "Payment declined", false),
        (phrase("declin", true), "Payment declined", true),
        (phrase("payment declined", false), "payment: Declined", true),
        (phrase("payment declined", false), "payment was declined", false),
        (phrase("payment decl", true), "payment\ndeclined", true),
        (phrase("ord-17", false), "order ORD.17 is paid", true),
        (phrase("user_id", false), "user_id=7", true),
        (phrase("user", false), "user_id=7", false),
        (phrase("ошибка", false), "Ошибка сети", true),
        (phrase("ÜBER", false), "über", true),
        (phrase("kelvin", false), "\u{212a}elvin", false),
        (phrase("a a b", false), "a a a b", true),
        (phrase("a b a c", false), "a b a b a c", true),
        (phrase("a b a c", false), "a b a b a", false),
        (phrase("x", false), "", false),
    ]);
    assert_eq!(Phrase::new("->", false), None);
}

#[test]
fn near_misses_are_within_one_or_two_edits() {
    check(&[
        (fuzzy("payment", 1), "paymnet was late", true),
        (fuzzy("payment", 1), "payments", true),
        (fuzzy("payment", 1), "PAYMEN", true),
        (fuzzy("payment", 1), "repayment", false),
        (fuzzy("payment", 2), "repayment", true),
        (fuzzy("payment", 1), "pay ment", false),
        (fuzzy("a", 2), "xyz", false),
        (fuzzy("grün", 1), "GRÜNE", true),
    ]);
    assert!(FuzzyWord::new("two words", 1).is_none());
    assert!(FuzzyWord::new("word", 3).is_none());
    assert!(FuzzyWord::new(&"x".repeat(101), 1).is_none());
}

#[test]
fn wildcards_stay_within_white_space_and_begin_and_end_with_tokens() {
    let words = |text| wildcard(text, WildcardScope::Words);
    let whole = |text| wildcard(text, WildcardScope::Whole);
    check(&[
        (words("*conn*"), "lost Connection", true),
        (words("conn*ed"), "it is disconnected", false),
        (words("*conn*ed"), "it is disconnected", true),
        (words("conn*ed"), "connection failed", false),
        (words("/api/*/items"), "GET /api/v1/items 200", true),
        (words("/api/*/items"), "GET /api/v1/items2 200", false),
        (words("a*c"), "xa abc", true),
        (words("*ция"), "АВТОРИЗАЦИЯ", true),
        (whole("shop*"), "shop-2 of two", true),
        (whole("shop*"), "Shop-2", false),
        (whole("*2"), "shop-2", true),
        (whole("s*p"), "shop-2", false),
    ]);
    let long = vec![Glyph::Char('x'); Wildcard::GLYPHS_MAX + 1];
    assert!(Wildcard::new(&long, WildcardScope::Words).is_none());
}

fn predicate() -> impl Strategy<Value = TextPredicate> {
    let words = "[a-cA-CéÉкК_ -]{1,8}";
    prop_oneof![
        (words, any::<bool>()).prop_filter_map("no token", |(text, is_prefix)| {
            Phrase::new(&text, is_prefix).map(TextPredicate::Phrase)
        }),
        "[*a-cA-CÉк]{1,6}".prop_map(|text| wildcard(&text, WildcardScope::Words)),
        "[*a-cA-CÉк ]{1,6}".prop_map(|text| wildcard(&text, WildcardScope::Whole)),
        words.prop_map(|text| TextPredicate::contains(&text)),
        words.prop_map(TextPredicate::Equals),
    ]
}

proptest! {
    #[test]
    fn every_text_that_fits_contains_the_literals(
        predicate in predicate(),
        text in "[a-cA-CéÉкК_ -]{0,16}",
    ) {
        if predicate.matches(&text) {
            let text = text.to_ascii_lowercase();
            let is_within = |part: &String| text.contains(&part.to_ascii_lowercase());
            let lists = predicate.literals();
            let has_one = lists.iter().any(|list| list.iter().all(is_within));
            prop_assert!(lists.is_empty() || has_one, "{predicate:?} {text}");
        }
    }

    #[test]
    fn phrases_are_found_as_windows_of_tokens(
        words in prop::collection::vec("[ab]{1,2}", 1..4),
        text in prop::collection::vec("[abAB]{1,2}", 0..9),
        is_prefix in any::<bool>(),
    ) {
        let is_found = text.windows(words.len()).any(|window| {
            let last = words.len() - 1;
            window.iter().zip(&words).enumerate().all(|(at, (token, word))| {
                let token = token.to_lowercase();
                if is_prefix && at == last { token.starts_with(word) } else { token == *word }
            })
        });
        let found = phrase(&words.join(" "), is_prefix).matches(&text.join(", "));
        prop_assert_eq!(found, is_found);
    }
}
