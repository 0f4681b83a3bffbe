//! Tokens of a text, and letter case.

/// Returns true for a letter, a digit or an underscore.
pub(super) fn is_token_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits a text into tokens, in order.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_token_char(c)).filter(|token| !token.is_empty())
}

/// Folds a character to lower case. A character without a single lower-case letter stays unchanged.
/// So does a non-ASCII one with an ASCII lower-case letter, because n-gram signatures fold only
/// ASCII.
pub(super) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => c,
    }
}

/// Folds a text to lower case.
pub(super) fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

/// Returns true if the folded token equals `folded`.
pub(super) fn same_token(folded: &str, token: &str) -> bool {
    if folded.is_ascii() {
        return token.eq_ignore_ascii_case(folded);
    }
    token.chars().map(fold).eq(folded.chars())
}

/// Returns true if the folded token begins with `folded`.
pub(super) fn starts_token(folded: &str, token: &str) -> bool {
    if folded.is_ascii() {
        let start = token.as_bytes().get(..folded.len());
        return start.is_some_and(|start| start.eq_ignore_ascii_case(folded.as_bytes()));
    }
    let mut chars = token.chars().map(fold);
    folded.chars().all(|c| chars.next() == Some(c))
}

/// Returns the parts of a folded text that occur in every text with the same fold, up to ASCII
/// letter case.
pub(super) fn literal_runs(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_ascii() && has_case(c)).filter(|run| !run.is_empty())
}

/// Returns true if another character may fold to this one, or this one to another.
fn has_case(c: char) -> bool {
    !c.to_uppercase().eq([c]) || !c.to_lowercase().eq([c])
}

#[cfg(test)]
mod tests {
    use super::{fold, has_case};

    #[test]
    fn characters_without_case_are_the_fold_of_themselves_only() {
        for c in '\0'..=char::MAX {
            let folded = fold(c);
            assert_eq!(fold(folded), folded, "{c:?}");
            assert!(folded == c || has_case(folded), "{c:?} {folded:?}");
            assert!(!folded.is_ascii() || c.is_ascii(), "{c:?} {folded:?}");
        }
    }
}
