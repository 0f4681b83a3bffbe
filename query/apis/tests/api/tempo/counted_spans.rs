//! Metrics that count spans, from rollups and from rows.

use serde_json::Value as Json;
use tidings_proto::otlp::{SpanKind, StatusCode as SpanStatus};
use tidings_query::QueryLimits;

use super::{SECOND, encoded, get};
use crate::harness::{BEGIN, Harness, SpanBuilder, span};

const MINUTE_MILLIS: u64 = 60_000;

/// Conditions, and the labels that the spans are grouped by.
const QUERIES: [(&str, &str); 12] = [
    ("", ""),
    ("", "by (resource.service.name)"),
    ("", "by (name, status)"),
    ("kind = server", "by (kind)"),
    ("resource.service.name = \"shop\" && status = error", ""),
    ("resource.service.name != \"shop\"", "by (resource.service.name)"),
    ("resource.service.name = \"shop\" && status != error", "by (name)"),
    ("name = \"GET /1\" && kind != client", "by (resource.service.name, kind)"),
    ("name =~ \"GET.*\" || status = ok", "by (name)"),
    ("name = \"nothing\"", ""),
    ("name = \"first\"", "by (name)"),
    ("name = \"last\"", ""),
];

/// Spans over 20 minutes. Every seventh starts exactly at a whole minute, and some have no end.
fn spans(numbers: std::ops::Range<u64>) -> Vec<SpanBuilder> {
    let one = |n: u64| {
        let at = match n % 7 {
            0 => n % 20 * MINUTE_MILLIS,
            _ => n * 7_919 % (20 * MINUTE_MILLIS),
        };
        let service = ["shop", "payment", "stock", ""][usize::try_from(n % 4).unwrap()];
        let kinds = [SpanKind::Server, SpanKind::Client, SpanKind::Internal];
        let statuses = [SpanStatus::Unset, SpanStatus::Ok, SpanStatus::Error];
        let made = span(n, n, service, &format!("GET /{}", n % 3))
            .at(at, at + n % 90)
            .kind(kinds[usize::try_from(n / 2 % 3).unwrap()])
            .status(statuses[usize::try_from(n / 5 % 3).unwrap()], "");
        if n.is_multiple_of(13) { made.unfinished() } else { made }
    };
    numbers.map(one).collect()
}

fn path(query: &str, (from, to, step): (u64, u64, u64), exemplars: u64) -> String {
    let (start, end) = (BEGIN / SECOND + from, BEGIN / SECOND + to);
    let query = encoded(query);
    let times = format!("start={start}&end={end}&step={step}s");
    format!("/api/metrics/query_range?q={query}&{times}&exemplars={exemplars}")
}

/// Returns the answer to a query that rollups can answer, and to one with the same spans that they
/// cannot answer, because it compares durations.
async fn both(
    harness: &Harness,
    (condition, rest): (&str, &str),
    times: (u64, u64, u64),
) -> [Json; 2] {
    let every_duration = match condition {
        "" => "duration >= 0ns".to_owned(),
        condition => format!("({condition}) && duration >= 0ns"),
    };
    let counted = format!("{{ {condition} }} | {rest}");
    let read = format!("{{ {every_duration} }} | {rest}");
    let counted = get(harness, &path(&counted, times, 0)).await;
    let read = get(harness, &path(&read, times, 0)).await;
    [counted, read]
}

/// Returns the series of the answers, which are complete.
fn series(answers: &[Json; 2]) -> [&Json; 2] {
    answers.each_ref().map(|answer| {
        assert!(answer.get("status").is_none(), "{answer}");
        &answer["series"]
    })
}

/// Returns the number of spans that were read for an answer.
fn inspected(answer: &Json) -> u64 {
    answer["metrics"]["inspectedSpans"].as_str().unwrap_or("0").parse().unwrap()
}

