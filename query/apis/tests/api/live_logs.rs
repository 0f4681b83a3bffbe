//! Live tails of log records, and the records around one record.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::LogRecord;
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, as_client, record, text};

/// Time of the tests' clock, in milliseconds after the start of the test data.
const NOW: u64 = 3_600_000;

/// An open tail.
struct Tail {
    body: Body,
    read: String,
}

/// An event: its name, its id and its data.
type Event = (String, Option<String>, Json);

impl Tail {
    async fn open(harness: &Harness, query: &str, after: Option<&str>) -> Self {
        let request = Request::get(format!("/api/v1/logs/tail{query}"));
        let request = match after {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = harness.send_to_router(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), read: String::new() }
    }

    /// Returns the next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(str::to_owned)
                };
                let found = field("event: ").map(|name| {
                    (name, field("id: "), serde_json::from_str(&field("data: ").unwrap()).unwrap())
                });
                self.read = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await;
            let bytes = frame.expect("an event comes in time")?.unwrap().into_data().unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Returns the texts of the next records.
    async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            let (name, _, data) = self.next().await.unwrap();
            assert_eq!(name, "log");
            texts.push(text(&data["text"]));
        }
        texts
    }
}

fn said(at: u64, severity: i32, message: &str) -> LogRecord {
    record(None, at, severity, message)
}

#[tokio::test]
async fn new_records_come_as_they_are_stored_and_none_twice() {
    let harness = Harness::new().await;
    harness.log([("shop", said(NOW - 10, 9, "before"))]).await;
    let mut tail = Tail::open(&harness, "?service=shop&severity=info", None).await;
    harness
        .log([
            ("shop", said(NOW + 2, 9, "second")),
            ("shop", said(NOW + 1, 9, "first")),
            ("shop", said(NOW + 3, 5, "of no interest")),
            ("stock", said(NOW + 4, 9, "of another")),
        ])
        .await;
    assert_eq!(tail.texts(2).await, ["first", "second"]);
    // Sent again, flushed, and one whose own time is late.
    harness.log([("shop", said(NOW + 2, 9, "second")), ("shop", said(NOW - 5, 17, "late"))]).await;
    harness.store.flush().await.unwrap();
    harness.log([("shop", said(NOW + 5, 9, "third"))]).await;
    assert_eq!(tail.texts(2).await.concat().len(), "latethird".len());
    harness.service.end_waits();
    let (name, ..) = tail.next().await.unwrap();
    assert_eq!(name, "end");
    assert!(tail.next().await.is_none());
    // A tail that opens while the process stops ends at once.
    let mut late = Tail::open(&harness, "", None).await;
    assert_eq!(late.next().await.unwrap().0, "end");
}

