//! Tests of the texts that readers see.

use tidings_proto::{
    UnixNanos,
    api::{SearchProgress, Total, TotalRelation},
    otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value},
};

use super::{
    ago, count, counted, date, field, looked_at, noun_for, offset, peer, time_of_day, total, value,
    when,
};

#[test]
fn a_peer_without_a_name_is_shown_as_unnamed() {
    assert_eq!([peer(""), peer("rules-db")], ["unnamed peer", "rules-db"]);
}

#[test]
fn offsets_say_their_sign() {
    assert_eq!(offset(270_000_000), "+270 ms");
    assert_eq!(offset(-1_500), "−1.50 µs");
    assert_eq!(offset(i64::MIN), "−106751 d 23 h");
}

#[test]
fn counts_set_thousands_apart() {
    for (number, expected) in
        [(0, "0"), (999, "999"), (1_000, "1,000"), (41_902, "41,902"), (1_234_567, "1,234,567")]
    {
        assert_eq!(count(number), expected);
    }
}

#[test]
fn nouns_have_the_number_of_what_they_count() {
    for (number, noun, expected) in [
        (0, "span", "0 spans"),
        (1, "transaction", "1 transaction"),
        (2, "transaction", "2 transactions"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (1_200, "query", "1,200 queries"),
        (2, "day", "2 days"),
        (2, "match", "2 matches"),
        (2, "process", "2 processes"),
        (2, "more line", "2 more lines"),
    ] {
        assert_eq!(counted(number, noun), expected);
    }
    assert_eq!((noun_for(1, "query"), noun_for(0, "query")), ("query".into(), "queries".into()));
}

#[test]
fn a_total_that_is_a_bound_says_so() {
    let exact = Total { value: 1, relation: TotalRelation::Exact };
    let bound = Total { value: 1_312, relation: TotalRelation::AtLeast };
    assert_eq!(total(exact, "trace"), "1 trace");
    assert_eq!(total(bound, "trace"), "at least 1,312 traces");
}

#[test]
fn times_are_in_the_zone_that_was_asked_for() {
    let time = UnixNanos(1_795_161_838_408_999_999);
    assert_eq!(date(time, 0), "2026-11-20");
    assert_eq!(time_of_day(time, 0), "08:03:58.408");
    assert_eq!(time_of_day(time, 330), "13:33:58.408");
    assert_eq!(date(time, -600), "2026-11-19");
    assert_eq!(field(time, 0), "2026-11-20T08:03:58");
    assert_eq!(date(UnixNanos(951_782_400_000_000_000), 0), "2000-02-29");
}

#[test]
fn today_needs_no_date_and_an_unknown_time_is_a_dash() {
    let now = UnixNanos(1_795_161_838_408_000_000);
    let yesterday = UnixNanos(now.0 - 86_400_000_000_000);
    assert_eq!(when(now, now, 0), "08:03:58.408");
    assert_eq!(when(yesterday, now, 0), "2026-11-19 08:03:58.408");
    assert_eq!(when(UnixNanos(0), now, 0), "–");
}

#[test]
fn ages_are_rough_and_a_clock_ahead_is_now() {
    let now = UnixNanos(1_000_000_000_000_000);
    for (seconds, expected) in [
        (0, "just now"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7_200, "2 h ago"),
        (345_600, "4 d ago"),
    ] {
        assert_eq!(ago(UnixNanos(now.0 - seconds * 1_000_000_000), now), expected);
    }
    assert_eq!(ago(UnixNanos(now.0 + 5), now), "just now");
}

#[test]
fn a_search_is_as_far_as_the_time_it_has_looked_at() {
    let progress = |since: Option<u64>| SearchProgress {
        files: 3,
        file_count: 4,
        since_unix_nano: since.map(UnixNanos),
        ..SearchProgress::default()
    };
    let hour = Some((UnixNanos(100), UnixNanos(200)));
    for (since, times, part) in [
        (None, hour, 0.0),
        (Some(300), hour, 0.0),
        (Some(150), hour, 0.5),
        (Some(50), hour, 1.0),
        (Some(150), None, 0.75),
        (None, Some((UnixNanos(5), UnixNanos(5))), 0.0),
    ] {
        assert_eq!(looked_at(&progress(since), times), part, "{since:?} {times:?}");
    }
}

#[test]
fn values_of_every_type_are_text() {
    let list =
        Value::Array(ArrayValue { values: vec!["a\"b".into(), 3_i64.into(), AnyValue::default()] });
    let map = Value::Kvlist(KeyValueList {
        values: vec![KeyValue::new("k", list.clone()), KeyValue::new("t", true)],
    });
    for (input, expected) in [
        (AnyValue::from("plain \"text\""), "plain \"text\""),
        (1.5.into(), "1.5"),
        (list.into(), r#"["a\"b", 3, null]"#),
        (map.into(), r#"{"k": ["a\"b", 3, null], "t": true}"#),
        (Value::Bytes(vec![0, 255]).into(), "0x00ff"),
    ] {
        assert_eq!(value(&input), expected);
    }
}

#[test]
fn a_value_nested_ten_thousand_deep_is_written() {
    let mut deep = AnyValue::from("x");
    for _ in 0..10_000 {
        deep = Value::Array(ArrayValue { values: vec![deep] }).into();
    }
    assert_eq!(value(&deep).len(), 20_003);
    // Dropping this value would recurse in the wire type, which is not under test here.
    std::mem::forget(deep);
}
