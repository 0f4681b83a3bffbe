//! Passwords in database statements: literals that a secret column is compared with or set to, and
//! literals of statements about users.
//!
//! Dialects differ in where a literal ends, so quotes are not paired: each quote is examined by the
//! words before it ([`operand`]). A secret ends at the quote that ends it in the dialect with the
//! longest literal. Statements are not parsed, except the lists of columns and values of an
//! insertion ([`insertion`]).

mod insertion;
mod operand;

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memmem};

use super::{is_redacted, key_rules::KeyRules};

/// Maximum bytes of a column or keyword; longer words are ignored.
const WORD_BYTES_MAX: usize = 64;
/// Maximum number of letters before the quote of a literal that belong to the literal.
const PREFIX_LETTERS_MAX: usize = 2;
/// Maximum number of words of a Redis command that are read.
const COMMAND_WORDS_MAX: usize = 32;

/// The kind of words before a literal that is a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    /// `PASSWORD '…'`, which also occurs in ordinary sentences.
    Password,
    /// `IDENTIFIED BY '…'` and similar clauses.
    Identified,
}

/// Finds the secrets of a statement, each without its quotes.
pub(super) fn search(text: &[u8], keys: &KeyRules, mut found: impl FnMut(Range<usize>)) {
    let start = first_word_start(text);
    let statement = text.get(start..).unwrap_or_default();
    let first = word_at(statement);
    let mut report = |range: Range<usize>| {
        if text.get(range.clone()).is_some_and(|secret| !is_redacted(secret)) {
            found(range);
        }
    };
    if let Some(secret) = command_secret(statement, first) {
        report(start + secret..text.len());
        return;
    }
    let is_about_users =
        [&b"alter"[..], b"create", b"grant", b"set"].iter().any(|verb| is_word(first, verb));
    if is_about_users {
        unquoted_passwords(text, &mut report);
    }
    if !has_literal(text) || !(is_about_users || keys.may_name_secret(text)) {
        return;
    }
    if is_word(first, b"insert") || is_word(first, b"replace") {
        insertion::search(text, start, keys, &mut report);
    }
    let sets_password = is_about_users && is_set_password(statement);
    operand::search(text, keys, sets_password, &mut report);
}

/// Returns the start of the first word, after spaces and a comment.
fn first_word_start(text: &[u8]) -> usize {
    let start = spaces(text);
    let comment_end = match text.get(start..).unwrap_or_default() {
        rest @ [b'/', b'*', ..] => memmem::find(rest, b"*/").map(|end| end + 2),
        rest @ [b'-', b'-', ..] => memchr(b'\n', rest).map(|end| end + 1),
        _ => None,
    };
    match comment_end.map(|end| start + end) {
        Some(end) => end + text.get(end..).map_or(0, spaces),
        None => start,
    }
}

/// Returns the start of the credentials of a Redis command. They extend to its end.
fn command_secret(command: &[u8], first: &[u8]) -> Option<usize> {
    let mut at = first.len();
    let mut next = || {
        at += command.get(at..).map_or(0, spaces);
        let word = command.get(at..).map(word_at).unwrap_or_default();
        at += word.len();
        (word, at)
    };
    let is_named =
        |(word, _): &(&[u8], usize), names: &[&[u8]]| names.iter().any(|name| is_word(word, name));
    let end = if is_word(first, b"auth") {
        first.len()
    } else if is_word(first, b"hello") || is_word(first, b"migrate") {
        let mut words = std::iter::from_fn(|| Some(next())).take(COMMAND_WORDS_MAX);
        words.find(|word| is_named(word, &[b"auth", b"auth2"]))?.1
    } else if is_word(first, b"config") && is_named(&next(), &[b"set"]) {
        let name = next();
        is_named(&name, &[b"requirepass", b"masterauth"]).then_some(name.1)?
    } else {
        return None;
    };
    Some(end + command.get(end..).map_or(0, spaces))
}

