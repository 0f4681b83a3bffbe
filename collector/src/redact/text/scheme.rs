//! Credentials after the name of their scheme, with or without the name of a header before it:
//! `Bearer eyJ…`, `Basic dXNlcjpwYXNz`, `Splunk 0123…`, `ApiKey …`.
//!
//! The names of schemes are also ordinary words, so a token must have the form of a credential:
//! base64 of `user:password`, a UUID, or letters with digits.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};

use super::is_name_byte;

/// Maximum bytes of a token that are examined.
const TOKEN_BYTES_JUDGED: usize = 256;
/// Minimum bytes of a token of letters and digits.
const TOKEN_BYTES_MIN: usize = 8;
/// Minimum bytes of a token after `Splunk`, because versions of the product also have letters and
/// digits.
const SPLUNK_TOKEN_BYTES_MIN: usize = 24;

/// A scheme that is recognised by its name alone.
#[derive(Debug, Clone, Copy)]
enum Scheme {
    Bearer,
    Basic,
    Splunk,
    ApiKey,
}

/// Names without their first letter, which may have either case.
const NAMES: [(&str, Scheme, u8); 9] = [
    ("earer", Scheme::Bearer, b'b'),
    ("EARER", Scheme::Bearer, b'b'),
    ("asic", Scheme::Basic, b'b'),
    ("ASIC", Scheme::Basic, b'b'),
    ("plunk", Scheme::Splunk, b's'),
    ("PLUNK", Scheme::Splunk, b's'),
    ("piKey", Scheme::ApiKey, b'a'),
    ("pikey", Scheme::ApiKey, b'a'),
    ("PIKEY", Scheme::ApiKey, b'a'),
];

/// Minimum bytes of a text with a scheme and a token.
const TEXT_BYTES_MIN: usize = "Basic YTpi".len();

static FINDER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build(NAMES.map(|(name, ..)| name))
        .expect("invariant: a few short words make an automaton")
});

/// Finds the tokens after names of schemes.
pub(super) fn search(text: &[u8], mut found: impl FnMut(Range<usize>)) {
    if text.len() < TEXT_BYTES_MIN {
        return;
    }
    for name in FINDER.find_iter(text) {
        let Some(&(_, scheme, first)) = NAMES.get(name.pattern().as_usize()) else { continue };
        if !is_name(text, name.start(), first) {
            continue;
        }
        let Some(rest) = text.get(name.end()..) else { continue };
        let spaces = rest.iter().take_while(|&&byte| is_space(byte)).count();
        if spaces == 0 {
            continue;
        }
        let start = name.end() + spaces;
        let token = text.get(start..).unwrap_or_default();
        let judged = token.get(..token.len().min(TOKEN_BYTES_JUDGED)).unwrap_or(token);
        let judged = judged.get(..token_length(judged)).unwrap_or_default();
        if is_credential(scheme, judged) {
            found(start..start + token_length(token));
        }
    }
}

/// Returns whether these bytes have the name of a scheme.
pub(super) fn is_named(encoded: &[u8]) -> bool {
    FINDER.find_iter(encoded).any(|name| {
        let first = NAMES.get(name.pattern().as_usize()).map(|&(_, _, first)| first);
        let before = name.start().checked_sub(1).and_then(|at| encoded.get(at));
        before.map(u8::to_ascii_lowercase) == first
            && encoded.get(name.end()).is_some_and(|&byte| is_space(byte))
    })
}

/// Returns whether this byte separates the name of a scheme from its token.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns whether a name has this first letter before it, and no other letter before that.
fn is_name(text: &[u8], at: usize, first: u8) -> bool {
    match text.get(..at) {
        Some([head @ .., letter]) => {
            letter.eq_ignore_ascii_case(&first)
                && !matches!(head, [.., last] if last.is_ascii_alphanumeric())
                || letter.eq_ignore_ascii_case(&first)
                    && matches!(head, [.., b'\\', b'n' | b'r' | b't'])
        }
        _ => false,
    }
}

fn is_credential(scheme: Scheme, token: &[u8]) -> bool {
    match scheme {
        Scheme::Bearer => token.starts_with(b"eyJ") || mixes_letters_and_digits(token),
        Scheme::Basic => decodes_to_pair(token),
        Scheme::Splunk => {
            starts_uuid(token)
                || token.len() >= SPLUNK_TOKEN_BYTES_MIN && mixes_letters_and_digits(token)
        }
        Scheme::ApiKey => decodes_to_pair(token) || mixes_letters_and_digits(token),
    }
}

fn mixes_letters_and_digits(token: &[u8]) -> bool {
    token.len() >= TOKEN_BYTES_MIN
        && token.iter().any(u8::is_ascii_digit)
        && token.iter().any(u8::is_ascii_alphabetic)
}

fn starts_uuid(token: &[u8]) -> bool {
    token.split_at_checked(8).is_some_and(|(head, rest)| {
        head.iter().all(u8::is_ascii_hexdigit) && rest.first() == Some(&b'-')
    })
}

/// Returns whether a base64 token decodes to printable text and a colon. Ordinary words do not.
fn decodes_to_pair(token: &[u8]) -> bool {
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in token {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            let decoded = bits >> count & 0xff;
            match u8::try_from(decoded) {
                Ok(b':') => return true,
                Ok(b' '..=b'~') => {}
                _ => return false,
            }
        }
    }
    false
}

fn token_length(token: &[u8]) -> usize {
    let is_token_byte =
        |byte: u8| is_name_byte(byte) || matches!(byte, b'~' | b'+' | b'/' | b'=' | b':' | b'|');
    token.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(token.len())
}
