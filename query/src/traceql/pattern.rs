//! Patterns: matched in linear time, within bounds.

/// A pattern that needs more than this much memory is refused.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// How deep the groups of a pattern nest.
const PATTERN_DEPTH_MAX: u32 = 50;

/// What stands around a pattern.
const BEFORE: &str = "^(?s:";
const AFTER: &str = ")$";

/// The pattern, which has to match from beginning to end; `.` matches line breaks too.
pub(crate) fn pattern_of(pattern: &str) -> Result<regex::Regex, regex::Error> {
    // Checked alone first: the parentheses around it could complete a half one.
    regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build()?;
    regex::RegexBuilder::new(&format!("{BEFORE}{pattern}{AFTER}"))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX + 2)
        .build()
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
    fn a_pattern_of_texts_is_their_list() {
        let of = |pattern: &str| literals(pattern_of(pattern).unwrap().as_str());
        assert_eq!(of("shop"), Some(vec!["shop".to_owned()]));
        assert_eq!(of("shop|pay-2"), Some(vec!["shop".to_owned(), "pay-2".to_owned()]));
        for pattern in ["sh.p", "shops?", "(a|b)", "a{2}", r"\d", "^a", "[ab]"] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
