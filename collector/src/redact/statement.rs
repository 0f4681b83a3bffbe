//! Passwords in database statements: literals that a secret column is compared with or set to, and
//! those of statements about users.
//!
//! Dialects disagree where a literal ends, so nothing here counts quotes: each quote is judged by
//! the words before it. What is hidden ends with the quote that ends it in the dialect that lets it
//! be longest. No statement is parsed, and nothing is found in lists of values (`VALUES ('a', 'b')`).

use std::ops::Range;

use memchr::{memchr2, memchr2_iter};

use super::{is_redacted, key_rules::KeyRules};

/// Words that are longer are no column and no keyword.
const WORD_BYTES_MAX: usize = 64;

/// Finds the secrets of a statement, each without its quotes.
pub(super) fn search(text: &[u8], keys: &KeyRules, mut found: impl FnMut(Range<usize>)) {
    let start = text.len() - text.trim_ascii_start().len();
    let first = text.get(start..).map(word_at).unwrap_or_default();
    let mut report = |range: Range<usize>| {
        if text.get(range.clone()).is_some_and(|secret| !is_redacted(secret)) {
            found(range);
        }
    };
    if first.eq_ignore_ascii_case(b"auth") {
        // Redis.
        let rest = start + first.len();
        let rest = rest + text.get(rest..).map_or(0, spaces);
        report(rest..text.len());
        return;
    }
    let is_about_users =
        [&b"alter"[..], b"create", b"grant", b"set"].iter().any(|verb| is_word(first, verb));
    if is_about_users {
        unquoted_passwords(text, &mut report);
    }
    if memchr2(b'\'', b'"', text).is_none() {
        return;
    }
    let sets_password = is_about_users && is_set_password(text.get(start..).unwrap_or_default());
    let mut literal_end = 0;
    for quote in memchr2_iter(b'\'', b'"', text) {
        let (before, rest) = text.split_at(quote);
        if quote < literal_end || !is_secret_behind(before, keys, sets_password) {
            continue;
        }
        let length = literal_length(rest);
        literal_end = quote + 1 + length + 1;
        report(quote + 1..quote + 1 + length);
    }
}

/// Returns whether the literal behind these bytes is a secret.
fn is_secret_behind(before: &[u8], keys: &KeyRules, sets_password: bool) -> bool {
    let spaced = without_prefix(before);
    let before = spaced.trim_ascii_end();
    match before {
        [.., b'=' | b':' | b'(' | b'>' | b'<'] => {
            let before = without_operator(before).trim_ascii_end();
            sets_password || keys.is_secret_column(column_before(before))
        }
        // The closing quote of `'password'` has no space before it.
        [.., b'd' | b'D' | b'y' | b'Y' | b's' | b'S'] if before.len() < spaced.len() => {
            is_password_clause(before)
        }
        _ => false,
    }
}

/// Without the letter before the quote of `N'…'`, `E'…'` and the like.
fn without_prefix(before: &[u8]) -> &[u8] {
    match before {
        [head @ .., end, b'e' | b'E' | b'n' | b'N' | b'x' | b'X'] if !is_word_byte(*end) => {
            before.get(..=head.len()).unwrap_or(before)
        }
        _ => before,
    }
}

/// Without `=`, `:=`, `<>`, `=>`, `(` and the like.
fn without_operator(mut before: &[u8]) -> &[u8] {
    while let [head @ .., b'=' | b':' | b'<' | b'>' | b'!' | b'('] = before {
        before = head;
    }
    before
}

/// The name of a column at the end, quoted or not.
fn column_before(before: &[u8]) -> &[u8] {
    match before {
        [head @ .., b'"' | b'`' | b']' | b'\''] => last_word(head),
        _ => last_word(before),
    }
}

