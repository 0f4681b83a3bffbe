//! A store in a temporary folder with a router over it, and builders of test telemetry.

use std::{
    fs,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tempfile::TempDir;
use tidings_apis::{router, zipkin_router};
use tidings_proto::{
    UnixNanos,
    otlp::{
        AnyValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope,
        KeyValue, LogRecord, Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span,
        SpanKind, Status, StatusCode as SpanStatus,
    },
};
use tidings_query::{
    ClientId, QueryLimits, QueryOrigin, QueryService, QuerySettings, StatementRedaction,
};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TelemetryBatch};
use tower::ServiceExt;

/// 2026-11-20T08:00:00Z: the start of the test data.
pub const BEGIN: u64 = 1_795_161_600_000_000_000;
pub const MILLI: u64 = 1_000_000;

/// Clock that stands still an hour after the start of the test data, when everything has settled,
/// until a test moves it.
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn advance(&self, length: Duration) {
        let nanos = u64::try_from(length.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }

    fn instant(&self) -> std::time::Instant {
        SystemClock.instant()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration)
    }
}

#[derive(Debug)]
struct NoRedaction;

impl StatementRedaction for NoRedaction {
    fn redacted(&self, statement: &str) -> String {
        statement.to_owned()
    }
}

/// Runs requests as a client of this name.
pub async fn as_client<T>(name: &str, requests: impl Future<Output = T>) -> T {
    let origin = QueryOrigin {
        kind: "test",
        words: String::new(),
        redaction: Arc::new(NoRedaction),
        asked_by: None,
        client: ClientId::new(name),
        may_administer: false,
    };
    origin.scope(requests).await
}

/// Parses an answer whose keys must be in order, as those of Tempo's and Prometheus's APIs are
/// here.
pub fn in_order(body: &[u8]) -> Json {
    let answer: Json = serde_json::from_slice(body).unwrap();
    assert_eq!(answer.to_string(), String::from_utf8_lossy(body));
    answer
}

pub struct Harness {
    pub store: Store,
    pub router: Router,
    pub service: QueryService,
    /// Zipkin's API, which has an address of its own.
    pub zipkin: Router,
    pub clock: Arc<TestClock>,
    _folder: TempDir,
}

impl Harness {
    /// Calls a method over gRPC. Returns the bytes of the messages with their prefixes, and the
    /// status from the trailers, or from the head where there are no messages.
    pub async fn grpc_call(&self, path: &str, body: Vec<u8>) -> (Bytes, tonic::Status) {
        let request = Request::post(path).header("content-type", "application/grpc");
        let request = request.header("accept-encoding", "gzip").body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert!(!response.headers().contains_key("content-encoding"), "gRPC has its own");
        let head = tonic::Status::from_header_map(response.headers());
        let body = response.into_body().collect().await.unwrap();
        let status = body.trailers().and_then(tonic::Status::from_header_map).or(head).unwrap();
        (body.to_bytes(), status)
    }

    pub async fn new() -> Self {
        Self::with_limits(QueryLimits::default()).await
    }

    pub async fn with_limits(limits: QueryLimits) -> Self {
        Self::with(limits, 10_000_000).await
    }

