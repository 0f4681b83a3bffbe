//! Tempo's API and TraceQL, as Grafana's data source and other clients use them.

mod counted_spans;
mod parameters;
mod times;

use axum::body::Body;
use http::{Request, StatusCode, header};
use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{
    ArrayValue, ExportTraceServiceRequest, ResourceSpans, SpanKind, StatusCode as SpanStatus, Value,
};

use tidings_query::QueryLimits;

use crate::harness::{
    BEGIN, Harness, MILLI, SpanBuilder, checkout, in_order, request, span, trace_id,
};

const SECOND: u64 = 1_000 * MILLI;

/// The fields of `tempopb.TraceByIDResponse` about a trace.
#[derive(Clone, PartialEq, Message)]
struct ByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<ById>,
    #[prost(int32, tag = "3")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ById {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The hour of the test data, in seconds, as Grafana sends it.
fn hour() -> String {
    format!("start={}&end={}", BEGIN / SECOND - 60, BEGIN / SECOND + 3_600)
}

async fn ask(harness: &Harness, path: &str, accept: &str) -> (StatusCode, String, Vec<u8>) {
    let asked = Request::get(format!("/tempo{path}")).header(header::ACCEPT, accept);
    let (status, headers, body) = harness.ask(asked.body(Body::empty()).unwrap()).await;
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    (status, kind.to_owned(), body)
}

async fn get(harness: &Harness, path: &str) -> Json {
    let (status, kind, body) = ask(harness, path, "application/json").await;
    let text = String::from_utf8_lossy(&body);
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{path}: {text}");
    // Answers of metrics begin with the series.
    if path.starts_with("/api/metrics") {
        return serde_json::from_slice(&body).unwrap();
    }
    in_order(&body)
}

async fn refused(harness: &Harness, path: &str) -> (u16, String) {
    let (status, kind, body) = ask(harness, path, "*/*").await;
    assert!(kind.starts_with("text/plain"), "{path}: {kind}");
    (status.as_u16(), String::from_utf8(body).unwrap())
}

async fn search(harness: &Harness, query: &str) -> Json {
    get(harness, &format!("/api/search?q={}&{}", encoded(query), hour())).await
}

/// Returns the found traces by their last digit, and the names of the spans of each spanset.
async fn found(harness: &Harness, query: &str) -> Vec<String> {
    let answer = search(harness, &format!("{query} with(most_recent=true)")).await;
    let traces = answer["traces"].as_array().unwrap().iter();
    let shown = traces.map(|trace| {
        let spansets = trace["spanSets"].as_array().unwrap().iter();
        let names = spansets.map(|spanset| {
            let spans = spanset["spans"].as_array().unwrap().iter();
            let names: Vec<&str> = spans.map(|span| span["name"].as_str().unwrap()).collect();
            format!("{}: {}", spanset["matched"], names.join(", "))
        });
        let id = trace["traceID"].as_str().unwrap();
        format!("{} {}", &id[id.len() - 1..], names.collect::<Vec<_>>().join(" | "))
    });
    shown.collect()
}

/// The checkout; a login 10 s later; a part of a trace without its root 20 s later.
async fn stories() -> Harness {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let at = |seconds: u64| (seconds * 1_000, seconds * 1_000 + 40);
    let (start, end) = at(10);
    harness
        .send([
            span(2, 1, "shop", "POST /login").at(start, end).kind(SpanKind::Server),
            span(2, 2, "shop", "hash").parent(1).at(start + 5, end - 5).attribute("rounds", 12_i64),
        ])
        .await;
    let (start, end) = at(20);
    let tags = ArrayValue { values: vec!["a".into(), "b".into()] };
    let orphan = span(3, 1, "stock", "reserve").parent(9).at(start, end);
    harness.send([orphan.attribute("tags", Value::Array(tags))]).await;
    harness
}

#[tokio::test]
async fn a_trace_is_given_in_every_form() {
    let harness = stories().await;
    let id = trace_id(1);
    let v1 = get(&harness, &format!("/api/traces/{id}")).await;
    let v2 = get(&harness, &format!("/api/v2/traces/{id}?start=1&end=2")).await;
    assert_eq!(v1["batches"], v2["trace"]["resourceSpans"]);
    assert_eq!(v2["metrics"], json!({}));
    let spans: Vec<&Json> = v1["batches"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|batch| batch["scopeSpans"].as_array().unwrap())
        .flat_map(|scope| scope["spans"].as_array().unwrap())
        .collect();
    assert_eq!(spans.len(), 5);
    let root = spans.iter().find(|span| span["name"] == "POST /checkout").unwrap();
    insta::assert_json_snapshot!("tempo_span", root);

    for kind in ["application/protobuf", "application/x-protobuf"] {
        let (status, given, body) = ask(&harness, &format!("/api/v2/traces/{id}"), kind).await;
        assert_eq!((status, given.as_str()), (StatusCode::OK, "application/protobuf"));
        let response = ByIdResponse::decode(body.as_slice()).unwrap();
        let (_, _, body) = ask(&harness, &format!("/api/traces/{id}"), kind).await;
        let sent = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        assert_eq!(response.trace.unwrap().resource_spans, sent.resource_spans);
        let spans = sent.resource_spans.iter().flat_map(|of| &of.scope_spans);
        assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), 5);
    }
}

