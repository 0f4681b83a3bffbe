//! TraceQL conditions on the log records of spans, through every API that takes them.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value as Json;
use tidings_proto::otlp::{LogRecord, SpanKind};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, checkout, record, span, text, trace_id};

const SECOND: u64 = 1_000 * MILLI;

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn of_span(record: LogRecord, span: u64) -> LogRecord {
    LogRecord { span_id: span.to_be_bytes().to_vec(), ..record }
}

/// Sends a checkout with a log of its failed payment, a login with a log of its success, a trace
/// with a record that names no span, and a trace without logs.
async fn tell(harness: &Harness) {
    harness.send(checkout(1)).await;
    let login = span(2, 1, "shop", "POST /login").at(500, 510).kind(SpanKind::Server);
    harness.send([login, span(3, 1, "stock", "count").at(600, 610)]).await;
    harness.send([span(4, 1, "stock", "list").at(700, 710)]).await;
    harness
        .log([
            ("payment", of_span(record(Some(1), 40, 13, "bank is slow"), 3)),
            ("payment", of_span(record(Some(1), 80, 17, "Timeout of the bank"), 3)),
            ("shop", of_span(record(Some(1), 95, 9, "order is not paid"), 1)),
            ("shop", of_span(record(Some(2), 505, 9, "session begins"), 1)),
            ("stock", record(Some(3), 605, 17, "timeout of nobody")),
        ])
        .await;
}

/// Returns the numbers of the traces that a query finds, newest first.
async fn found(harness: &Harness, query: &str) -> Vec<u64> {
    let ids = harness.found(&format!("?q={}", encoded(query))).await;
    let number = |id: &String| (1..5).find(|number| trace_id(*number) == *id).unwrap();
    ids.iter().map(number).collect()
}

async fn tempo(harness: &Harness, path: &str) -> Json {
    let asked = Request::get(format!("/tempo{path}")).body(Body::empty()).unwrap();
    let (status, _, body) = harness.ask(asked).await;
    assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn spans_are_found_by_what_their_log_records_say() {
    let harness = Harness::new().await;
    tell(&harness).await;
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        for (query, expected) in [
            ("{ log:body =~ \".*[tT]imeout.*\" }", vec![1]),
            ("{ log:body = \"session begins\" }", vec![2]),
            ("{ log:body =~ \"(?i).*TIMEOUT.*\" && resource.service.name = \"shop\" }", vec![]),
            ("{ log:body != nil }", vec![2, 1]),
            ("{ log:body = nil }", vec![4, 3, 1]),
            // With several records, one must match, or all for a negated condition.
            ("{ log:body = \"bank is slow\" && log:severity = error }", vec![1]),
            ("{ log:body !~ \".*bank.*\" }", vec![2, 1]),
            ("{ log:body !~ \".*bank.*\" && name = \"POST /pay\" }", vec![]),
            ("{ log:severity >= WARN }", vec![1]),
            ("{ log:severity <= info }", vec![2, 1]),
            ("{ log:severity =~ \"w.*|fatal\" }", vec![1]),
            ("{ log:severity != nil && !(log:severity = error) }", vec![2, 1]),
            ("{ name = \"POST /checkout\" } >> { log:severity = error }", vec![1]),
            ("{ log:severity = error } > { kind = client }", vec![1]),
            ("{ parent.log:body =~ \".*of the bank\" } | count() = 2", vec![1]),
            ("{ log:severity = info } || { name = \"list\" }", vec![4, 2, 1]),
        ] {
            assert_eq!(found(&harness, query).await, expected, "{query} {is_flushed}");
        }
    }
    // A record without a span is found by the text of the trace's logs.
    assert_eq!(harness.found("?logText=of+nobody").await, [trace_id(3)]);
    let (status, problem) = harness.problem(&format!("/traces?q={}", encoded("{ log:bdy }"))).await;
    assert_eq!(status, 400);
    let detail = "at line 1, column 3: unknown intrinsic `log:bdy`: did you mean `log:body`?";
    assert!(text(&problem["detail"]).ends_with(detail), "{problem}");
}

