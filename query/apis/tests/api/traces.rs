//! One trace through the API: view, skeleton, span, OTLP.

use std::time::Duration;

use insta::assert_json_snapshot;
use prost::Message;
use serde_json::Value as Json;
use tidings_proto::otlp::{
    AnyValue, ArrayValue, ExportTraceServiceRequest, KeyValue, KeyValueList, Link, SpanKind, Value,
};
use tidings_query::QueryLimits;

use crate::harness::{
    BEGIN, Harness, MILLI, SpanBuilder, checkout, record, request, span, text, trace_id,
};

async fn with_checkout() -> Harness {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness
        .log([
            ("shop", record(Some(1), 5, 9, "checkout of A-17")),
            ("payment", record(Some(1), 84, 17, "card 42 was declined")),
            ("payment", record(Some(2), 84, 17, "of another trace")),
        ])
        .await;
    harness
}

#[tokio::test]
async fn a_trace_is_assembled_with_all_fields_of_its_spans() {
    let harness = with_checkout().await;
    assert_json_snapshot!("trace", harness.get(&format!("/traces/{}", trace_id(1))).await);
}

#[tokio::test]
async fn a_skeleton_has_the_same_rows_in_columns() {
    let harness = with_checkout().await;
    let id = trace_id(1);
    let skeleton = harness.get(&format!("/traces/{id}/skeleton")).await;
    assert_json_snapshot!("skeleton", skeleton);

    let view = harness.get(&format!("/traces/{id}")).await;
    let column = |name: &str| skeleton["spans"][name].as_array().unwrap().clone();
    let rows = view["spans"].as_array().unwrap();
    let of_rows = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    for name in ["spanId", "depth", "descendantCount"] {
        assert_eq!(column(name), of_rows(name), "{name}");
    }
    for name in ["durationNano", "selfNano", "criticalNano"] {
        let numbers = column(name).into_iter().map(|number| Json::from(number.to_string()));
        assert_eq!(numbers.collect::<Vec<_>>(), of_rows(name), "{name}");
    }
    assert_eq!(skeleton["logCount"], view["logCount"]);
    assert_eq!(skeleton["summary"]["services"], view["services"]);
}

#[tokio::test]
async fn each_service_has_its_share_of_the_critical_path() {
    let harness = Harness::new().await;
    let root = span(1, 1, "shop", "buy").at(0, 100);
    let called = [(2, "payment", 0, 60), (3, "stock", 60, 75), (4, "mail", 5, 5)];
    let called = called.map(|(id, service, start, end)| {
        span(1, id, service, "work").parent(1).at(start, end).kind(SpanKind::Server)
    });
    harness.send(called.into_iter().chain([root, span(2, 1, "shop", "tick").at(7, 7)])).await;
    for (trace, expected) in [
        (1, serde_json::json!([["payment", 0.6], ["shop", 0.25], ["stock", 0.15], ["mail", 0.0]])),
        (2, serde_json::json!([["shop", 0.0]])),
    ] {
        let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(trace))).await;
        let services = skeleton["summary"]["services"].as_array().unwrap().iter();
        let shares: Vec<Json> =
            services.map(|one| serde_json::json!([one["service"], one["criticalShare"]])).collect();
        assert_eq!(Json::from(shares), expected);
    }
}