/// Returns the names of the spans of a trace.
fn names_of(answer: &Json) -> Vec<String> {
    let groups = answer["trace"]["resourceSpans"].as_array().unwrap().iter();
    let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().unwrap());
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap());
    spans.map(|span| span["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_filter_leaves_the_spans_that_it_selects() {
    let harness = stories().await;
    let path = |query: &str| format!("/api/v2/traces/{}?q={}", trace_id(1), encoded(query));
    let cases: [(&str, &str, &[&str]); 11] = [
        ("{ name =~ \"SELECT.*\" }", "", &["SELECT account"]),
        (
            "{ name =~ \"SELECT.*\" }",
            "&keep_hierarchy=true",
            &["POST /checkout", "POST /pay", "POST /pay", "SELECT account"],
        ),
        ("{ status = error }", "&keep_hierarchy=0", &["POST /checkout", "POST /pay"]),
        // Tempo refuses these queries; here they are answered.
        ("{ resource.service.name = \"shop\" } > { kind = server }", "", &["POST /pay"]),
        ("{ rootName = \"POST /checkout\" && kind = client } | count() > 9", "", &[]),
        ("{ span.nothing = 1 }", "&keep_hierarchy=true", &[]),
        (
            "{ name =~ \"SELECT.*\" }",
            "&keep_hierarchy=true&ancestor_depth=1",
            &["POST /pay", "SELECT account"],
        ),
        ("{ name =~ \"SELECT.*\" }", "&ancestor_depth=far", &["SELECT account"]),
        ("{ name = \"POST /checkout\" }", "&match_depth=1", &["POST /checkout", "POST /pay"]),
        (
            "{ name = \"POST /pay\" && kind = client }",
            "&match_depth=-1&keep_hierarchy=true&ancestor_depth=0",
            &["POST /pay", "POST /pay", "SELECT account", "UPDATE account"],
        ),
        (
            "{ kind = server && name = \"POST /pay\" }",
            "&match_depth=0&keep_hierarchy=true&ancestor_depth=-1",
            &["POST /checkout", "POST /pay", "POST /pay"],
        ),
    ];
    for (query, more, expected) in cases {
        let asked = path(query) + more;
        let answer = get(&harness, &asked).await;
        assert_eq!(names_of(&answer), expected, "{query}");
        assert_eq!(answer["status"], "PARTIAL", "{query}");
        assert!(answer["message"].as_str().unwrap().starts_with("Trace filtered"));
        let (_, _, body) = ask(&harness, &asked, "application/protobuf").await;
        let response = ByIdResponse::decode(body.as_slice()).unwrap();
        let groups = response.trace.unwrap().resource_spans;
        let scopes = groups.iter().flat_map(|group| &group.scope_spans);
        assert_eq!(scopes.map(|scope| scope.spans.len()).sum::<usize>(), expected.len());
        assert_eq!(response.status, 1);
    }
    let all = get(&harness, &path("{ }")).await;
    assert_eq!(all, get(&harness, &format!("/api/v2/traces/{}", trace_id(1))).await);
    for wrong in ["{ name = }", "{ } | rate()"] {
        assert_eq!(refused(&harness, &path(wrong)).await.0, 400, "{wrong}");
    }
    for wrong in
        ["keep_hierarchy=perhaps", "match_depth=-2", "keep_hierarchy=1&ancestor_depth=deep"]
    {
        let asked = path("{ }") + "&" + wrong;
        assert_eq!(refused(&harness, &asked).await.0, 400, "{wrong}");
    }
    let missing = format!("/api/v2/traces/{}?q={}", trace_id(77), encoded("{ }"));
    assert_eq!(refused(&harness, &missing).await.0, 404);
}

#[tokio::test]
async fn a_trace_that_is_not_here_is_not_found_and_a_bad_id_is_refused() {
    let harness = stories().await;
    let accept = "application/protobuf";
    for version in ["", "/v2"] {
        let missing = format!("/api{version}/traces/{}", trace_id(77));
        let (status, kind, _) = ask(&harness, &missing, accept).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(kind.starts_with("text/plain"));
        for bad in ["xyz", "0", "000000000000000000000000000000000"] {
            let (status, text) = refused(&harness, &format!("/api{version}/traces/{bad}")).await;
            assert_eq!(status, 400, "{text}");
        }
    }
}

#[tokio::test]
async fn ids_are_found_without_the_zeros_they_begin_with() {
    let harness = Harness::new().await;
    let mut short = span(1, 1, "shop", "short");
    short.span.trace_id = 0xd6e9_329d_67b6_146a_u128.to_be_bytes().to_vec();
    harness.send([short]).await;
    let answer = search(&harness, "{}").await;
    assert_eq!(answer["traces"][0]["traceID"], "d6e9329d67b6146a");
    get(&harness, "/api/v2/traces/d6e9329d67b6146a").await;
    let by_id = search(&harness, "{ trace:id = \"D6E9329D67B6146A\" }").await;
    assert_eq!(by_id["traces"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_search_has_the_shape_that_grafana_reads() {
    let harness = stories().await;
    let query = "{ resource.service.name = \"payment\" && kind = client } | avg(duration) > 1ms";
    let path = format!("/api/search?q={}&limit=20&spss=1&{}", encoded(query), hour());
    insta::assert_json_snapshot!("tempo_search", get(&harness, &path).await);
    let no_root = search(&harness, "{ name = \"reserve\" }").await;
    assert_eq!(no_root["traces"][0]["rootServiceName"], "<root span not yet received>");
}

#[tokio::test]
async fn queries_find_traces_and_spans() {
    let harness = stories().await;
    let all = "3 1: reserve";
    let login = "2 2: POST /login, hash";
    let shop = "1 5: POST /checkout, POST /pay, POST /pay";
    let cases: [(&str, &[&str]); 31] = [
        ("{}", &[all, login, shop]),
        ("{ false }", &[]),
        ("{ name = \"hash\" }", &["2 1: hash"]),
        ("{ .rounds = 12 && span.rounds > 11 }", &["2 1: hash"]),
        ("{ .rounds = \"12\" }", &[]),
        ("{ span.tags = \"b\" }", &["3 1: reserve"]),
        ("{ resource.host.name =~ \"pay.*\" } | { kind = server }", &["1 1: POST /pay"]),
        ("{ .order.id = \"A-17\" } > { kind = client }", &["1 1: POST /pay"]),
        ("{ kind = server } > { kind = server }", &[]),
        ("{ kind = server } >> { kind = server }", &["1 1: POST /pay"]),
        ("{ status = error } << { status = error }", &["1 1: POST /checkout"]),
        ("{ name =~ \"SELECT.*\" } ~ {}", &["1 1: UPDATE account"]),
        ("{ rootName = \"POST /login\" } | { .rounds != nil }", &["2 1: hash"]),
        ("{ rootServiceName = \"shop\" && traceDuration < 50ms }", &[login]),
        ("{ traceDuration >= 100ms }", &[shop]),
        ("{ trace:spanCount = 2 }", &[login]),
        ("{ trace:errorCount > 0 && trace:spanCount > 2 }", &[shop]),
        ("{ trace:errorCount = 0 }", &["3 1: reserve", login]),
        ("{ trace:services = \"payment\" && trace:services = \"shop\" }", &[shop]),
        ("{ trace:services =~ \"pay.*\" && trace:services = \"nobody\" }", &[]),
        ("{ nestedSetParent < 0 }", &["2 1: POST /login", "1 1: POST /checkout"]),
        ("{ parent = nil }", &["2 1: POST /login", "1 1: POST /checkout"]),
        ("{ span:childCount > 1 }", &["1 1: POST /pay"]),
        ("{ parent.resource.service.name != resource.service.name }", &["1 1: POST /pay"]),
        (
            "{ event:name = \"exception\" && event.exception.type = \"CardDeclined\" }",
            &["1 1: POST /pay"],
        ),
        ("{ event:timeSinceStart > 2ms }", &[]),
        (
            "{ instrumentation:name = \"tests\" && span:id = \"2\" }",
            &["2 1: hash", "1 1: POST /pay"],
        ),
        ("{} | count() = 2", &[login]),
        (
            "{ kind = client } | by(resource.service.name)",
            &["1 1: POST /pay | 2: SELECT account, UPDATE account"],
        ),
        (
            "({ kind = client } | count()) > ({ kind = server } | count())",
            &["1 5: POST /checkout, POST /pay, POST /pay"],
        ),
        (
            "{ status = error && statusMessage = \"declined\" } || { name = \"reserve\" }",
            &[all, "1 1: POST /pay"],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(found(&harness, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn tags_are_searched_as_before_traceql() {
    let harness = stories().await;
    let cases = [
        ("tags=service.name%3DSHO", 2),
        ("tags=rounds%3D12%20service.name%3Dshop", 1),
        ("tags=rounds%3D12%20service.name%3Dpayment", 0),
        ("tags=name%3D%22POST%20%2F%22", 2),
        ("tags=error%3Dtrue", 1),
        ("tags=root.service.name%3Dshop", 2),
        ("minDuration=50ms", 1),
        ("maxDuration=50ms", 2),
        ("minDuration=45ms&maxDuration=60ms", 0),
        ("rounds=12", 1),
    ];
    for (query, expected) in cases {
        let answer = get(&harness, &format!("/api/search?{query}")).await;
        assert_eq!(answer["traces"].as_array().unwrap().len(), expected, "{query}");
    }
}

#[tokio::test]
async fn bad_requests_are_answered_in_plain_text() {
    let harness = stories().await;
    let long =
        format!("/api/search?q={}", encoded(&format!("{{ .a = \"{}\" }}", "x".repeat(20_000))));
    let many = (0..33).fold("/api/search?tags=".to_owned(), |path, tag| format!("{path}t{tag}%20"));
    let cases = [
        (
            "/api/search?q=%7B%20durration%20%3E%201s%7D",
            "invalid TraceQL query: at line 1, column 3: unknown intrinsic `durration`: did you mean `duration`?",
        ),
        (
            "/api/search?q=%7B%7D&tags=a%3D1",
            "invalid request: can't specify tags and q in the same query",
        ),
        (
            "/api/search?q=%7B%7D%7Crate()",
            "invalid TraceQL query: at line 1, column 1: this computes a metric; a search ends before `| rate()` and the like",
        ),
        ("/api/search?limit=0", "invalid limit: it must be a positive number"),
        ("/api/search?start=5&end=5", "invalid start: start must be before end"),
        ("/api/search?start=5", "invalid start: start must be before end"),
        ("/api/search?start=x&end=5", "invalid start: it must be a time in seconds since 1970"),
        (
            "/api/search?minDuration=5",
            "invalid minDuration: it must be a duration, as 1.5s or 100ms",
        ),
        (
            "/api/search?minDuration=5s&maxDuration=1s",
            "invalid maxDuration: must be greater than minDuration",
        ),
        (many.as_str(), "a search has 32 tags at most, and this one has 33"),
        ("/api/search?tags=a%3D%22x", "invalid tags: unterminated quoted value"),
        ("/api/search/tags?scope=nowhere", "invalid scope: nowhere"),
        ("/api/metrics/query_range", "invalid q: a TraceQL metrics query is missing"),
        (
            "/api/metrics/query_range?q=%7B%7D",
            "invalid TraceQL query: this finds traces; add a metric to it, as in `{} | rate()`",
        ),
        (
            "/api/metrics/query_range?q=%7B%7D%7Crate()&step=0",
            "invalid step: it must be a positive number of seconds or a duration",
        ),
        (
            "/api/metrics/query_range?q=%7B%7D%7Crate()&start=1&end=1000000&step=1",
            "this makes more than 11000 points; use a larger step",
        ),
        (
            long.as_str(),
            "invalid TraceQL query: at line 1, column 1: a query has at most 16384 bytes; this has 20011",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(refused(&harness, path).await, (400, expected.to_owned()), "{path}");
    }
    assert_eq!(refused(&harness, "/api/nothing").await.0, 404);
    let post = Request::post("/tempo/api/search").body(Body::empty()).unwrap();
    assert_eq!(harness.ask(post).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn names_and_values_complete_queries() {
    let harness = stories().await;
    let names = get(&harness, &format!("/api/search/tags?{}", hour())).await;
    let names: Vec<&str> =
        names["tagNames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["service.name", "rounds", "exception.type"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let scopes = get(&harness, &format!("/api/v2/search/tags?limit=1000&{}", hour())).await;
    let scopes: Vec<(&str, &Json)> = scopes["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|scope| (scope["name"].as_str().unwrap(), &scope["tags"]))
        .filter(|(name, _)| *name != "intrinsic")
        .collect();
    let expected = json!([
        ["resource", ["host.name", "service.name"]],
        [
            "span",
            ["http.request.method", "http.response.status_code", "order.id", "rounds", "tags"]
        ],
        ["event", ["exception.message", "exception.type"]],
    ]);
    assert_eq!(json!(scopes), expected);
    let query = encoded("{ resource.service.name = \"stock\" && span. }");
    let some = get(&harness, &format!("/api/v2/search/tags?scope=span&q={query}")).await;
    assert_eq!(some["scopes"], json!([{ "name": "span", "tags": ["tags"] }]));

    let cases = [
        ("/api/search/tag/service.name/values", json!(["payment", "shop", "stock"])),
        (
            "/api/search/tag/name/values?q=%7Bkind%3Dclient%7D",
            json!(["POST /pay", "SELECT account", "UPDATE account"]),
        ),
        ("/api/search/tag/.rounds/values", json!(["12"])),
        ("/api/search/tag/rootServiceName/values", json!(["shop"])),
        ("/api/search/tag/nothing/values", json!([])),
        ("/api/v2/search/tag/duration/values", json!([])),
        ("/api/v2/search/tag/span.rounds/values", json!([{ "type": "int", "value": "12" }])),
        ("/api/v2/search/tag/span%252Erounds/values", json!([{ "type": "int", "value": "12" }])),
        (
            "/api/v2/search/tag/event.exception.type/values",
            json!([{ "type": "string", "value": "CardDeclined" }]),
        ),
        (
            "/api/v2/search/tag/span.tags/values",
            json!([{ "type": "string", "value": "a" }, { "type": "string", "value": "b" }]),
        ),
        (
            "/api/v2/search/tag/status/values",
            json!([
                { "type": "keyword", "value": "ok" },
                { "type": "keyword", "value": "error" },
                { "type": "keyword", "value": "unset" },
            ]),
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(get(&harness, path).await["tagValues"], expected, "{path}");
    }
    let filter = encoded("{ resource.service.name = \"payment\" && kind = }");
    let path = format!("/api/v2/search/tag/resource.host.name/values?q={filter}&{}", hour());
    let values = get(&harness, &path).await;
    assert_eq!(values["tagValues"], json!([{ "type": "string", "value": "payment-1" }]));
}

#[tokio::test]
async fn clients_learn_what_they_talk_to() {
    let harness = Harness::new().await;
    for (path, text) in [("/api/echo", "echo"), ("/ready", "ready\n")] {
        let (status, _, body) = ask(&harness, path, "*/*").await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, text.as_bytes()));
    }
    let info = get(&harness, "/api/status/buildinfo").await;
    assert!(info["version"].as_str().unwrap().starts_with("2."), "Grafana compares it");
    for name in ["revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(info[name].is_string(), "{name}");
    }
    for path in ["/status", "/status/version", "/status/services", "/status/endpoints"] {
        assert_eq!(ask(&harness, path, "*/*").await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn parameters_can_come_as_a_form() {
    let harness = stories().await;
    let form = Request::get("/tempo/api/search")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("q={name=\"hash\"}&limit=10"))
        .unwrap();
    let (status, _, body) = harness.ask(form).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["traces"].as_array().unwrap().len(), 1);
}

/// Returns the series of a metrics query over the first 30 s in steps of 10 s: labels and values.
async fn series(harness: &Harness, query: &str) -> Vec<String> {
    let (start, end) = (BEGIN / SECOND, BEGIN / SECOND + 30);
    let query = encoded(query);
    let path = format!("/api/metrics/query_range?q={query}&start={start}&end={end}&step=10s");
    let answer = get(harness, &path).await;
    assert!(answer.get("status").is_none(), "{answer}");
    let all = answer["series"].as_array().unwrap().iter().map(|series| {
        let labels = series["labels"].as_array().unwrap().iter().map(|label| {
            let value = label["value"].as_object().unwrap().values().next().unwrap();
            format!("{}={}", label["key"].as_str().unwrap(), value.to_string().replace('"', ""))
        });
        let samples = series["samples"].as_array().unwrap().iter().map(|sample| {
            let time: u64 = sample["timestampMs"].as_str().unwrap().parse().unwrap();
            let value = sample["value"].as_f64().unwrap();
            let at = i64::try_from(time / 1_000).unwrap() - i64::try_from(BEGIN / SECOND).unwrap();
            format!("{at}:{}", (value * 1e6).round() / 1e6)
        });
        let labels: Vec<String> = labels.collect();
        format!("{} {}", labels.join(","), samples.collect::<Vec<_>>().join(" "))
    });
    all.collect()
}

#[tokio::test]
async fn metrics_count_and_measure_spans() {
    let harness = stories().await;
    // A span that is sent again is the same span.
    harness.send(checkout(1)).await;
    // The test data begin a moment after the start of an interval. A span at the start of an
    // interval belongs to the one before.
    let cases: [(&str, &[&str]); 17] = [
        ("{} | count_over_time()", &["__name__=count_over_time 0:1 10:5 20:2 30:0"]),
        ("{} | rate()", &["__name__=rate 0:0.1 10:0.5 20:0.2 30:0"]),
        (
            "{ kind = server } | count_over_time() by (resource.service.name)",
            &[
                "resource.service.name=payment 0:0 10:1 20:0 30:0",
                "resource.service.name=shop 0:1 10:1 20:0 30:0",
            ],
        ),
        (
            "{ kind = client } | max_over_time(duration) by (resource.service.name)",
            &["resource.service.name=payment 10:0.03", "resource.service.name=shop 10:0.08"],
        ),
        ("{ kind = client } | min_over_time(duration)", &["__name__=min_over_time 10:0.01"]),
        ("{ kind = client } | avg_over_time(duration)", &["__name__=avg_over_time 10:0.04"]),
        ("{ kind = client } | sum_over_time(span:duration)", &["__name__=sum_over_time 10:0.12"]),
        ("{} | sum_over_time(span.rounds) by (name)", &["name=hash 20:12"]),
        (
            "{ name = \"reserve\" } | quantile_over_time(duration, .5, 1)",
            &["p=0.5 20:0.04", "p=1.0 20:0.04"],
        ),
        (
            "{ name = \"hash\" } | histogram_over_time(duration)",
            &["__bucket=0.033554432 0:0 10:0 20:1 30:0"],
        ),
        (
            "{ kind = server } >> { kind = client } | count_over_time()",
            &["__name__=count_over_time 0:0 10:3 20:0 30:0"],
        ),
        (
            "{ parent.kind = client } | count_over_time() by (rootName)",
            &["rootName=POST /checkout 0:0 10:1 20:0 30:0"],
        ),
        (
            "{} | count_over_time() by (.order.id) | topk(1)",
            &[".order.id=A-17 0:1 30:0", ".order.id=nil 10:5 20:2"],
        ),
        (
            "({ kind = client } | count_over_time()) / ({} | count_over_time()) * 100 > 0",
            &["__name__=(count_over_time / count_over_time) 10:60"],
        ),
        (
            "{ kind = client } | count_over_time() by (resource.service.name) > 1",
            &["resource.service.name=payment 10:2"],
        ),
        ("{ name = \"nothing\" } | rate()", &[]),
        (
            "{ rootName =~ \".*login\" } | by(name) | count_over_time()",
            &["__name__=count_over_time 0:0 10:1 20:1 30:0"],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(series(&harness, query).await, expected, "{query}");
    }
    // Chains are computed from the left, whatever their length.
    let hash = "({ name = \"hash\" } | count_over_time() by (name))";
    let rest = format!("10 - {hash} - {hash} * 2");
    assert_eq!(series(&harness, &rest).await, ["name=hash 0:10 10:10 20:7 30:10"]);
    let sum = vec![hash; 200].join(" + ");
    assert_eq!(series(&harness, &sum).await, ["name=hash 0:0 10:0 20:200 30:0"]);
}

#[tokio::test]
async fn a_metric_has_the_shape_that_grafana_reads() {
    let harness = stories().await;
    let query = encoded("{ kind = server } | rate() by (resource.service.name)");
    let (start, end) = (BEGIN / SECOND, BEGIN / SECOND + 30);
    let path = format!("/api/metrics/query_range?query={query}&start={start}&end={end}&step=10");
    insta::assert_json_snapshot!("tempo_metrics", get(&harness, &path).await);
    let none = get(&harness, &format!("{path}&exemplars=0")).await;
    assert!(none["series"][0].get("exemplars").is_none());
    let instant = encoded("{} | quantile_over_time(duration, 0.99) by (status)");
    let path = format!("/api/metrics/query?q={instant}&start={BEGIN}&end={}", BEGIN + 30 * SECOND);
    insta::assert_json_snapshot!("tempo_instant", get(&harness, &path).await);
    let last_hour = get(&harness, "/api/metrics/query?q=%7B%7D%7Ccount_over_time()").await;
    assert_eq!(last_hour["series"][0]["value"], 8.0, "the last hour when nothing is said");
}

#[tokio::test]
async fn compare_counts_the_values_of_selected_spans_and_of_the_rest() {
    let harness = stories().await;
    let all = series(&harness, "{} | compare({ status = error }, 10)").await;
    for expected in [
        "__meta_type=selection,name=POST /checkout 0:1 10:0 20:0 30:0",
        "__meta_type=selection,resource.service.name=payment 0:0 10:1 20:0 30:0",
        "__meta_type=selection,span.http.response.status_code=502 0:1 10:0 20:0 30:0",
        "__meta_type=selection_total,name=nil 0:1 10:1 20:0 30:0",
        "__meta_type=baseline,resource.service.name=shop 0:0 10:2 20:1 30:0",
        "__meta_type=baseline,kind=client 0:0 10:3 20:0 30:0",
        "__meta_type=baseline_total,resource.service.name=nil 0:0 10:4 20:2 30:0",
    ] {
        assert!(all.contains(&expected.to_owned()), "{expected} in {all:#?}");
    }
    assert!(!all.iter().any(|series| series.contains("__meta_error")), "{all:#?}");
    let top = series(&harness, "{} | compare({ status = error }, 1)").await;
    let too_many = "__meta_error=__too_many_values__,name=nil 0:0 10:0 20:0 30:0".to_owned();
    assert!(top.contains(&too_many), "{top:#?}");
    // A time window without errors selects nothing.
    let window = format!("{}, {}", BEGIN + 9 * SECOND, BEGIN + 30 * SECOND);
    let none =
        series(&harness, &format!("{{}} | compare({{ status = error }}, 5, {window})")).await;
    assert!(!none.iter().any(|series| series.contains("selection")), "{none:#?}");
}

#[tokio::test]
async fn bounds_make_an_answer_partial_and_not_wrong() {
    let harness = Harness::with(QueryLimits::default(), 3).await;
    harness.send(checkout(1)).await;
    let query = encoded("{} | count_over_time()");
    let path =
        format!("/api/metrics/query?q={query}&start={}&end={}", BEGIN / SECOND, BEGIN / SECOND + 9);
    let answer = get(&harness, &path).await;
    assert_eq!(
        (&answer["status"], &answer["series"][0]["value"]),
        (&json!("PARTIAL"), &json!(3.0))
    );
    assert_eq!(answer["metrics"]["completedJobs"], 0);
    let harness = stories().await;
    let query = encoded("{} | rate() by (name)");
    let answer = get(&harness, &format!("/api/metrics/query?q={query}&maxSeries=2")).await;
    assert_eq!(answer["series"].as_array().unwrap().len(), 2);
    assert_eq!(answer["status"], "PARTIAL");
}

/// Returns the number of lines of an answer and of their points, and true when it is partial.
fn size(answer: &Json) -> (usize, usize, bool) {
    let series = answer["series"].as_array().unwrap();
    let points = series.iter().map(|line| line["samples"].as_array().unwrap().len()).sum();
    (series.len(), points, answer["status"] == "PARTIAL")
}

#[tokio::test]
async fn every_metric_keeps_to_the_same_points_and_bytes_whatever_makes_its_lines() {
    let spans = || {
        (1..=20).map(|n| {
            let unique = format!("{n:0>200}");
            span(1, n, "shop", "call").at(10, 10 + (1 << n)).attribute("unique", unique)
        })
    };
    let points =
        Harness::with_limits(QueryLimits { metrics_points_max: 40, ..QueryLimits::default() });
    let bytes =
        Harness::with_limits(QueryLimits { metrics_bytes_max: 16 << 10, ..QueryLimits::default() });
    let (points, bytes) = (points.await, bytes.await);
    points.send(spans()).await;
    bytes.send(spans()).await;
    let (start, end) = (BEGIN / SECOND, BEGIN / SECOND + 30);
    let asked = |query: &str| {
        format!("/api/metrics/query_range?start={start}&end={end}&step=10s&q={}", encoded(query))
    };
    for query in [
        "{} | rate() by (span:id)",
        "{} | quantile_over_time(duration, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 0)",
        "{} | histogram_over_time(duration)",
        "{} | compare({ name = \"call\" }, 1000)",
        "({} | rate() by (span:id)) + ({} | rate() by (span:id))",
        "({} | rate()) + ({} | rate() by (span:id))",
    ] {
        let (lines, points, is_part) = size(&get(&points, &asked(query)).await);
        assert!(points <= 40 && is_part, "{query}: {lines} lines, {points} points");
    }
    for query in ["{} | rate() by (span.unique)", "{} | compare({ name = \"call\" }, 1000)"] {
        let (lines, _, is_part) = size(&get(&bytes, &asked(query)).await);
        assert!(lines < 15 && is_part, "{query}: {lines} lines");
    }
    // The most frequent values are kept.
    let few = get(&points, &asked("{} | compare({ name = \"call\" }, 1000)")).await;
    assert!(few["series"].as_array().unwrap().iter().any(|line| {
        line["labels"][0]["value"]["stringValue"] == "selection"
            && line["labels"][1]["value"]["stringValue"] == "call"
    }));
    let path = format!("{}&maxSeries=3", asked("{} | histogram_over_time(duration)"));
    let all = Harness::new().await;
    all.send(spans()).await;
    let answer = get(&all, &path).await;
    assert_eq!((size(&answer).0, size(&answer).2), (3, true));
}

#[tokio::test]
async fn long_names_of_attributes_are_not_offered() {
    let harness = Harness::new().await;
    let [short, long] = [1_024, 1_025].map(|length| "x".repeat(length));
    harness
        .send([span(1, 1, "shop", "call").attribute(&short, 1_i64).attribute(&long, 1_i64)])
        .await;
    let answer = get(&harness, "/api/v2/search/tags?scope=span").await;
    assert_eq!(answer["scopes"][0]["tags"], json!([short]), "{answer}");
}

#[tokio::test]
async fn a_metric_over_more_spans_than_can_be_distinguished_is_partial() {
    let limits = QueryLimits { metrics_bytes_max: 18 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let spans = |count: u64| (1..=count).map(|n| span(1, n, "shop", "call").at(10, 11));
    let path = format!("/api/metrics/query?q={}", encoded("{} | count_over_time()"));
    let counted = async |sent: u64| {
        harness.send(spans(sent)).await;
        let answer = get(&harness, &path).await;
        (answer["series"][0]["value"].as_f64(), answer["status"] == "PARTIAL")
    };
    assert_eq!(counted(1_024).await, (Some(1_024.0), false));
    assert_eq!(counted(1_030).await, (Some(1_024.0), true));
}

#[tokio::test]
async fn the_native_search_takes_queries_and_pages_through_them() {
    let harness = Harness::new().await;
    let call = |n: u64| -> [SpanBuilder; 2] {
        [
            span(n, 1, "shop", "GET /").at(n * 10, n * 10 + 9),
            span(n, 2, "stock", "list").parent(1).at(n * 10 + 1, n * 10 + 5),
        ]
    };
    for n in 1..=7 {
        harness.send(call(n)).await;
    }
    let query =
        encoded("{ resource.service.name = \"shop\" } > { resource.service.name = \"stock\" }");
    let (mut cursor, mut found) = (String::new(), Vec::new());
    loop {
        let page = harness.get(&format!("/traces?q={query}&limit=3{cursor}")).await;
        let traces = page["traces"].as_array().unwrap().iter();
        found.extend(traces.map(|trace| trace["traceId"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["total"], json!({ "value": 7, "relation": "exact" }));
                break;
            }
        }
    }
    let newest_first: Vec<String> = (1..=7).rev().map(trace_id).collect();
    assert_eq!(found, newest_first);
    let (status, problem) = harness.problem("/traces?q=%7B%20nam%20%3D%201%20%7D").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("q")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("column 3") && detail.contains("did you mean `name`?"), "{detail}");
    let (_, problem) = harness.problem("/traces?q=%7B%7D&service=shop").await;
    assert_eq!(problem["parameter"], "service");
}

#[tokio::test]
async fn a_trace_too_large_to_evaluate_does_not_hide_the_others() {
    let harness = stories().await;
    let many = (0..30_000_u64).map(|n| span(8, n + 1, "batch", "row").at(30_000, 30_001));
    for part in many.collect::<Vec<_>>().chunks(5_000) {
        harness.send_request(request(part.to_vec())).await;
    }
    let answer = search(&harness, "{ name != \"nothing\" } | count() > 1").await;
    let ids = answer["traces"].as_array().unwrap().iter();
    assert_eq!(
        ids.map(|trace| trace["traceID"].as_str().unwrap()).collect::<Vec<_>>(),
        [trace_id(8), trace_id(2), trace_id(1)]
    );
    assert_eq!(answer["traces"][0]["spanSets"][0]["matched"], 30_000);
}

/// Returns a pseudorandom number.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A trace of up to four spans, scattered over 20 s, with varied fields.
fn scattered(trace: u64) -> Vec<SpanBuilder> {
    let spans = 1 + mixed(trace) % 4;
    let each = (1..=spans).map(|id| {
        let random = mixed(trace * 10 + id);
        let start = random % 20_000;
        let service = ["shop", "stock", "payment"][(random >> 20) as usize % 3];
        let name = ["get", "put"][(random >> 24) as usize % 2];
        let one = span(trace, id, service, name).at(start, start + (random >> 30) % 50);
        let one = if id == 1 { one } else { one.parent(1 + random % (id - 1)) };
        let one =
            if random & 1 << 40 == 0 { one } else { one.attribute("n", (random >> 41) as i64 % 5) };
        if random & 1 << 50 == 0 { one } else { one.status(SpanStatus::Error, "no") }
    });
    each.collect()
}

#[tokio::test]
async fn pages_that_go_back_in_steps_have_every_trace_once_in_order() {
    let limits = QueryLimits { counted_rows_min: 1, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for part in (1..=400_u64).collect::<Vec<_>>().chunks(40) {
        harness.send(part.iter().flat_map(|trace| scattered(*trace))).await;
    }
    let starts = |wanted: &dyn Fn(&SpanBuilder, &[SpanBuilder]) -> bool| {
        let mut places: Vec<(u64, String)> = (1..=400)
            .filter_map(|trace| {
                let spans = scattered(trace);
                let found = spans.iter().filter(|span| wanted(span, &spans));
                let first = found.map(|span| span.span.start_time_unix_nano).min()?;
                Some((first, trace_id(trace)))
            })
            .collect();
        places.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        places.into_iter().map(|(_, id)| id).collect::<Vec<String>>()
    };
    let error = i32::from(SpanStatus::Error);
    let failed = |span: &SpanBuilder| span.span.status.as_ref().is_some_and(|of| of.code == error);
    let cases: [(&str, Vec<String>); 4] = [
        ("{}", starts(&|_, _| true)),
        (
            "{ .n = 3 }",
            starts(&|span, _| {
                span.span
                    .attributes
                    .iter()
                    .any(|one| one.key == "n" && one.value() == Some(&Value::Int(3)))
            }),
        ),
        (
            "{ status = error || resource.service.name = \"stock\" }",
            starts(&|span, _| failed(span) || span.service == "stock"),
        ),
        (
            // The position is that of the earliest failed span, whether that span is a child or
            // not.
            "{} > { status = error }",
            {
                let children = |spans: &[SpanBuilder]| {
                    spans.iter().any(|span| failed(span) && !span.span.parent_span_id.is_empty())
                };
                starts(&|span, spans| failed(span) && children(spans))
            },
        ),
    ];
    for (query, expected) in cases {
        let (mut cursor, mut found) = (String::new(), Vec::new());
        loop {
            let page = harness.get(&format!("/traces?q={}&limit=7{cursor}", encoded(query))).await;
            let traces = page["traces"].as_array().unwrap().iter();
            found.extend(traces.map(|trace| trace["traceId"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn rows_that_storage_leaves_out_do_not_match() {
    let harness = Harness::new().await;
    harness.send((1..=60).flat_map(scattered)).await;
    harness.send(checkout(77)).await;
    let conditions = [
        "name = \"get\"",
        "\"shop\" = resource.service.name",
        ".service.name = \"stock\"",
        "resource.service.name = \"stock\" || resource.service.name = \"shop\"",
        "name = \"put\" || status = error || .n = 1",
        "resource.service.name = \"shop\" || status = error",
        "duration > 20ms",
        "duration >= 20ms && duration <= 21ms",
        "30ms < duration",
        "duration < 5ms || duration = 7ms",
        "duration > 1000000",
        "status = error && kind = internal",
        "kind = server",
        ".n = 3",
        ".n != 3",
        "3 > span.n",
        "span.n + 1 = 2",
        ".n = nil",
        ".n != nil && name =~ \"g.*\"",
        "span:id = \"2\"",
        "trace:id = \"aaaa0000000000000000000000000005\"",
        "event.exception.type =~ \".*Declined\"",
        "event:name != \"exception\"",
        "instrumentation:name = \"tests\" && !(status = error)",
        "parent = nil && !(name = \"get\")",
    ];
    for condition in conditions {
        let ask = async |query: String| {
            let path = format!("/api/search?limit=1000&spss=0&q={}", encoded(&query));
            let answer = get(&harness, &path).await;
            let traces = answer["traces"].as_array().unwrap().iter().map(|trace| {
                let spans = trace["spanSets"][0]["spans"].as_array().unwrap().iter();
                let ids: Vec<String> = spans.map(|span| span["spanID"].to_string()).collect();
                (trace["traceID"].to_string(), ids)
            });
            let mut traces: Vec<(String, Vec<String>)> = traces.collect();
            traces.sort();
            traces
        };
        let found = ask(format!("{{ {condition} }}")).await;
        // No candidate can be excluded for this query, because it needs the whole trace.
        let all = ask(format!("{{ !(traceDuration < 0s || !({condition})) }}")).await;
        assert_eq!(found, all, "{condition}");
        let of_nothing = condition.starts_with("event:name");
        assert_eq!(found.is_empty(), of_nothing, "{condition}");
    }
}

/// The calls of another project's Tempo API test, in their original form: parameters in the body.
#[tokio::test]
async fn the_calls_of_other_projects_are_answered() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora");
    let path = format!("{root}/tempo-http-api-skywalking/traceql/zipkin/traceql-cases.yaml");
    let Ok(cases) = std::fs::read_to_string(path) else {
        eprintln!("skipped: no corpora");
        return;
    };
    let harness = stories().await;
    let (start, end) = (BEGIN / SECOND - 60, BEGIN / SECOND + 600);
    let mut asked = 0;
    for line in cases.lines().filter(|line| line.contains("/zipkin/api/")) {
        let Some((_, call)) = line.split_once("/zipkin") else { continue };
        let path = call.split([' ', ')']).next().unwrap();
        let path = path.replace("${TRACE_ID}", &trace_id(1));
        let form = call.split_once("-d ").map_or("", |(_, form)| form);
        let form = form
            .replace("$(($(date +%s)-1800))", &start.to_string())
            .replace("$(date +%s)", &end.to_string())
            .replace('\'', "");
        let form = form.split(" |").next().unwrap().trim().to_owned();
        let request = Request::get(format!("/tempo{path}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.clone()))
            .unwrap();
        let (status, _, body) = harness.ask(request).await;
        assert_eq!(status, StatusCode::OK, "{path} {form}: {}", String::from_utf8_lossy(&body));
        asked += 1;
    }
    assert!(asked >= 10, "{asked}");
}

/// The fields of `tempopb.SearchResponse` about a trace.
#[derive(Clone, PartialEq, Message)]
struct Searched {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<SearchedTrace>,
}

#[derive(Clone, PartialEq, Message)]
struct SearchedTrace {
    #[prost(string, tag = "1")]
    trace_id: String,
    #[prost(string, tag = "2")]
    root_service_name: String,
    #[prost(uint32, tag = "5")]
    duration_ms: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SearchQuery {
    #[prost(uint32, tag = "4")]
    limit: u32,
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Values {
    #[prost(message, repeated, tag = "1")]
    series: Vec<ValueOfSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueOfSeries {
    #[prost(double, tag = "2")]
    value: f64,
}

/// A gRPC call: returns its message, its status and the status message.
async fn grpc(harness: &Harness, method: &str, body: Vec<u8>) -> (Vec<u8>, String) {
    let path = format!("/tempopb.StreamingQuerier/{method}");
    let (messages, status) = harness.grpc_call(&path, body).await;
    (messages.to_vec(), format!("{} {}", i32::from(status.code()), status.message()))
}

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed
}

/// Returns the last of these messages, which is the whole answer of a search that took long.
fn last_message(mut body: &[u8]) -> Vec<u8> {
    loop {
        assert_eq!(body[0], 0);
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let (message, rest) = body[5..].split_at(length);
        if rest.is_empty() {
            return message.to_vec();
        }
        body = rest;
    }
}

#[tokio::test]
async fn the_streaming_api_gives_the_same_answers() {
    let harness = stories().await;
    let ask = async |method: &str, message: &dyn Fn() -> Vec<u8>| {
        let (body, status) = grpc(&harness, method, message()).await;
        assert_eq!(status, "0 ", "{method}");
        last_message(&body)
    };
    let query = SearchQuery {
        limit: 2,
        query: "{ resource.service.name = \"shop\" }".to_owned(),
        ..SearchQuery::default()
    };
    let found = Searched::decode(ask("Search", &|| framed(&query)).await.as_slice()).unwrap();
    let found: Vec<(&str, &str, u32)> = found
        .traces
        .iter()
        .map(|one| (one.trace_id.as_str(), one.root_service_name.as_str(), one.duration_ms))
        .collect();
    assert_eq!(found, [(&*trace_id(2), "shop", 40), (&*trace_id(1), "shop", 100)]);

    let named = |name: &str| framed(&Named { name: name.to_owned(), start: 0, end: 0 });
    let names = ask("SearchTags", &|| named("span")).await;
    assert!(Texts::decode(names.as_slice()).unwrap().texts.contains(&"rounds".to_owned()));
    let values = ask("SearchTagValues", &|| named("service.name")).await;
    assert_eq!(Texts::decode(values.as_slice()).unwrap().texts.len(), 3);
    for (method, name) in [("SearchTagsV2", "resource"), ("SearchTagValuesV2", "name")] {
        assert!(!ask(method, &|| named(name)).await.is_empty(), "{method}");
    }

    let (start, end) = (BEGIN - SECOND, BEGIN + 60 * SECOND);
    let metric = |query: &str| framed(&Named { name: query.to_owned(), start, end });
    let instant = ask("MetricsQueryInstant", &|| metric("{} | count_over_time()")).await;
    let instant = Values::decode(instant.as_slice()).unwrap();
    assert_eq!(instant.series, [ValueOfSeries { value: 8.0 }]);
    assert!(!ask("MetricsQueryRange", &|| metric("{} | rate()")).await.is_empty());

    let refused: [(&str, Vec<u8>, &str); 5] = [
        (
            "Search",
            framed(&SearchQuery { query: "{".to_owned(), ..SearchQuery::default() }),
            "3 invalid TraceQL query: at line 1, column 2: a value was expected, but the end of the query follows",
        ),
        (
            "MetricsQueryRange",
            metric("{}"),
            "3 invalid TraceQL query: this finds traces; add a metric to it, as in `{} | rate()`",
        ),
        ("Search", vec![0, 0, 0], "13 Unexpected EOF decoding stream."),
        (
            "Search",
            vec![1, 0, 0, 0, 0],
            "13 protocol error: received message with compressed-flag but no grpc-encoding was specified",
        ),
        ("Nothing", Vec::new(), "12 unknown method Nothing"),
    ];
    for (method, body, expected) in refused {
        assert_eq!(grpc(&harness, method, body).await, (Vec::new(), expected.to_owned()));
    }
}

#[tokio::test]
async fn a_value_is_found_among_many_files_by_reading_the_rows_that_can_have_it() {
    const FILES: u64 = 12;
    const SPANS: u64 = 3_000;
    let harness = Harness::new().await;
    for file in 0..FILES {
        let of = |number: u64| {
            let trace = 1 + file * SPANS + number;
            let orders = [format!("A-{trace}").as_str().into(), "any".into()];
            span(trace, 1, "shop", "GET /")
                .at(file * 60_000 + number, file * 60_000 + number + 10)
                .attribute("order.id", format!("A-{trace}"))
                .attribute("order.number", i64::try_from(trace).unwrap())
                .attribute("orders", Value::Array(ArrayValue { values: orders.to_vec() }))
        };
        harness.send((0..SPANS).map(of)).await;
        harness.store.flush().await.unwrap();
    }
    let wanted = 5 * SPANS + 77;
    let found = |query: String| {
        let path = format!("/traces?limit=5&q={}", encoded(&query));
        let harness = &harness;
        async move {
            let page = harness.get(&path).await;
            let rows = page["searched"]["rows"].as_u64().unwrap();
            let ids =
                page["traces"].as_array().unwrap().iter().map(|trace| trace["traceId"].clone());
            (ids.collect::<Vec<_>>(), rows, page["searched"]["files"].as_u64().unwrap())
        }
    };
    for condition in [
        format!("span.order.id = \"A-{wanted}\""),
        format!("\"A-{wanted}\" = .order.id"),
        format!(".order.number = {wanted}"),
        format!(".order.number = {wanted}.0"),
        format!(".order.number = {} + 1", wanted - 1),
        format!("span.orders = \"A-{wanted}\" && kind = internal"),
    ] {
        let (ids, rows, files) = found(format!("{{ {condition} }}")).await;
        assert_eq!(ids, [trace_id(wanted)], "{condition}");
        // A block of 1,024 rows is read, and the trace again for its evaluation.
        assert!(rows <= 1_100 && files <= 2, "{condition}: {rows} rows of {files} files");
    }
    let (ids, rows, _) = found("{ .order.id = \"nobody's\" }".to_owned()).await;
    assert_eq!((ids.len(), rows), (0, 0));
    let (ids, rows, _) = found("{ resource.service.name =~ \"bank|mill\" }".to_owned()).await;
    assert_eq!((ids.len(), rows), (0, 0));
}
