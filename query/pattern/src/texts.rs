//! Texts that every match of a pattern contains.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Minimum length of such a text; shorter ones occur nearly everywhere.
pub const TEXT_CHARS_MIN: usize = 3;
/// Maximum number of alternative texts.
const ALTERNATIVES_MAX: usize = 8;

/// Returns texts, of which every match of a compiled pattern contains at least one, ignoring ASCII
/// letter case. `None` when there are no such texts, or only short ones.
#[must_use]
pub fn texts_within(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    LiteralSearch::from_hir(&hir).best
}

/// Search for literal texts in the parts of a pattern.
#[derive(Default)]
struct LiteralSearch {
    /// Literal at the end of the part read so far.
    run: String,
    best: Option<Vec<String>>,
}

impl LiteralSearch {
    fn from_hir(hir: &Hir) -> Self {
        let mut search = Self::default();
        search.read(hir);
        search.end_run();
        search
    }

    /// Recursive. The recursion is no deeper than the pattern, whose depth is bounded.
    fn read(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
                Ok(text) => self.run.push_str(text),
                Err(_) => self.end_run(),
            },
            HirKind::Class(class) => match letter(class) {
                Some(letter) => self.run.push(letter),
                None => self.end_run(),
            },
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.read(&repetition.sub);
                // The next part may follow a further repetition.
                self.end_run();
            }
            HirKind::Repetition(_) => self.end_run(),
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.read(part)),
            HirKind::Alternation(parts) => {
                self.end_run();
                let each = parts.iter().map(|part| Self::from_hir(part).best);
                let all: Option<Vec<Vec<String>>> = each.collect();
                if let Some(all) = all {
                    self.offer(all.into_iter().flatten().collect());
                }
            }
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if !run.is_empty() {
            self.offer(vec![run]);
        }
    }

    /// Keeps the set of texts whose shortest text is the longest.
    fn offer(&mut self, texts: Vec<String>) {
        let shortest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).min();
        let length = shortest(&texts).unwrap_or(0);
        let is_better = length > self.best.as_deref().and_then(shortest).unwrap_or(0);
        if is_better && length >= TEXT_CHARS_MIN && texts.len() <= ALTERNATIVES_MAX {
            self.best = Some(texts);
        }
    }
}

/// Returns the ASCII letter of a class that has one letter in either case.
fn letter(class: &Class) -> Option<char> {
    let mut letters = Vec::with_capacity(2);
    let is_one = |from: u32, to: u32| from == to;
    match class {
        Class::Unicode(class) => {
            for range in class.iter().take(3) {
                let (from, to) = (range.start(), range.end());
                letters.push(Some(from).filter(|_| is_one(from.into(), to.into()))?);
            }
        }
        Class::Bytes(class) => {
            for range in class.iter().take(3) {
                let (from, to) = (range.start(), range.end());
                letters.push(char::from(from));
                is_one(from.into(), to.into()).then_some(())?;
            }
        }
    }
    match letters.as_slice() {
        [one, other] if one.is_ascii() && other.is_ascii() => {
            one.eq_ignore_ascii_case(other).then_some(other.to_ascii_lowercase())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TEXT_CHARS_MIN, texts_within};
    use crate::Patterns;

    fn pattern_of(text: &str) -> regex::Regex {
        Patterns::default().compile(text).unwrap().regex
    }

    fn texts(pattern: &str) -> Option<Vec<String>> {
        texts_within(pattern_of(pattern).as_str())
    }

    #[test]
    fn the_longest_text_that_no_match_is_without_is_found() {
        for (pattern, expected) in [
            (".*timeout.*", &["timeout"][..]),
            ("timeout", &["timeout"]),
            ("(?i).*card Refused.*", &["card refu"]),
            ("(?i).*no route.*", &["no route"]),
            (".*(timeout|refused).*", &["timeout", "refused"]),
            (".*to (db|shop-\\d+) after.*", &[" after"]),
            ("order [0-9]+ was lost", &[" was lost"]),
            ("(lost)+ again", &[" again"]),
            ("(lost)+", &["lost"]),
            ("(lost)*x", &[]),
            ("(lost)?", &[]),
            ("ab.cd", &[]),
            (".*", &[]),
            ("lost|.*", &[]),
            ("a.b|lost", &[]),
            ("^lost$", &["lost"]),
            ("naïve \\.", &["naïve ."]),
            ("[lL]ost", &["lost"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(texts(pattern).unwrap_or_default(), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn every_match_has_one_of_the_texts(
            pattern in "(\\(\\?i\\))?([abkK.]{1,4}|\\([abk]{2,4}\\|[abs]{2,4}\\)[+*?]?|[ab]{3}){1,4}",
            text in "[abkKsSAB]{0,12}",
        ) {
            let made = pattern_of(&pattern);
            if made.is_match(&text) && let Some(texts) = texts(&pattern) {
                let text = text.to_ascii_lowercase();
                let is_within = |part: &String| text.contains(&part.to_ascii_lowercase());
                prop_assert!(texts.iter().any(is_within), "{} in {}", pattern, text);
                prop_assert!(texts.iter().all(|text| text.chars().count() >= TEXT_CHARS_MIN));
            }
        }
    }
}
