//! The text forms of single values. Each function returns `None` for any other text.
//!
//! Beside each function is the regular expression of its texts, in the common syntax of JSON Schema
//! and Rust. Every accepted text matches it. A text that matches and is refused is out of range,
//! such as a day that its month does not have.

use tidings_proto::{
    CivilDate, DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{Severity, SeverityNumber},
};
use tidings_query::{BreakdownThreshold, RedKey, RedKeys, TraceName};
use tidings_storage::AttributeFilter;

/// The last nanosecond that the tables can store, in the year 2262.
const LAST_NANO: u64 = i64::MAX.unsigned_abs();

pub(super) const TIME: &str = "^([0-9]{1,19}|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,18})?([Zz]|[+-][0-9]{2}:[0-9]{2}))$";

/// Parses nanoseconds since 1970, or RFC 3339.
pub(super) fn time(text: &str) -> Option<UnixNanos> {
    let nanos = if is_digits(text) { nanos(text)? } else { rfc_3339(text)? };
    (nanos <= LAST_NANO).then_some(UnixNanos(nanos))
}

pub(super) const DURATION: &str =
    "^([0-9]{1,19}|[0-9]{1,9}([.][0-9]{1,9})?(ns|us|µs|ms|s)|[0-9]{1,6}([.][0-9]{1,9})?(m|h))$";