#[tokio::test]
async fn records_count_up_to_an_hour_around_the_time_asked_for() {
    let harness = Harness::new().await;
    let hour = 3_600_000;
    harness.send([span(1, 1, "shop", "GET /").at(0, 10)]).await;
    harness.send([span(2, 1, "shop", "GET /").at(20, 30)]).await;
    harness
        .log([
            ("shop", of_span(record(Some(1), hour / 2, 17, "card was lost"), 1)),
            ("shop", of_span(record(Some(2), hour + 60_000, 17, "card was lost"), 1)),
        ])
        .await;
    let end = BEGIN + 40 * MILLI;
    for (query, expected) in [
        ("{ log:body = \"card was lost\" }", vec![trace_id(1)]),
        ("{ log:body = nil }", vec![trace_id(2)]),
    ] {
        let path = format!("?q={}&start={BEGIN}&end={end}", encoded(query));
        assert_eq!(harness.found(&path).await, expected, "{query}");
    }
    let all = harness.found(&format!("?q={}", encoded("{ log:body = \"card was lost\" }"))).await;
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn tempos_searches_tags_and_metrics_know_log_records() {
    let harness = Harness::new().await;
    tell(&harness).await;
    let times = format!("start={}&end={}", BEGIN / SECOND - 60, BEGIN / SECOND + 60);
    let query = encoded("{ log:severity = error } | select(log:body)");
    let answer = tempo(&harness, &format!("/api/search?q={query}&{times}")).await;
    let shown = &answer["traces"][0]["spanSets"][0]["spans"][0]["attributes"];
    let texts = &shown[0]["value"]["arrayValue"]["values"];
    assert_eq!((&shown[0]["key"], &shown[1]["key"]), (&"log:body".into(), &"log:severity".into()));
    assert_eq!(texts[0]["stringValue"], "bank is slow");
    assert_eq!(texts[1]["stringValue"], "Timeout of the bank");
    let names = tempo(&harness, "/api/v2/search/tags?scope=intrinsic").await.to_string();
    assert!(names.contains("log:body") && names.contains("log:severity"), "{names}");
    let values = tempo(&harness, "/api/v2/search/tag/log:severity/values").await;
    let values = values["tagValues"].as_array().unwrap().iter().map(|value| text(&value["value"]));
    let values: Vec<String> = values.collect();
    assert_eq!(values, ["trace", "debug", "info", "warn", "error", "fatal"]);
    let query = encoded("{ log:severity != nil } | count_over_time() by (log:severity)");
    let path = format!("/api/metrics/query?q={query}&start={BEGIN}&end={}", BEGIN + SECOND);
    let answer = tempo(&harness, &path).await;
    assert_eq!(answer["series"].as_array().unwrap().len(), 2, "{answer}");
    let id = trace_id(1);
    let query = encoded("{ log:severity = error }");
    let part = tempo(&harness, &format!("/api/v2/traces/{id}?q={query}")).await.to_string();
    assert!(part.contains("CardDeclined") && !part.contains("SELECT account"), "{part}");
}

#[tokio::test]
async fn an_answer_that_could_not_read_all_records_is_of_a_part() {
    let harness = Harness::with(QueryLimits::default(), 8).await;
    tell(&harness).await;
    let chatty = (0..20).map(|n| of_span(record(Some(4), 701 + n, 9, "again and again"), 1));
    harness.log(chatty.map(|record| ("stock", record))).await;
    for (query, complete) in [
        ("{ name = \"list\" }", true),
        ("{ name = \"list\" && log:severity = info }", false),
        ("{ name = \"list\" && log:body =~ \".*again.*\" }", false),
    ] {
        let path = format!("/traces?q={}", encoded(query));
        let answer = harness.get(&path).await;
        assert_eq!(answer["searched"]["complete"], complete, "{query}: {answer}");
        let relation = if complete { "exact" } else { "atLeast" };
        assert_eq!(answer["total"]["relation"], relation, "{query}: {answer}");
    }
}

#[tokio::test]
async fn traces_whose_records_do_not_fit_are_left_out_and_reported() {
    let limits = QueryLimits { view_bytes_max: 64 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    tell(&harness).await;
    let long = format!("Timeout {}", "x".repeat(30_000));
    let records = [41, 42].map(|at| ("payment", of_span(record(Some(1), at, 17, &long), 3)));
    harness.log(records).await;
    let path = format!("/traces?q={}", encoded("{ log:body =~ \".*(Timeout|session).*\" }"));
    let answer = harness.get(&path).await;
    assert_eq!(answer["searched"]["complete"], false, "{answer}");
    assert_eq!(answer["traces"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(text(&answer["traces"][0]["traceId"]), trace_id(2));
    let query = encoded("{ log:body != nil }");
    let path = format!("/tempo/api/v2/traces/{}?q={query}", trace_id(1));
    let asked = Request::get(&path).body(Body::empty()).unwrap();
    assert_eq!(harness.ask(asked).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}
