//! Literals in lists of values: `INSERT INTO users (name, password) VALUES ('…', crypt('…'))`.
//!
//! A value is secret if the column at the same position is. If a backslash before a quote makes the
//! positions of literals ambiguous, everything after it is secret. Values without a list of
//! columns, and those of a `SELECT`, are not examined.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::{is_word, last_word, literal_at, word_at};
use crate::redact::key_rules::KeyRules;

/// Maximum number of words between columns and values, as in `OVERRIDING SYSTEM VALUE`.
const WORDS_MAX: usize = 16;

/// Finds the literals of secret columns in a statement whose first word is at `start`.
pub(super) fn search(
    text: &[u8],
    start: usize,
    keys: &KeyRules,
    report: &mut impl FnMut(Range<usize>),
) {
    let Some((columns, end)) = columns(text, start) else { return };
    let secret: Vec<bool> = columns
        .split(|&byte| byte == b',')
        .map(|column| {
            let column = column.trim_ascii();
            let name = column.strip_suffix(b"]").unwrap_or(column);
            let name = name.strip_suffix(b"`").or(name.strip_suffix(b"\"")).unwrap_or(name);
            keys.is_secret_column(last_word(name))
        })
        .collect();
    if secret.contains(&true)
        && let Some(values) = values_start(text, end)
    {
        let rest = text.get(values..).unwrap_or_default();
        if memmem::find(rest, b"\\'").is_some() {
            let open = rest.iter().position(|&byte| byte == b'(').map_or(rest.len(), |at| at + 1);
            report(values + open..text.len());
            return;
        }
        let is_secret = |column: usize| secret.get(column) == Some(&true);
        tuples(text, values, is_secret, report);
    }
}

/// Returns the list of columns and its end.
fn columns(text: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let open = start + memchr(b'(', text.get(start..)?)?;
    let before = last_word(text.get(..open)?.trim_ascii_end());
    if is_word(before, b"values") || is_word(before, b"value") {
        return None;
    }
    let columns = text.get(open + 1..)?;
    let length = memchr(b')', columns)?;
    Some((columns.get(..length)?, open + 1 + length + 1))
}

/// Returns the start of the first list of values.
fn values_start(text: &[u8], columns_end: usize) -> Option<usize> {
    let mut at = columns_end;
    for _ in 0..WORDS_MAX {
        let rest = text.get(at..)?;
        at += rest.iter().position(|byte| byte.is_ascii_alphabetic())?;
        let word = word_at(text.get(at..)?);
        at += word.len();
        if is_word(word, b"values") || is_word(word, b"value") && starts_list(text, at) {
            return Some(at);
        }
    }
    None
}

fn starts_list(text: &[u8], at: usize) -> bool {
    text.get(at..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"("))
}

/// Reads lists of values with commas between them.
fn tuples(
    text: &[u8],
    start: usize,
    is_secret: impl Fn(usize) -> bool,
    report: &mut impl FnMut(Range<usize>),
) {
    let (mut depth, mut column) = (0_usize, 0);
    let mut index = start;
    while let Some(&byte) = text.get(index) {
        match byte {
            b'(' => {
                depth += 1;
                column = if depth == 1 { 0 } else { column };
            }
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => column += 1,
            b';' if depth == 0 => return,
            b'\'' | b'"' | b'$' => {
                if let Some(literal) = literal_at(text, index) {
                    let start = index + literal.opening;
                    if depth > 0 && is_secret(column) {
                        report(start..start + literal.content);
                    }
                    index += literal.length();
                    continue;
                }
            }
            _ if depth == 0 && byte.is_ascii_alphabetic() => {
                let word = text.get(index..).map(word_at).unwrap_or_default();
                if !is_word(word, b"row") {
                    return;
                }
                index += word.len();
                continue;
            }
            _ => {}
        }
        index += 1;
    }
}