/// Parses `250ms`, `1.5s`, `10us`, `2m`, `1h`, or an integer of nanoseconds.
pub(super) fn duration(text: &str) -> Option<DurationNanos> {
    const FRACTION_DIGITS: usize = 9;
    // Name, maximum of digits that fit into 64 bits, nanoseconds.
    const UNITS: [(&str, usize, u64); 7] = [
        ("ns", 9, 1),
        ("us", 9, 1_000),
        ("µs", 9, 1_000),
        ("ms", 9, 1_000_000),
        ("s", 9, 1_000_000_000),
        ("m", 6, 60 * 1_000_000_000),
        ("h", 6, 60 * 60 * 1_000_000_000),
    ];
    if is_digits(text) {
        return nanos(text).map(DurationNanos);
    }
    let (number, digits, unit) = UNITS.iter().find_map(|(name, digits, unit)| {
        let number = text.strip_suffix(name)?;
        number.ends_with(|last: char| last.is_ascii_digit()).then_some((number, *digits, *unit))
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fits = whole.len() <= digits && fraction.len() <= FRACTION_DIGITS;
    if !is_digits(whole) || !is_digits(fraction) || !fits {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(fraction_of(fraction, unit)?).map(DurationNanos)
}

pub(super) const TRACE_NAME: &str = "^(?!0+$)([0-9a-fA-F]{32}|[0-9a-fA-F]{16})$";

/// Parses a trace id of 32 hex digits, or its last 16.
pub(super) fn trace_name(text: &str) -> Option<TraceName> {
    if let Ok(trace_id) = text.parse::<TraceId>() {
        return Some(TraceName::Id(trace_id));
    }
    // A span id has the same form as half a trace id.
    let low: SpanId = text.parse().ok()?;
    Some(TraceName::Low64(u64::from_be_bytes(*low.as_bytes())))
}

pub(super) const TRACE_ID: &str = "^(?!0+$)[0-9a-fA-F]{32}$";
pub(super) const TRACE_IDS: &str = "^(?!0{32})[0-9a-fA-F]{32}(,(?!0{32})[0-9a-fA-F]{32})*$";

/// Placeholder for the traces of the same transaction type.
pub(crate) const TYPICAL: &str = "typical";
pub(super) const TRACE_IDS_OR_TYPICAL: &str =
    "^(typical|(?!0{32})[0-9a-fA-F]{32}(,(?!0{32})[0-9a-fA-F]{32})*)$";

/// Parses comma-separated trace ids.
pub(super) fn trace_ids(text: &str) -> Option<Vec<TraceId>> {
    text.split(',').map(|id| id.parse().ok()).collect()
}

pub(super) const SPAN_ID: &str = "^(?!0+$)[0-9a-fA-F]{16}$";
pub(super) const RECORD_ID: &str = "^[0-9a-fA-F]{16}$";

/// Parses the id of a log record.
pub(super) fn record_id(text: &str) -> Option<u64> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Looks up the value of a word.
pub(super) fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant)
}

pub(super) const SEVERITY: &str =
    "^(trace|debug|info|information|warn|warning|error|critical|fatal|[1-9]|1[0-9]|2[0-4])$";

/// Parses a severity by number, or by its word or a synonym in lower case.
pub(super) fn severity(text: &str) -> Option<SeverityNumber> {
    let number = || SeverityNumber::new(i32::try_from(integer(text)?).ok()?);
    let is_lower_case = !text.contains(|sign: char| sign.is_ascii_uppercase());
    let named = Severity::from_name(text).filter(|_| is_lower_case);
    named.map(SeverityNumber::from).or_else(number)
}

/// Parses an integer as JSON writes it.
pub(super) fn integer(text: &str) -> Option<u32> {
    let plain = is_digits(text) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

pub(super) const ABOVE: &str = "^(p(100|[1-9][0-9]?)|[0-9]{1,19}|[0-9]{1,9}([.][0-9]{1,9})?(ns|us|µs|ms|s)|[0-9]{1,6}([.][0-9]{1,9})?(m|h))$";

/// Parses a percentile or a duration.
pub(super) fn above(text: &str) -> Option<BreakdownThreshold> {
    match text.strip_prefix('p') {
        Some(percent) => {
            let percent = Some(integer(percent)?).filter(|percent| (1..=100).contains(percent));
            percent.map(|percent| BreakdownThreshold::Percentile(u64::from(percent)))
        }
        None => duration(text).map(BreakdownThreshold::Duration),
    }
}

pub(super) const ATTRIBUTE: &str = "^[^=]";

/// Parses `key=value` or `key`. The first equals sign separates them, and a value may be empty.
/// Blanks around the key are ignored.
pub(super) fn attribute(text: &str) -> Option<AttributeFilter> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    (!key.is_empty()).then(|| AttributeFilter::new(key.trim(), value))
}

pub(super) const KEYS: &str = "^((service|operation|operationPattern|kind|served|status),)*\
    (service|operation|operationPattern|kind|served|status|attribute:[^,]+)\
    (,(service|operation|operationPattern|kind|served|status))*$";

/// Parses comma-separated keys to group by, at most one of them an attribute's.
pub(super) fn keys(text: &str) -> Option<RedKeys> {
    const WORDS: [(&str, RedKey); 6] = [
        ("service", RedKey::Service),
        ("operation", RedKey::Operation),
        ("operationPattern", RedKey::OperationPattern),
        ("kind", RedKey::Kind),
        ("served", RedKey::Served),
        ("status", RedKey::Status),
    ];
    let mut found = RedKeys::default();
    for name in text.split(',') {
        match name.strip_prefix("attribute:") {
            Some("") => return None,
            Some(_) if found.attribute.is_some() => return None,
            Some(key) => found.attribute = Some(key.to_owned()),
            None => found.keys.push(word(&WORDS, name)?),
        }
    }
    Some(found)
}

pub(super) const CURSOR: &str = "^[A-Za-z0-9_-]+[.][0-9a-f]{16}$";

/// Pattern of an event id, which is a [`tidings_query::LogCursor`] of 26 bytes.
pub(super) const EVENT_ID: &str = "^[A-Za-z0-9_-]{35}$";

/// Splits a cursor into its position and its search, as [`super::page`] writes them.
pub(super) fn cursor(text: &str) -> Option<(&str, &str)> {
    let (place, search) = text.split_once('.')?;
    let is_place = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_search = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let both = !place.is_empty() && place.bytes().all(is_place) && search.len() == 16;
    (both && search.bytes().all(is_search)).then_some((place, search))
}

/// Parses digits of nanoseconds.
fn nanos(digits: &str) -> Option<u64> {
    const DIGITS: usize = 19;
    (digits.len() <= DIGITS).then(|| digits.parse().ok()).flatten()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses `0.<digits>` of the unit to nanoseconds, rounded down.
fn fraction_of(digits: &str, unit: u64) -> Option<u64> {
    // 18 digits are finer than a nanosecond of an hour.
    let digits = digits.get(..digits.len().min(18))?;
    let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let part = digits.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
    u64::try_from(part / scale).ok()
}

/// Parses `2026-11-20T08:00:00.5+01:00` to nanoseconds since 1970. A leap second is the next
/// second.
fn rfc_3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| is_digits(digits))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = [4, 7, 10, 13, 16].map(|at| text.as_bytes().get(at).copied());
    let separated =
        matches!(marks, [Some(b'-'), Some(b'-'), Some(b'T' | b't' | b' '), Some(b':'), Some(b':')]);
    let date = CivilDate { year, month, day };
    let valid = date.exists() && hour < 24 && minute < 60 && second <= 60;
    if !separated || !valid {
        return None;
    }
    let (fraction, offset) = match text.get(19..)?.strip_prefix('.') {
        None => (0, text.get(19..)?),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, offset) = rest.split_at(end);
            let is_fraction = is_digits(digits) && digits.len() <= 18;
            (fraction_of(Some(digits).filter(|_| is_fraction)?, 1_000_000_000)?, offset)
        }
    };
    let seconds = date.days() * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = u64::try_from(seconds - offset_seconds(offset)?).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Parses `Z` or `+01:00`.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two_digits = |text: &str| {
        let digits = Some(text).filter(|text| text.len() == 2 && is_digits(text))?;
        digits.parse::<i64>().ok()
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests;
