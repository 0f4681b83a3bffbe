//! Refused requests, and the reasons in their answers.

use axum::body::Body;
use http::Request;
use serde_json::Value as Json;
use tidings_query::QueryLimits;

use crate::harness::{Harness, checkout, span, trace_id};

#[tokio::test]
async fn every_bad_parameter_is_named() {
    let harness = Harness::new().await;
    let cases = [
        ("/traces", "limit", "0"),
        ("/traces", "limit", "1001"),
        ("/traces", "limit", "-1"),
        ("/traces", "limit", "ten"),
        ("/traces", "status", "broken"),
        ("/traces", "kind", "sideways"),
        ("/traces", "minDuration", "fast"),
        ("/traces", "minDuration", "-1s"),
        ("/traces", "maxDuration", "1parsec"),
        ("/traces", "start", "yesterday"),
        ("/traces", "end", "2026-02-30T00:00:00Z"),
        ("/traces", "attribute", "=value"),
        ("/traces", "cursor", "bogus"),
        ("/traces", "nonsense", "1"),
        ("/traces", "Service", "shop"),
        ("/logs", "traceId", "12"),
        ("/logs", "spanId", "xyz"),
        ("/logs", "severity", "loud"),
        ("/logs", "severity", "25"),
        ("/logs", "order", "sideways"),
        ("/logs", "cursor", "bogus"),
        ("/logs", "limit", "1001"),
        ("/logs", "start", "x"),
        ("/logs", "operation", "x"),
        ("/services", "limit", "0"),
        ("/services", "start", "x"),
        ("/services", "service", "shop"),
        ("/operations", "end", "x"),
        ("/attributes/keys", "limit", "1e3"),
        ("/attributes/values", "limit", "x"),
        ("/resolve", "q", "x"),
        ("/transactions/x", "limit", "1"),
        ("/traces", "limit", ""),
        ("/traces", "limit", "+5"),
        ("/traces", "limit", "05"),
        ("/traces", "service", ""),
        ("/traces", "status", "ERROR"),
        ("/traces", "q", ""),
        ("/logs", "traceId", ""),
        ("/logs", "traceId", "00000000000000000000000000000000"),
        ("/logs", "severity", "09"),
        ("/red", "by", "service,+kind"),
        ("/red", "histogram", "yes"),
        ("/heatmap", "step", "1us"),
        ("/graph", "around", ""),
        ("/graph", "depth", "0"),
        ("/graph", "fold", "0"),
        ("/graph", "failing", "101"),
        ("/transactions/x", "wait", "61s"),
        ("/transactions/x", "wait", "99999999999999999999"),
        ("/transactions", "above", "p101"),
    ];
    for (path, parameter, value) in cases {
        let separator = if path == "/attributes/values" { "?key=k&" } else { "?" };
        let asked = format!("{path}{separator}{parameter}={value}");
        let (status, problem) = harness.problem(&asked).await;
        assert_eq!(status, 400, "{asked}: {problem}");
        assert_eq!(problem["type"], "/problems/invalid-parameter", "{asked}");
        assert_eq!(problem["parameter"], parameter, "{asked}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(parameter), "{asked}: {problem}");
    }
}

#[tokio::test]
async fn parameters_that_contradict_each_other_are_named() {
    let harness = Harness::new().await;
    let long = "x".repeat(5_000);
    let many = "service=a&".repeat(33);
    let cases = [
        ("/traces?start=5&end=5", "end"),
        ("/traces?minDuration=2s&maxDuration=1s", "maxDuration"),
        ("/traces?limit=1&limit=2", "limit"),
        ("/traces?service=%ff%fe", "service"),
        ("/traces?service=%zz", "service"),
        ("/traces?service=shop%2", "service"),
        ("/attributes/values", "key"),
        ("/attributes/values?key=", "key"),
        ("/names", "text"),
        ("/resolve", "text"),
        (&format!("/traces?service={long}"), "service"),
        (&format!("/traces?{many}"), "service"),
    ];
    for (asked, parameter) in cases {
        let (status, problem) = harness.problem(asked).await;
        assert_eq!((status, &problem["parameter"]), (400, &Json::from(parameter)), "{problem}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "a", "x").at(0, 1), span(2, 1, "a", "x").at(5, 6)]).await;
    let page = harness.get("/traces?limit=1").await;
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(
        harness.get(&format!("/traces?cursor={cursor}")).await["traces"][0]["traceId"],
        trace_id(1)
    );
    let (status, problem) = harness.problem(&format!("/logs?cursor={cursor}")).await;
    assert_eq!((status, &problem["parameter"]), (400, &Json::from("cursor")));
}

#[tokio::test]
async fn a_cursor_of_another_search_is_refused() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "a", "x").at(0, 1), span(2, 1, "a", "x").at(5, 6)]).await;
    let search = "service=a&service=b&start=0";
    for list in ["/traces?limit=1&operation=x", "/traces?limit=1&q={}"] {
        let search = if list.contains("q=") { "start=0" } else { search };
        let page = harness.get(&format!("{list}&{search}")).await;
        let cursor = page["nextCursor"].as_str().unwrap();
        let next = |more: &str| format!("{list}&{more}&cursor={cursor}");
        let same = match search {
            "start=0" => "start=0",
            _ => "start=0&service=b&service=a",
        };
        let page = harness.get(&next(same)).await;
        assert_eq!(page["traces"][0]["traceId"], trace_id(1), "{list}");
        for other in ["", "start=0", "start=0&service=a", "start=1&service=a&service=b"] {
            if other == search {
                continue;
            }
            let (status, problem) = harness.problem(&next(other)).await;
            let found = (status, &problem["parameter"]);
            assert_eq!(found, (400, &Json::from("cursor")), "{list} {other}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_problems_too() {
    let harness = Harness::new().await;
    for path in ["", "/", "/nowhere", "/traces/", "/traces/x/y/z", "/../x", "/services/x"] {
        let (status, problem) = harness.problem(path).await;
        assert_eq!(
            (status, &problem["type"]),
            (404, &Json::from("/problems/no-such-path")),
            "{path}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = Request::builder().method(method).uri("/api/v1/traces");
        let (status, headers, body) = harness.ask(request.body(Body::empty()).unwrap()).await;
        let problem: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), &problem["status"]), (405, &Json::from(405)));
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["allow"], "GET,HEAD");
    }
}

