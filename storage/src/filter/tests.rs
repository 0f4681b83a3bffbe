use super::text::Needle;

#[test]
fn text_is_found_in_any_ascii_case_and_nowhere_else() {
    let cases = [
        ("Payment failed", "FAILED", true),
        ("Payment failed", "payment", true),
        ("Payment failed", "failed ", false),
        ("", "", true),
        ("x", "", true),
        ("", "x", false),
        ("short", "longer than the text", false),
        ("aab", "ab", true),
        ("ÜBER", "über", false),
        ("Über", "ÜBER", true),
        ("[error]", "[ERROR]", true),
        ("{error}", "[error]", false),
    ];
    for (text, part, expected) in cases {
        assert_eq!(Needle::new(part).is_in(text), expected, "{part:?} in {text:?}");
    }
}

#[test]
fn hostile_text_is_searched_in_proportion_to_its_length() {
    let (half, text) = ("a".repeat(50_000), "aA".repeat(500_000));
    let begun = crate::Clock::instant(&crate::SystemClock);
    assert!(!Needle::new(&format!("{half}b")).is_in(&text));
    assert!(Needle::new(&format!("{half}b")).is_in(&format!("{text}B")));
    assert!(Needle::new(&half).is_in(&text));
    // Each place compared with all of the needle takes minutes.
    let took = crate::Clock::instant(&crate::SystemClock).duration_since(begun);
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}
