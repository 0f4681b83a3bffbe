//! Patterns: matched in linear time, within bounds.
//!
//! Owns what of a pattern is read as Go reads it, whose expressions TraceQL and PromQL have, and
//! which the engine here reads otherwise ([`translate`]).

mod texts;
mod translate;

use thiserror::Error;

pub(crate) use texts::{TEXT_CHARS_MIN, texts_within};

/// What is wrong with a pattern.
#[derive(Debug, Error)]
pub(crate) enum PatternError {
    /// The engine does not take it.
    #[error("{}", .0.to_string().lines().last().unwrap_or_default().trim())]
    Engine(#[from] regex::Error),
    /// One sign of repetition follows another.
    #[error("`{0}` repeats a repetition")]
    Nested(String),
    /// Something is repeated more often than [`translate::REPEATS_MAX`].
    #[error("`{0}` repeats more than {max} times", max = translate::REPEATS_MAX)]
    Repeats(String),
}

/// A pattern that needs more than this much memory is refused.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// How deep the groups of a pattern nest.
const PATTERN_DEPTH_MAX: u32 = 50;

/// What stands around a pattern.
const BEFORE: &str = "^(?s:";
const AFTER: &str = ")$";

/// The pattern, which has to match from beginning to end; `.` matches line breaks too.
pub(crate) fn pattern_of(pattern: &str) -> Result<regex::Regex, PatternError> {
    let pattern = translate::translated(pattern)?;
    // Checked alone first: the parentheses around it could complete a half one.
    regex::RegexBuilder::new(&pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build()?;
    let whole = regex::RegexBuilder::new(&format!("{BEFORE}{pattern}{AFTER}"))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX + 2)
        .build()?;
    Ok(whole)
}

/// The only texts that match a pattern made here, if it is nothing but texts: `a|b`.
pub(crate) fn literals(pattern: &str) -> Option<Vec<String>> {
    let pattern = pattern.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let is_plain =
        !pattern.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']);
    is_plain.then(|| pattern.split('|').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::{literals, pattern_of};

    #[test]
    fn patterns_are_read_as_go_reads_them() {
        // What Go's regexp takes, with a text that matches whole and one that does not.
        let taken = [
            (r"\Qa.b*\E", "a.b*", "axb"),
            (r"\Qa.b", "a.b", "axb"),
            (r"x\Q\Ey", "xy", "x"),
            (r"\Qa|b\E+", "a|bb", "a|b|b"),
            (r"\\Q", r"\Q", "Q"),
            ("a{", "a{", "a"),
            ("a{,3}", "a{,3}", "aa"),
            ("a{2}b{x}", "aab{x}", "ab"),
            ("a{1000}", &"a".repeat(1000), "a"),
            ("(a{10}){100}", &"a".repeat(1000), "a"),
            ("a+?b*?c??", "aabc", "c"),
            ("[*+?]*", "+*?", "a"),
            ("[]a]+", "]a", "b"),
            ("[[]x", "[x", "x"),
            ("[a&&b]+", "a&b", "c"),
            ("[[:digit:]_]+", "1_2", "a"),
            ("[^[]", "a", "["),
            (r"\*\*", "**", "*"),
            ("(?:a|b)+(?i)C", "abc", "ac b"),
            (r"\x{41}\pL", "Ab", "A1"),
        ];
        for (pattern, fits, other) in taken {
            let made = pattern_of(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(made.is_match(fits) && !made.is_match(other), "{pattern}");
        }
        let nested = "repeats a repetition";
        let often = "repeats more than 1000 times";
        let refused = [
            ("l**", nested),
            ("l*+", nested),
            ("l???", nested),
            ("l{2}{3}", nested),
            ("(a+)*{2}", nested),
            ("l{1001}", often),
            ("l{5,1001}", often),
            ("l{1001,}", often),
            ("l{99999999999999999999}", often),
            ("(a{100}){11}", often),
            ("((a{2,10}b){10}c){11}", often),
            ("l{3,2}", "repeats more than"),
            ("*a", ""),
            ("a|*", ""),
            ("(", ""),
            ("[a", ""),
            (r"\", ""),
            ("é)", ""),
        ];
        for (pattern, reason) in refused {
            let error = pattern_of(pattern).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| error.contains(reason)),
                "{pattern}: {error:?}"
            );
        }
    }

    #[test]
    fn a_pattern_of_texts_is_their_list() {
        let of = |pattern: &str| literals(pattern_of(pattern).unwrap().as_str());
        assert_eq!(of("shop"), Some(vec!["shop".to_owned()]));
        assert_eq!(of("shop|pay-2"), Some(vec!["shop".to_owned(), "pay-2".to_owned()]));
        for pattern in ["sh.p", "shops?", "(a|b)", "a{2}", r"\d", "^a", "[ab]"] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
