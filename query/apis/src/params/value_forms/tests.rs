use super::{
    AttributeFilter, DurationNanos, SeverityNumber, UnixNanos, attribute, duration, severity, time,
};

#[test]
fn durations_are_read_with_their_unit() {
    let cases = [
        ("0", Some(0)),
        ("1500", Some(1_500)),
        ("10ns", Some(10)),
        ("10us", Some(10_000)),
        ("10µs", Some(10_000)),
        ("250ms", Some(250_000_000)),
        ("1.5s", Some(1_500_000_000)),
        ("0.000000001s", Some(1)),
        ("0.0000000001s", None),
        ("0.000000001h", Some(3_600)),
        ("999999h", Some(3_599_996_400_000_000_000)),
        ("1000000h", None),
        ("9999999999999999999", Some(9_999_999_999_999_999_999)),
        ("2m", Some(120_000_000_000)),
        ("1h", Some(3_600_000_000_000)),
        ("", None),
        ("s", None),
        ("1", Some(1)),
        ("1 s", None),
        ("-1s", None),
        ("+1s", None),
        (".5s", None),
        ("1.s", None),
        ("1.5.5s", None),
        ("1.5", None),
        ("1d", None),
        ("1e3s", None),
        ("99999999999h", None),
        ("99999999999999999999", None),
    ];
    for (text, expected) in cases {
        assert_eq!(duration(text), expected.map(DurationNanos), "{text}");
    }
}

#[test]
fn times_are_read_as_nanoseconds_or_rfc_3339() {
    let cases = [
        ("0", Some(0)),
        ("1700000000000000000", Some(1_700_000_000_000_000_000)),
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000_000)),
        ("2023-11-14t22:13:20z", Some(1_700_000_000_000_000_000)),
        ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000_000_000)),
        ("2023-11-14T14:13:20-08:00", Some(1_700_000_000_000_000_000)),
        ("2023-11-14T22:13:20.5Z", Some(1_700_000_000_500_000_000)),
        ("2023-11-14T22:13:20.123456789Z", Some(1_700_000_000_123_456_789)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000)),
        ("2000-03-01T00:00:00Z", Some(951_868_800_000_000_000)),
        ("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000_000)),
        ("2023-02-29T00:00:00Z", None),
        ("2023-13-01T00:00:00Z", None),
        ("2023-00-01T00:00:00Z", None),
        ("2023-11-31T00:00:00Z", None),
        ("2023-11-14T24:00:00Z", None),
        ("2023-11-14T22:13:20", None),
        ("2023-11-14", None),
        ("2023-11-14T22:13:20.Z", None),
        ("2023-11-14T22:13:20+0100", None),
        ("2023-11-14T22:13:20+01:00x", None),
        ("1969-12-31T23:59:59Z", None),
        ("9999-01-01T00:00:00Z", None),
        ("18446744073709551615", None),
        ("now", None),
        ("-1", None),
        ("２023-11-14T22:13:20Z", None),
    ];
    for (text, expected) in cases {
        assert_eq!(time(text), expected.map(UnixNanos), "{text}");
    }
}

#[test]
fn severities_are_read_by_name_and_number() {
    let number = SeverityNumber::new;
    let cases = [
        ("warn", number(13)),
        ("warning", number(13)),
        ("information", number(9)),
        ("critical", number(21)),
        ("WARN", None),
        ("Critical", None),
        ("09", None),
        ("9", number(9)),
        ("10", number(10)),
        ("24", number(24)),
        ("0", None),
        ("25", None),
        ("-1", None),
        ("loud", None),
    ];
    for (text, expected) in cases {
        assert_eq!(severity(text), expected, "{text}");
    }
}

#[test]
fn the_first_equals_sign_divides_key_and_value() {
    let filter =
        |key: &str, value: Option<&str>| Some(AttributeFilter::new(key, value.map(str::to_owned)));
    assert_eq!(attribute("http.route=/a=b"), filter("http.route", Some("/a=b")));
    assert_eq!(attribute("empty="), filter("empty", Some("")));
    assert_eq!(attribute("error"), filter("error", None));
    assert_eq!(attribute("=x"), None);
    assert_eq!(attribute(" a =b"), filter("a", Some("b")));
    assert_eq!(attribute(""), None);
}