    pub async fn with(limits: QueryLimits, search_rows_max: u64) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(BEGIN + 3_600_000 * MILLI)));
        Self::open(tempfile::tempdir().unwrap(), clock, limits, search_rows_max).await
    }

    /// Removes the indexes of all data files, and opens the store again.
    #[expect(clippy::disallowed_methods, reason = "indexes are lost behind the store's back")]
    pub async fn without_indexes(self) -> Self {
        let Self { store, clock, _folder: folder, .. } = self;
        store.close().await.unwrap();
        drop(store);
        let mut removed = 0;
        let mut folders = vec![folder.path().to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "index") {
                    fs::remove_file(entry).unwrap();
                    removed += 1;
                }
            }
        }
        assert!(removed > 0, "no data file had an index");
        Self::open(folder, clock, QueryLimits::default(), 10_000_000).await
    }

    async fn open(
        folder: TempDir,
        clock: Arc<TestClock>,
        limits: QueryLimits,
        search_rows_max: u64,
    ) -> Self {
        let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let shared: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let (store, _) = Store::open(settings, Arc::clone(&shared)).await.unwrap();
        let transaction_keys = ["tid", "order.id", "x-request-id"].map(str::to_owned).to_vec();
        let settings = QuerySettings { search_rows_max, ..QuerySettings::default() };
        let settings = QuerySettings { transaction_keys, ..settings };
        let service = QueryService::with_limits(store.clone(), settings, limits, shared);
        let zipkin = zipkin_router(service.clone());
        Self { store, router: router(service.clone()), service, zipkin, clock, _folder: folder }
    }

    /// A harness with a first trace of ten seconds before eight of 10 ms. A search of five rows
    /// reads only some of the latter.
    pub async fn slow_before_quick(search_rows_max: u64) -> Self {
        let harness = Self::with(QueryLimits::default(), search_rows_max).await;
        harness.send([span(1, 1, "shop", "slow").at(0, 10_000)]).await;
        for trace in 2..=9 {
            let start = trace * 10;
            harness.send([span(trace, 1, "shop", "quick").at(start, start + 10)]).await;
        }
        harness
    }

    pub async fn send(&self, spans: impl IntoIterator<Item = SpanBuilder>) {
        self.send_request(request(spans)).await;
    }

    pub async fn send_request(&self, request: ExportTraceServiceRequest) {
        let batch = TelemetryBatch::Traces { request, bytes: None };
        self.store.append(batch).await.unwrap();
    }

    pub async fn log(&self, records: impl IntoIterator<Item = (&str, LogRecord)>) {
        let resource_logs = records.into_iter().map(|(service, record)| ResourceLogs {
            resource: Some(resource(service)),
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..Default::default() }],
            ..Default::default()
        });
        let request = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
        let batch = TelemetryBatch::Logs { request, bytes: None };
        self.store.append(batch).await.unwrap();
    }

    pub async fn send_to_router(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn ask(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = self.send_to_router(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (parts.status, parts.headers, body)
    }

    pub async fn bytes(&self, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        self.ask(Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await
    }

    pub async fn json(&self, path: &str) -> (StatusCode, Json) {
        let (status, _, body) = self.bytes(path).await;
        let json = serde_json::from_slice(&body);
        (status, json.unwrap_or_else(|error| panic!("{path}: {error}: {body:?}")))
    }

    /// Returns the answer of a successful request, without the time that it took.
    pub async fn get(&self, path: &str) -> Json {
        let (status, mut json) = self.json(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {json}");
        if let Some(elapsed) = json.pointer_mut("/searched/elapsedNano") {
            *elapsed = "0".into();
        }
        json
    }

    /// Returns the problem of a refused request.
    pub async fn problem(&self, path: &str) -> (u16, Json) {
        let (status, headers, body) = self.bytes(path).await;
        assert_eq!(headers["content-type"], "application/problem+json", "{path}");
        let json: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["status"], status.as_u16(), "{path}");
        (status.as_u16(), json)
    }

    /// Returns the trace ids on a page.
    pub async fn found(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("/traces{query}")).await;
        page["traces"].as_array().unwrap().iter().map(|trace| text(&trace["traceId"])).collect()
    }
}

pub fn text(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("not a string: {json}")).to_owned()
}

/// Encodes a text for the query of an address.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The `n`th trace id.
pub fn trace_id(n: u64) -> String {
    format!("{:032x}", trace_number(n))
}

fn trace_number(n: u64) -> u128 {
    (0xaaaa_u128 << 112) | u128::from(n)
}

#[derive(Debug, Clone)]
pub struct SpanBuilder {
    pub service: String,
    pub span: Span,
}

/// A root span of 10 ms, at the start of the test data.
pub fn span(trace: u64, id: u64, service: &str, name: &str) -> SpanBuilder {
    let span = Span {
        trace_id: trace_number(trace).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        ..Span::default()
    };
    SpanBuilder { service: service.to_owned(), span }.at(0, 10)
}

