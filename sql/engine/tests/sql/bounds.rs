//! Bounds of an answer, and its report of missing rows.

use serde_json::json;
use tidings_proto::api::SqlPartialReason;
use tidings_sql::{Query, SqlLimits};

use crate::harness::{Harness, record, span, story, trace_id};

#[tokio::test]
async fn an_answer_that_is_cut_reports_it() {
    let harness = Harness::with(SqlLimits { rows_max: 5, ..SqlLimits::default() }).await;
    story(&harness).await;
    let answer = harness.json("SELECT span_id FROM spans").await;
    assert_eq!(answer["rowCount"], 5);
    assert_eq!((&answer["complete"], &answer["lacks"]), (&json!(false), &json!(["rows"])));
    let whole = harness.json("SELECT span_id FROM spans LIMIT 5").await;
    assert_eq!((&whole["complete"], &whole["lacks"]), (&json!(true), &json!([])));
    let query = Query { rows_max: Some(2), ..Query::new("SELECT span_id FROM spans") };
    let answer = harness.service.ask(query).await.unwrap();
    assert_eq!((answer.row_count(), answer.is_complete()), (2, false));
}

#[tokio::test]
async fn an_answer_has_a_maximum_of_bytes() {
    let limits = SqlLimits { answer_bytes_max: 100_000, ..SqlLimits::default() };
    let harness = Harness::with(limits).await;
    let text = "x".repeat(1_000);
    harness.log("shop", (1..=500).map(|id| record(1, id, id, &text)).collect()).await;
    let query = Query::new("SELECT text FROM logs");
    let answer = harness.service.ask(query).await.unwrap();
    assert_eq!(answer.lacks, vec![SqlPartialReason::Bytes]);
    assert!((10..100).contains(&answer.row_count()), "{}", answer.row_count());
}

#[tokio::test]
async fn repeats_beyond_the_remembered_hashes_are_reported() {
    let harness = Harness::with(SqlLimits { remembered_max: 10, ..SqlLimits::default() }).await;
    for _ in 0..2 {
        harness.send("shop", (1..=8).map(|id| span(1, id, "a")).collect()).await;
    }
    let answer = harness.json("SELECT count(*) FROM spans").await;
    assert_eq!(answer["rows"], json!([[16]]));
    assert_eq!(answer["repeatsCounted"], true);
}

/// The number of rows that a query reads when it selects few of the stored ones.
#[tokio::test]
async fn filters_reach_the_store() {
    let harness = Harness::new().await;
    for part in 0..10 {
        let of = |id: u64| {
            let mut span = span(part, part * 1_000 + id, if id == 7 { "rare" } else { "usual" });
            span.start_time_unix_nano += part * 3_600_000_000_000;
            span.end_time_unix_nano = span.start_time_unix_nano + id;
            span.attributes = vec![tidings_proto::otlp::KeyValue::new("number", id.to_string())];
            span
        };
        let spans = (1..=1_000).map(of).collect();
        harness.send(&format!("service-{part}"), spans).await;
        harness.store.flush().await.unwrap();
    }
    let all = harness.json("SELECT count(*) FROM spans").await;
    assert_eq!((&all["rows"], &all["read"]["rows"]), (&json!([[10_000]]), &json!(10_000)));
    let id = trace_id(3);
    for (filter, count, rows_max) in [
        (format!("trace_id = '{id}'"), 1_000, 1_100),
        (format!("trace_id IN ('{id}', '{}')", trace_id(4)), 2_000, 2_100),
        (format!("trace_id = trace_id('00-{id}-0000000000000001-01')"), 1_000, 1_100),
        ("start_time < TIMESTAMP '2026-11-20T08:30:00Z'".to_owned(), 1_000, 1_100),
        (
            "start_time BETWEEN TIMESTAMP '2026-11-20T09:30:00Z' AND TIMESTAMP '2026-11-20T10:30:00Z'"
                .to_owned(),
            1_000,
            1_100,
        ),
        ("service = 'service-5'".to_owned(), 1_000, 1_100),
        ("service = 'service-5' OR service = 'service-6'".to_owned(), 2_000, 2_100),
        ("service = 'nowhere'".to_owned(), 0, 0),
        ("operation = 'nothing'".to_owned(), 0, 0),
        ("attributes['number'] = 'none'".to_owned(), 0, 0),
        ("resource['service.name'] = 'service-5'".to_owned(), 1_000, 1_100),
        ("duration_nanos > 2000".to_owned(), 0, 0),
    ] {
        let answer = harness.json(&format!("SELECT count(*) FROM spans WHERE {filter}")).await;
        assert_eq!(answer["rows"], json!([[count]]), "{filter}");
        let rows = answer["read"]["rows"].as_u64().unwrap();
        assert!(rows <= rows_max, "{filter}: {rows} rows");
    }
    let plan =
        harness.explain("SELECT 1 FROM spans WHERE operation = 'rare' AND kind = 'server'").await;
    assert!(plan.contains("operation: Some") && plan.contains("kind: Some(Server)"), "{plan}");
}

