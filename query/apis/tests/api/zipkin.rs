//! Zipkin's v2 API: shapes, units, errors and the cases of Zipkin's own suites.

use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tidings_proto::{
    otlp::{SpanKind, StatusCode},
    zipkin,
};
use tidings_query::QueryLimits;
use tower::ServiceExt;

use crate::harness::{BEGIN, Harness, checkout, span, text, trace_id};

/// Start of the test data in milliseconds.
const BEGIN_MILLIS: u64 = BEGIN / 1_000_000;

impl Harness {
    async fn zipkin_raw(&self, path: &str) -> (u16, HeaderMap, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.zipkin.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn zipkin(&self, path: &str) -> Json {
        let (status, headers, body) = self.zipkin_raw(path).await;
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (200, "application/json"),
            "{path}: {body}"
        );
        serde_json::from_str(&body).unwrap()
    }

    async fn zipkin_error(&self, path: &str) -> (u16, String) {
        let (status, headers, body) = self.zipkin_raw(path).await;
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8", "{path}");
        (status, body)
    }

    /// Sends spans as a reporter does, in one request each.
    async fn report(&self, spans: &[Json]) {
        for span in spans {
            let spans = zipkin::decode_json(json!([span]).to_string().as_bytes()).unwrap();
            let (request, rejected) = zipkin::to_otlp(spans);
            assert_eq!(rejected, []);
            self.send_request(request).await;
        }
    }

    /// Returns the trace ids found in the test data.
    async fn zipkin_found(&self, query: &str) -> Vec<String> {
        let path = format!("/api/v2/traces?endTs={}&lookback=60000&{query}", BEGIN_MILLIS + 30_000);
        let found = self.zipkin(&path).await;
        let traces = found.as_array().unwrap().iter();
        traces.map(|spans| text(&spans[0]["traceId"])).collect()
    }
}

fn sorted(spans: &Json) -> Vec<String> {
    let mut spans: Vec<String> = spans.as_array().unwrap().iter().map(Json::to_string).collect();
    spans.sort();
    spans
}

