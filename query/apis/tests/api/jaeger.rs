//! Jaeger's APIs: shapes, units, errors and the cases of Jaeger's own suites.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, StatusCode};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{
    ArrayValue, ExportTraceServiceRequest, KeyValue, KeyValueList, Link, SpanKind, Status,
    StatusCode as SpanStatus, Value, decode_json,
};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, SpanBuilder, checkout, request, span, text, trace_id};

const MICRO: u64 = 1_000;

impl Harness {
    async fn raw(&self, path: &str) -> (u16, String, String) {
        let request = Request::get(format!("/jaeger{path}")).body(Body::empty()).unwrap();
        let (status, headers, body) = self.ask(request).await;
        let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        (status.as_u16(), kind.unwrap_or_default(), String::from_utf8(body).unwrap())
    }

    async fn jaeger(&self, path: &str) -> Json {
        let (status, kind, body) = self.raw(path).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Returns an error of v1, which is JSON with the media type of text.
    async fn v1_error(&self, path: &str) -> (u16, String) {
        let (status, kind, body) = self.raw(path).await;
        assert_eq!(kind, "text/plain; charset=utf-8", "{path}: {body}");
        let error: Json = serde_json::from_str(&body).unwrap();
        let expected =
            json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": error["errors"]});
        assert_eq!(error, expected, "{path}");
        assert_eq!(error["errors"][0]["code"], status, "{path}");
        (status, text(&error["errors"][0]["msg"]))
    }

    /// Returns an error of v3.
    async fn v3_error(&self, path: &str) -> (u16, String) {
        let (status, kind, body) = self.raw(path).await;
        assert_eq!(kind, "text/plain; charset=utf-8", "{path}: {body}");
        let error: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(error["error"]["httpCode"], status, "{path}");
        (status, text(&error["error"]["message"]))
    }

    /// Returns the trace ids that v1 finds in the test data.
    async fn search_stats(&self, query: &str) -> Vec<String> {
        let (start, end) = (BEGIN / MICRO, BEGIN / MICRO + 1_000_000);
        let answer = self.jaeger(&format!("/api/traces?start={start}&end={end}&{query}")).await;
        ids(&answer)
    }
}

fn ids(answer: &Json) -> Vec<String> {
    answer["data"].as_array().unwrap().iter().map(|trace| text(&trace["traceID"])).collect()
}

fn found(traces: &[u64]) -> Vec<String> {
    traces.iter().map(|trace| trace_id(*trace)).collect()
}

#[tokio::test]
async fn answers_have_jaegers_shapes() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    for (name, path) in [
        ("services", "/api/services".to_owned()),
        ("operations_of_service", "/api/services/payment/operations".to_owned()),
        ("operations", "/api/operations?service=payment".to_owned()),
        ("trace", format!("/api/traces/{}", trace_id(1))),
        ("dependencies", "/api/dependencies?lookback=604800000".to_owned()),
        ("v3_services", "/api/v3/services".to_owned()),
        ("v3_operations", "/api/v3/operations?service=payment".to_owned()),
        ("v3_trace", format!("/api/v3/traces/{}", trace_id(1))),
        (
            "v3_summaries",
            "/api/v3/trace-summaries?query.startTimeMin=2026-11-20T07:00:00Z\
             &query.startTimeMax=2026-11-20T09:00:00Z"
                .to_owned(),
        ),
        (
            "v3_dependencies",
            "/api/v3/dependencies?startTime=2026-11-20T07:00:00Z&endTime=2026-11-20T09:00:00Z"
                .to_owned(),
        ),
    ] {
        insta::assert_json_snapshot!(name, harness.jaeger(&path).await);
    }
}

#[tokio::test]
async fn nothing_stored_is_an_empty_list_and_never_null() {
    let harness = Harness::new().await;
    for path in [
        "/api/services",
        "/api/services/x/operations",
        "/api/operations?service=x",
        "/api/traces?service=x",
        "/api/dependencies",
    ] {
        let answer = harness.jaeger(path).await;
        assert_eq!(
            answer,
            json!({"data": [], "total": 0, "limit": 0, "offset": 0, "errors": null}),
            "{path}"
        );
    }
    assert_eq!(harness.jaeger("/api/v3/services").await, json!({"services": []}));
    assert_eq!(harness.jaeger("/api/v3/operations?service=x").await, json!({"operations": []}));
    let path = "/api/v3/traces?query.startTimeMin=2026-11-20T07:00:00Z&query.startTimeMax=2026-11-20T09:00:00Z";
    assert_eq!(harness.v3_error(path).await, (404, "No traces found".to_owned()));
}