#[tokio::test]
async fn a_service_of_a_trace_names_the_peer_with_most_of_its_waiting() {
    let harness = Harness::new().await;
    let call = |trace: u64, id: u64, [start, end]: [u64; 2], peer: &str| {
        span(trace, id, "shop", "query")
            .parent(1)
            .at(start, end)
            .kind(SpanKind::Client)
            .attribute("db.system.name", "mysql")
            .attribute("server.address", peer)
    };
    let entry = |trace: u64| span(trace, 1, "shop", "buy").at(0, 100).kind(SpanKind::Server);
    // Nobody waits for the call that ends first.
    let calls = [call(1, 2, [20, 80], "orders-db"), call(1, 3, [20, 30], "stock-db")];
    harness.send(calls.into_iter().chain([entry(1)])).await;
    let halves = [call(2, 2, [20, 50], "orders-db"), call(2, 3, [50, 80], "stock-db")];
    harness.send(halves.into_iter().chain([entry(2)])).await;
    let most = [call(3, 2, [20, 60], "orders-db"), call(3, 3, [60, 80], "stock-db")];
    harness.send(most.into_iter().chain([entry(3)])).await;
    harness.store.flush().await.unwrap();
    for path in ["", "/skeleton"] {
        let answer = harness.get(&format!("/traces/{}{path}", trace_id(1))).await;
        let summary = if path.is_empty() { &answer } else { &answer["summary"] };
        let time = &summary["services"][0];
        let times = ["criticalNano", "waitingNano", "criticalWaitingNano"].map(|name| &time[name]);
        assert_eq!(times, ["100000000", "70000000", "60000000"]);
        assert_eq!(time["criticalWaitingPeer"], "orders-db");
        assert_eq!(time["criticalWaitingPeerNano"], "60000000");
    }
    let transaction = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert_eq!(transaction["services"][0]["criticalWaitingPeer"], "orders-db");
    let halves = harness.get(&format!("/traces/{}", trace_id(2))).await["services"][0].clone();
    assert_eq!(halves["criticalWaitingNano"], "60000000");
    assert_eq!(halves["criticalWaitingPeer"], Json::Null, "neither has more than half");
    assert_eq!(halves["criticalWaitingPeerNano"], Json::Null);
    let most = harness.get(&format!("/traces/{}", trace_id(3))).await["services"][0].clone();
    let waits = ["criticalWaitingNano", "criticalWaitingPeerNano"].map(|name| &most[name]);
    assert_eq!(waits, ["60000000", "40000000"]);
}

#[tokio::test]
async fn a_service_whose_clock_is_adjusted_names_the_peer_that_it_waits_for() {
    let harness = Harness::new().await;
    let query = span(1, 3, "payment", "query").parent(2).at(20, 80).kind(SpanKind::Client);
    harness
        .send([
            span(1, 1, "shop", "call").at(1_000, 1_100).kind(SpanKind::Client),
            span(1, 2, "payment", "serve").parent(1).at(10, 90).kind(SpanKind::Server),
            query.attribute("db.system.name", "mysql").attribute("server.address", "orders-db"),
        ])
        .await;
    for path in ["", "/skeleton"] {
        let answer = harness.get(&format!("/traces/{}{path}?adjust=clock", trace_id(1))).await;
        assert_eq!(answer["assembly"]["clockAdjusted"], true);
        let summary = if path.is_empty() { &answer } else { &answer["summary"] };
        let time = &summary["services"][0];
        assert_eq!(time["service"], "payment");
        assert_eq!(time["criticalWaitingPeer"], "orders-db");
        assert_eq!(time["criticalWaitingPeerNano"], "60000000");
    }
}

#[tokio::test]
async fn events_of_spans_are_columns_of_the_skeleton() {
    let harness = Harness::new().await;
    let at = |millis: u64| BEGIN + millis * MILLI;
    let first = span(1, 1, "shop", "POST /checkout")
        .at(10, 100)
        .event("retry", at(50), Vec::new())
        .event("cache.miss", 0, vec![KeyValue::new("cache.key", "A-17")])
        .event("retry", BEGIN, Vec::new());
    let second = span(1, 2, "shop", "pay")
        .parent(1)
        .at(20, 90)
        .event("exception", at(30), Vec::new())
        .exception("CardDeclined", "no")
        .event(&"n".repeat(300), at(80), Vec::new());
    // A repeated span, from files and from memory, has its events once.
    harness.send([second.clone(), first.clone()]).await;
    harness.store.flush().await.unwrap();
    harness.send([first, second]).await;

    let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(1))).await;
    let long = format!("{}…", "n".repeat(200));
    let expected = serde_json::json!({
        "span": [0, 0, 0, 1, 1, 1],
        "position": [2, 1, 0, 1, 0, 2],
        "offsetNano": [-10 * 1_000_000, 0, 40_000_000, 11_000_000, 20_000_000, 70_000_000],
        "name": [0, 1, 0, 2, 2, 4],
        "exceptionType": [-1, -1, -1, 3, 2, -1],
    });
    assert_eq!(skeleton["events"], expected);
    let names = ["retry", "cache.miss", "exception", "CardDeclined", &long];
    assert_eq!(skeleton["eventNames"], serde_json::json!(names));
    assert_eq!(skeleton["eventCount"], 6);
    for (row, position) in [(0, 2), (1, 1)] {
        let path = format!("/traces/{}/spans/{:016x}", trace_id(1), row + 1);
        let events = harness.get(&path).await["events"].clone();
        let name = if row == 0 { "retry" } else { "exception" };
        assert_eq!(events[position]["name"], name, "{events}");
    }
}

