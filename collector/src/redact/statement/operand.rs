//! Literals that a secret column is compared with or set to, alone or within an expression:
//! `password = crypt('…', gen_salt('…'))`, `password IN ('…', '…')`, `lower(password) LIKE '…'`.
//!
//! Searches backwards from a quote to the one before it, for a bounded number of words, for an
//! operator whose left side is a secret column. After a secret literal, the expression extends to a
//! comma, a bracket or a keyword that ends it. Every byte is read a constant number of times.

use std::ops::Range;

use memchr::memchr3_iter;

use super::{is_word, is_word_byte, last_word, literal_at, password_clause, without_prefix};
use crate::redact::key_rules::KeyRules;

/// Maximum number of words and symbols that are read before a literal.
const STEPS_MAX: usize = 32;
/// Maximum bytes that are read of the left side of a comparison.
const OPERAND_BYTES_MAX: usize = 256;
/// Maximum number of nested MongoDB operators: `{"$not": {"$eq": "…"}}`.
const OPERATORS_MAX: usize = 4;

/// Operators that are words.
const COMPARISONS: [&[u8]; 9] =
    [b"between", b"contains", b"glob", b"ilike", b"in", b"like", b"regexp", b"rlike", b"similar"];

/// Keywords that separate expressions.
const EXPRESSION_ENDS: [&[u8]; 20] = [
    b"and",
    b"else",
    b"end",
    b"from",
    b"group",
    b"having",
    b"limit",
    b"on",
    b"or",
    b"order",
    b"returning",
    b"select",
    b"set",
    b"then",
    b"union",
    b"using",
    b"values",
    b"when",
    b"where",
    b"with",
];

/// Finds the literals of secret columns. With `sets_password`, every operator counts as one of a
/// secret column.
pub(super) fn search(
    text: &[u8],
    keys: &KeyRules,
    sets_password: bool,
    report: &mut impl FnMut(Range<usize>),
) {
    let mut gap_start = 0;
    let mut open: Option<usize> = None;
    for quote in memchr3_iter(b'\'', b'"', b'$', text) {
        if quote < gap_start {
            continue;
        }
        let is_dollar = text.get(quote) == Some(&b'$');
        if is_dollar && literal_at(text, quote).is_none() {
            continue;
        }
        let before = text.get(..quote).unwrap_or_default();
        let gap = before.get(gap_start..).unwrap_or_default();
        let is_clause = is_behind_clause(before);
        open = open.and_then(|depth| depth_behind(gap, depth)).or_else(|| {
            Lookback { before, gap_start, keys, sets_password }.depth().filter(|_| !is_clause)
        });
        gap_start = quote + 1;
        if (is_clause || open.is_some())
            && let Some(literal) = literal_at(text, quote)
        {
            let start = quote + literal.opening;
            gap_start = text.len().min(quote + literal.length());
            report(start..start + literal.content);
        }
    }
}

/// Returns whether a password clause is before a literal: `PASSWORD '…'`.
fn is_behind_clause(before: &[u8]) -> bool {
    let spaced = without_prefix(before);
    let before = spaced.trim_ascii_end();
    // The space excludes the closing quote of `'password'`, which has none before it.
    before.len() < spaced.len() && password_clause(before, is_word).is_some()
}

/// Returns the number of open brackets at the end of the text after a secret literal, if the
/// expression extends to there. `depth` is the number at its beginning.
fn depth_behind(gap: &[u8], mut depth: usize) -> Option<usize> {
    if gap.trim_ascii().eq_ignore_ascii_case(b"and") {
        // `BETWEEN '…' AND '…'`.
        return Some(depth);
    }
    let mut index = 0;
    while let Some(&byte) = gap.get(index) {
        index += 1;
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return None,
            b';' | b'=' | b'<' | b'>' => return None,
            _ if is_word_byte(byte) => {
                let rest = gap.get(index - 1..).unwrap_or_default();
                let length = rest.iter().take_while(|&&byte| is_word_byte(byte)).count();
                let word = rest.get(..length).unwrap_or_default();
                if ends_expression(word) || depth == 0 && is_word(word, b"as") {
                    return None;
                }
                index += length - 1;
            }
            _ => {}
        }
    }
    Some(depth)
}

fn ends_expression(word: &[u8]) -> bool {
    EXPRESSION_ENDS.iter().any(|end| is_word(word, end))
}

/// A backward search from a literal.
struct Lookback<'a> {
    before: &'a [u8],
    /// End of the previous quote.
    gap_start: usize,
    keys: &'a KeyRules,
    sets_password: bool,
}

