//! Tokens of a text, and letter case.

use std::borrow::Cow;

/// Returns true for a letter, a digit or an underscore.
pub(super) fn is_token_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits a text into tokens, in order.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_token_char(c)).filter(|token| !token.is_empty())
}

/// Returns the text with blanks in place of JSON's escapes of white space, if it is a JSON object or
/// a list of texts. Otherwise the word `Caused` would not be found in the second line of a stack
/// trace, which is written `\nCaused`.
pub(super) fn with_white_space(text: &str) -> Cow<'_, str> {
    let mut signs = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let is_json = matches!(
        (signs.next(), signs.next()),
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'"' | b'{' | b'['))
    );
    if !is_json || !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        replaced.push_str(before);
        let length = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
        match escape.as_bytes().get(1) {
            Some(b'n' | b'r' | b't' | b'b' | b'f') => replaced.push_str("  "),
            _ => replaced.push_str(&escape[..length]),
        }
        rest = &escape[length..];
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
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
    use super::{fold, has_case, with_white_space};

    #[test]
    fn escapes_of_white_space_part_the_words_of_a_json_object() {
        for (text, expected) in [
            (r#"{"e":"a\nb\tc\\nd\"e\r"}"#, r#"{"e":"a  b  c\\nd\"e  "}"#),
            (r#" {"path":"C:\\new"}"#, r#" {"path":"C:\\new"}"#),
            (r"C:\new", r"C:\new"),
            ("{\"cut\":\"\\", "{\"cut\":\"\\"),
            ("{\"\\é", "{\"\\é"),
            (r#"[ "a\nb"]"#, r#"[ "a  b"]"#),
            (r"{worker-1} C:\temp", r"{worker-1} C:\temp"),
            (r"[main] C:\temp", r"[main] C:\temp"),
        ] {
            assert_eq!(with_white_space(text), expected, "{text}");
        }
    }

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