#[tokio::test]
async fn exceptions_come_first_where_a_trace_has_more_events_than_a_skeleton() {
    let limits = QueryLimits { events_shown_max: 3, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let busy = |id: u64| {
        let span = span(1, id, "shop", "call").at(id, id + 9);
        (0..5).fold(span, |span, at| span.event("tick", BEGIN + (id + at) * MILLI, Vec::new()))
    };
    harness.send([busy(3), busy(2).exception("Timeout", ""), busy(1)]).await;
    harness.store.flush().await.unwrap();
    harness.send([busy(4).exception("Timeout", "")]).await;
    let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(1))).await;
    assert_eq!(skeleton["events"]["span"], serde_json::json!([0, 1, 3]));
    assert_eq!(skeleton["events"]["exceptionType"], serde_json::json!([-1, 2, 2]));
    assert_eq!(skeleton["eventNames"], serde_json::json!(["tick", "exception", "Timeout"]));
    assert_eq!(skeleton["eventCount"], 22);
}

#[tokio::test]
async fn a_span_is_shown_in_its_place() {
    let harness = with_checkout().await;
    let path = format!("/traces/{}/spans/0000000000000003", trace_id(1));
    assert_json_snapshot!("span", harness.get(&path).await);
    assert_eq!(harness.get(&path).await, harness.get(&format!("{path}?index=2")).await);

    let (status, problem) = harness.problem(&format!("{path}?index=1")).await;
    assert_eq!((status, &problem["parameter"]), (400, &Json::from("index")));
    let (status, problem) = harness.problem(&format!("{path}?index=5")).await;
    assert_eq!((status, &problem["parameter"]), (400, &Json::from("index")));
    let absent = format!("/traces/{}/spans/00000000000000ff", trace_id(1));
    assert_eq!(harness.problem(&absent).await.0, 404);
}

#[tokio::test]
async fn spans_that_share_an_id_are_distinguished_by_their_row() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 7, "shop", "call").at(0, 100).kind(SpanKind::Client),
            span(1, 7, "payment", "serve").at(10, 90).kind(SpanKind::Server),
        ])
        .await;
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    let rows = view["spans"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (index, row) in rows.iter().enumerate() {
        let path = format!("/traces/{}/spans/0000000000000007?index={index}", trace_id(1));
        assert_eq!(harness.get(&path).await["name"], row["name"]);
    }
}

#[tokio::test]
async fn ids_are_read_in_either_case_and_by_their_last_half() {
    let harness = with_checkout().await;
    let id = trace_id(1);
    let view = harness.get(&format!("/traces/{id}")).await;
    assert_eq!(harness.get(&format!("/traces/{}", id.to_uppercase())).await, view);
    assert_eq!(harness.get(&format!("/traces/{}", &id[16..])).await, view);
}

#[tokio::test]
async fn unknown_traces_are_not_found_and_malformed_ids_are_named() {
    let harness = with_checkout().await;
    for path in ["", "/skeleton", "/otlp", "/spans/0000000000000001"] {
        for id in [trace_id(9), trace_id(9)[16..].to_owned()] {
            let (status, problem) = harness.problem(&format!("/traces/{id}{path}")).await;
            assert_eq!((status, &problem["type"]), (404, &Json::from("/problems/not-found")));
        }
        for id in ["x", "%20", "0", &"0".repeat(32), &"g".repeat(32), "%FF", &"a".repeat(33)] {
            let (status, problem) = harness.problem(&format!("/traces/{id}{path}")).await;
            assert_eq!(status, 400, "{id}{path}: {problem}");
            let parameter = &problem["parameter"];
            assert!(parameter == "traceId", "{id}{path}: {problem}");
        }
    }
    let (status, problem) = harness.problem(&format!("/traces/{}/spans/xyz", trace_id(1))).await;
    assert_eq!((status, &problem["parameter"]), (400, &Json::from("spanId")));
}

#[tokio::test]
async fn a_trace_that_has_only_log_records_says_where_they_are() {
    let harness = with_checkout().await;
    let (status, problem) = harness.problem(&format!("/traces/{}", trace_id(2))).await;
    assert_eq!(status, 404);
    let detail = text(&problem["detail"]);
    assert!(detail.contains(&format!("/api/v1/logs?traceId={}", trace_id(2))), "{detail}");
}

