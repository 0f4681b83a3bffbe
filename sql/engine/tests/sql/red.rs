//! `red` over several hours: its counts, its memory, and damaged rollups.

use std::{fs, path::PathBuf};

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{Span, SpanKind};
use tidings_sql::{SqlErrorKind, SqlLimits};

use crate::harness::{Harness, MILLI, failed, span};

const MINUTE: u64 = 60_000 * MILLI;
const HOUR: u64 = 60 * MINUTE;

/// The spans with these numbers: most in the first hour, the others in the three after it.
fn spans(numbers: impl Iterator<Item = u64>) -> Vec<Span> {
    let numbered = |n: u64| {
        let name = ["get", "put", "sweep"][usize::try_from(n % 3).unwrap()];
        let kind = if n.is_multiple_of(2) { SpanKind::Server } else { SpanKind::Client };
        let hour = [0, 0, 1, 0, 3, 2, 0][usize::try_from(n % 7).unwrap()];
        let plain = span(n / 3, n, name);
        let start = plain.start_time_unix_nano + n * 7_919 * MILLI % HOUR + hour * HOUR;
        // Some spans have not ended.
        let end = if n.is_multiple_of(11) { 0 } else { start + n * n % 1_000_003 };
        let times = Span { start_time_unix_nano: start, end_time_unix_nano: end, ..plain };
        let of = Span { kind: kind.into(), ..times };
        if n.is_multiple_of(5) { failed(of) } else { of }
    };
    numbers.map(numbered).collect()
}

/// Fills files and memory with spans. Some are sent twice, and one minute has more durations than
/// are kept one by one.
async fn filled() -> Harness {
    let harness = Harness::new().await;
    harness.send("shop", spans(1..400)).await;
    let burst = (1..=700).map(|id| {
        let of = span(9_000 + id, id, "burst");
        Span { end_time_unix_nano: of.start_time_unix_nano + id * id * 1_000, ..of }
    });
    harness.send("bank", burst.collect()).await;
    harness.store.flush().await.unwrap();
    harness.send("shop", spans(300..700)).await;
    harness.send("bank", spans(100..400)).await;
    harness.store.flush().await.unwrap();
    harness.send("bank", spans(350..500)).await;
    harness
}

const ADDED_UP: &str = "SELECT minute, service, operation, kind, status, calls, errors, timed, \
     duration_sum_nanos, duration_min_nanos, duration_max_nanos FROM red ORDER BY 1, 2, 3, 4, 5";
const ONE_BY_ONE: &str = "SELECT date_trunc('minute', start_time), service, operation, kind, status, \
     count(*), count(*) FILTER (WHERE status = 'error'), count(duration_nanos), \
     sum(duration_nanos), min(duration_nanos), max(duration_nanos) \
     FROM spans GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5";

#[tokio::test]
async fn red_has_the_counts_of_the_spans() {
    let harness = filled().await;
    for stage in ["in files and memory", "in files", "merged"] {
        let rows = harness.rows(ADDED_UP).await;
        assert!(rows.as_array().unwrap().len() > 300, "{stage}");
        assert_eq!(rows, harness.rows(ONE_BY_ONE).await, "{stage}");
        for (few, all) in [
            ("SELECT count(*) FROM red", format!("SELECT count(*) FROM ({ONE_BY_ONE}) AS rows")),
            (
                "SELECT sum(errors), sum(calls) FROM red WHERE service = 'bank'",
                "SELECT count(*) FILTER (WHERE status = 'error'), count(*) FROM spans \
                 WHERE service = 'bank'"
                    .to_owned(),
            ),
            (
                "SELECT sum(calls) FROM red WHERE minute >= TIMESTAMP '2026-11-20T08:30:00Z' \
                 AND minute < TIMESTAMP '2026-11-20T10:07:00Z'",
                "SELECT count(*) FROM spans WHERE start_time >= TIMESTAMP '2026-11-20T08:30:00Z' \
                 AND start_time < TIMESTAMP '2026-11-20T10:07:00Z'"
                    .to_owned(),
            ),
        ] {
            assert_eq!(harness.rows(few).await, harness.rows(&all).await, "{stage}: {few}");
        }
        harness.store.flush().await.unwrap();
        if stage == "in files" {
            harness.store.compact(true).await.unwrap();
        }
    }
}

/// Returns the index files of spans, those of the first hour first.
fn indexes(harness: &Harness) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>()
    };
    let mut hours = entries(harness.folder.path().join("tables/spans/_index"));
    hours.sort();
    hours.into_iter().flat_map(entries).collect()
}

#[tokio::test]
async fn rows_of_red_are_not_repeated_when_rollups_are_found_to_be_damaged() {
    let harness = filled().await;
    let expected = harness.rows(ADDED_UP).await;
    let index = indexes(&harness).swap_remove(0);
    // The head of the index is cached by now; its pages are read again.
    let mut bytes = fs::read(&index).unwrap();
    let head = usize::try_from(u32::from_le_bytes(bytes[12..16].try_into().unwrap())).unwrap();
    bytes[head..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&index, bytes).unwrap();
    let answer = harness.json(ADDED_UP).await;
    let (rows, expected) = (answer["rows"].as_array().unwrap(), expected.as_array().unwrap());
    let differs = rows.iter().zip(expected).find(|(row, expected)| row != expected);
    assert_eq!((differs, rows.len()), (None, expected.len()));
    assert_eq!((&answer["complete"], &answer["lacks"]), (&json!(true), &json!([])));
    assert!(answer["read"]["rows"].as_u64().unwrap() > 0, "rows were read instead");
}

#[tokio::test]
async fn red_holds_no_more_than_an_hour() {
    const HOURS: u64 = 6;
    let limits = SqlLimits { memory_bytes_max: 3 << 20, ..SqlLimits::default() };
    let harness = Harness::with(limits).await;
    for hour in 0..HOURS {
        let of_hour = (0..3_000).map(|n| {
            let number = hour * 3_000 + n + 1;
            let of = span(number, number, &format!("operation {}", n / 60));
            let start = of.start_time_unix_nano + hour * HOUR + n % 60 * MINUTE;
            Span { start_time_unix_nano: start, end_time_unix_nano: start + number, ..of }
        });
        harness.send("shop", of_hour.collect()).await;
        harness.store.flush().await.unwrap();
    }
    let asked = "SELECT count(*), sum(calls), max(p99_nanos) FROM red";
    assert_eq!(harness.rows(asked).await, json!([[18_000, 18_000, 18_000]]));
    // A single hour can be too much as well.
    let crowd = (0..12_000).map(|n| {
        let of = span(100_000 + n, n + 1, &format!("one of many, {n}"));
        Span { start_time_unix_nano: of.start_time_unix_nano + HOUR, ..of }
    });
    harness.send("shop", crowd.collect()).await;
    let refused = harness.refusal(asked).await;
    assert_eq!(refused.kind(), SqlErrorKind::TooLarge, "{refused}");
    let few: Json = harness.rows(&format!("{asked} WHERE operation = 'operation 7'")).await;
    assert_eq!(few[0][0], HOURS * 60);
}
