//! Requests that read, at the router of the query service: URLs, forms and bodies of gRPC.

use std::sync::{Arc, LazyLock};

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tidings_apis::router;
use tidings_proto::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, SpanKind,
};
use tidings_query::{QueryService, QuerySettings};
use tidings_storage::{Store, StoreSettings, SystemClock, TelemetryBatch};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[FuzzTarget { name: "http_reads", run: http_reads }];

/// 2026-11-20T08:00:00Z.
const BEGIN: u64 = 1_795_161_600_000_000_000;

/// A store with a trace and a log record, and the router over it.
struct ReadRouter {
    runtime: Runtime,
    router: Router,
    #[expect(dead_code, reason = "its folder is removed when it is dropped")]
    folder: TempDir,
}

static ROUTER: LazyLock<ReadRouter> = LazyLock::new(ReadRouter::open);

impl ReadRouter {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let router = runtime.block_on(async {
            let clock = Arc::new(SystemClock);
            let opened = Store::open(settings, Arc::clone(&clock) as _).await;
            let (store, _) = opened.expect("an empty folder can be opened");
            for batch in [spans(), log_record()] {
                store.append(batch).await.expect("a small batch is taken");
            }
            let settings = QuerySettings { search_rows_max: 1_000, ..QuerySettings::default() };
            router(QueryService::new(store, settings, clock))
        });
        Self { runtime, router, folder }
    }
}

fn resource() -> Option<Resource> {
    let attributes = vec![KeyValue::new("service.name", "shop")];
    Some(Resource { attributes, ..Resource::default() })
}

fn spans() -> TelemetryBatch {
    let span = |number: u64| Span {
        trace_id: 1_u128.to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: if number == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: format!("GET /{number}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: BEGIN + number,
        end_time_unix_nano: BEGIN + 100 - number,
        attributes: vec![
            KeyValue::new("order.id", "A-17"),
            KeyValue::new("http.status_code", 200_i64),
        ],
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (1..4).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }];
    TelemetryBatch::Traces { request: ExportTraceServiceRequest { resource_spans }, bytes: None }
}

fn log_record() -> TelemetryBatch {
    let record = LogRecord {
        time_unix_nano: BEGIN,
        severity_number: 17,
        body: Some("payment declined: card 17".into()),
        trace_id: 1_u128.to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    TelemetryBatch::Logs { request: ExportLogsServiceRequest { resource_logs }, bytes: None }
}

/// Sends a request to the router. The first line is a path with its query. A body of gRPC follows,
/// or a form behind a question mark. The answer 500 is a fault.
fn http_reads(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (line, body) = input.split_at(end.unwrap_or(input.len()));
    let request = Request::builder().uri(line);
    let request = match body.split_first() {
        None => request.body(Body::empty()),
        Some((_, [b'?', form @ ..])) => request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_vec())),
        Some((_, body)) => request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::from(body.to_vec())),
    };
    // An invalid URL never reaches the router. The tail of logs never ends by itself.
    let Ok(request) = request else { return };
    if request.uri().path().ends_with("/tail") {
        return;
    }
    let ReadRouter { runtime, router, .. } = &*ROUTER;
    let status = runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("the router always answers");
        let status = response.status();
        let _ = response.into_body().collect().await;
        status
    });
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
}