#[tokio::test]
async fn rollups_count_the_spans_that_rows_count() {
    let harness = Harness::new().await;
    harness.send(spans(1..1_500)).await;
    // The first and the last moment of ranges of some minutes.
    harness.send([span(9_001, 1, "shop", "first").at(5 * MINUTE_MILLIS, 301_000)]).await;
    harness.send([span(9_002, 1, "shop", "last").at(15 * MINUTE_MILLIS, 901_000)]).await;
    for state in ["in memory", "flushed", "sent again", "in two files"] {
        match state {
            "flushed" | "in two files" => harness.store.flush().await.unwrap(),
            "sent again" => harness.send(spans(1_000..1_700)).await,
            _ => {}
        }
        for times in [(0, 1_200, 60), (300, 900, 60), (310, 905, 300), (0, 3_600, 1_800)] {
            let measure = if times.2 == 60 { "rate()" } else { "count_over_time()" };
            for (condition, by) in QUERIES {
                let rest = format!("{measure} {by}");
                let answers = both(&harness, (condition, rest.as_str()), times).await;
                let [counted, read] = series(&answers);
                assert_eq!(counted, read, "{state}: {condition} | {rest} {times:?}");
            }
        }
    }
}

#[tokio::test]
async fn rollups_answer_each_condition_that_calls_have_without_rows() {
    let harness = Harness::new().await;
    // No file has rows around a whole minute.
    let in_a_second = spans(1..500).into_iter().zip(1_000..);
    harness.send(in_a_second.map(|(span, at)| span.at(at, at + 5))).await;
    harness.store.flush().await.unwrap();
    for (condition, by) in QUERIES {
        let rest = format!("count_over_time() {by}");
        let answers = both(&harness, (condition, rest.as_str()), (0, 1_200, 60)).await;
        let [counted, read] = series(&answers);
        assert_eq!(counted, read, "{condition} | {rest}");
        let [counted, read] = answers.each_ref().map(inspected);
        assert_eq!(counted, 0, "{condition} | {rest}");
        assert!(read > 0 || condition.starts_with("name ="), "{condition} | {rest}");
    }
}

#[tokio::test]
async fn other_steps_count_the_same_spans() {
    let harness = Harness::new().await;
    harness.send(spans(1..500)).await;
    harness.store.flush().await.unwrap();
    for times in [(0, 1_200, 90), (10, 70, 1), (0, 1_200, 15)] {
        let rest = "count_over_time() by (name)";
        let answers = both(&harness, ("kind = server", rest), times).await;
        let [counted, read] = series(&answers);
        assert_eq!(counted, read, "{times:?}");
    }
}

#[tokio::test]
async fn more_series_than_allowed_are_counted_as_far_as_they_may_be() {
    // Two series of 21 points.
    let limits = QueryLimits { metrics_points_max: 50, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let in_a_minute = |n: u64| {
        let service = format!("service-{}", n % 5);
        span(n, n, &service, "GET /").at(30_000 + n, 30_010 + n)
    };
    harness.send((1..=100).map(in_a_minute)).await;
    harness.store.flush().await.unwrap();
    let rest = "count_over_time() by (resource.service.name)";
    let answers = both(&harness, ("", rest), (0, 1_200, 60)).await;
    let [counted, read] = &answers;
    for answer in &answers {
        assert_eq!(answer["status"], "PARTIAL", "{answer}");
        assert_eq!(answer["series"].as_array().unwrap().len(), 2, "{answer}");
    }
    assert_eq!(counted["message"], read["message"]);
    assert!(counted["message"].as_str().unwrap().contains("more series"), "{counted}");
    assert_eq!((inspected(counted), inspected(read)), (0, 100));
}

#[tokio::test]
async fn a_rate_reads_no_rows_of_files_and_has_exemplars() {
    let harness = Harness::new().await;
    let in_a_minute = |n: u64| span(n, n, "shop", "GET /").at(1_000 + n, 1_010 + n);
    harness.send((1..=600).map(in_a_minute)).await;
    harness.store.flush().await.unwrap();
    let times = (0, 300, 60);
    let answer = get(&harness, &path("{} | count_over_time()", times, 100)).await;
    assert_eq!(answer["metrics"]["inspectedSpans"], "0", "{answer}");
    let series = &answer["series"][0];
    let mut samples = series["samples"].as_array().unwrap().iter();
    assert!(samples.any(|sample| sample["value"] == 600.0), "{answer}");
    let exemplar = &series["exemplars"][0];
    assert_eq!(exemplar["value"], 600.0, "{answer}");
    assert_eq!(exemplar["labels"][0]["key"], "trace:id", "{answer}");
    let answer = get(&harness, &path("{ duration >= 0ns } | rate()", times, 100)).await;
    assert_eq!(answer["metrics"]["inspectedSpans"], "600", "{answer}");
}