#[tokio::test]
async fn answers_have_zipkins_shapes() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let end = BEGIN_MILLIS + 1_000;
    for (name, path) in [
        ("services", "/api/v2/services".to_owned()),
        ("spans", "/api/v2/spans?serviceName=payment".to_owned()),
        ("remote_services", "/api/v2/remoteServices?serviceName=payment".to_owned()),
        ("traces", format!("/api/v2/traces?serviceName=shop&endTs={end}")),
        ("trace", format!("/api/v2/trace/{}", trace_id(1))),
        ("dependencies", format!("/api/v2/dependencies?endTs={end}")),
        ("keys", "/api/v2/autocompleteKeys".to_owned()),
        ("values", "/api/v2/autocompleteValues?key=order.id".to_owned()),
        ("config", "/config.json".to_owned()),
    ] {
        insta::assert_json_snapshot!(name, harness.zipkin(&path).await);
    }
    for below in ["", "/actuator", "/zipkin", "/zipkin/actuator"] {
        let (_, headers, body) = harness.zipkin_raw(&format!("{below}/health")).await;
        assert_eq!(headers["content-type"], "application/json; charset=utf-8", "{below}");
        assert!(body.starts_with(r#"{"status":"UP","zipkin":"#), "{below}: {body}");
        let info = harness.zipkin(&format!("{below}/info")).await;
        assert!(info["zipkin"]["version"].is_string(), "{below}: {info}");
    }
}

#[tokio::test]
async fn nothing_stored_is_an_empty_list() {
    let harness = Harness::new().await;
    for path in [
        "/api/v2/services",
        "/api/v2/spans?serviceName=x",
        "/api/v2/spans?serviceName=",
        "/api/v2/remoteServices?serviceName=x",
        "/api/v2/traces",
        "/api/v2/traces?serviceName=x",
        "/api/v2/dependencies?endTs=1",
        "/api/v2/traceMany?traceIds=1,2",
        "/api/v2/autocompleteKeys",
        "/api/v2/autocompleteValues?key=x",
    ] {
        assert_eq!(harness.zipkin(path).await, json!([]), "{path}");
        assert_eq!(harness.zipkin(&format!("/zipkin{path}")).await, json!([]), "under /zipkin");
    }
}

#[tokio::test]
async fn long_names_and_values_are_not_offered() {
    let harness = Harness::new().await;
    let [short, long] = [1_024, 1_025].map(|length| "x".repeat(length));
    harness
        .send([(1, &short), (2, &long)].map(|(id, text)| {
            span(id, id, "shop", "call")
                .kind(SpanKind::Client)
                .attribute("blob", text.as_str())
                .attribute("peer.service", text.as_str())
        }))
        .await;
    for path in ["/api/v2/autocompleteValues?key=blob", "/api/v2/remoteServices?serviceName=shop"] {
        assert_eq!(harness.zipkin(path).await, json!([short]), "{path}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_in_zipkins_words() {
    let harness = Harness::new().await;
    let long = "a".repeat(33);
    for (path, message) in [
        ("/api/v2/traces?endTs=0", "endTs <= 0"),
        ("/api/v2/traces?limit=0", "limit <= 0"),
        ("/api/v2/traces?limit=-1", "limit <= 0"),
        ("/api/v2/traces?lookback=0", "lookback <= 0"),
        ("/api/v2/traces?minDuration=0", "minDuration <= 0"),
        ("/api/v2/traces?maxDuration=0", "maxDuration is only valid with minDuration"),
        ("/api/v2/traces?minDuration=2&maxDuration=1", "maxDuration < minDuration"),
        ("/api/v2/traces?limit=x", "Can't convert \"x\" of limit to a number"),
        ("/api/v2/traces?endTs=1.5", "Can't convert \"1.5\" of endTs to a number"),
        ("/api/v2/traces?minDuration=5ms", "Can't convert \"5ms\" of minDuration to a number"),
        (
            "/api/v2/traces?endTs=99999999999999999999",
            "Can't convert \"99999999999999999999\" of endTs to a number",
        ),
        ("/api/v2/spans", "Mandatory parameter serviceName is missing"),
        ("/api/v2/remoteServices", "Mandatory parameter serviceName is missing"),
        ("/api/v2/dependencies", "Mandatory parameter endTs is missing"),
        ("/api/v2/dependencies?endTs=-1", "endTs <= 0"),
        ("/api/v2/dependencies?endTs=1&lookback=0", "lookback <= 0"),
        ("/api/v2/autocompleteValues", "Mandatory parameter key is missing"),
        ("/api/v2/traceMany", "traceIds parameter is empty"),
        ("/api/v2/traceMany?traceIds=", "traceIds parameter is empty"),
        (
            "/api/v2/traceMany?traceIds=a",
            "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace",
        ),
        ("/api/v2/traceMany?traceIds=a,000a", "redundant traceId: 000a"),
        (
            "/api/v2/traceMany?traceIds=abcd,0e8b46e1-81b",
            "0e8b46e1-81b should be lower-hex encoded with no prefix",
        ),
        ("/api/v2/trace/ABC", "ABC should be lower-hex encoded with no prefix"),
        ("/api/v2/trace/0", "traceId is all zeros"),
        ("/api/v2/trace/%20", "traceId is empty"),
        (&format!("/api/v2/trace/{long}"), "traceId.length > 32"),
    ] {
        assert_eq!(harness.zipkin_error(path).await, (400, message.to_owned()), "{path}");
    }
    for path in
        ["/", "/zipkin", "/zipkin/", "/zipkin/traces/1", "/api/v2/nonsense", "/api/v1/traces"]
    {
        assert_eq!(harness.zipkin_error(path).await.0, 404, "{path}");
    }
    let huge = format!("/api/v2/traces?endTs={0}&lookback={0}&limit={0}", i64::MAX);
    assert_eq!(harness.zipkin(&huge).await, json!([]), "as far as numbers go");
}

#[tokio::test]
async fn ids_are_strict_and_normalised() {
    let harness = Harness::new().await;
    let id = |trace: &str| json!({"traceId": trace, "id": "1", "timestamp": 5, "localEndpoint": {"serviceName": "a"}});
    harness
        .report(&[id("7180c278b62e8f6a216a2aea45d08fc9"), id("216a2aea45d08fc9"), id("a")])
        .await;
    for (path, expected) in [
        ("7180c278b62e8f6a216a2aea45d08fc9", "7180c278b62e8f6a216a2aea45d08fc9"),
        ("7180c278b62e8f6a216a2aea45d08fc9%20", "7180c278b62e8f6a216a2aea45d08fc9"),
        ("216a2aea45d08fc9", "216a2aea45d08fc9"),
        ("0000000000000000216a2aea45d08fc9", "216a2aea45d08fc9"),
        ("a", "000000000000000a"),
        ("000000000000000a", "000000000000000a"),
    ] {
        let spans = harness.zipkin(&format!("/api/v2/trace/{path}")).await;
        assert_eq!(spans.as_array().unwrap().len(), 1, "{path}");
        assert_eq!(spans[0]["traceId"], expected, "{path}");
    }
    for (path, name) in
        [("b", "000000000000000b"), ("1".repeat(17).as_str(), "00000000000000011111111111111111")]
    {
        let error = harness.zipkin_error(&format!("/api/v2/trace/{path}")).await;
        assert_eq!(error, (404, format!("{name} not found")));
    }
    let many = harness.zipkin("/api/v2/traceMany?traceIds=216a2aea45d08fc9,abcd,a").await;
    let ids: Vec<&Json> =
        many.as_array().unwrap().iter().map(|spans| &spans[0]["traceId"]).collect();
    assert_eq!(ids, ["216a2aea45d08fc9", "000000000000000a"], "unknown ones are left out");
}

#[tokio::test]
async fn parts_are_joined_in_one_trace_and_raw_in_lists() {
    let harness = Harness::new().await;
    let micros = BEGIN / 1_000;
    let first = json!({"traceId": "000000000000000a", "id": "0000000000000001", "kind": "CLIENT", "name": "get", "timestamp": micros});
    let late = json!({"traceId": "000000000000000a", "id": "0000000000000001", "kind": "CLIENT", "duration": 7, "tags": {"a": "b"}});
    harness.report(&[late.clone(), first.clone()]).await;
    let mut whole = first.clone();
    whole["duration"] = 7.into();
    whole["tags"] = late["tags"].clone();
    assert_eq!(harness.zipkin("/api/v2/trace/a").await, json!([whole]));
    let raw = sorted(&json!([first, late]));
    assert_eq!(sorted(&harness.zipkin("/api/v2/trace/a?raw").await), raw);
    let listed = harness.zipkin(&format!("/api/v2/traces?endTs={}", BEGIN_MILLIS + 1)).await;
    assert_eq!(sorted(&listed[0]), raw);
    let many = harness.zipkin("/api/v2/traceMany?traceIds=a,b").await;
    assert_eq!(sorted(&many[0]), raw);
}

#[tokio::test]
async fn names_are_in_lower_case_and_matched_so() {
    let harness = Harness::new().await;
    let at = |id: u64, service: &str, name: &str| {
        span(id, 1, service, name).kind(SpanKind::Client).attribute("peer.service", "DB")
    };
    harness
        .send([at(1, "Shop", "GET /Cart"), at(2, "shop", "get /cart"), at(3, "ÄRGER", "x")])
        .await;
    assert_eq!(harness.zipkin("/api/v2/services").await, json!(["shop", "ärger"]));
    for service in ["shop", "SHOP"] {
        let path = format!("serviceName={service}");
        assert_eq!(harness.zipkin(&format!("/api/v2/spans?{path}")).await, json!(["get /cart"]));
        assert_eq!(harness.zipkin(&format!("/api/v2/remoteServices?{path}")).await, json!(["db"]));
        for query in [
            "",
            "&spanName=all",
            "&spanName=GET+/CART",
            "&remoteServiceName=Db",
            "&annotationQuery=host.name",
        ] {
            let mut found = harness.zipkin_found(&format!("{path}{query}")).await;
            found.sort();
            assert_eq!(found, [trace_id(1), trace_id(2)], "{query}");
        }
    }
    assert_eq!(harness.zipkin_found("serviceName=%C3%A4rger").await, [trace_id(3)]);
    let mut every = harness.zipkin_found("serviceName=").await;
    every.sort();
    assert_eq!(every, [trace_id(1), trace_id(2), trace_id(3)]);
    assert_eq!(harness.zipkin_found("serviceName=shop&spanName=x").await, Vec::<String>::new());
}

#[tokio::test]
async fn names_may_be_cached_when_there_are_several_services() {
    let harness = Harness::new().await;
    let cached = "private, max-age=300, must-revalidate";
    let control = async |path: &str| {
        let (_, headers, _) = harness.zipkin_raw(path).await;
        headers["cache-control"].to_str().unwrap().to_owned()
    };
    harness.send((1..4).map(|n| span(n, 1, &format!("s{n}"), "o"))).await;
    assert_eq!(control("/api/v2/services").await, "no-store");
    assert_eq!(control("/api/v2/spans?serviceName=s1").await, "no-store");
    harness.send([span(4, 1, "s4", "o")]).await;
    assert_eq!(control("/api/v2/services").await, cached);
    assert_eq!(control("/api/v2/spans?serviceName=s1").await, cached);
    assert_eq!(control("/api/v2/remoteServices?serviceName=s1").await, cached);
    assert_eq!(control("/api/v2/autocompleteKeys").await, cached);
}

#[tokio::test]
async fn names_that_are_kept_are_of_one_client_and_of_one_tenant() {
    let harness = Harness::new().await;
    harness.send((1..5).map(|n| span(n, 1, &format!("s{n}"), "o"))).await;
    for path in [
        "/api/v2/services",
        "/api/v2/spans?serviceName=s1",
        "/api/v2/remoteServices?serviceName=s1",
        "/api/v2/autocompleteKeys",
        "/zipkin/api/v2/services",
    ] {
        let (_, headers, _) = harness.zipkin_raw(path).await;
        let control = headers["cache-control"].to_str().unwrap();
        assert!(control.starts_with("private, "), "{path}: {control}");
        let values = headers.get_all("vary").iter().map(|value| value.to_str().unwrap());
        let names: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        for name in ["authorization", "x-api-key", "x-scope-orgid", "cookie"] {
            assert!(names.contains(&name), "{path}: {names:?}");
        }
    }
}

#[tokio::test]
async fn the_newest_traces_are_found_however_many_match() {
    let harness = Harness::new().await;
    for from in (0..600_u64).step_by(100) {
        let traces = from..from + 100;
        let spans = traces
            .map(|n| span(n + 1, 1, "shop", "o").at(n, n + 5).attribute("half", (n % 2) as i64));
        harness.send(spans).await;
    }
    let found = harness.zipkin_found("serviceName=shop&limit=3").await;
    assert_eq!(found, [trace_id(600), trace_id(599), trace_id(598)]);
    let found = harness.zipkin_found("annotationQuery=half%3D0&limit=2").await;
    assert_eq!(found, [trace_id(599), trace_id(597)]);
    let found =
        harness.zipkin_found("annotationQuery=half%3D0+and+host.name%3Dshop-1&limit=1000").await;
    assert_eq!(found.len(), 300);
    let found = harness.zipkin_found("limit=1&minDuration=5000&maxDuration=5000").await;
    assert_eq!(found, [trace_id(600)]);
    assert_eq!(harness.zipkin_found("minDuration=5001").await, Vec::<String>::new());
    // Only the oldest trace meets the condition, and no index covers it.
    harness.send([span(1_000, 1, "shop", "o").at(0, 5).exception("E", "m")]).await;
    let path = format!(
        "/api/v2/traces?endTs={}&lookback=60000&annotationQuery=nobody+has+this",
        BEGIN_MILLIS + 30_000
    );
    assert_eq!(harness.zipkin(&path).await, json!([]));
}

#[tokio::test]
async fn traces_are_chosen_by_when_they_began() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "a", "root").at(1_000, 2_000),
            span(1, 2, "b", "child").at(5_000, 6_000).parent(1).attribute("k", "v"),
            span(2, 1, "b", "early").at(0, 10),
        ])
        .await;
    for (end, lookback, query, expected) in [
        (1_000, 1, "", vec![1]),
        (1_000, 1_000, "", vec![1, 2]),
        (999, 1_000, "", vec![2]),
        (5_000, 1_000, "annotationQuery=k%3Dv", vec![]),
        (1_500, 1_000, "annotationQuery=k%3Dv", vec![1]),
        (1_500, 1_000, "serviceName=b", vec![1]),
    ] {
        let path =
            format!("/api/v2/traces?endTs={}&lookback={lookback}&{query}", BEGIN_MILLIS + end);
        let found = harness.zipkin(&path).await;
        let found: Vec<String> =
            found.as_array().unwrap().iter().map(|spans| text(&spans[0]["traceId"])).collect();
        let expected: Vec<String> = expected.into_iter().map(trace_id).collect();
        assert_eq!(found, expected, "ms: {path}");
    }
}