#[tokio::test]
async fn a_wrong_method_is_named_in_the_form_of_the_api_that_has_the_path() {
    let harness = Harness::new().await;
    for (path, allowed, form) in [
        ("/prometheus/api/v1/query", "GET,HEAD,POST", r#""error":"DELETE is not allowed on"#),
        ("/prometheus/api/v1/metadata", "GET,HEAD", r#""errorType":"bad_data""#),
        ("/jaeger/api/services", "GET,HEAD", "DELETE is not allowed on /jaeger/api/services\n"),
        ("/tempo/api/search", "GET,HEAD", "DELETE is not allowed on /api/search; use GET"),
    ] {
        let request = Request::delete(path).body(Body::empty()).unwrap();
        let (status, headers, body) = harness.ask(request).await;
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(
            (status.as_u16(), &headers["allow"]),
            (405, &allowed.parse().unwrap()),
            "{path}"
        );
        assert!(body.contains(form), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_trace_that_is_too_large_points_to_its_skeleton() {
    let limits = QueryLimits { view_spans_max: 4, skeleton_spans_max: 5, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send(checkout(1)).await;
    let id = trace_id(1);
    let (status, problem) = harness.problem(&format!("/traces/{id}")).await;
    assert_eq!((status, &problem["type"]), (422, &Json::from("/problems/too-large")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("/skeleton") && !detail.contains('{'), "{detail}");
    harness.get(&format!("/traces/{id}/skeleton")).await;
    harness.send([span(1, 99, "shop", "one more").parent(1)]).await;
    assert_eq!(harness.problem(&format!("/traces/{id}/skeleton")).await.0, 422);
}

#[tokio::test]
async fn a_question_that_takes_too_long_times_out() {
    let limits = QueryLimits { deadline: std::time::Duration::ZERO, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let (status, problem) = harness.problem("/traces").await;
    assert_eq!((status, &problem["type"]), (504, &Json::from("/problems/timed-out")));
}

#[tokio::test]
async fn a_full_queue_asks_to_come_back() {
    let limits = QueryLimits { running_max: 0, waiting_max: 0, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let (status, headers, _) = harness.bytes("/traces").await;
    assert_eq!((status.as_u16(), &headers["retry-after"]), (503, &http::HeaderValue::from(1)));
}
