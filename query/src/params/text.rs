//! The text forms of single values. Each function gives `None` for any text that is not one.

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{Severity, SpanKind, StatusCode},
};
use tidings_storage::AttributeFilter;

use crate::TraceName;

/// The last nanosecond that fits the tables: in the year 2262.
const LAST_NANO: u64 = i64::MAX.unsigned_abs();

/// Nanoseconds since 1970, or RFC 3339.
pub(super) fn time(text: &str) -> Option<UnixNanos> {
    let nanos = if is_digits(text) { text.parse().ok()? } else { rfc_3339(text)? };
    (nanos <= LAST_NANO).then_some(UnixNanos(nanos))
}

/// `250ms`, `1.5s`, `10us`, `2m`, `1h`, or an integer of nanoseconds.
pub(super) fn duration(text: &str) -> Option<DurationNanos> {
    if is_digits(text) {
        return text.parse().ok().map(DurationNanos);
    }
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60 * 1_000_000_000),
        ("h", 60 * 60 * 1_000_000_000),
    ];
    let (number, unit) = UNITS.iter().find_map(|(name, unit)| {
        let number = text.strip_suffix(name)?;
        number.ends_with(|last: char| last.is_ascii_digit()).then_some((number, *unit))
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(fraction_of(fraction, unit)?).map(DurationNanos)
}

/// A trace id of 32 hex digits, or its last 16.
pub(super) fn trace_name(text: &str) -> Option<TraceName> {
    if let Ok(trace_id) = text.parse::<TraceId>() {
        return Some(TraceName::Id(trace_id));
    }
    // A span id has the same form as half a trace id.
    let low: SpanId = text.parse().ok()?;
    Some(TraceName::Low64(u64::from_be_bytes(*low.as_bytes())))
}

/// OTLP's kind by name.
pub(super) fn kind(text: &str) -> Option<SpanKind> {
    Some(match text.to_ascii_lowercase().as_str() {
        "unspecified" => SpanKind::Unspecified,
        "internal" => SpanKind::Internal,
        "server" => SpanKind::Server,
        "client" => SpanKind::Client,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        _ => return None,
    })
}

/// OTLP's status by name.
pub(super) fn status(text: &str) -> Option<StatusCode> {
    Some(match text.to_ascii_lowercase().as_str() {
        "unset" => StatusCode::Unset,
        "ok" => StatusCode::Ok,
        "error" => StatusCode::Error,
        _ => return None,
    })
}

/// A severity by name or number.
pub(super) fn severity(text: &str) -> Option<Severity> {
    Some(match text.to_ascii_lowercase().as_str() {
        "trace" => Severity::Trace,
        "debug" => Severity::Debug,
        "info" => Severity::Info,
        "warn" | "warning" => Severity::Warn,
        "error" => Severity::Error,
        "fatal" => Severity::Fatal,
        number if is_digits(number) => Severity::from_number(number.parse().ok()?)?,
        _ => return None,
    })
}

/// `key=value` or `key`. The first equals sign divides; a value may be empty.
pub(super) fn attribute(text: &str) -> Option<AttributeFilter> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    let key = key.trim();
    (!key.is_empty()).then(|| AttributeFilter { key: key.to_owned(), value })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `0.<digits>` of the unit, in nanoseconds, rounded down.
fn fraction_of(digits: &str, unit: u64) -> Option<u64> {
    // 18 digits are finer than a nanosecond of an hour.
    let digits = digits.get(..digits.len().min(18))?;
    let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let part = digits.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
    u64::try_from(part / scale).ok()
}

/// Nanoseconds since 1970 of `2026-11-20T08:00:00.5+01:00`. A leap second is the next second.
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
    let days = days_in(year, month)?;
    let valid = (1..=days).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !separated || !valid {
        return None;
    }
    let (fraction, offset) = match text.get(19..)?.strip_prefix('.') {
        None => (0, text.get(19..)?),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, offset) = rest.split_at(end);
            (fraction_of(Some(digits).filter(|digits| is_digits(digits))?, 1_000_000_000)?, offset)
        }
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = u64::try_from(seconds - offset_seconds(offset)?).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// `Z` or `+01:00`.
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

fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    })
}

/// Days from 1970-01-01, counted in years that begin in March, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests;