#[tokio::test]
async fn calls_are_linked_in_a_range_of_milliseconds() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let micros = BEGIN / 1_000;
    harness
        .report(&[
            json!({"traceId": "a", "id": "1", "kind": "CLIENT", "timestamp": micros, "localEndpoint": {"serviceName": "web"}}),
            json!({"traceId": "a", "id": "1", "kind": "SERVER", "shared": true, "localEndpoint": {"serviceName": "app"}, "tags": {"error": ""}}),
        ])
        .await;
    let link = |parent: &str, child: &str| json!({"parent": parent, "child": child, "callCount": 1, "errorCount": 1});
    let (shop, web) = (link("shop", "payment"), link("web", "app"));
    for (end, lookback, expected) in
        [(100, 1_000, vec![&shop, &web]), (0, 1, vec![&web]), (1_000_000, 1_000, vec![])]
    {
        let path = format!("/api/v2/dependencies?endTs={}&lookback={lookback}", BEGIN_MILLIS + end);
        assert_eq!(harness.zipkin(&path).await, json!(expected), "{path}");
    }
}

#[tokio::test]
async fn answers_are_bounded_and_say_so() {
    let limits = QueryLimits { view_spans_max: 12, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for trace in 1..=4 {
        harness.send(checkout(trace)).await;
    }
    harness.send((1..=13).map(|id| span(9, id, "large", "o"))).await;
    let path = format!("/api/v2/traces?endTs={}", BEGIN_MILLIS + 1_000);
    let (status, headers, body) = harness.zipkin_raw(&path).await;
    assert_eq!(status, 200);
    assert_eq!(headers["tidings-incomplete"], "there is more than fits into one answer");
    assert_eq!(serde_json::from_str::<Json>(&body).unwrap().as_array().unwrap().len(), 2);
    let (status, message) = harness.zipkin_error(&format!("/api/v2/trace/{}", trace_id(9))).await;
    assert_eq!(status, 422);
    assert!(message.contains("12 spans"), "{message}");
}

#[tokio::test]
async fn a_search_that_ended_at_its_row_budget_says_so() {
    for (rows_max, expected) in [(5, 0), (1_000, 1)] {
        let harness = Harness::slow_before_quick(rows_max).await;
        for service in ["", "&serviceName=shop", "&serviceName=nobody"] {
            let end = BEGIN_MILLIS + 60_000;
            let path = format!("/api/v2/traces?endTs={end}&minDuration=5000000{service}");
            let (status, headers, body) = harness.zipkin_raw(&path).await;
            assert_eq!(status, 200);
            let found = serde_json::from_str::<Json>(&body).unwrap().as_array().unwrap().len();
            let expected = if service.ends_with("nobody") { 0 } else { expected };
            assert_eq!(found, expected, "{path}");
            let mark = headers.get("tidings-incomplete").map(|mark| mark.to_str().unwrap());
            let is_marked = mark.is_some_and(|mark| mark.contains("row budget"));
            assert_eq!(is_marked, rows_max == 5, "{path}: {mark:?}");
        }
    }
}

#[tokio::test]
async fn errors_of_otlp_count_as_errors_of_zipkin() {
    let harness = Harness::new().await;
    let failed = |id: u64, message: &str| span(id, 1, "s", "o").status(StatusCode::Error, message);
    harness
        .send([failed(1, "why"), failed(2, ""), span(3, 1, "s", "o").status(StatusCode::Ok, "")])
        .await;
    let mut found = harness.zipkin_found("serviceName=s&annotationQuery=error").await;
    found.sort();
    assert_eq!(found, [trace_id(1), trace_id(2)]);
    assert_eq!(harness.zipkin_found("annotationQuery=error%3Dwhy").await, [trace_id(1)]);
    assert_eq!(harness.zipkin_found("annotationQuery=otel.status_code%3DOK").await, [trace_id(3)]);
}

fn corpus(path: &str) -> Option<Json> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora");
    let Ok(bytes) = std::fs::read(format!("{root}/{path}")) else {
        eprintln!("left out: {path} is not here");
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn zipkins_cases_of_search_hold() {
    let Some(cases) = corpus("zipkin-query/search-cases.json") else { return };
    for case in cases.as_array().unwrap() {
        let harness = Harness::new().await;
        harness.report(case["spans"].as_array().unwrap()).await;
        for query in case["queries"].as_array().unwrap() {
            let params = query["params"].as_object().unwrap().iter();
            let params = params.map(|(key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), encoded);
                format!("{key}={value}")
            });
            let path = format!("/api/v2/traces?{}", params.collect::<Vec<_>>().join("&"));
            let found = harness.zipkin(&path).await;
            let mut found: Vec<String> =
                found.as_array().unwrap().iter().map(|spans| text(&spans[0]["traceId"])).collect();
            found.sort();
            assert_eq!(Json::from(found), query["expect_traces"], "{}: {path}", case["case"]);
        }
    }
}

