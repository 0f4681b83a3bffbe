//! Numbers and durations in Prometheus's text forms.

/// Prometheus's units in milliseconds. A unit comes before those that are its prefixes.
const UNITS: [(&str, i64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
    ("y", 365 * 86_400_000),
];
/// Maximum duration (300 years); longer ones are mistakes.
const DURATION_MS_MAX: i64 = 300 * 365 * 86_400_000;

/// Parses a duration such as `1h30m` to milliseconds.
#[must_use]
pub fn duration_of(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    let mut last = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, millis) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        // Prometheus requires the largest unit first and each unit once.
        if *millis >= last {
            return None;
        }
        last = *millis;
        rest = &rest[unit.len()..];
        total = total.checked_add(count.checked_mul(*millis)?)?;
    }
    (!text.is_empty() && total <= DURATION_MS_MAX).then_some(total)
}

/// Parses a number: decimal, hexadecimal, `nan` or `inf`.
#[must_use]
pub fn number_of(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(float);
    }
    match lower.as_str() {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        _ if lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') => lower.parse().ok(),
        _ => None,
    }
}

/// Formats the number as Prometheus does.
#[must_use]
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Converts a count to a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "PromQL has no other numbers than these")]
#[must_use]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// Converts milliseconds to seconds.
#[expect(clippy::cast_precision_loss, reason = "times are exact to the millisecond for ages")]
#[must_use]
pub fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

/// Converts seconds to milliseconds; `None` when they are not a valid time.
#[must_use]
pub fn millis(seconds: f64) -> Option<i64> {
    /// The last second whose nanoseconds fit into 64 bits, in the year 2262.
    const SECONDS_MAX: f64 = 9_223_372_036.0;
    if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds above")]
    Some((seconds * 1e3).round() as i64)
}