/// Returns the text without the prefix of a literal, as in `N'…'`, `U&'…'`, `_utf8'…'`, `@"…"`.
fn without_prefix(before: &[u8]) -> &[u8] {
    let head = match before {
        [head @ .., b'@' | b'&'] => head,
        _ => before,
    };
    let word = last_word(head);
    let end = head.len() - word.len();
    match head.get(..end) {
        Some(outside) if word.len() <= PREFIX_LETTERS_MAX || word.starts_with(b"_") => outside,
        _ => before,
    }
}

/// Function that returns whether the first word of a clause is this keyword.
type IsKeyword = fn(&[u8], &[u8]) -> bool;

/// Returns the password clause at the end of a text before a literal, if any.
pub(super) fn clause_before(before: &[u8], is_keyword: IsKeyword) -> Option<Clause> {
    let spaced = without_prefix(before);
    match spaced {
        [.., b' ' | b'\n' | b'\t' | b'\r'] => password_clause(spaced.trim_ascii_end(), is_keyword),
        _ => None,
    }
}

/// Recognises `PASSWORD`, `IDENTIFIED BY`, `IDENTIFIED WITH plugin BY`, and the forms with `AS` or
/// `BY VALUES`.
fn password_clause(before: &[u8], is_keyword: IsKeyword) -> Option<Clause> {
    if !matches!(before, [.., b'd' | b'D' | b'y' | b'Y' | b's' | b'S']) {
        return None;
    }
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
    if is_keyword(word, b"password") {
        return Some(Clause::Password);
    }
    if is_word(word, b"values") {
        word = previous();
    }
    if !is_word(word, b"by") && !is_word(word, b"as") {
        return None;
    }
    let word = previous();
    let is_identified = is_keyword(word, b"identified")
        || !word.is_empty()
            && is_word(previous(), b"with")
            && is_keyword(previous(), b"identified");
    is_identified.then_some(Clause::Identified)
}

/// Finds the unquoted word after `IDENTIFIED BY`, as in Oracle. Literals are found by their quotes.
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

pub(super) fn is_set_password(statement: &[u8]) -> bool {
    let rest = statement.get(b"set".len()..).unwrap_or_default();
    is_word(word_at(statement), b"set") && is_word(word_at(rest.trim_ascii_start()), b"password")
}

/// Returns the length of a literal without its quotes, given the text from its first quote on. In a
/// statement that was cut, it extends to the end. A doubled quote, and one after a backslash,
/// belong to the literal.
pub(super) fn literal_length(literal: &[u8]) -> usize {
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

/// A literal: the lengths of its quote and of its content.
#[derive(Debug, Clone, Copy)]
struct Literal {
    opening: usize,
    content: usize,
}

impl Literal {
    /// Returns the length including the opening and the closing quote, which have the same length.
    fn length(self) -> usize {
        self.opening + self.content + self.opening
    }
}

/// Returns whether a statement has a literal. Most have only placeholders.
fn has_literal(text: &[u8]) -> bool {
    memchr2(b'\'', b'"', text).is_some()
        || memchr_iter(b'$', text).any(|at| literal_at(text, at).is_some())
}

/// Returns the literal that begins at `quote`: `'…'`, `"…"`, `$tag$…$tag$`.
fn literal_at(text: &[u8], quote: usize) -> Option<Literal> {
    let (before, rest) = text.split_at_checked(quote)?;
    let Some(b'$') = rest.first() else {
        return Some(Literal { opening: 1, content: literal_length(rest) });
    };
    let name = rest.get(1..).filter(|name| !name.first().is_some_and(u8::is_ascii_digit))?;
    let name = name.get(..name.len().min(WORD_BYTES_MAX))?;
    let length = name.iter().position(|&byte| !byte.is_ascii_alphanumeric() && byte != b'_')?;
    let is_tag =
        name.get(length) == Some(&b'$') && !before.last().is_some_and(|&byte| is_word_byte(byte));
    let (tag, inner) = rest.split_at_checked(length + 2).filter(|_| is_tag)?;
    let content = memmem::find(inner, tag).unwrap_or(inner.len());
    Some(Literal { opening: tag.len(), content })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'-')
}

pub(super) fn word_at(text: &[u8]) -> &[u8] {
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

pub(super) fn is_word(word: &[u8], expected: &[u8]) -> bool {
    word.eq_ignore_ascii_case(expected)
}

fn spaces(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}