#[tokio::test]
async fn zipkins_cases_of_merging_and_linking_hold_over_http() {
    if let Some(cases) = corpus("zipkin-trace-merge/cases.json") {
        for case in cases.as_array().unwrap().iter().filter(|case| case["expect"].is_array()) {
            let harness = Harness::new().await;
            harness.report(case["input"].as_array().unwrap()).await;
            let id = text(&case["input"][0]["traceId"]);
            let found = harness.zipkin(&format!("/api/v2/trace/{id}")).await;
            let expected = zipkin::decode_json(case["expect"].to_string().as_bytes()).unwrap();
            let (expected, _) = zipkin::to_otlp(expected);
            let expected =
                serde_json::to_value(zipkin::from_otlp(&expected).collect::<Vec<_>>()).unwrap();
            assert_eq!(sorted(&found), sorted(&expected), "{}", case["case"]);
        }
    }
    let Some(cases) = corpus("zipkin-dependency-linker/cases.json") else { return };
    for case in cases.as_array().unwrap().iter().filter(|case| case["kind"] == "trace") {
        let harness = Harness::new().await;
        let mut spans = case["spans"].as_array().unwrap().clone();
        for span in &mut spans {
            span["timestamp"] = (BEGIN / 1_000).into();
        }
        harness.report(&spans).await;
        let path = format!("/api/v2/dependencies?endTs={}&lookback=1000", BEGIN_MILLIS + 1);
        let found = harness.zipkin(&path).await;
        assert_eq!(sorted(&found), sorted(&case["expected_links"]), "{}", case["case"]);
    }
}

