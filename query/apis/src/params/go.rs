//! The text forms that Go's standard library parses, with its errors: what Jaeger's clients send
//! and receive.

/// Parses as `strconv.ParseInt` does.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    }
    text.parse().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: value out of range"))
}

/// Parses as `strconv.ParseFloat` does.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
}

/// Parses as `strconv.ParseBool` does.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses as `time.ParseDuration` does, in nanoseconds: `1h15m30.5s`, `-100us`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0);
    }
    let mut rest = unsigned;
    let mut nanos = 0_i128;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        if number.trim_matches('.').is_empty() || number.matches('.').count() > 1 {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        nanos =
            nanos.checked_add(scaled(number, *scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        rest = after;
    }
    let nanos = if text.starts_with('-') { -nanos } else { nanos };
    i64::try_from(nanos).map_err(|_| invalid())
}

/// Parses a decimal number of units of `unit` nanoseconds each.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    // 18 digits are finer than a nanosecond of an hour.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.len() {
        0 => 0,
        digits => {
            let scale = 10_i128.checked_pow(u32::try_from(digits).ok()?)?;
            fraction.parse::<i128>().ok()?.checked_mul(unit)? / scale
        }
    };
    whole.checked_mul(unit)?.checked_add(part)
}

/// Formats nanoseconds as `time.Duration.String` does.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let decimal = |size: u64, unit: u64| {
        let (whole, part) = (size / unit, size % unit);
        let digits = unit.ilog10() as usize;
        let fraction = format!("{part:0digits$}");
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    const SECOND: u64 = 1_000_000_000;
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..SECOND => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => {
            let (minutes, seconds) = (size / (60 * SECOND), size % (60 * SECOND));
            let seconds = decimal(seconds, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{boolean, duration, format_duration, integer};

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, nanos) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("+1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1h15m30.918273645s", 4_530_918_273_645),
            ("100us", 100_000),
            ("10µs", 10_000),
            ("10μs", 10_000),
            ("39h9m14.425s", 140_954_425_000_000),
            ("0.1000000000000000000000000000001h", 360_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("", r#"time: invalid duration """#),
            ("20", r#"time: missing unit in duration "20""#),
            ("foo", r#"time: invalid duration "foo""#),
            ("1x", r#"time: unknown unit "x" in duration "1x""#),
            (".s", r#"time: invalid duration ".s""#),
            ("1..2s", r#"time: invalid duration "1..2s""#),
            ("9999999999h", r#"time: invalid duration "9999999999h""#),
            ("-", r#"time: invalid duration "-""#),
        ] {
            assert_eq!(duration(text).unwrap_err(), error);
        }
    }

    #[test]
    fn durations_are_shown_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (-2_200_000, "-2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_duration(nanos), text);
        }
    }

    #[test]
    fn numbers_and_truths_are_read_as_go_does() {
        assert_eq!(integer("-17"), Ok(-17));
        assert_eq!(integer("+17"), Ok(17));
        for (text, error) in [
            ("string", "invalid syntax"),
            ("1.5", "invalid syntax"),
            ("", "invalid syntax"),
            ("9223372036854775808", "value out of range"),
        ] {
            let expected = format!("strconv.ParseInt: parsing \"{text}\": {error}");
            assert_eq!(integer(text).unwrap_err(), expected);
        }
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
