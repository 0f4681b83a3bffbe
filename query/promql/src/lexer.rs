//! Splits a query into tokens.

use super::{
    SyntaxError,
    number::{duration_of, number_of},
};

/// A token with the byte at which it begins.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) what: TokenKind,
    pub(super) at: usize,
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A name or a keyword.
    Name(String),
    /// A number.
    Number(f64),
    /// A duration in milliseconds.
    Duration(i64),
    /// A text without its quotes.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of the query.
    End,
}

/// Signs, longer ones first.
const SIGNS: [&str; 24] = [
    "==", "!=", "=~", "!~", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", ":", "=", "<", ">", "+",
    "-", "*", "/", "%", "^", "@",
];

/// Returns the tokens of a query, including the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    // Inside brackets a colon is a sign; elsewhere it is part of a name.
    let mut brackets = 0_usize;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (what, length) = if matches!(first, '"' | '\'' | '`') {
            quoted(text, at, first)?
        } else if first.is_ascii_digit() || first == '.' {
            number(text, at)?
        } else if first.is_ascii_alphabetic() || first == '_' || first == ':' && brackets == 0 {
            name(rest)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            match sign {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ => (),
            }
            (TokenKind::Sign(sign), sign.len())
        } else {
            return Err(SyntaxError::at(text, at, format!("unexpected character: {first:?}")));
        };
        tokens.push(Token { what, at });
        at += length;
    }
    tokens.push(Token { what: TokenKind::End, at: text.len() });
    Ok(tokens)
}

fn name(rest: &str) -> (TokenKind, usize) {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let length = rest.find(is_end).unwrap_or(rest.len());
    let name = &rest[..length];
    match name.to_ascii_lowercase().as_str() {
        "inf" => (TokenKind::Number(f64::INFINITY), length),
        "nan" => (TokenKind::Number(f64::NAN), length),
        _ => (TokenKind::Name(name.to_owned()), length),
    }
}

fn number(text: &str, at: usize) -> Result<(TokenKind, usize), SyntaxError> {
    let rest = &text[at..];
    let bytes = rest.as_bytes();
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let before = length.checked_sub(1).and_then(|before| bytes.get(before));
        let is_exponent = matches!(before, Some(b'e' | b'E')) && !rest.starts_with("0x");
        if !(byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_')
            || matches!(byte, b'+' | b'-') && is_exponent)
        {
            break;
        }
        length += 1;
    }
    let word = &rest[..length];
    let what = match (number_of(word), duration_of(word)) {
        (Some(number), _) => TokenKind::Number(number),
        (None, Some(duration)) => TokenKind::Duration(duration),
        (None, None) => {
            let message = format!("bad number or duration syntax: {word:?}");
            return Err(SyntaxError::at(text, at, message));
        }
    };
    Ok((what, length))
}

/// Parses a quoted string with Go's escapes; a string in backticks has no escapes.
fn quoted(text: &str, at: usize, quote: char) -> Result<(TokenKind, usize), SyntaxError> {
    let unfinished = || SyntaxError::at(text, at, "unterminated quoted string");
    let inner = &text[at + 1..];
    if quote == '`' {
        let end = inner.find('`').ok_or_else(unfinished)?;
        return Ok((TokenKind::Text(inner[..end].to_owned()), end + 2));
    }
    let mut said = String::new();
    let mut rest = inner.chars();
    loop {
        let here = text.len() - rest.as_str().len();
        match rest.next() {
            None | Some('\n') => return Err(unfinished()),
            Some(c) if c == quote => break,
            Some('\\') => {
                let escaped = escaped(&mut rest);
                said.push(
                    escaped
                        .ok_or_else(|| SyntaxError::at(text, here, "unknown escape sequence"))?,
                );
            }
            Some(c) => said.push(c),
        }
    }
    let length = text.len() - rest.as_str().len() - at;
    Ok((TokenKind::Text(said), length))
}

/// Decodes the rest of an escape.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match rest.next()? {
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        same @ ('\\' | '"' | '\'') => return Some(same),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let code = rest.as_str().get(..digits)?;
    let code = u32::from_str_radix(code, 16).ok()?;
    *rest = rest.as_str()[digits..].chars();
    char::from_u32(code)
}