impl SpanBuilder {
    pub fn parent(mut self, id: u64) -> Self {
        self.span.parent_span_id = id.to_be_bytes().to_vec();
        self
    }

    /// Sets start and end, in milliseconds after [`BEGIN`].
    pub fn at(mut self, start: u64, end: u64) -> Self {
        self.span.start_time_unix_nano = BEGIN + start * MILLI;
        self.span.end_time_unix_nano = BEGIN + end * MILLI;
        self
    }

    pub fn unfinished(mut self) -> Self {
        self.span.end_time_unix_nano = 0;
        self
    }

    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.span.kind = kind.into();
        self
    }

    pub fn status(mut self, code: SpanStatus, message: &str) -> Self {
        self.span.status = Some(Status { code: code.into(), message: message.to_owned() });
        self
    }

    pub fn attribute(mut self, key: &str, value: impl Into<AnyValue>) -> Self {
        self.span.attributes.push(KeyValue::new(key, value));
        self
    }

    pub fn exception(self, kind: &str, message: &str) -> Self {
        let attributes = vec![
            KeyValue::new("exception.type", kind),
            KeyValue::new("exception.message", message),
        ];
        let time = self.span.start_time_unix_nano + MILLI;
        self.event("exception", time, attributes)
    }

    /// Adds an event at a Unix time in nanoseconds.
    pub fn event(mut self, name: &str, time: u64, attributes: Vec<KeyValue>) -> Self {
        self.span.events.push(Event {
            time_unix_nano: time,
            name: name.to_owned(),
            attributes,
            dropped_attributes_count: 0,
        });
        self
    }
}

pub fn resource(service: &str) -> Resource {
    let attributes = vec![
        KeyValue::new("service.name", service),
        KeyValue::new("host.name", format!("{service}-1")),
    ];
    Resource { attributes, ..Resource::default() }
}

/// A request with one resource for each span, which is the worst case for grouping.
pub fn request(spans: impl IntoIterator<Item = SpanBuilder>) -> ExportTraceServiceRequest {
    let resource_spans = spans.into_iter().map(|SpanBuilder { service, span }| ResourceSpans {
        resource: Some(resource(&service)),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tests".to_owned(),
                version: "1".to_owned(),
                ..Default::default()
            }),
            spans: vec![span],
            schema_url: "https://opentelemetry.io/schemas/1.37.0".to_owned(),
        }],
        schema_url: String::new(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

/// A log record of a trace, in milliseconds after [`BEGIN`].
pub fn record(trace: Option<u64>, at: u64, severity: i32, message: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: BEGIN + at * MILLI,
        observed_time_unix_nano: BEGIN + at * MILLI + 1,
        severity_number: severity,
        body: Some(message.into()),
        trace_id: trace.map_or_else(Vec::new, |n| trace_number(n).to_be_bytes().to_vec()),
        ..LogRecord::default()
    }
}

/// A failed checkout: shop calls payment, which calls its database twice and fails.
pub fn checkout(trace: u64) -> Vec<SpanBuilder> {
    use SpanKind::{Client, Server};
    vec![
        span(trace, 1, "shop", "POST /checkout")
            .at(0, 100)
            .kind(Server)
            .attribute("http.request.method", "POST")
            .attribute("http.response.status_code", 502_i64)
            .attribute("order.id", "A-17")
            .status(SpanStatus::Error, "payment failed"),
        span(trace, 2, "shop", "POST /pay").parent(1).at(10, 90).kind(Client),
        span(trace, 3, "payment", "POST /pay")
            .parent(2)
            .at(15, 85)
            .kind(Server)
            .status(SpanStatus::Error, "declined")
            .exception("CardDeclined", "card 42 was declined"),
        span(trace, 4, "payment", "SELECT account").parent(3).at(20, 50).kind(Client),
        span(trace, 5, "payment", "UPDATE account").parent(3).at(50, 60).kind(Client),
    ]
}
