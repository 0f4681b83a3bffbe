//! Secrets in texts that people and programs write: `key: value`, `key=value`, JSON, headers, and
//! credentials behind the name of their scheme.
//!
//! Owns the search: a value is judged where a colon or an equals sign has a secret key before it, a
//! literal where the words before it are those of a password in SQL, a token where the name of a
//! scheme is before it. [`value`] says which values are secret and where they end, [`scheme`] the
//! same of tokens. Secrets in plain sentences are not found.
//!
//! Looking back from a mark, and judging a value, read a bounded number of bytes. Only the value of
//! a secret is read to its end, and the search goes on behind it: the time is linear in the text.

mod scheme;
mod value;

use std::ops::Range;

use memchr::{memchr3_iter, memmem};

use super::{
    MARKER, is_redacted,
    key_rules::{KeyClass, KeyRules},
    statement, url,
};

/// Keys that are longer are judged by their end.
const KEY_BYTES_MAX: usize = 64;
/// Bytes of a request before a text that may look like its beginning: the length of a text, and the
/// tag before it, are letters by chance.
const PREFIX_BYTES_MAX: usize = 2;

/// A part of a text that is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) range: Range<usize>,
    /// A number, a list or a map in JSON: the marker in its place is in quotes.
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
    /// The quote around it, as JSON has it.
    quote: Option<KeyQuote>,
}

/// The quote behind a key.
#[derive(Debug, Clone, Copy)]
struct KeyQuote {
    byte: u8,
    /// Backslashes before it: those of a text within a text.
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

/// Finds credentials behind the name of their scheme alone, as in texts whose other secrets have rules
/// of their own.
pub(super) fn search_schemes(text: &[u8], mut found: impl FnMut(Secret)) {
    scheme::search(text, |range| found(range.into()));
}

/// Returns whether [`search`] may find something in one of the texts within the bytes of a request.
/// Values are not judged. Statements are not looked for: [`starts_statement`] is asked of each text.
pub(super) fn may_hold_secret(encoded: &[u8], keys: &KeyRules) -> bool {
    memchr3_iter(b':', b'=', b'\'', encoded).any(|mark| match encoded.get(mark) {
        Some(b'\'') => encoded.get(..mark).is_some_and(|before| {
            // Bytes that are no part of the text may be before its first word.
            let is_keyword = |word: &[u8], expected: &[u8]| {
                let start = word.len().saturating_sub(expected.len());
                word.get(start..).is_some_and(|end| statement::is_word(end, expected))
            };
            statement::clause_before(before, is_keyword).is_some()
        }),
        _ => url::is_escaped_at(encoded, mark) || may_be_key_before(encoded, mark, keys),
    }) || scheme::is_named(encoded)
}

/// Returns whether a text begins as a statement about users and passwords does. Sentences that begin
/// with such a word have a capital first and small letters behind it.
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
    // `\nAuthorization`, as JSON and program text write the beginning of a line.
    let name = match (outside.last(), name) {
        (Some(b'\\'), [b'n' | b'r' | b't', name @ ..]) => name,
        _ => name,
    };
    let class = match keys.class(trim_dashes(name)) {
        None if is_pwd(name) && outside.ends_with(b";") => KeyClass::Password,
        class => class?,
    };
    // A path of a program or of a resource: `auth::token: …`, `arn:aws:…:secret:…`.
    let is_path = outside.ends_with(b"::")
        || text.get(mark) == Some(&b':') && outside.ends_with(b":") && class == KeyClass::Token;
    let quote = quote.filter(|quote| outside.last() == Some(&quote.byte));
    (!is_path).then_some(Key { name, class, quote })
}

/// A folder in an environment, a password in a connection string.
fn is_pwd(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"pwd")
}

/// Returns whether the key before a mark may be secret, when bytes that are no part of its text may
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

/// The bytes before spaces, a bracket and a quote at the end, and that quote.
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

/// The name at the end: a word, or two where the second is `key`, as in `API key`.
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

/// Without the dashes of a flag: `--password=…`.
fn trim_dashes(mut name: &[u8]) -> &[u8] {
    while let [b'-', rest @ ..] = name {
        name = rest;
    }
    name
}

/// Returns the literal that begins with this quote, if the words before it are those of a password
/// in SQL. Statements are within other texts, too: a server logs them behind words of its own.
fn literal(text: &[u8], quote: usize) -> Option<Secret> {
    let (before, literal) = text.split_at_checked(quote)?;
    // Sentences have `identified by 'name'`.
    let is_keyword = |word: &[u8], expected: &[u8]| {
        let is_sentence = expected == b"identified" && word.first() == Some(&b'i');
        statement::is_word(word, expected) && !is_sentence
    };
    let clause = statement::clause_before(before, is_keyword)?;
    let start = quote + 1;
    let end = start + statement::literal_length(literal);
    let secret = text.get(start..end)?;
    // A sentence has `password 'must be longer'`. A secret in it is found by its own name.
    let is_sentence = clause == statement::Clause::Password
        && (secret.contains(&b' ') || memmem::find(secret, MARKER.as_bytes()).is_some());
    (!is_sentence && !is_redacted(secret)).then(|| Secret::from(start..end))
}