/// `PASSWORD`, `IDENTIFIED BY`, `IDENTIFIED WITH plugin BY`, and with `AS` or `BY VALUES`.
fn is_password_clause(before: &[u8]) -> bool {
    let mut rest = before;
    let mut previous = || {
        let end = rest.trim_ascii_end();
        let word = match end {
            [head @ .., b'"' | b'`' | b'\''] => {
                let word = last_word(head);
                rest = head.get(..head.len() - word.len()).unwrap_or_default();
                rest = rest.get(..rest.len().saturating_sub(1)).unwrap_or_default();
                return word;
            }
            _ => last_word(end),
        };
        rest = end.get(..end.len() - word.len()).unwrap_or_default();
        word
    };
    let mut word = previous();
    if is_word(word, b"password") {
        return true;
    }
    if is_word(word, b"values") {
        word = previous();
    }
    if !is_word(word, b"by") && !is_word(word, b"as") {
        return false;
    }
    let word = previous();
    is_word(word, b"identified")
        || !word.is_empty() && is_word(previous(), b"with") && is_word(previous(), b"identified")
}

/// Finds the word behind `IDENTIFIED BY`, as Oracle has it. Literals are found by their quotes.
fn unquoted_passwords(text: &[u8], report: &mut impl FnMut(Range<usize>)) {
    const IDENTIFIED: &[u8] = b"identified";
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let Some(at) = rest.windows(IDENTIFIED.len()).position(|word| is_word(word, IDENTIFIED))
        else {
            return;
        };
        from += at + IDENTIFIED.len();
        let mut position = from;
        let mut next = |is_keyword: fn(&[u8]) -> bool| {
            let start = position + text.get(position..).map_or(0, spaces);
            let word = text.get(start..).map(word_at).unwrap_or_default();
            let is_next = start > position && is_keyword(word);
            if is_next {
                position = start + word.len();
            }
            is_next
        };
        if next(|word| is_word(word, b"with")) {
            next(|plugin| !plugin.is_empty());
        }
        if !next(|word| is_word(word, b"by")) {
            continue;
        }
        next(|word| is_word(word, b"values"));
        let start = position + text.get(position..).map_or(0, spaces);
        let secret = text.get(start..).unwrap_or_default();
        let length = secret.iter().position(|&byte| {
            byte.is_ascii_whitespace() || matches!(byte, b';' | b',' | b')' | b'\'' | b'"')
        });
        let length = length.unwrap_or(secret.len());
        let is_placeholder = matches!(secret, [b'?' | b'$' | b':' | b'@' | b'%', ..]);
        if start > position && !is_placeholder {
            report(start..start + length);
        }
        from = start + length;
    }
}

fn is_set_password(statement: &[u8]) -> bool {
    let rest = statement.get(b"set".len()..).unwrap_or_default();
    is_word(word_at(statement), b"set") && is_word(word_at(rest.trim_ascii_start()), b"password")
}

/// Bytes of a literal without its quotes, from its first quote on; up to the end of a statement
/// that was cut. A doubled quote and one behind a backslash belong to it.
fn literal_length(literal: &[u8]) -> usize {
    let Some((&quote, inner)) = literal.split_first() else { return 0 };
    let mut bytes = inner.iter().enumerate();
    while let Some((index, &byte)) = bytes.next() {
        if byte == b'\\' || byte == quote && inner.get(index + 1) == Some(&quote) {
            bytes.next();
        } else if byte == quote {
            return index;
        }
    }
    inner.len()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'-')
}

fn word_at(text: &[u8]) -> &[u8] {
    let rest = text.get(..text.len().min(WORD_BYTES_MAX)).unwrap_or(text);
    let length = rest.iter().position(|&byte| !is_word_byte(byte)).unwrap_or(rest.len());
    text.get(..length).unwrap_or_default()
}

fn last_word(text: &[u8]) -> &[u8] {
    let mut bytes = text.iter().rev().take(WORD_BYTES_MAX);
    let length = bytes.position(|&byte| !is_word_byte(byte));
    let length = length.unwrap_or(text.len().min(WORD_BYTES_MAX));
    text.get(text.len() - length..).unwrap_or_default()
}

fn is_word(word: &[u8], expected: &[u8]) -> bool {
    word.eq_ignore_ascii_case(expected)
}

fn spaces(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}