#[tokio::test]
async fn a_trace_is_named_in_every_form_that_jaeger_takes() {
    let harness = Harness::new().await;
    let mut short = span(9, 1, "s", "o");
    short.span.trace_id = 0x1f00_u128.to_be_bytes().to_vec();
    harness.send(checkout(1).into_iter().chain([short])).await;
    let long = trace_id(1);
    let bytes = ((0xaaaa_u128 << 112) | 1).to_be_bytes();
    let standard = STANDARD.encode(bytes);
    for (name, expected) in [
        (long.clone(), long.as_str()),
        (long.to_uppercase(), &long),
        (standard.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F"), &long),
        (standard.trim_end_matches('=').replace('+', "-").replace('/', "_"), &long),
        ("1f00".to_owned(), "0000000000001f00"),
        ("1F00".to_owned(), "0000000000001f00"),
        ("0000000000001f00".to_owned(), "0000000000001f00"),
        ("00000000000000000000000000001f00".to_owned(), "0000000000001f00"),
    ] {
        let answer = harness.jaeger(&format!("/api/traces/{name}")).await;
        assert_eq!(ids(&answer), [expected], "{name}");
        assert_eq!(answer["data"][0]["spans"][0]["traceID"], expected, "{name}");
        let v3 = harness.jaeger(&format!("/api/v3/traces/{name}")).await;
        let id = &v3["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"];
        assert_eq!(text(id), format!("{expected:0>32}"), "v3 always has 32 digits");
    }
    for name in ["0", "1", &"f".repeat(32), "0000000000000001"] {
        let (status, message) = harness.v1_error(&format!("/api/traces/{name}")).await;
        assert_eq!((status, message.as_str()), (404, "trace not found"), "{name}");
        let (status, message) = harness.v3_error(&format!("/api/v3/traces/{name}")).await;
        assert_eq!((status, message.as_str()), (404, "No traces found"), "{name}");
    }
    let long = "a".repeat(33);
    for (name, message) in [
        ("chumbawumba", "strconv.ParseUint: parsing \"chumbawumba\": invalid syntax".to_owned()),
        (&long, format!("TraceID cannot be longer than 32 hex characters: {long}")),
        ("%C3%A9%C3%A9", "strconv.ParseUint: parsing \"éé\": invalid syntax".to_owned()),
    ] {
        assert_eq!(harness.v1_error(&format!("/api/traces/{name}")).await, (400, message.clone()));
        let expected = format!("malformed parameter trace_id: {message}");
        assert_eq!(harness.v3_error(&format!("/api/v3/traces/{name}")).await, (400, expected));
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn wrong_parameters_are_refused_in_jaegers_words() {
    let harness = Harness::new().await;
    let many = (0..33).fold("service=s".to_owned(), |query, tag| format!("{query}&tag=t{tag}:v"));
    let deep = format!("tags={}", "%7B%22a%22:".repeat(200));
    for (query, message) in [
        ("", "parameter 'service' is required"),
        ("operation=o", "parameter 'service' is required"),
        ("service=", "parameter 'service' is required"),
        (
            "service=s&end=string",
            r#"unable to parse param 'end': strconv.ParseInt: parsing "string": invalid syntax"#,
        ),
        (
            "service=s&start=1.5",
            r#"unable to parse param 'start': strconv.ParseInt: parsing "1.5": invalid syntax"#,
        ),
        (
            "service=s&minDuration=20",
            r#"unable to parse param 'minDuration': time: missing unit in duration "20""#,
        ),
        (
            "service=s&maxDuration=5x",
            r#"unable to parse param 'maxDuration': time: unknown unit "x" in duration "5x""#,
        ),
        (
            "service=s&minDuration=2s&maxDuration=1s",
            "'maxDuration' should be greater than 'minDuration'",
        ),
        ("service=s&tag=k:v&tag=k", "malformed 'tag' parameter, expecting key:value, received: k"),
        ("service=s&tags=%7B%22a%22:1%7D", "malformed 'tags' parameter, cannot unmarshal JSON"),
        ("service=s&tags=x", "malformed 'tags' parameter, cannot unmarshal JSON"),
        (&many, "a search has 32 tags at most"),
        (&deep, "parameter 'service' is required"),
        ("service=s&limit=0", "invalid parameter: limit must be greater than 0"),
        ("service=s&limit=-5", "invalid parameter: limit must be greater than 0"),
        ("service=s&limit=x", r#"strconv.ParseInt: parsing "x": invalid syntax"#),
        ("service=s&limit=3000000000", "value out of range"),
        (
            "service=s&raw=foobar",
            r#"unable to parse param 'raw': strconv.ParseBool: parsing "foobar": invalid syntax"#,
        ),
        ("service=s&start=2&end=1", "invalid parameter: start time must be before end time"),
        (
            "traceID=xyz",
            r#"cannot parse traceID param: strconv.ParseUint: parsing "xyz": invalid syntax"#,
        ),
    ] {
        let (status, found) = harness.v1_error(&format!("/api/traces?{query}")).await;
        // Both tags are wrong in the nested one, and either may be reported first.
        let either = query.starts_with("tags=") && found.starts_with("malformed 'tags'");
        assert_eq!(status, 400, "{query}");
        assert!(found.contains(message) || either, "{query}: {found}");
    }
    for (path, message) in [
        (
            "/api/traces/123456?start=a",
            "unable to parse param 'start': strconv.ParseInt: parsing \"a\": invalid syntax",
        ),
        (
            "/api/traces/123456?raw=foobar",
            "unable to parse param 'raw': strconv.ParseBool: parsing \"foobar\": invalid syntax",
        ),
        ("/api/operations", "parameter 'service' is required"),
        (
            "/api/dependencies?endTs=shazbot",
            "unable to parse param 'endTs': strconv.ParseInt: parsing \"shazbot\": invalid syntax",
        ),
        (
            "/api/dependencies?lookback=1h",
            "unable to parse param 'lookback': strconv.ParseInt: parsing \"1h\": invalid syntax",
        ),
        (
            "/api/metrics/calls",
            "unable to parse param 'service': please provide at least one service name",
        ),
        (
            "/api/metrics/calls?service=s&spanKind=foo",
            "unable to parse param 'spanKind': unsupported span kind: 'foo'",
        ),
        (
            "/api/metrics/latencies?service=s&quantile=foo",
            "unable to parse param 'quantile': strconv.ParseFloat: parsing \"foo\": invalid syntax",
        ),
        (
            "/api/metrics/errors?service=s&lookback=foo",
            "unable to parse param 'lookback': strconv.ParseInt: parsing \"foo\": invalid syntax",
        ),
        (
            "/api/metrics/calls?service=s&ratePer=foo",
            "unable to parse param 'ratePer': strconv.ParseInt: parsing \"foo\": invalid syntax",
        ),
        (
            "/api/metrics/calls?service=s&groupByOperation=foo",
            "unable to parse param 'groupByOperation': strconv.ParseBool: parsing \"foo\": invalid syntax",
        ),
    ] {
        assert_eq!(harness.v1_error(path).await, (400, message.to_owned()), "{path}");
    }
    let times = "query.startTimeMin=2026-11-20T07:00:00Z&query.startTimeMax=2026-11-20T09:00:00Z";
    for (query, message) in [
        (String::new(), "query.startTimeMin and query.startTimeMax are required"),
        (
            "query.startTimeMin=2026-11-20T07:00:00Z".to_owned(),
            "query.startTimeMin and query.startTimeMax are required",
        ),
        (
            "query.start_time_min=1&query.start_time_max=2".to_owned(),
            "malformed parameter query.start_time_min: \"1\" is no RFC 3339 time",
        ),
        (
            "query.startTimeMin=2026-11-20T09:00:00Z&query.startTimeMax=2026-11-20T09:00:00Z"
                .to_owned(),
            "query.startTimeMin must be before query.startTimeMax",
        ),
        (
            format!("{times}&query.searchDepth=x"),
            "malformed parameter query.searchDepth: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            format!("{times}&query.num_traces=-1"),
            "malformed parameter query.num_traces: it must be from 0 to 4294967295",
        ),
        (
            format!("{times}&query.durationMin=1"),
            "malformed parameter query.durationMin: time: missing unit in duration \"1\"",
        ),
        (
            format!("{times}&query.attributes=x"),
            "malformed parameter query.attributes: expected value at line 1 column 1",
        ),
        (
            format!("{times}&query.rawTraces=x"),
            "malformed parameter query.rawTraces: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            format!("{times}&query.filter=%7B%7D"),
            "malformed parameter query.filter: structured filters are not enabled; use query.attributes",
        ),
    ] {
        let error = harness.v3_error(&format!("/api/v3/traces?{query}")).await;
        assert_eq!(error, (400, message.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn the_monitor_tab_gets_its_numbers() {
    let harness = Harness::new().await;
    // Ten calls of "get", one every 6 s, of 10 ms to 100 ms, the second and the third failing. One
    // call of "put" is not a server's.
    for n in 0..10 {
        let (id, at) = (n + 1, n * 6_000);
        let failed = n == 1 || n == 2;
        let status = if failed { SpanStatus::Error } else { SpanStatus::Unset };
        let one = span(id, 1, "shop", "get").at(at, at + 10 * id).kind(SpanKind::Server);
        harness.send([one.status(status, "")]).await;
    }
    harness.send([span(99, 1, "shop", "put").at(1, 2).kind(SpanKind::Client)]).await;
    let end = BEGIN / 1_000_000 + 60_000;
    let times = format!("endTs={end}&lookback=60000&step=30000&ratePer=60000&service=shop");
    let points = |family: &Json| -> Vec<(String, f64)> {
        let points = family["metrics"][0]["metricPoints"].as_array().unwrap().iter();
        let value = |point: &Json| point["gaugeValue"]["doubleValue"].as_f64().unwrap();
        points.map(|point| (text(&point["timestamp"]), value(point))).collect()
    };
    let (half, full) =
        ("2026-11-20T08:00:30.000Z".to_owned(), "2026-11-20T08:01:00.000Z".to_owned());
    let calls = harness.jaeger(&format!("/api/metrics/calls?{times}")).await;
    assert_eq!((&calls["name"], &calls["type"]), (&json!("service_call_rate"), &json!("GAUGE")));
    assert_eq!(calls["help"], "calls/sec, grouped by service");
    let labels = json!([{ "name": "service_name", "value": "shop" }]);
    assert_eq!(calls["metrics"][0]["labels"], labels);
    let in_a_minute = points(&calls).into_iter().map(|(at, rate)| (at, (rate * 60.0).round()));
    assert_eq!(in_a_minute.collect::<Vec<_>>(), [(half, 5.0), (full, 10.0)]);
    let errors =
        harness.jaeger(&format!("/api/metrics/errors?{times}&groupByOperation=true")).await;
    assert_eq!(errors["name"], "service_operation_error_rate");
    let of_get = json!([
        { "name": "operation", "value": "get" }, { "name": "service_name", "value": "shop" }
    ]);
    assert_eq!(errors["metrics"][0]["labels"], of_get);
    let parts: Vec<f64> = points(&errors).into_iter().map(|(_, part)| part).collect();
    assert!((parts[0] - 0.4).abs() < 1e-9 && (parts[1] - 0.2).abs() < 1e-9, "{parts:?}");
    let path =
        format!("/api/metrics/latencies?{times}&quantile=0.5&spanKind=server&spanKind=client");
    let latencies = harness.jaeger(&path).await;
    assert_eq!(latencies["help"], "0.5th quantile latency, grouped by service");
    // The median of eleven calls is between 32 and 64 ms: four are shorter, three are in that
    // bucket.
    let expected = 32.0 + 32.0 * (5.5 - 4.0) / 3.0;
    assert!((points(&latencies)[1].1 - expected).abs() < 1e-6, "{latencies}");
    let nothing = harness.jaeger(&format!("/api/metrics/calls?{times}&spanKind=consumer")).await;
    assert_eq!(nothing["metrics"], json!([]));
    assert_eq!(harness.jaeger("/api/metrics/minstep").await["data"], 1);
    for query in ["step=0", "ratePer=-1", "lookback=-5", "step=1"] {
        let path = format!("/api/metrics/calls?service=shop&{query}");
        assert_eq!(harness.v1_error(&path).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn missing_features_are_refused_in_jaegers_form() {
    let harness = Harness::new().await;
    let archive = Request::post("/jaeger/api/archive/1").body(Body::empty()).unwrap();
    let (status, _, body) = harness.ask(archive).await;
    let body: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(body["errors"][0]["msg"], "archive span storage was not configured");
    for path in [
        "",
        "/",
        "/search",
        "/api",
        "/api/nonsense",
        "/api/metrics/other",
        "/api/services/x",
        "/api/quality-metrics",
        "/api/deep-dependencies",
    ] {
        let (status, kind, body) = harness.raw(path).await;
        let plain = "text/plain; charset=utf-8";
        assert_eq!(
            (status, kind.as_str(), body.as_str()),
            (404, plain, "404 page not found\n"),
            "{path}"
        );
    }
}

fn list(values: &[&str]) -> Value {
    Value::Array(ArrayValue { values: values.iter().map(|value| (*value).into()).collect() })
}

/// One span a trace, each with a distinct searchable value.
fn findable() -> Vec<SpanBuilder> {
    let plain = |trace: u64| span(trace, 1, "Shop", "GET /Cart").at(trace, trace + 10);
    let mut traces = vec![
        plain(1).attribute("http.status_code", 200_i64).attribute("url", "http://x:80/a"),
        plain(2).attribute("http.status_code", "200").kind(SpanKind::Server),
        plain(3).status(SpanStatus::Error, "out of stock"),
        plain(4).status(SpanStatus::Ok, ""),
        plain(5).attribute("ratio", 72.5).attribute("cached", true).at(5, 505),
        plain(6).exception("Timeout", "late"),
        plain(7)
            .attribute("lines", list(&["tea", "milk"]))
            .attribute(
                "sizes",
                Value::Kvlist(KeyValueList { values: vec![KeyValue::new("cup", 2_i64)] }),
            )
            .attribute("raw", Value::Bytes(vec![0, 0, 48, 57]))
            .attribute("code", "AAAwOQ=="),
        plain(8).attribute("error", "timeout").attribute("raw", "AAAwOQ=="),
        plain(9).attribute("error", false),
    ];
    traces[6].span.links = vec![Link {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: vec![
            KeyValue::new("why", "batch"),
            KeyValue::new("shelves", Value::Array(ArrayValue { values: vec![7_i64.into()] })),
        ],
        ..Link::default()
    }];
    traces[6].span.trace_state = "a=b".into();
    traces
}

#[tokio::test]
async fn search_finds_what_one_span_matches() {
    let harness = Harness::new().await;
    harness.send(findable()).await;
    finds_what_one_span_matches(&harness).await;
    harness.store.flush().await.unwrap();
    finds_what_one_span_matches(&harness).await;
}

#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn finds_what_one_span_matches(harness: &Harness) {
    let all: Vec<u64> = (1..=9).rev().collect();
    for (query, expected) in [
        ("service=Shop", all.clone()),
        ("service=shop", vec![]),
        ("service=Shop&operation=GET+%2FCart", all.clone()),
        ("service=Shop&operation=get+%2Fcart", vec![]),
        ("service=Shop&limit=2", vec![9, 8]),
        ("service=Shop&tag=http.status_code:200", vec![2, 1]),
        ("service=Shop&tags=%7B%22http.status_code%22:%22200%22%7D", vec![2, 1]),
        ("service=Shop&tag=url:http://x:80/a", vec![1]),
        ("service=Shop&tag=ratio:72.5&tag=cached:true", vec![5]),
        ("service=Shop&tag=ratio:72.5&tag=cached:false", vec![]),
        ("service=Shop&tag=cached:false&tags=%7B%22cached%22:%22true%22%7D", vec![5]),
        ("service=Shop&tag=exception.type:Timeout", vec![6]),
        ("service=Shop&tag=why:batch", vec![7]),
        // The value is in the form that Jaeger shows.
        ("service=Shop&tag=lines:%5B%22tea%22,%22milk%22%5D", vec![7]),
        ("service=Shop&tag=lines:tea", vec![]),
        ("service=Shop&tag=shelves:%5B7%5D", vec![7]),
        ("service=Shop&tag=sizes:%7B%22cup%22:2%7D", vec![7]),
        ("service=Shop&tags=%7B%22sizes%22:%22%7B%5C%22cup%5C%22:2%7D%22%7D", vec![7]),
        ("service=Shop&tag=raw:AAAwOQ%3D%3D", vec![8, 7]),
        ("service=Shop&tag=raw:AAAwOQ", vec![]),
        ("service=Shop&tag=code:AAAwOQ%3D%3D", vec![7]),
        ("service=Shop&tag=w3c.tracestate:a%3Db", vec![7]),
        ("service=Shop&tag=host.name:Shop-1", all.clone()),
        ("service=Shop&tag=resource.host.name:Shop-1", all.clone()),
        ("service=Shop&tag=resource.url:http://x:80/a", vec![]),
        ("service=Shop&tag=error:true", vec![3]),
        ("service=Shop&tag=error:false", vec![9, 4]),
        ("service=Shop&tag=error:timeout", vec![8]),
        ("service=Shop&tag=otel.status_code:ERROR", vec![3]),
        ("service=Shop&tag=span.status:ok", vec![4]),
        ("service=Shop&tag=otel.status_description:out+of+stock", vec![3]),
        ("service=Shop&tag=span.kind:server", vec![2]),
        ("service=Shop&tag=span.kind:SERVER", vec![2]),
        ("service=Shop&tag=error:true&tag=otel.status_code:OK", vec![]),
        ("service=Shop&tag=otel.scope.name:tests", all.clone()),
        ("service=Shop&tag=scope.version:2", vec![]),
        ("service=Shop&minDuration=11ms", vec![5]),
        ("service=Shop&minDuration=10ms&maxDuration=10ms", vec![9, 8, 7, 6, 4, 3, 2, 1]),
        ("service=Shop&maxDuration=9999us", vec![]),
        ("service=Shop&minDuration=0s&maxDuration=0s", all.clone()),
        ("service=Shop&lookback=1h&nonsense=1", all.clone()),
    ] {
        assert_eq!(harness.search_stats(query).await, found(&expected), "{query}");
    }
    let at = |millis: u64| BEGIN / MICRO + millis * 1_000;
    for (start, end, expected) in [
        (at(3), at(4), vec![4, 3]),
        (at(3), at(4) - 1, vec![3]),
        (at(10), at(11), vec![]),
        (0, 0, vec![]),
    ] {
        let path = format!("/api/traces?service=Shop&start={start}&end={end}");
        assert_eq!(
            ids(&harness.jaeger(&path).await),
            found(&expected),
            "µs, both included: {path}"
        );
    }
    assert_eq!(
        ids(&harness.jaeger("/api/traces?service=Shop").await),
        found(&all),
        "the last two days"
    );
    let only_old = "/api/traces?service=Shop&end=1600000000000000&start=1";
    assert_eq!(ids(&harness.jaeger(only_old).await), Vec::<String>::new());
    let times =
        "query.startTimeMin=2026-11-20T08:00:00Z&query.startTimeMax=2026-11-20T08:00:00.003Z";
    for (query, expected) in [
        (String::new(), vec![2, 1]),
        ("&query.serviceName=Shop&query.operationName=GET+%2FCart".to_owned(), vec![2, 1]),
        ("&query.service_name=nobody".to_owned(), vec![]),
        ("&query.attributes=%7B%22span.kind%22:%22server%22%7D".to_owned(), vec![2]),
        ("&query.searchDepth=1".to_owned(), vec![2]),
        ("&query.num_traces=1".to_owned(), vec![2]),
        ("&query.duration_min=1s".to_owned(), vec![]),
    ] {
        let (status, _, body) = harness.raw(&format!("/api/v3/traces?{times}{query}")).await;
        assert_eq!(
            status,
            if expected.is_empty() { 404 } else { 200 },
            "{query}: the end is excluded"
        );
        let ids: Vec<u64> = (1..=9).filter(|id| body.contains(&trace_id(*id))).rev().collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn several_traces_are_read_by_id_and_missing_ones_are_reported() {
    let harness = Harness::new().await;
    harness.send(checkout(1).into_iter().chain(checkout(2))).await;
    let path = format!(
        "/api/traces?traceID={}&traceID=1f00&traceID={}&traceID={}",
        trace_id(2),
        trace_id(1),
        trace_id(2)
    );
    let answer = harness.jaeger(&path).await;
    assert_eq!(ids(&answer), found(&[2, 1]));
    assert_eq!(
        answer["errors"],
        json!([{"msg": "trace not found", "traceID": "0000000000001f00"}])
    );
}

#[tokio::test]
async fn answers_are_indented_for_people() {
    let harness = Harness::new().await;
    let (_, _, body) = harness.raw("/api/services?prettyPrint=true").await;
    assert!(body.starts_with("{\n    \"data\": [],\n    \"total\": 0,"), "{body}");
    let (_, _, body) = harness.raw("/api/services?prettyPrint=false").await;
    assert!(body.starts_with("{\"data\":[],"), "{body}");
}

#[tokio::test]
async fn names_may_be_odd() {
    let harness = Harness::new().await;
    let mut nameless = request([span(3, 1, "", "o")]);
    nameless.resource_spans[0].resource = None;
    harness.send_request(nameless).await;
    harness.send([span(1, 1, "a/b c+d", "x"), span(2, 1, "个人信息服务", "y")]).await;
    let services = harness.jaeger("/api/services").await;
    assert_eq!(services["data"], json!(["OTLPResourceNoServiceName", "a/b c+d", "个人信息服务"]));
    for (path, expected) in [
        ("a%2Fb%20c%2Bd", "x"),
        ("a/b%20c%2Bd", "x"),
        ("a%2Fb+c%2Bd", "x"),
        ("%E4%B8%AA%E4%BA%BA%E4%BF%A1%E6%81%AF%E6%9C%8D%E5%8A%A1", "y"),
        ("OTLPResourceNoServiceName", "o"),
    ] {
        let answer = harness.jaeger(&format!("/api/services/{path}/operations")).await;
        assert_eq!(answer["data"], json!([expected]), "{path}");
    }
    assert_eq!(harness.search_stats("service=OTLPResourceNoServiceName").await, found(&[3]));
}

#[tokio::test]
async fn operations_are_distinguished_by_kind() {
    let harness = Harness::new().await;
    let with = |id, name: &str, kind| span(1, id, "s", name).kind(kind);
    harness
        .send([
            with(1, "a", SpanKind::Server),
            with(2, "a", SpanKind::Client),
            with(3, "b", SpanKind::Unspecified),
        ])
        .await;
    let of = |kind: &str| format!("/api/operations?service=s&spanKind={kind}");
    let both = json!([{"name": "a", "spanKind": "server"}, {"name": "a", "spanKind": "client"}]);
    let all = harness.jaeger("/api/operations?service=s").await;
    assert_eq!(all["total"], 3);
    assert_eq!(all["data"][2], json!({"name": "b", "spanKind": ""}));
    assert_eq!(all["data"].as_array().unwrap()[..2], both.as_array().unwrap()[..]);
    assert_eq!(harness.jaeger(&of("client")).await["data"], json!([both[1]]));
    assert_eq!(harness.jaeger(&of("sideways")).await["data"], json!([]));
    assert_eq!(harness.jaeger("/api/services/s/operations").await["data"], json!(["a", "b"]));
    let v3 = harness.jaeger("/api/v3/operations?service=s").await;
    assert_eq!(v3["operations"][2], json!({"name": "b", "spanKind": "internal"}));
    let client = harness.jaeger("/api/v3/operations?service=s&span_kind=client").await;
    assert_eq!(client, json!({"operations": [{"name": "a", "spanKind": "client"}]}));
}

#[tokio::test]
async fn calls_between_services_are_counted_in_milliseconds() {
    let harness = Harness::new().await;
    harness.send(checkout(1).into_iter().chain(checkout(2))).await;
    // Both halves of one id, and a server without its client.
    harness
        .send([
            span(3, 7, "shop", "call").kind(SpanKind::Client),
            span(3, 7, "stock", "call").kind(SpanKind::Server),
            span(4, 8, "stock", "call").kind(SpanKind::Server).parent(99),
        ])
        .await;
    let link = |parent: &str, child: &str, count: u64| json!({"parent": parent, "child": child, "callCount": count});
    let (payment, stock) = (link("shop", "payment", 2), link("shop", "stock", 1));
    let at = BEGIN / 1_000_000;
    for (query, expected) in [
        (String::new(), vec![&payment, &stock]),
        (format!("endTs={}&lookback=1000", at + 100), vec![&payment, &stock]),
        (format!("endTs={}&lookback=1000", at - 1), vec![]),
        ("service=payment".to_owned(), vec![&payment]),
        ("service=shop".to_owned(), vec![&payment, &stock]),
        ("service=nobody".to_owned(), vec![]),
    ] {
        let answer = harness.jaeger(&format!("/api/dependencies?{query}")).await;
        assert_eq!(answer["data"], json!(expected), "{query}");
    }
}

#[tokio::test]
async fn shared_ids_are_split_unless_the_raw_trace_is_requested() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 7, "shop", "call").kind(SpanKind::Client),
            span(1, 7, "stock", "call").kind(SpanKind::Server),
            span(1, 8, "stock", "read").parent(7),
        ])
        .await;
    for (raw, expected) in [
        (
            "",
            [
                "0000000000000001<0000000000000007",
                "0000000000000007<",
                "0000000000000008<0000000000000001",
            ],
        ),
        (
            "?raw=true",
            ["0000000000000007<", "0000000000000007<", "0000000000000008<0000000000000007"],
        ),
    ] {
        let answer = harness.jaeger(&format!("/api/traces/{}{raw}", trace_id(1))).await;
        let spans = answer["data"][0]["spans"].as_array().unwrap().iter();
        let parent =
            |span: &Json| span["references"][0]["spanID"].as_str().unwrap_or("").to_owned();
        let mut shown: Vec<String> =
            spans.map(|span| format!("{}<{}", text(&span["spanID"]), parent(span))).collect();
        shown.sort();
        assert_eq!(shown, expected, "{raw}");
    }
}

#[tokio::test]
async fn files_of_otlp_are_translated() {
    let harness = Harness::new().await;
    let post =
        |body: Vec<u8>| Request::post("/jaeger/api/transform").body(Body::from(body)).unwrap();
    let request = request(checkout(2).into_iter().chain(checkout(1)));
    let (status, _, body) = harness.ask(post(serde_json::to_vec(&request).unwrap())).await;
    let body: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ids(&body), found(&[2, 1]));
    assert_eq!(body["data"][0]["spans"].as_array().unwrap().len(), 5);
    let (status, _, body) = harness.ask(post(b"{\"resourceSpans\":[{]".to_vec())).await;
    let body: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (400, &json!(400)));
    let empty = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#,
        "{},".repeat(600_000)
    );
    let large = "x".repeat(1 << 20);
    let attributes = format!(r#"[{{"key":"k","value":{{"stringValue":"{large}"}}}}]"#);
    let spans: Vec<String> = (1..100_u32)
        .map(|id| format!(r#"{{"traceId":"{id:032x}","spanId":"{id:016x}"}}"#))
        .collect();
    let copied = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":{attributes}}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    for body in [vec![b' '; (16 << 20) + 1], empty.into_bytes(), copied.into_bytes()] {
        let (status, _, _) = harness.ask(post(body)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn answers_are_bounded_and_say_so() {
    let limits = QueryLimits { view_spans_max: 12, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for trace in 1..=4 {
        harness.send(checkout(trace)).await;
    }
    // It is found first, and does not exclude others.
    harness.send((1..=13).map(|id| span(9, id, "shop", "o").at(500, 510))).await;
    let answer = harness.jaeger("/api/traces?service=shop").await;
    assert_eq!(ids(&answer).len(), 2);
    let message = "3 more traces match than fit into one answer: lower the limit, or ask for each";
    assert_eq!(answer["errors"], json!([{"msg": message}]));
    let answer = harness.jaeger("/api/traces?service=shop&limit=1").await;
    assert!(
        ids(&answer).is_empty() && answer["errors"].as_array().is_some_and(|all| all.len() == 1)
    );
    let (status, message) = harness.v1_error(&format!("/api/traces/{}", trace_id(9))).await;
    assert_eq!(status, 422);
    assert!(message.contains("12 spans"), "{message}");
    let (status, _) = harness.v3_error(&format!("/api/v3/traces/{}", trace_id(9))).await;
    assert_eq!(status, 422);
    let many = format!("/api/traces?{}", "traceID=1&".repeat(1_025));
    assert_eq!(harness.v1_error(&many).await.0, 400);
    let long = format!("/api/traces?service={}", "x".repeat(40 << 10));
    assert_eq!(harness.v1_error(&long).await.0, 400);
}

/// Reads a file of the corpora.
fn corpus(path: &str) -> Option<Vec<u8>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora");
    let read = std::fs::read(format!("{root}/{path}")).ok();
    if read.is_none() {
        eprintln!("left out: {path} is not here");
    }
    read
}

/// Jaeger's storage suite: every fixture is stored, and every query is sent to v1 and to v3.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn jaegers_storage_suite_holds() {
    let root =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora/jaeger-storage/traces");
    let Some(queries) = corpus("jaeger-storage/queries.json") else { return };
    let harness = Harness::new().await;
    let mut fixtures = std::collections::BTreeMap::new();
    for file in std::fs::read_dir(root).unwrap().map(|file| file.unwrap().path()) {
        let request: ExportTraceServiceRequest =
            decode_json(&std::fs::read(&file).unwrap()).unwrap();
        let spans = request
            .resource_spans
            .iter()
            .flat_map(|group| &group.scope_spans)
            .flat_map(|scope| &scope.spans);
        let ids: Vec<String> = spans
            .map(|span| span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        fixtures.insert(file.file_stem().unwrap().to_str().unwrap().to_owned(), ids);
        harness.send_request(request).await;
    }
    let queries: Json = serde_json::from_slice(&queries).unwrap();
    for case in queries.as_array().unwrap() {
        let query = &case["Query"];
        let name = text(&case["Caption"]);
        let tags: serde_json::Map<String, Json> = query["Tags"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                (key.clone(), Json::from(value.as_str().map_or(value.to_string(), str::to_owned)))
            })
            .collect();
        let tags = Json::from(tags)
            .to_string()
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let mut expected: Vec<String> = case["ExpectedFixtures"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|fixture| fixtures[fixture.as_str().unwrap()].clone())
            .collect();
        expected.sort();
        let service = text(&query["ServiceName"]);
        let operation = text(&query["OperationName"]);
        let (min, max) = (&query["DurationMin"], &query["DurationMax"]);
        let times = ["StartTimeMin", "StartTimeMax"].map(|key| text(&query[key]));
        let [start, end] = times.clone().map(|time| micros(&time));
        let v1 = format!(
            "/api/traces?service={service}&operation={operation}&tags={tags}&start={start}&end={end}\
             &minDuration={min}ns&maxDuration={max}ns&limit={}",
            query["NumTraces"]
        );
        let answer = harness.jaeger(&v1).await;
        let traces = answer["data"].as_array().unwrap().iter();
        let spans = traces.flat_map(|trace| trace["spans"].as_array().unwrap());
        let mut shown: Vec<String> =
            spans.map(|span| format!("{:0>32}", text(&span["traceID"]))).collect();
        shown.sort();
        assert_eq!(shown, expected, "v1: {name}");
        let [start, end] = times;
        let v3 = format!(
            "/api/v3/traces?query.serviceName={service}&query.operationName={operation}\
             &query.attributes={tags}&query.startTimeMin={start}&query.startTimeMax={end}\
             &query.durationMin={min}ns&query.durationMax={max}ns"
        );
        let body = harness.jaeger(&v3).await;
        let groups = body["result"]["resourceSpans"].as_array().unwrap().iter();
        let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().unwrap());
        let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap());
        let mut shown: Vec<String> = spans.map(|span| text(&span["traceId"])).collect();
        shown.sort();
        assert_eq!(shown, expected, "v3: {name}");
    }
    let expected: Json =
        serde_json::from_slice(&corpus("jaeger-storage/example_trace.expected.json").unwrap())
            .unwrap();
    let services = harness.jaeger("/api/services").await;
    let services = services["data"].as_array().unwrap();
    assert!(
        expected["services"].as_array().unwrap().iter().all(|service| services.contains(service))
    );
    let operations = harness.jaeger("/api/operations?service=example-service-1").await;
    assert_eq!(operations["data"], expected["operations_of_example-service-1"]);
}

/// Parses a time of the fixtures, such as `2017-01-26T15:46:31.639875Z`, in µs.
fn micros(time: &str) -> u64 {
    let part = |from: usize, to: usize| time[from..to].parse::<u64>().unwrap();
    assert!(time.starts_with("2017-01-"));
    let days = 17_167 + part(8, 10) - 1;
    let seconds = ((days * 24 + part(11, 13)) * 60 + part(14, 16)) * 60 + part(17, 19);
    seconds * 1_000_000 + part(20, 26)
}

/// Jaeger's own lists of refused and accepted parameters.
#[tokio::test]
async fn jaegers_lists_of_parameters_hold() {
    let harness = Harness::new().await;
    let lists = ["v1-traces-params.json", "metrics-param-errors.json"];
    for list in lists.iter().filter_map(|name| corpus(&format!("jaeger-http-params/{name}"))) {
        let cases: Json = serde_json::from_slice(&list).unwrap();
        for case in cases.as_array().unwrap() {
            let path =
                text(&case["get"]).replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
            let (status, _, body) = harness.raw(&path).await;
            assert_eq!(status, case["status"], "{path}: {body}");
            let part =
                case["error_contains"].as_str().or_else(|| case["expect_error_contains"].as_str());
            let message = serde_json::from_str::<Json>(&body).unwrap()["errors"][0]["msg"].clone();
            assert!(
                part.is_none_or(|part| message.as_str().unwrap().contains(part)),
                "{path}: {message}"
            );
        }
    }
}

/// The calls of Grafana's Jaeger data source, as its source code writes them.
#[tokio::test]
async fn grafanas_calls_are_answered() {
    let harness = Harness::new().await;
    let mut spans = checkout(1);
    spans[0].span.status = Some(Status { code: SpanStatus::Error.into(), message: "x".into() });
    harness.send(spans).await;
    assert_eq!(harness.jaeger("/api/services").await["data"], json!(["payment", "shop"]));
    let operations = harness.jaeger("/api/services/shop/operations").await;
    assert_eq!(operations["data"], json!(["POST /checkout", "POST /pay"]));
    let (start, end) = (BEGIN / MICRO - 3_600_000_000, BEGIN / MICRO + 3_600_000_000);
    let search = format!(
        "/api/traces?limit=20&maxDuration=5s&minDuration=1ms&operation=POST+%2Fcheckout&service=shop\
         &tags=%7B%22error%22%3A%22true%22%2C%22http.response.status_code%22%3A%22502%22%7D\
         &start={start}&end={end}"
    );
    assert_eq!(ids(&harness.jaeger(&search).await), found(&[1]));
    let trace =
        harness.jaeger(&format!("/api/traces/{}?end={end}&start={start}", trace_id(1))).await;
    assert_eq!(trace["data"].as_array().unwrap().len(), 1, "Grafana reads data[0]");
    let millis = BEGIN / 1_000_000;
    let dependencies = harness
        .jaeger(&format!("/api/dependencies?endTs={}&lookback=3600000", millis + 1_000))
        .await;
    assert_eq!(
        dependencies["data"][0],
        json!({"parent": "shop", "child": "payment", "callCount": 1})
    );
    assert_eq!(dependencies["errors"], Json::Null, "Grafana takes anything else for a failure");
    assert_eq!(harness.jaeger("/api/v3/services").await["services"], json!(["payment", "shop"]));
    let operations = harness.jaeger("/api/v3/operations?service=shop").await;
    assert_eq!(
        operations["operations"][0],
        json!({"name": "POST /checkout", "spanKind": "server"})
    );
    // Grafana does not encode the times.
    let times = "query.start_time_min=2026-11-20T08:00:00+01:00&query.start_time_max=2026-11-20T09:00:00.5Z";
    let search = format!("/api/v3/traces?query.duration_min=1ms&query.service_name=shop&{times}");
    assert_eq!(
        harness.jaeger(&search).await["result"]["resourceSpans"].as_array().unwrap().len(),
        2
    );
    let times = "start_time=2026-11-20T08:00:00Z&end_time=2026-11-20T09:00:00.5Z";
    let trace = harness.jaeger(&format!("/api/v3/traces/{}?{times}", trace_id(1))).await;
    assert_eq!(trace["result"]["resourceSpans"].as_array().unwrap().len(), 2);
}

/// Formats the parts of a span that Jaeger's UI draws, for comparison; ids of up to 16 digits are
/// padded.
fn drawn(trace: &Json, span: &Json) -> String {
    let padded = |id: &Json| {
        let id = id.as_str().unwrap_or_default();
        format!("{id:0>width$}", width = if id.len() > 16 { 32 } else { 16 })
    };
    let mut references: Vec<String> = span["references"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|reference| {
            let ids = (padded(&reference["traceID"]), padded(&reference["spanID"]));
            format!("{}.{}.{}", text(&reference["refType"]), ids.0, ids.1)
        })
        .collect();
    references.sort();
    let tags = |tags: &Json| {
        // The status and the scope have tags of their own.
        let told =
            |key: &str| key.starts_with("otel.") || key == "error" || key == "w3c.tracestate";
        let mut tags: Vec<String> = tags
            .as_array()
            .into_iter()
            .flatten()
            .filter(|tag| !told(tag["key"].as_str().unwrap()))
            .map(|tag| format!("{}={}", text(&tag["key"]), tag["value"]))
            .collect();
        tags.sort();
        tags.dedup();
        tags.join(",")
    };
    let process = &trace["processes"][text(&span["processID"])];
    let failed = span["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|tag| tag["key"] == "error" && (tag["value"] == true || tag["value"] == "true"));
    format!(
        "{} {} at {} for {} of {} ({}) with {} refers to {references:?}, {} logs, failed {failed}",
        padded(&span["spanID"]),
        span["operationName"],
        span["startTime"],
        span["duration"],
        process["serviceName"],
        tags(&process["tags"]),
        tags(&span["tags"]),
        span["logs"].as_array().map_or(0, Vec::len),
    )
}

/// Real traces of Jaeger, read by `tidings import`'s reader and returned by the API, are drawn
/// alike.
#[tokio::test]
async fn real_traces_of_jaeger_come_back() {
    let name = "jaeger-traces-deathstarbench/social-network-traces.json";
    let Some(bytes) = corpus(name) else { return };
    let harness = Harness::new().await;
    harness.send_request(tidings_proto::jaeger::decode_json(&bytes).unwrap()).await;
    let document: Json = serde_json::from_slice(&bytes).unwrap();
    for trace in document["data"].as_array().unwrap() {
        let id = text(&trace["traceID"]);
        let answer = harness.jaeger(&format!("/api/traces/{id}?raw=true")).await;
        let lines = |trace: &Json| {
            let spans = trace["spans"].as_array().unwrap().iter();
            let mut lines: Vec<String> = spans.map(|span| drawn(trace, span)).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&answer["data"][0]), lines(trace), "{id}");
    }
}

/// The bodies of v3 that Jaeger's own tests expect.
#[tokio::test]
async fn jaegers_snapshots_of_v3_hold() {
    let Some(expected) = corpus("jaeger-api-and-converters/apiv3-FindTraces.json") else { return };
    let harness = Harness::new().await;
    let mut bare =
        request([span(1, 2, "", "foobar").kind(SpanKind::Server).status(SpanStatus::Error, "")]);
    let group = &mut bare.resource_spans[0];
    group.resource = None;
    group.scope_spans[0].scope = None;
    group.scope_spans[0].schema_url = String::new();
    let span = &mut group.scope_spans[0].spans[0];
    span.trace_id = 1_u128.to_be_bytes().to_vec();
    (span.start_time_unix_nano, span.end_time_unix_nano) = (0, 0);
    harness.send_request(bare).await;
    let expected: Json = serde_json::from_slice(&expected).unwrap();
    assert_eq!(harness.jaeger("/api/v3/traces/1").await, expected);
}

#[tokio::test]
async fn a_search_that_ended_at_its_row_budget_says_so() {
    let why = "the search ended at its row budget";
    let window = "query.startTimeMin=2026-11-20T07:00:00Z&query.startTimeMax=2026-11-20T09:00:00Z";
    let v1 = "/api/traces?service=shop&minDuration=5s";
    let v3 = format!("?query.serviceName=shop&query.durationMin=5s&{window}");
    let marks = async |harness: &Harness, path: &str| {
        let request = Request::get(format!("/jaeger{path}")).body(Body::empty()).unwrap();
        let (status, headers, _) = harness.ask(request).await;
        let mark = headers.get("tidings-incomplete");
        (status.as_u16(), mark.map(|mark| mark.to_str().unwrap().to_owned()).unwrap_or_default())
    };

    let short = Harness::slow_before_quick(5).await;
    let answer = short.jaeger(v1).await;
    assert_eq!(ids(&answer), found(&[]));
    assert!(text(&answer["errors"][0]["msg"]).starts_with(why), "{answer}");
    let (status, message) = short.v3_error(&format!("/api/v3/traces{v3}")).await;
    assert_eq!((status, message.contains(why)), (404, true), "{message}");
    for (path, status) in [("traces", 404), ("trace-summaries", 200)] {
        let (answered, mark) = marks(&short, &format!("/api/v3/{path}{v3}")).await;
        assert_eq!((answered, mark.starts_with(why)), (status, true), "{path}: {mark}");
    }
    // A search with enough rows is not incomplete, and neither is one that found its newest traces.
    let newest = short.jaeger("/api/traces?service=shop&limit=2").await;
    assert_eq!((ids(&newest), &newest["errors"]), (found(&[9, 8]), &Json::Null));
    let enough = Harness::slow_before_quick(1_000).await;
    let answer = enough.jaeger(v1).await;
    assert_eq!((ids(&answer), &answer["errors"]), (found(&[1]), &Json::Null));
    for path in ["traces", "trace-summaries"] {
        let answered = marks(&enough, &format!("/api/v3/{path}{v3}")).await;
        assert_eq!(answered, (200, String::new()), "{path}");
    }
}