#[tokio::test]
async fn a_tail_goes_on_where_it_was_left() {
    let harness = Harness::new().await;
    let mut tail = Tail::open(&harness, "", None).await;
    harness.log([("shop", said(NOW + 1, 9, "one")), ("shop", said(NOW + 2, 9, "two"))]).await;
    let (_, first, _) = tail.next().await.unwrap();
    drop(tail);
    harness.log([("shop", said(NOW + 3, 9, "three"))]).await;
    let mut tail = Tail::open(&harness, "", first.as_deref()).await;
    assert_eq!(tail.texts(2).await, ["two", "three"]);
    for wrong in ["nonsense", ""] {
        let request = Request::get("/api/v1/logs/tail").header("last-event-id", wrong);
        let response = harness.send_to_router(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    for query in ["?start=0", "?order=asc", "?severity=loud"] {
        let (status, _) = harness.problem(&format!("/logs/tail{query}")).await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn records_beyond_the_rate_are_dropped_and_counted() {
    let harness = Harness::new().await;
    let mut tail = Tail::open(&harness, "", None).await;
    let many = (0..700).map(|n| said(NOW + n, 9, &format!("{n}"))).map(|of| ("shop", of));
    harness.log(many).await;
    let (name, _, data) = tail.next().await.unwrap();
    assert_eq!((name.as_str(), data), ("dropped", json!({ "count": 200 })));
    let texts = tail.texts(500).await;
    assert_eq!((texts[0].as_str(), texts[499].as_str()), ("200", "699"));
}

#[tokio::test]
async fn there_are_only_so_many_tails() {
    let limits = QueryLimits { tails_max: 1, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let one = Tail::open(&harness, "", None).await;
    let (status, _) = harness.problem("/logs/tail").await;
    assert_eq!(status, 503);
    drop(one);
    drop(Tail::open(&harness, "", None).await);
}

#[tokio::test]
async fn no_client_has_all_tails() {
    let limits = QueryLimits { tails_max: 4, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let mut tails = Vec::new();
    for _ in 0..3 {
        tails.push(as_client("a", Tail::open(&harness, "", None)).await);
    }
    assert_eq!(as_client("a", harness.problem("/logs/tail")).await.0, 503);
    tails.push(as_client("b", Tail::open(&harness, "", None)).await);
    tails.remove(0);
    assert_eq!(as_client("a", harness.problem("/logs/tail")).await.0, 503, "one stays free");
    drop(as_client("c", Tail::open(&harness, "", None)).await);
}

#[tokio::test]
async fn the_records_around_one_are_those_of_its_sender() {
    let harness = Harness::new().await;
    let of = |n: u64| said(n * 1_000, 9, &format!("shop {n}"));
    harness.log((0..10).map(|n| ("shop", of(n)))).await;
    harness.log((0..10).map(|n| ("stock", said(n * 1_000 + 1, 9, "stock")))).await;
    harness.store.flush().await.unwrap();
    harness.log((10..20).map(|n| ("shop", of(n)))).await;
    harness.log([("shop", of(3)), ("shop", of(3_000))]).await;
    let all = harness.get("/logs?service=shop&text=shop%208").await;
    let id = text(&all["logs"][0]["id"]);
    let time = BEGIN + 8_000 * MILLI;
    for query in [format!("?time={time}&before=2&after=3"), "?before=2&after=3".to_owned()] {
        let context = harness.get(&format!("/logs/{id}/context{query}")).await;
        assert_eq!(context["log"]["text"], "shop 8");
        let texts = |side: &str| -> Vec<String> {
            context[side].as_array().unwrap().iter().map(|log| text(&log["text"])).collect()
        };
        assert_eq!(texts("before"), ["shop 6", "shop 7"]);
        assert_eq!(texts("after"), ["shop 9", "shop 10", "shop 11"]);
        assert_eq!(context["searched"]["complete"], true);
    }
    let whole = harness.get(&format!("/logs/{id}/context?time={time}&before=200&after=200")).await;
    assert_eq!(whole["before"].as_array().unwrap().len(), 8);
    let after = whole["after"].as_array().unwrap();
    assert_eq!(after.len(), 12);
    assert_eq!(after[11]["text"], "shop 3000");
    let alone = harness.get(&format!("/logs/{id}/context?before=0&after=0")).await;
    assert_eq!((&alone["before"], &alone["after"]), (&json!([]), &json!([])));
    for (path, status) in [
        (format!("/logs/{id}/context?time={}", time + 1), 404),
        ("/logs/0000000000000000/context".to_owned(), 404),
        ("/logs/12/context".to_owned(), 400),
        ("/logs/+00000000000000a/context".to_owned(), 400),
        (format!("/logs/{id}/context?before=201"), 400),
        (format!("/logs/{id}/context?time=soon"), 400),
    ] {
        assert_eq!(harness.problem(&path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_record_is_not_reported_missing_when_the_scan_was_cut() {
    for (rows_max, is_short) in [(5, true), (1_000, false)] {
        let harness = Harness::with(QueryLimits::default(), rows_max).await;
        for n in 0..9 {
            harness.log([("shop", said(n * 1_000, 9, &format!("shop {n}")))]).await;
        }
        let (_, problem) = harness.problem("/logs/000000000000000a/context").await;
        let detail = text(&problem["detail"]);
        assert_eq!(problem["status"], 404);
        assert_eq!(detail.contains("is stored"), !is_short, "{detail}");
        assert_eq!(detail.contains("among the 5 rows that were looked at"), is_short, "{detail}");
    }
}
