//! Secrets in ordinary texts: `key: value`, `key=value`, JSON, headers, and credentials after the
//! name of their scheme.
//!
//! Owns the search. A mark is a colon or an equals sign. A value is examined if a secret key and a
//! mark are before it, a literal if a password clause of SQL is before it, a token if the name of a
//! scheme is before it. [`value`] decides which values are secret and where they end, [`scheme`]
//! does so for tokens. Secrets in plain sentences are not found.
//!
//! The backward search from a mark and the check of a value read a bounded number of bytes. Only a
//! secret value is read to its end, and the search continues after it, so the time is linear in the
//! length of the text.

mod scheme;
mod value;

use std::ops::Range;

use memchr::{memchr3_iter, memmem};

use super::{
    MARKER, is_redacted,
    key_rules::{KeyClass, KeyRules},
    statement, url,
};

/// Maximum bytes of a key; of longer ones the end is examined.
const KEY_BYTES_MAX: usize = 64;
/// Maximum bytes of an encoded request before a text that may look like part of it: the tag and the
/// length of the text can be letters by chance.
const PREFIX_BYTES_MAX: usize = 2;

/// A part of a text that is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) range: Range<usize>,
    /// True for a number, a list or a map in JSON, in place of which the marker needs quotes.
    pub(super) needs_quotes: bool,
}

impl From<Range<usize>> for Secret {
    fn from(range: Range<usize>) -> Self {
        Self { range, needs_quotes: false }
    }
}

/// A secret key before a colon or an equals sign.
#[derive(Debug, Clone, Copy)]
struct Key<'a> {
    name: &'a [u8],
    class: KeyClass,
    /// The quote around the key, as in JSON.
    quote: Option<KeyQuote>,
}

/// The quote after a key.
#[derive(Debug, Clone, Copy)]
struct KeyQuote {
    byte: u8,
    /// Number of backslashes before it, as in a text within a text.
    slashes: usize,
}

/// Finds the secrets of a text.
pub(super) fn search(text: &[u8], keys: &KeyRules, mut found: impl FnMut(Secret)) {
    let mut end = 0;
    for mark in memchr3_iter(b':', b'=', b'\'', text) {
        if mark < end {
            continue;
        }
        let secret = match text.get(mark) {
            Some(b'\'') => literal(text, mark),
            _ => key_before(text, mark, keys).and_then(|key| value::secret(text, mark, key)),
        };
        if let Some(secret) = secret {
            end = secret.range.end;
            found(secret);
        }
    }
    search_schemes(text, &mut found);
    if starts_statement(text) {
        statement::search(text, keys, |range| found(range.into()));
    }
}

/// Finds only credentials after the name of their scheme, for texts whose other secrets have rules
/// of their own.
pub(super) fn search_schemes(text: &[u8], mut found: impl FnMut(Secret)) {
    scheme::search(text, |range| found(range.into()));
}

/// Returns whether [`search`] may find a secret in one of the texts of an encoded request. Does not
/// examine values, and does not search for statements, for which the caller applies
/// [`starts_statement`] to each text.
pub(super) fn may_hold_secret(encoded: &[u8], keys: &KeyRules) -> bool {
    memchr3_iter(b':', b'=', b'\'', encoded).any(|mark| match encoded.get(mark) {
        Some(b'\'') => encoded.get(..mark).is_some_and(|before| {
            // Bytes that do not belong to the text may be before its first word.
            let is_keyword = |word: &[u8], expected: &[u8]| {
                let start = word.len().saturating_sub(expected.len());
                word.get(start..).is_some_and(|end| statement::is_word(end, expected))
            };
            statement::clause_before(before, is_keyword).is_some()
        }),
        _ => url::is_escaped_at(encoded, mark) || may_be_key_before(encoded, mark, keys),
    }) || scheme::is_named(encoded)
}

/// Returns whether a text begins like a statement about users and passwords. A sentence that begins
/// with such a word has a capital followed by small letters.
pub(crate) fn starts_statement(text: &[u8]) -> bool {
    let text = match text {
        [b' ' | b'\n' | b'\t' | b'\r', ..] => text.trim_ascii_start(),
        _ => text,
    };
    let is_verb = match text.first() {
        Some(b'a' | b'A') => statement::is_word(statement::word_at(text), b"alter"),
        Some(b'c' | b'C') => statement::is_word(statement::word_at(text), b"create"),
        Some(b'g' | b'G') => statement::is_word(statement::word_at(text), b"grant"),
        Some(b's' | b'S') => statement::is_set_password(text),
        _ => false,
    };
    is_verb
        && text.first_chunk::<2>().is_some_and(|[first, second]| {
            first.is_ascii_uppercase() == second.is_ascii_uppercase()
        })
}

