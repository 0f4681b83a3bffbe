//! Arithmetic of times returns right times or an error, and never ends a worker.

use tidings_sql::SqlErrorKind;

use crate::harness::Harness;

/// The second and the last nanosecond that a time can have.
const FIRST: &str = "TIMESTAMP '1677-09-21T00:12:43.145224193'";
const LAST: &str = "TIMESTAMP '2262-04-11T23:47:16.854775807'";

/// Expressions over columns with their results; `None` where there is no such time.
const TIMES: &[(&str, Option<&str>)] = &[
    // Times and intervals.
    ("(INTERVAL '178956970 years' + now()) AT TIME ZONE 'Asia/Kolkata'", None),
    ("(long + now()) AT TIME ZONE 'Asia/Kolkata'", None),
    ("now() - long", None),
    ("now() + INTERVAL '2147483647 days'", None),
    ("now() - INTERVAL '-178956970 years -8 months'", None),
    ("now() + INTERVAL '2147483647 months 2147483647 days 9223372036 seconds'", None),
    ("last_time + INTERVAL '1 nanosecond'", None),
    ("first_time - INTERVAL '1 second'", None),
    ("first_time - now()", None),
    ("last_time - INTERVAL '854775807 nanoseconds'", Some("2262-04-11T23:47:16")),
    ("long + long", None),
    ("-INTERVAL '1 month' - long - INTERVAL '1 year'", None),
    ("-last_time", None),
    ("-now()", None),
    // Dates.
    ("current_date + INTERVAL '178956970 years'", None),
    ("current_date - long", None),
    ("day + whole", None),
    ("whole + day", None),
    ("day - whole", None),
    ("day + 2147483647", None),
    ("day - -2147483648", None),
    ("day + 200000", Some("2573-08-01")),
    ("5 + day", Some("2026-01-06")),
    ("day - 5", Some("2025-12-27")),
    ("day + CAST(NULL AS BIGINT)", Some("null")),
    ("make_date(262142, 12, 31) + 1", None),
    ("make_date(2147483647, 12, 31)", None),
    ("make_date(CAST(whole AS INT), 1, 1)", None),
    ("to_date(whole)", None),
    ("to_date(1e300)", None),
    // Bins and parts.
    ("date_trunc('microsecond', first_time)", None),
    ("date_trunc('second', first_time)", None),
    ("date_trunc('minute', first_time)", None),
    ("date_trunc('hour', first_time)", None),
    ("date_trunc('day', first_time)", None),
    ("date_trunc('year', first_time)", None),
    ("date_trunc('minute', to_timestamp_millis(whole))", None),
    ("date_trunc('minute', CAST(-whole AS TIMESTAMP(0)))", None),
    ("date_trunc('hour', last_time)", Some("2262-04-11T23:00:00")),
    ("date_trunc('millisecond', before)", Some("1969-12-31T23:59:59.123")),
    (
        "date_trunc('millisecond', TIMESTAMP '1969-12-31T23:59:59.123456789')",
        Some("1969-12-31T23:59:59.123"),
    ),
    ("date_bin(INTERVAL '2147483647 days', now())", None),
    ("date_bin(INTERVAL '0 days', now())", None),
    ("date_bin(INTERVAL '1 day', first_time)", Some("null")),
    ("date_bin(INTERVAL '1 month', first_time)", Some("null")),
    ("EXTRACT(EPOCH FROM day_after - before)", Some("1767312000.8765433")),
    ("EXTRACT(EPOCH FROM day_after + short - day_after)", Some("3.5")),
    ("EXTRACT(EPOCH FROM short)", Some("3.5")),
    ("EXTRACT(SECOND FROM day_after + short - day_after)", Some("3")),
    ("EXTRACT(MILLISECOND FROM day_after + short - day_after)", Some("3500")),
    ("EXTRACT(MICROSECOND FROM day_after + short - day_after)", Some("3500000")),
    ("EXTRACT(NANOSECOND FROM day_after + short - day_after)", Some("3500000000")),
    ("EXTRACT(MILLISECOND FROM day_after - (day_after + short))", Some("-3500")),
    ("EXTRACT(MILLISECOND FROM short + INTERVAL '1 minute')", Some("3500")),
    ("EXTRACT(NANOSECOND FROM short + INTERVAL '40 days')", Some("3500000000")),
    ("EXTRACT(MILLISECOND FROM day_after - day_before)", Some("86400000")),
    ("EXTRACT(MICROSECOND FROM day_after - day_before)", None),
    ("EXTRACT(MILLISECOND FROM before - day_after)", None),
    ("EXTRACT(MILLISECOND FROM CAST(NULL AS INTERVAL))", Some("null")),
    ("EXTRACT(NANOSECOND FROM last_time - TIMESTAMP '1970-01-01')", Some("9223372036854775807")),
    ("date_part('msecs', day_after + short - day_after)", Some("3500")),
    // From numbers and texts.
    ("to_timestamp(whole)", None),
    ("to_timestamp(1e300)", None),
    ("to_timestamp(large)", None),
    ("to_timestamp(-large)", None),
    ("to_timestamp(CAST('NaN' AS DOUBLE))", None),
    ("to_timestamp(1.5)", Some("1970-01-01T00:00:01.500Z")),
    ("to_timestamp_seconds(whole)", None),
    ("to_timestamp_millis(whole)", None),
    ("to_timestamp_micros(whole)", None),
    ("to_timestamp_seconds(whole) > now()", None),
    ("to_timestamp_nanos(whole)", Some("2262-04-11T23:47:16.854775807Z")),
    ("from_unixtime(whole)", None),
    // The last second of the calendar does not exist in this zone.
    ("from_unixtime(8210266876799, 'Asia/Kolkata')", None),
    ("from_unixtime(-8334601228800, 'America/New_York')", None),
    ("CAST(from_unixtime(8210266876799, 'Asia/Kolkata') AS TEXT)", None),
    ("CAST(whole AS TIMESTAMP)", None),
    ("CAST(large AS TIMESTAMP)", None),
    ("CAST('9999-12-31' AS TIMESTAMP)", None),
    ("CAST(make_date(262142, 12, 31) AS TIMESTAMP)", None),
    ("TRY_CAST(make_date(262142, 12, 31) AS TIMESTAMP)", Some("null")),
    ("CAST(CAST(2147483647 AS INT) AS DATE)", None),
    ("CAST('178956971 years' AS INTERVAL)", None),
    ("CAST(whole AS TIME)", None),
    ("CAST(whole AS TIME) + INTERVAL '9223372036 seconds'", None),
    // Sums.
    ("sum(long)", None),
    ("sum(DISTINCT long)", None),
    ("sum(last_time - before)", None),
    ("sum(day_after - day_before)", Some("PT172800S")),
    ("avg(last_time - before)", None),
];