#[tokio::test]
async fn every_answer_is_independent_of_the_order_of_arrival() {
    let spans = odd_spans();
    let forwards = Harness::new().await;
    forwards.send(spans.clone()).await;
    let backwards = Harness::new().await;
    for span in spans.iter().rev().chain(&spans[..2]) {
        backwards.send([span.clone()]).await;
    }
    for path in ["", "/skeleton", "/otlp", "/spans/0000000000000002", "/spans/0000000000000005"] {
        let path = format!("/traces/{}{path}", trace_id(1));
        let (_, _, one) = forwards.bytes(&path).await;
        let (_, _, other) = backwards.bytes(&path).await;
        let without_duplicates = |body: Vec<u8>| {
            let mut json: Json = serde_json::from_slice(&body).unwrap();
            drop_duplicate_problems(&mut json);
            json
        };
        assert_eq!(without_duplicates(one), without_duplicates(other), "{path}");
    }
}

/// Drops the problem of two repeated spans, which only the second harness has.
fn drop_duplicate_problems(json: &mut Json) {
    let is_duplicate = |problem: &Json| problem["kind"] == "duplicateSpan";
    if let Some(problems) = json.get_mut("problems").and_then(Json::as_array_mut) {
        problems.retain(|problem| !is_duplicate(problem));
    }
    for pointer in ["/problemCount", "/problemCounts", "/summary/problemCount", "/spans/flags"] {
        if let Some(value) = json.pointer_mut(pointer) {
            *value = Json::Null;
        }
    }
}

fn odd_spans() -> Vec<SpanBuilder> {
    let mut spans = checkout(1);
    spans.push(span(1, 5, "billing", "shares the id of another").parent(3).at(51, 59));
    spans.push(span(1, 8, "mail", "orphan").parent(99).at(70, 80));
    spans.push(span(1, 9, "mail", "own parent").parent(9).at(71, 80));
    spans.push(span(1, 10, "mail", "cycle a").parent(11).at(72, 80));
    spans.push(span(1, 11, "mail", "cycle b").parent(10).at(73, 80));
    spans.push(span(1, 12, "mail", "unfinished").parent(1).unfinished());
    spans.push(span(1, 13, "mail", "backwards").parent(1).at(30, 20));
    spans
}

#[tokio::test]
async fn problems_are_described_in_words() {
    let harness = Harness::new().await;
    harness.send(odd_spans()).await;
    harness.send(checkout(1).drain(..1)).await;
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    assert_json_snapshot!("problems", view["problems"]);
    assert_eq!(view["problemCount"], view["problems"].as_array().unwrap().len());
    assert_eq!(view["spanCount"], odd_spans().len());
}

#[tokio::test]
async fn a_span_that_is_received_five_times_is_one_problem() {
    let harness = Harness::new().await;
    for _ in 0..5 {
        harness.send([span(1, 1, "shop", "GET /"), span(1, 2, "shop", "SELECT").parent(1)]).await;
    }
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    assert_eq!((&view["spanCount"], &view["problemCount"]), (&2.into(), &2.into()));
    assert_eq!(
        view["problems"][0]["message"],
        "GET / of shop came 5 times with the same content; it is shown once"
    );
}

#[tokio::test]
async fn a_stored_trace_is_exported_as_it_was_sent() {
    let harness = Harness::new().await;
    let mut sent = rich_request();
    harness.send_request(sent.clone()).await;
    harness.send_request(sent.clone()).await;
    let path = format!("/traces/{}/otlp", trace_id(1));
    let answer: ExportTraceServiceRequest =
        serde_json::from_value(harness.get(&path).await).unwrap();
    assert_eq!(answer, sent);

    let asked = http::Request::get(format!("/api/v1{path}"))
        .header("accept", "application/x-protobuf")
        .body(axum::body::Body::empty());
    let (_, headers, body) = harness.ask(asked.unwrap()).await;
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(ExportTraceServiceRequest::decode(&*body).unwrap(), sent);
    sent.resource_spans.clear();
    assert_ne!(answer, sent);
}

