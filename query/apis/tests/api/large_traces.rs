//! Traces that are large, or seem large because their spans were sent repeatedly.

use axum::body::Body;
use http::Request;
use tidings_proto::otlp::{ExportTraceServiceRequest, SpanKind};
use tidings_query::QueryLimits;
use tidings_storage::{Clock, SystemClock};

use crate::harness::{Harness, SpanBuilder, request, span, text, trace_id};

const SPANS: u64 = 100_000;

/// A tree with ten children for each span, so five levels deep, of twenty services.
fn large(ids: std::ops::Range<u64>) -> ExportTraceServiceRequest {
    let spans = ids.map(|n| {
        let (service, name) = (format!("service-{}", n % 20), format!("operation {}", n % 200));
        let made = span(1, n + 1, &service, &name).at(n / 100, 2_000 - n / 100);
        let made: SpanBuilder =
            made.kind(SpanKind::Server).attribute("n", i64::try_from(n).unwrap());
        if n == 0 { made } else { made.parent((n - 1) / 10 + 1) }
    });
    request(spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_spans_are_given_in_seconds() {
    let harness = Harness::new().await;
    for start in (0..SPANS).step_by(10_000) {
        harness.send_request(large(start..start + 10_000)).await;
    }
    let id = trace_id(1);
    let (_, _, view) = harness.bytes(&format!("/traces/{id}")).await;
    assert!(String::from_utf8_lossy(&view).contains("skeleton"));
    for path in ["/skeleton", "/spans/00000000000186a0"] {
        let begin = SystemClock.instant();
        let (status, _, body) = harness.bytes(&format!("/traces/{id}{path}")).await;
        let took = begin.elapsed();
        assert_eq!(status, 200);
        eprintln!("{path}: {took:?}, {} bytes", body.len());
        // The bound allows for an unoptimised build on a busy machine; the benchmark measures the
        // real time.
        assert!(took.as_secs() < 20, "{path} took {took:?}");
    }
    let skeleton = harness.get(&format!("/traces/{id}/skeleton")).await;
    assert_eq!(skeleton["spans"]["spanId"].as_array().unwrap().len() as u64, SPANS);
    assert_eq!(skeleton["services"].as_array().unwrap().len(), 20);
    assert_eq!(skeleton["summary"]["state"], "completed");
}

#[tokio::test]
async fn repeated_spans_do_not_count_against_the_limits() {
    let limits =
        QueryLimits { view_spans_max: 300, skeleton_spans_max: 300, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    // A sender that retries with more spans each time, flushed in between.
    for sent in [50, 200, 300, 300] {
        harness.send_request(large(0..sent)).await;
        harness.store.flush().await.unwrap();
    }
    harness.send_request(large(250..300)).await;
    let id = trace_id(1);
    let view = harness.get(&format!("/traces/{id}")).await;
    assert_eq!(view["spanCount"], 300);
    assert_eq!(view["spans"][299]["attributes"].as_array().unwrap().len(), 1);
    assert_eq!(harness.get(&format!("/traces/{id}/skeleton")).await["summary"]["spanCount"], 300);
    harness.get(&format!("/traces/{id}/otlp")).await;
    harness.send_request(large(300..301)).await;
    assert_eq!(harness.problem(&format!("/traces/{id}")).await.0, 422);
}

#[tokio::test]
async fn a_trace_with_too_many_bytes_is_refused_or_reported_as_left_out() {
    let limits = QueryLimits { view_bytes_max: 512 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let long = |trace: u64, id: u64| {
        let attribute = format!("{id:0>32768}");
        span(trace, id, "shop", "call").at(id, id + 1).attribute("b", attribute.as_str())
    };
    harness.send((1..=20).map(|id| long(1, id))).await;
    harness.send((1..=2).map(|id| long(2, id))).await;
    let query = "%7B.b!=%22y%22%7D%7Ccount()%3E1";
    for flushed in [false, true] {
        if flushed {
            harness.store.flush().await.unwrap();
        }
        let (status, problem) = harness.problem(&format!("/traces/{}", trace_id(1))).await;
        assert_eq!(status, 422, "{problem}");
        assert!(text(&problem["detail"]).contains("skeleton"), "{problem}");
        harness.get(&format!("/traces/{}", trace_id(2))).await;
        harness.get(&format!("/traces/{}/skeleton", trace_id(1))).await;
        let found = harness.get(&format!("/traces?q={query}")).await;
        assert_eq!(found["searched"]["complete"], false, "{found}");
        assert_eq!(found["traces"].as_array().unwrap().len(), 1, "{found}");
        assert_eq!(text(&found["traces"][0]["traceId"]), trace_id(2));
        for (path, status) in [
            (format!("/tempo/api/traces/{}", trace_id(1)), 422),
            (format!("/tempo/api/traces/{}", trace_id(2)), 200),
            (format!("/tempo/api/v2/traces/{}?q=%7B%7D", trace_id(1)), 422),
            (format!("/jaeger/api/traces/{}", trace_id(1)), 422),
        ] {
            let asked = Request::get(&path).body(Body::empty()).unwrap();
            assert_eq!(harness.ask(asked).await.0.as_u16(), status, "{path}");
        }
    }
}

/// A page of three traces, one of which is enormous.
async fn crowded(limits: QueryLimits) -> Harness {
    let harness = Harness::with_limits(limits).await;
    harness
        .send([span(2, 1, "shop", "older").at(0, 1), span(3, 1, "shop", "newer").at(9, 10)])
        .await;
    for start in (0..30_000).step_by(10_000) {
        harness.send_request(large(start..start + 10_000)).await;
    }
    harness
}

#[tokio::test]
async fn a_search_gives_an_enormous_trace_a_summary_that_says_it_is_incomplete() {
    let limits = QueryLimits { page_spans_max: 20_000, ..QueryLimits::default() };
    let harness = crowded(limits).await;
    let mut visited = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness.get(&format!("/traces?limit=1{cursor}")).await;
        visited.push(text(&page["traces"][0]["traceId"]));
        let Some(next) = page.get("nextCursor") else { break };
        cursor = format!("&cursor={}", text(next));
    }
    assert_eq!(visited, [trace_id(3), trace_id(1), trace_id(2)]);
    let page = harness.get("/traces").await;
    let traces = page["traces"].as_array().unwrap();
    assert_eq!(traces.len(), 3);
    for (trace, complete) in traces.iter().zip([true, false, true]) {
        assert_eq!(trace["complete"], complete, "{trace}");
    }
    let spans = traces[1]["spanCount"].as_u64().unwrap();
    assert!((1_000..20_000).contains(&spans), "{spans}");
    assert_eq!(traces[1]["problemCount"], 0, "what was left out is not missing");
    assert_eq!(traces[0]["spanCount"], 1);
}

#[tokio::test]
async fn a_search_counts_repeated_spans_once() {
    let limits =
        QueryLimits { page_spans_max: 2_400, page_rows_max: 10_000, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for _ in 0..6 {
        harness.send_request(large(0..1_000)).await;
    }
    let page = harness.get("/traces?limit=1").await;
    assert_eq!(page["traces"][0]["spanCount"], 1_000);
    assert_eq!(page["traces"][0]["complete"], true);
    // Too many rows to read: the page is still answered.
    for _ in 0..6 {
        harness.send_request(large(0..1_000)).await;
    }
    let page = harness.get("/traces?limit=1").await;
    assert_eq!(page["traces"][0]["complete"], false);
}

#[tokio::test]
async fn several_enormous_traces_each_have_a_line() {
    let limits =
        QueryLimits { page_spans_max: 4_000, page_rows_max: 8_000, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for trace in 1..=8 {
        harness.send((0..3_000).map(|n| span(trace, n + 1, "shop", "work").at(trace, 50))).await;
    }
    let page = harness.get("/traces").await;
    let traces = page["traces"].as_array().unwrap();
    assert_eq!(traces.len(), 8);
    assert!(traces.iter().all(|trace| trace["complete"] == false), "{page}");
    let held: u64 = traces.iter().map(|trace| trace["spanCount"].as_u64().unwrap()).sum();
    assert!(held <= 4_000, "{held}");
}

#[tokio::test]
async fn a_transaction_of_an_enormous_trace_says_what_it_leaves_out() {
    let limits = QueryLimits { page_spans_max: 20_000, ..QueryLimits::default() };
    let harness = crowded(limits).await;
    let found = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert_eq!(found["complete"], false);
    assert_eq!(found["traces"][0]["complete"], false);
    assert!(found["missing"].to_string().contains("are added up here"), "{}", found["missing"]);
    assert!(!found["hops"].as_array().unwrap().is_empty());
    assert_eq!(harness.get(&format!("/transactions/{}", trace_id(2))).await["complete"], true);
}