#[tokio::test]
async fn real_traces_come_back_whole() {
    for name in
        ["yelp", "ascend", "messaging", "skew", "smartthings-oauth-authorization", "zipkin2-client"]
    {
        let Some(spans) = corpus(&format!("zipkin-v2-traces/{name}.json")) else { continue };
        let spans = if spans.is_array() { spans } else { json!([spans]) };
        let harness = Harness::new().await;
        let sent = zipkin::decode_json(spans.to_string().as_bytes()).unwrap();
        let ids: std::collections::BTreeSet<String> =
            spans.as_array().unwrap().iter().map(|span| text(&span["traceId"])).collect();
        let (request, rejected) = zipkin::to_otlp(sent);
        assert_eq!(rejected, [], "{name}");
        let expected =
            serde_json::to_value(zipkin::from_otlp(&request).collect::<Vec<_>>()).unwrap();
        harness.send_request(request).await;
        let mut found = Vec::new();
        for id in ids {
            let trace = harness.zipkin(&format!("/api/v2/trace/{id}?raw=true")).await;
            found.extend(trace.as_array().unwrap().clone());
        }
        assert_eq!(sorted(&Json::from(found)), sorted(&expected), "{name}");
    }
}

/// The calls of Grafana's Zipkin data source, as its source code writes them.
#[tokio::test]
async fn grafanas_calls_are_answered() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    assert_eq!(harness.zipkin("/api/v2/services").await, json!(["payment", "shop"]));
    let spans = harness.zipkin("/api/v2/spans?serviceName=shop").await;
    assert_eq!(spans, json!(["post /checkout", "post /pay"]));
    let traces = harness.zipkin("/api/v2/traces?serviceName=shop&spanName=post+%2Fcheckout").await;
    assert_eq!(traces[0].as_array().unwrap().len(), 5);
    let trace = harness.zipkin(&format!("/api/v2/trace/{}", trace_id(1))).await;
    assert_eq!(trace.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn durations_of_spans_without_a_time_are_searched() {
    let harness = Harness::new().await;
    let local = json!({ "serviceName": "web" });
    let span = |trace: u64, id: u64, duration: u64| {
        json!({
            "traceId": format!("{trace:016x}"), "id": format!("{id:016x}"), "name": "get",
            "duration": duration, "localEndpoint": local,
        })
    };
    let timed = |trace: u64, duration: u64| {
        let mut span = span(trace, trace, duration);
        span["timestamp"] = (BEGIN_MILLIS * 1_000 + trace).into();
        span
    };
    harness
        .report(&[
            timed(1, 10),
            span(1, 11, 5_000),
            timed(2, 10),
            span(2, 12, 500),
            timed(9, 5_000),
        ])
        .await;
    let id = |id: u64| format!("{id:016x}");
    for (query, expected) in [
        ("minDuration=1000", vec![id(1), id(9)]),
        ("minDuration=1000&maxDuration=6000", vec![id(1), id(9)]),
        ("minDuration=6000", vec![]),
    ] {
        let mut found = harness.zipkin_found(query).await;
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
}
