//! Metrics that count spans, from rollups and from rows.

use serde_json::Value as Json;
use tidings_proto::otlp::{SpanKind, StatusCode as SpanStatus};

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

/// Returns the series of a query that rollups can answer, and of one with the same spans that they
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
    [counted, read].map(|answer| {
        assert!(answer.get("status").is_none(), "{answer}");
        answer["series"].clone()
    })
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
                let [counted, read] = both(&harness, (condition, rest.as_str()), times).await;
                assert_eq!(counted, read, "{state}: {condition} | {rest} {times:?}");
            }
        }
    }
}

#[tokio::test]
async fn other_steps_count_the_same_spans() {
    let harness = Harness::new().await;
    harness.send(spans(1..500)).await;
    harness.store.flush().await.unwrap();
    for times in [(0, 1_200, 90), (10, 70, 1), (0, 1_200, 15)] {
        let rest = "count_over_time() by (name)";
        let [counted, read] = both(&harness, ("kind = server", rest), times).await;
        assert_eq!(counted, read, "{times:?}");
    }
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