/// Returns the key before a mark, if it is secret.
fn key_before<'a>(text: &'a [u8], mark: usize, keys: &KeyRules) -> Option<Key<'a>> {
    let (before, quote) = unquoted_end(text.get(..mark)?);
    if !keys.may_end_secret(before) {
        return None;
    }
    let name = name_at_end(before);
    let outside = before.get(..before.len() - name.len())?;
    // An escaped line break before the key, as in `\nAuthorization` of JSON and source code.
    let name = match (outside.last(), name) {
        (Some(b'\\'), [b'n' | b'r' | b't', name @ ..]) => name,
        _ => name,
    };
    let class = match keys.class(trim_dashes(name)) {
        None if is_pwd(name) && outside.ends_with(b";") => KeyClass::Password,
        class => class?,
    };
    // The key is part of a path in a program or of a resource: `auth::token: …`,
    // `arn:aws:…:secret:…`.
    let is_path = outside.ends_with(b"::")
        || text.get(mark) == Some(&b':') && outside.ends_with(b":") && class == KeyClass::Token;
    let quote = quote.filter(|quote| outside.last() == Some(&quote.byte));
    (!is_path).then_some(Key { name, class, quote })
}

/// Returns whether a key is `pwd`, which is a folder in an environment and a password in a
/// connection string.
fn is_pwd(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"pwd")
}

/// Returns whether the key before a mark may be secret, if bytes that do not belong to its text may
/// be before it.
fn may_be_key_before(encoded: &[u8], mark: usize, keys: &KeyRules) -> bool {
    let Some(before) = encoded.get(..mark) else { return false };
    let (before, _) = unquoted_end(before);
    if !keys.may_end_secret(before) {
        return false;
    }
    let name = name_at_end(before);
    (0..=PREFIX_BYTES_MAX)
        .filter_map(|prefix| name.get(prefix..))
        .any(|name| is_pwd(name) || keys.class(trim_dashes(name)).is_some())
}

/// Strips spaces, a bracket and a quote from the end. Returns the rest and the quote.
fn unquoted_end(before: &[u8]) -> (&[u8], Option<KeyQuote>) {
    let before = match before {
        [.., b' ' | b'\t' | b'\n' | b'\r'] => before.trim_ascii_end(),
        _ => before,
    };
    let before = match before {
        [head @ .., b']'] => head,
        _ => before,
    };
    match before {
        [head @ .., quote @ (b'"' | b'\'' | b'`')] => {
            let slashes = head.iter().rev().take_while(|&&byte| byte == b'\\').count();
            let head = head.get(..head.len() - slashes).unwrap_or(head);
            (head, Some(KeyQuote { byte: *quote, slashes }))
        }
        _ => (before, None),
    }
}

/// Returns the name at the end of a text: a word, or two if the second is `key`, as in `API key`.
fn name_at_end(text: &[u8]) -> &[u8] {
    let start = text.len() - last_name(text).len();
    let (head, name) = text.split_at(start);
    match head {
        [head @ .., b' '] if name.eq_ignore_ascii_case(b"key") => {
            let first = head.len() - last_name(head).len();
            text.get(first..).unwrap_or(name)
        }
        _ => name,
    }
}

fn last_name(text: &[u8]) -> &[u8] {
    let start = text.len().saturating_sub(KEY_BYTES_MAX);
    let tail = text.get(start..).unwrap_or(text);
    let length = tail.iter().rev().take_while(|&&byte| is_name_byte(byte)).count();
    tail.get(tail.len() - length..).unwrap_or_default()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Returns a name without the dashes of a flag: `--password=…`.
fn trim_dashes(mut name: &[u8]) -> &[u8] {
    while let [b'-', rest @ ..] = name {
        name = rest;
    }
    name
}

/// Returns the literal that begins with this quote, if a password clause of SQL is before it.
/// Statements also occur within other texts, such as the log lines of a server.
fn literal(text: &[u8], quote: usize) -> Option<Secret> {
    let (before, literal) = text.split_at_checked(quote)?;
    // In lower case, `identified by 'name'` occurs in sentences.
    let is_keyword = |word: &[u8], expected: &[u8]| {
        let is_sentence = expected == b"identified" && word.first() == Some(&b'i');
        statement::is_word(word, expected) && !is_sentence
    };
    let clause = statement::clause_before(before, is_keyword)?;
    let start = quote + 1;
    let end = start + statement::literal_length(literal);
    let secret = text.get(start..end)?;
    // `password 'must be longer'` is a sentence. A secret in it is found by its own name.
    let is_sentence = clause == statement::Clause::Password
        && (secret.contains(&b' ') || memmem::find(secret, MARKER.as_bytes()).is_some());
    (!is_sentence && !is_redacted(secret)).then(|| Secret::from(start..end))
}
