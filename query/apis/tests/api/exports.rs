//! Exports of traces, in parts.

use prost::Message;
use tidings_proto::otlp::{ExportTraceServiceRequest, Span};
use tidings_query::QueryLimits;

use crate::harness::{Harness, SpanBuilder, span, trace_id};

/// Spans of three services in turn, several of which have the same start.
fn spans(count: u64) -> Vec<SpanBuilder> {
    let service = |n: u64| ["shop", "payment", "stock"][usize::try_from(n % 3).unwrap()];
    let spans = (0..count).map(|n| {
        let value = i64::try_from(n).unwrap();
        span(1, n + 1, service(n), "work").at(n / 10, n / 10 + 5).attribute("n", value)
    });
    spans.collect()
}

fn in_parts(spans: usize, bytes: usize) -> QueryLimits {
    QueryLimits {
        view_spans_max: 10,
        export_part_spans: spans,
        export_part_bytes: bytes,
        ..QueryLimits::default()
    }
}

async fn export(harness: &Harness, accept: &str) -> Vec<u8> {
    let asked = http::Request::get(format!("/api/v1/traces/{}/otlp", trace_id(1)));
    let asked = asked.header("accept", accept).body(axum::body::Body::empty()).unwrap();
    let (status, headers, body) = harness.ask(asked).await;
    assert_eq!((status.as_u16(), headers["content-type"].to_str().unwrap()), (200, accept));
    body
}

fn ids(request: &ExportTraceServiceRequest) -> Vec<&[u8]> {
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.as_slice()).collect()
}

#[tokio::test]
async fn a_trace_of_any_size_is_exported_in_parts_with_every_span_once() {
    for (part_spans, part_bytes, groups) in
        [(1_000, 4 << 20, 3), (50, 4 << 20, 20 * 3), (7, 1, 1_000)]
    {
        let harness = Harness::with_limits(in_parts(part_spans, part_bytes)).await;
        // Sent twice, half of it flushed, in reverse order.
        let mut sent = spans(1_000);
        harness.send(sent.clone()).await;
        harness.store.flush().await.unwrap();
        sent.reverse();
        harness.send(sent.clone()).await;
        let json = export(&harness, "application/json").await;
        let json: ExportTraceServiceRequest = serde_json::from_slice(&json).unwrap();
        let binary = export(&harness, "application/x-protobuf").await;
        assert_eq!(ExportTraceServiceRequest::decode(binary.as_slice()).unwrap(), json);
        assert_eq!(json.resource_spans.len(), groups, "parts of {part_spans}");
        let mut found = ids(&json);
        found.sort_unstable();
        let mut expected: Vec<&[u8]> = sent.iter().map(|sent| &*sent.span.span_id).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "parts of {part_spans}");
    }
}

#[tokio::test]
async fn an_export_depends_on_nothing_but_its_content() {
    let mut exports = Vec::new();
    for order in 0..3 {
        let harness = Harness::with_limits(in_parts(64, 3_000)).await;
        let mut sent = spans(500);
        if order == 1 {
            sent.reverse();
        }
        for some in sent.chunks(if order == 2 { 7 } else { 500 }) {
            harness.send(some.to_vec()).await;
        }
        exports.push(export(&harness, "application/json").await);
    }
    assert!(exports.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_span_larger_than_a_part_is_exported() {
    let harness = Harness::with_limits(in_parts(10, 1_000)).await;
    let large = span(1, 1, "shop", "large").attribute("text", "x".repeat(100_000));
    harness.send([large.clone(), span(1, 2, "shop", "small").parent(1)]).await;
    let body = export(&harness, "application/x-protobuf").await;
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    let spans: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
    assert_eq!(spans.len(), 2);
    assert_eq!(*spans[0], large.span);
}

#[tokio::test]
async fn a_trace_too_large_for_an_export_says_so() {
    let limits = QueryLimits { export_spans_max: 100, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    for _ in 0..3 {
        harness.send(spans(100)).await;
    }
    assert_eq!(export(&harness, "application/json").await[..18], *br#"{"resourceSpans":["#);
    harness.send(spans(101)).await;
    let (status, problem) = harness.problem(&format!("/traces/{}/otlp", trace_id(1))).await;
    assert_eq!(status, 422, "{problem}");
}

#[tokio::test]
async fn exports_that_nobody_reads_take_room_like_other_answers() {
    let limits = QueryLimits { unread_bytes_max: 44 << 20, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send(spans(10)).await;
    let ask = async || {
        let asked = http::Request::get(format!("/api/v1/traces/{}/otlp", trace_id(1)));
        let asked = asked.body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(harness.router.clone(), asked).await.unwrap()
    };
    let first = ask().await;
    assert_eq!((first.status().as_u16(), ask().await.status().as_u16()), (200, 503));
    drop(first);
    assert_eq!(ask().await.status(), 200);
}