/// The number of rows that a query for the newest rows reads.
#[tokio::test]
async fn the_newest_rows_are_found_without_reading_the_old_ones() {
    const PARTS: u64 = 40;
    const ROWS: u64 = 500;
    const HOUR: u64 = 3_600_000_000_000;
    let harness = Harness::new().await;
    // The order of sending differs from that of times.
    for part in (0..PARTS).map(|part| part * 7 % PARTS) {
        let of = |id: u64| {
            let mut span =
                span(part, part * ROWS + id, if id.is_multiple_of(5) { "fifth" } else { "usual" });
            span.start_time_unix_nano += part * HOUR + id;
            span.end_time_unix_nano = span.start_time_unix_nano + id;
            span
        };
        harness.send("shop", (1..=ROWS).map(of).collect()).await;
        let records = (1..=ROWS).map(|id| record(part, id, part * 3_600_000 + id, "line"));
        harness.log("shop", records.collect()).await;
        harness.store.flush().await.unwrap();
    }
    // Some rows are still in memory, some have no time, and some were sent twice.
    harness.send("shop", (1..=9).map(|id| span(1, PARTS * ROWS + id, "now")).collect()).await;
    let timeless = |id| tidings_proto::otlp::Span {
        start_time_unix_nano: 0,
        end_time_unix_nano: 0,
        ..span(2, PARTS * ROWS + id, "timeless")
    };
    harness.send("shop", (10..=12).map(timeless).collect()).await;
    for (newest, all, most) in [
        ("spans ORDER BY start_time DESC NULLS LAST, span_id LIMIT 10", PARTS * ROWS, 6),
        ("spans ORDER BY start_time DESC, span_id LIMIT 10", PARTS * ROWS, 6),
        ("spans ORDER BY start_time DESC NULLS LAST, span_id LIMIT 30 OFFSET 5", PARTS * ROWS, 6),
        (
            "spans WHERE operation = 'fifth' ORDER BY start_time DESC, span_id DESC LIMIT 7",
            PARTS * ROWS,
            6,
        ),
        (
            "spans WHERE start_time < TIMESTAMP '2026-11-21T08:00:00Z' ORDER BY start_time DESC, \
             span_id LIMIT 3",
            24 * ROWS,
            6,
        ),
        ("(SELECT * FROM spans ORDER BY start_time DESC, span_id LIMIT 10) AS s", PARTS * ROWS, 6),
        ("logs ORDER BY time DESC, span_id LIMIT 10", PARTS * ROWS, 6),
    ] {
        let of = |from: &str| match from.starts_with("logs") {
            true => format!("SELECT span_id, time FROM {from}"),
            false => format!("SELECT span_id, start_time, operation FROM {from}"),
        };
        let answer = harness.json(&of(newest)).await;
        assert_eq!(answer["complete"], true);
        let rows = answer["read"]["rows"].as_u64().unwrap();
        assert!(rows <= most * ROWS && rows < all / 2, "{newest}: {rows} rows are read");
        // The scan does not learn of a limit here.
        let (from, limit) = match newest.split_once(" LIMIT ") {
            Some((from, limit)) => (from, limit),
            None => (newest, ""),
        };
        let from = from.trim_start_matches("(SELECT * FROM ");
        let whole = harness.json(&of(from)).await;
        assert!(whole["read"]["rows"].as_u64().unwrap() >= all, "{from}");
        let mut numbers =
            limit.split(|sign: char| !sign.is_ascii_digit()).filter(|n| !n.is_empty());
        let mut number = || numbers.next().map_or(0, |number| number.parse().unwrap());
        let (limit, offset): (usize, usize) = (number(), number());
        let expected = &whole["rows"].as_array().unwrap()[offset..offset + limit];
        assert_eq!(answer["rows"].as_array().unwrap(), expected, "{newest}");
    }
    let plan = harness.explain("SELECT * FROM spans ORDER BY start_time DESC LIMIT 10").await;
    assert!(plan.contains("as far as rows are wanted"), "{plan}");
}