/// A request with every field of OTLP's spans, and values of every type.
fn rich_request() -> ExportTraceServiceRequest {
    let list = |values| AnyValue::from(Value::Array(ArrayValue { values }));
    let map = Value::Kvlist(KeyValueList { values: vec![KeyValue::new("inner", 1_i64)] });
    let mut rich = span(1, 1, "shop", "rich")
        .attribute("text", "ü")
        .attribute("int", i64::MIN)
        .attribute("double", 0.1)
        .attribute("bool", true)
        .attribute("list", list(vec![1_i64.into(), "two".into()]))
        .attribute("map", AnyValue::from(map))
        .attribute("bytes", AnyValue::from(Value::Bytes(vec![0, 255])))
        .exception("Oops", "it broke");
    rich.span.attributes.push(KeyValue { key: "nothing".to_owned(), value: None });
    rich.span.trace_state = "vendor=1".to_owned();
    rich.span.flags = 0x301;
    rich.span.start_time_unix_nano += 1;
    rich.span.dropped_attributes_count = 1;
    rich.span.dropped_events_count = 2;
    rich.span.dropped_links_count = 3;
    rich.span.links.push(Link {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        trace_state: "other=2".to_owned(),
        attributes: vec![KeyValue::new("why", "because")],
        dropped_attributes_count: 4,
        flags: 1,
    });
    let mut request = request([rich, span(1, 2, "payment", "plain").parent(1).at(1, 2)]);
    let first = &mut request.resource_spans[0];
    first.schema_url = "https://opentelemetry.io/schemas/1.30.0".to_owned();
    first.resource.as_mut().unwrap().dropped_attributes_count = 5;
    let scope = first.scope_spans[0].scope.as_mut().unwrap();
    scope.attributes = vec![KeyValue::new("scope.kind", "test")];
    scope.dropped_attributes_count = 6;
    request
}

#[tokio::test]
async fn a_trace_has_a_state() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "a", "fine")]).await;
    harness.send(checkout(2)).await;
    harness.send([span(3, 1, "a", "no end").unfinished()]).await;
    harness.send([span(4, 1, "a", "no parent").parent(9)]).await;
    harness.send([span(5, 1, "a", "root"), span(5, 2, "a", "gap").parent(9)]).await;
    let later = 3_600_000;
    harness.send([span(6, 2, "a", "just now").parent(9).at(later - 100, later - 50)]).await;
    harness.send([span(7, 2, "a", "a wrong clock").parent(9).at(later, 2 * later)]).await;
    let states =
        ["completed", "failed", "running", "incomplete", "incomplete", "running", "incomplete"];
    for (trace, state) in (1..).zip(states) {
        let view = harness.get(&format!("/traces/{}", trace_id(trace))).await;
        assert_eq!(view["state"], state, "trace {trace}");
    }
}

#[tokio::test]
async fn a_span_without_end_runs_only_while_its_trace_is_heard_of() {
    let harness = Harness::new().await;
    // A trace with old times, received now.
    let mut old = span(1, 1, "a", "never ends").unfinished();
    old.span.start_time_unix_nano -= 3 * 366 * 86_400_000 * MILLI;
    harness.send([old]).await;
    let state = async || text(&harness.get(&format!("/traces/{}", trace_id(1))).await["state"]);
    assert_eq!(state().await, "running");
    harness.clock.advance(Duration::from_secs(50));
    harness.send([span(1, 2, "a", "a sign of life").parent(1)]).await;
    harness.clock.advance(Duration::from_secs(50));
    assert_eq!(state().await, "running");
    harness.clock.advance(Duration::from_secs(20));
    assert_eq!(state().await, "incomplete");
    let found = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert!(found["missing"].to_string().contains("never ends of a has not ended"), "{found}");
    harness.store.flush().await.unwrap();
    assert_eq!(state().await, "incomplete");
    harness.send([span(1, 3, "a", "later").parent(1)]).await;
    assert_eq!(state().await, "running");
}

#[tokio::test]
async fn problems_are_counted_by_kind_however_many_are_listed() {
    let limits = QueryLimits { problems_shown_max: 2, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send((1..=3).map(|id| span(1, id, "shop", "orphan").parent(99))).await;
    harness.send((4..=8).map(|id| span(1, id, "shop", "root"))).await;
    for _ in 0..5 {
        harness.send([span(1, 4, "shop", "root")]).await;
    }
    let expected = serde_json::json!([
        {"kind": "duplicateSpan", "count": 1, "spanCount": 1},
        {"kind": "missingParent", "count": 3, "spanCount": 3},
        {"kind": "severalRoots", "count": 1, "spanCount": 5},
    ]);
    for path in ["", "/skeleton"] {
        let view = harness.get(&format!("/traces/{}{path}", trace_id(1))).await;
        assert_eq!(view["problemCounts"], expected, "{path}");
        assert_eq!(view["problems"].as_array().unwrap().len(), 2);
    }
}