impl Lookback<'_> {
    /// Returns the number of open brackets between the operator of a secret column and the literal,
    /// if there is such an operator.
    fn depth(&self) -> Option<usize> {
        let mut rest = without_prefix(self.before);
        let (mut closed, mut opened, mut is_sibling) = (0_usize, 0, false);
        for _ in 0..STEPS_MAX {
            rest = rest.trim_ascii_end();
            let parts = rest.split_last().filter(|_| rest.len() > self.gap_start);
            let (&last, head) = parts?;
            let is_inside = closed > 0 || is_sibling;
            match last {
                b'{' | b'}' | b';' => return None,
                b')' | b']' => closed += 1,
                b'(' | b'[' if closed > 0 => closed -= 1,
                b'(' | b'[' => {
                    (opened, is_sibling) = (opened + 1, false);
                    if last == b'(' && self.keys.is_secret_column(last_word(head)) {
                        return Some(opened);
                    }
                }
                b',' => is_sibling |= closed == 0,
                b'=' | b':' | b'<' | b'>' | b'!' | b'~' if !is_inside => {
                    let left = without_operator(rest);
                    match rest.get(left.len()..) {
                        Some(b"::") => {
                            rest = left;
                            continue;
                        }
                        _ => return self.is_secret(left).then_some(opened),
                    }
                }
                _ if is_word_byte(last) => {
                    let word = last_word(rest);
                    let left = rest.get(..rest.len() - word.len()).unwrap_or_default();
                    if is_operator(word, left) {
                        let is_secret = !is_inside && self.is_secret(without_not(left));
                        return is_secret.then_some(opened);
                    }
                    if ends_expression(word) {
                        return None;
                    }
                    rest = left;
                    continue;
                }
                _ => {}
            }
            rest = head;
        }
        None
    }

    /// Returns whether the left side of an operator is a secret column.
    fn is_secret(&self, left: &[u8]) -> bool {
        self.sets_password || is_secret_operand(left, self.keys)
    }
}

fn is_operator(word: &[u8], left: &[u8]) -> bool {
    COMPARISONS.iter().any(|operator| is_word(word, operator))
        || is_word(word, b"from") && is_word(last_word(left.trim_ascii_end()), b"distinct")
}

/// Returns the text without `NOT`, `IS DISTINCT` and similar words at the end.
fn without_not(mut left: &[u8]) -> &[u8] {
    loop {
        left = left.trim_ascii_end();
        let word = last_word(left);
        if ![&b"not"[..], b"is", b"distinct"].iter().any(|other| is_word(word, other)) {
            return left;
        }
        left = left.get(..left.len() - word.len()).unwrap_or_default();
    }
}

/// Returns the text without `=`, `:=`, `<>`, `=>`, `~` and similar operators at the end.
fn without_operator(mut before: &[u8]) -> &[u8] {
    while let [head @ .., b'=' | b':' | b'<' | b'>' | b'!' | b'~' | b'*'] = before {
        before = head;
    }
    before
}

/// Returns whether the left side of an operator is a secret column: `password`, `u."password"`,
/// `attributes['password']`, `lower(password)`, `password::text`, `"password": {"$eq"`.
fn is_secret_operand(left: &[u8], keys: &KeyRules) -> bool {
    let mut left = left.trim_ascii_end();
    for _ in 0..OPERATORS_MAX {
        let (name, outside) = column_before(left);
        if keys.is_secret_column(name) {
            return true;
        }
        if let [.., b')'] = left {
            return brackets_have_secret(left, keys);
        }
        let outside = outside.trim_ascii_end();
        left = match outside {
            // A type, or an operator of MongoDB.
            [head @ .., b':', b':'] => head,
            [head @ .., b'{'] if name.starts_with(b"$") => without_operator(head.trim_ascii_end()),
            _ => {
                let word = last_word(outside);
                if !is_word(word, b"collate") {
                    return false;
                }
                outside.get(..outside.len() - word.len()).unwrap_or_default()
            }
        };
        left = left.trim_ascii_end();
    }
    false
}

/// Returns the name of a column, or of a key of one (`attributes['password']`), at the end of a
/// text, quoted or not, and the text before it.
fn column_before(before: &[u8]) -> (&[u8], &[u8]) {
    let before = before.strip_suffix(b"]").unwrap_or(before);
    let (head, quotes) = match before {
        [head @ .., b'"' | b'`' | b'\''] => (head.strip_suffix(b"}").unwrap_or(head), 1),
        _ => (before, 0),
    };
    let name = last_word(head);
    let outside = head.len() - name.len();
    (name, head.get(..outside.saturating_sub(quotes)).unwrap_or_default())
}

/// Returns whether the name of a secret column is in the brackets that close at the end of the
/// text.
fn brackets_have_secret(left: &[u8], keys: &KeyRules) -> bool {
    let mut depth = 0_usize;
    let mut end = left.len();
    for (index, &byte) in left.iter().enumerate().rev().take(OPERAND_BYTES_MAX) {
        if is_word_byte(byte) {
            continue;
        }
        let word = left.get(index + 1..end).unwrap_or_default();
        if keys.is_secret_column(word) {
            return true;
        }
        end = index;
        match byte {
            b')' => depth += 1,
            b'(' => match depth.checked_sub(1) {
                Some(0) | None => return false,
                Some(rest) => depth = rest,
            },
            _ => {}
        }
    }
    false
}
