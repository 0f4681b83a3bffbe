//! Numbers, durations and texts.

use super::{Lexer, TokenKind};
use crate::TraceqlError;

/// The units of durations in nanoseconds. A unit comes before those that are its prefixes.
const UNITS: [(&str, i64); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 24 * 3_600 * 1_000_000_000),
    ("w", 7 * 24 * 3_600 * 1_000_000_000),
    ("y", 365 * 24 * 3_600 * 1_000_000_000),
];

impl Lexer<'_> {
    /// Reads a number or duration: `12`, `1.5`, `2e3`, `1h30m`.
    pub(super) fn number(&mut self) -> Result<TokenKind, TraceqlError> {
        let rest = self.rest();
        let run = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_')));
        let run = &rest[..run.unwrap_or(rest.len())];
        if run.contains(|c: char| c.is_alphabetic())
            && let Some(nanos) = duration(run)
        {
            self.at += run.len();
            return nanos
                .map(TokenKind::Duration)
                .map_or_else(|| self.error(format!("{run} is longer than 292 years")), Ok);
        }
        let number = &rest[..number_len(rest)];
        let after = rest[number.len()..].chars().next();
        if after.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            let units = "ns, us, ms, s, m, h, d, w and y";
            return self.error(format!("`{run}` is no number; the units of durations are {units}"));
        }
        let token = if number.contains(['.', 'e', 'E']) {
            number.parse().ok().filter(|value: &f64| value.is_finite()).map(TokenKind::Float)
        } else {
            number.parse().ok().map(TokenKind::Int)
        };
        match token {
            Some(token) => {
                self.at += number.len();
                Ok(token)
            }
            None => self.error(format!("{number} does not fit in 64 bits")),
        }
    }

    /// Reads a text in back quotes, which has no escapes.
    pub(super) fn raw(&mut self) -> Result<TokenKind, TraceqlError> {
        match self.rest()[1..].find('`') {
            Some(end) => {
                let text = self.rest()[1..=end].replace('\r', "");
                self.at += end + 2;
                Ok(TokenKind::Text(text))
            }
            None => self.error("this text does not end: a back quote is missing"),
        }
    }

    /// Reads a text in double quotes, with Go's escapes.
    pub(super) fn quoted(&mut self) -> Result<TokenKind, TraceqlError> {
        let start = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                None | Some('\n') => {
                    self.at = start;
                    return self.error("this text does not end: `\"` is missing");
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => self.escape(&mut bytes)?,
                Some(other) => {
                    bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += other.len_utf8();
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(TokenKind::Text(text)),
            Err(_) => {
                self.at = start;
                self.error("the escapes of this text do not make valid UTF-8")
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), TraceqlError> {
        const SINGLE: [(char, u8); 9] = [
            ('a', 7),
            ('b', 8),
            ('f', 12),
            ('n', b'\n'),
            ('r', b'\r'),
            ('t', b'\t'),
            ('v', 11),
            ('\\', b'\\'),
            ('"', b'"'),
        ];
        let escaped = self.rest()[1..].chars().next().unwrap_or_default();
        if let Some((_, byte)) = SINGLE.iter().find(|(name, _)| *name == escaped) {
            bytes.push(*byte);
            self.at += 2;
            return Ok(());
        }
        let (skip, digits, radix) = match escaped {
            'x' => (2, 2, 16),
            'u' => (2, 4, 16),
            'U' => (2, 8, 16),
            '0'..='7' => (1, 3, 8),
            _ => return self.error("this is not an escape; write `\\\\` for a backslash"),
        };
        let digits = self.rest().get(skip..skip + digits);
        let code = digits.filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)));
        let code = code.and_then(|digits| u32::from_str_radix(digits, radix).ok());
        let length = skip + digits.map_or(0, str::len);
        let valid = match (escaped, code) {
            ('u' | 'U', Some(code)) => char::from_u32(code).map(|c| {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }),
            (_, Some(code)) => u8::try_from(code).ok().map(|byte| bytes.push(byte)),
            (_, None) => None,
        };
        match valid {
            Some(()) => {
                self.at += length;
                Ok(())
            }
            None => self.error("this is not an escape; write `\\\\` for a backslash"),
        }
    }
}

/// Length in bytes of the number at the start of the text.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(text);
    if text[length..].starts_with('.') {
        length += 1;
        length += digits(&text[length..]);
    }
    if text[length..].starts_with(['e', 'E']) {
        let signed = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[length + 1 + signed..]);
        if exponent > 0 {
            length += 1 + signed + exponent;
        }
    }
    length
}

/// Parses the nanoseconds of `1h30m` or `1.5s`. `None` when it is not a duration, `Some(None)` when
/// it does not fit.
fn duration(text: &str) -> Option<Option<i64>> {
    let (mut rest, mut sum) = (text, Some(0_i64));
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        rest = &after[unit.len()..];
        let part = part(number, *nanos)?;
        sum = sum.zip(part).and_then(|(sum, part)| sum.checked_add(part));
    }
    Some(sum)
}

/// Returns `number` times `unit`, rounded down to nanoseconds. `None` when it is not a number,
/// `Some(None)` when it does not fit.
fn part(number: &str, unit: i64) -> Option<Option<i64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // 18 digits are finer than a nanosecond of a year.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse().ok() };
    let Some(whole) = number(whole) else { return Some(None) };
    let fraction: i128 = number(fraction)?;
    let whole: i128 = whole;
    let nanos = whole
        .checked_mul(i128::from(unit))
        .and_then(|nanos| nanos.checked_add(fraction * i128::from(unit) / scale));
    Some(nanos.and_then(|nanos| i64::try_from(nanos).ok()))
}