#[tokio::test]
async fn times_do_not_wrap_around() {
    let harness = Harness::new().await;
    let row = |long: &str| {
        format!(
            "({FIRST}, {LAST}, TIMESTAMP '1969-12-31T23:59:59.123456789', DATE '2026-01-01', \
             9223372036854775807, 1e300, INTERVAL '{long}', TIMESTAMP '2026-01-01', \
             TIMESTAMP '2026-01-02', INTERVAL '3.5 seconds')"
        )
    };
    // Two rows, so that no expression is constant.
    let from = format!(
        "(VALUES {}, {}) AS v (first_time, last_time, before, day, whole, large, long, day_before, \
         day_after, short)",
        row("178956970 years"),
        row("178956969 years")
    );
    let mut wrong = Vec::new();
    for (expression, expected) in TIMES {
        let text = format!("SELECT {expression} FROM {from} LIMIT 1");
        match (expected, harness.ask(&text).await) {
            (None, Err(refusal))
                if matches!(refusal.kind(), SqlErrorKind::Invalid | SqlErrorKind::Forbidden) => {}
            (_, Err(refusal)) => wrong.push(format!("{expression}: {refusal:?}")),
            (expected, Ok(_)) => {
                let rows = harness.rows(&text).await;
                let value = &rows[0][0];
                let told = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if *expected != Some(told.as_str()) {
                    wrong.push(format!("{expression} is {told}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
