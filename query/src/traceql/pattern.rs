//! Patterns: matched in linear time, within bounds.

/// A pattern that needs more than this much memory is refused.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// How deep the groups of a pattern nest.
const PATTERN_DEPTH_MAX: u32 = 50;

/// The pattern, which has to match from beginning to end; `.` matches line breaks too.
pub(crate) fn pattern_of(pattern: &str) -> Result<regex::Regex, regex::Error> {
    // Checked alone first: the parentheses around it could complete a half one.
    regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build()?;
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX + 2)
        .build()
}
