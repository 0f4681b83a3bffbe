//! A store in a temporary folder with a service over it, and builders of records.

use std::sync::Arc;

use serde_json::Value as Json;
use tempfile::TempDir;
use tidings_proto::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, SpanKind, Status,
};
use tidings_sql::{Answer, AnswerFormat, Query, SqlError, SqlLimits, SqlService, WorkerProgram};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TelemetryBatch};

/// 2026-11-20T08:00:00Z.
pub(crate) const BEGIN: u64 = 1_795_161_600_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

pub(crate) struct Harness {
    pub(crate) store: Store,
    pub(crate) service: SqlService,
    pub(crate) folder: TempDir,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(SqlLimits::default()).await
    }

    pub(crate) async fn with(limits: SqlLimits) -> Self {
        Self::open(limits, Arc::new(SystemClock), |settings| settings).await
    }

    pub(crate) async fn open(
        limits: SqlLimits,
        clock: Arc<dyn Clock>,
        settings: impl FnOnce(StoreSettings) -> StoreSettings,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let (store, _) = Store::open(settings(plain), Arc::clone(&clock)).await.unwrap();
        let program = WorkerProgram::at(env!("CARGO_BIN_EXE_tidings-sql-worker"));
        let service = SqlService::new(store.clone(), limits, clock, program).unwrap();
        Self { store, service, folder }
    }

    pub(crate) async fn send(&self, service: &str, spans: Vec<Span>) {
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource(service)),
                scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
                ..Default::default()
            }],
        };
        self.store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
    }

    pub(crate) async fn log(&self, service: &str, log_records: Vec<LogRecord>) {
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(resource(service)),
                scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
                ..Default::default()
            }],
        };
        self.store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
    }

    pub(crate) async fn ask(&self, text: &str) -> Result<Answer, SqlError> {
        self.service.ask(Query::new(text)).await
    }

    /// Returns the answer as JSON.
    pub(crate) async fn json(&self, text: &str) -> Json {
        let answer = self.ask(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        serde_json::from_slice(&bytes(answer, AnswerFormat::Json)).unwrap()
    }

    /// Returns the rows of the answer.
    pub(crate) async fn rows(&self, text: &str) -> Json {
        self.json(text).await["rows"].take()
    }

    /// Returns the only value of the answer.
    pub(crate) async fn value(&self, text: &str) -> Json {
        self.rows(text).await[0][0].take()
    }

    pub(crate) async fn refusal(&self, text: &str) -> SqlError {
        match self.ask(text).await {
            Ok(answer) => panic!("{text} is answered: {answer:?}"),
            Err(error) => error,
        }
    }

    /// Returns the plan, as `EXPLAIN` prints it.
    pub(crate) async fn explain(&self, text: &str) -> String {
        self.rows(&format!("EXPLAIN {text}")).await.to_string()
    }
}

pub(crate) fn bytes(answer: Answer, form: AnswerFormat) -> Vec<u8> {
    let parts = futures::executor::block_on_stream(answer.parts(form));
    parts.flat_map(|part| part.unwrap().to_vec()).collect()
}

pub(crate) fn text(answer: Answer, form: AnswerFormat) -> String {
    String::from_utf8(bytes(answer, form)).unwrap()
}

fn resource(service: &str) -> Resource {
    let attributes = vec![
        KeyValue::new("service.name", service),
        KeyValue::new("host.name", format!("{service}-host")),
    ];
    Resource { attributes, ..Resource::default() }
}

pub(crate) fn trace_id(n: u64) -> String {
    format!("{:032x}", trace_number(n))
}

fn trace_number(n: u64) -> u128 {
    (0xaaaa_u128 << 112) | u128::from(n)
}

/// Builds a root span of 10 ms, which starts at the begin.
pub(crate) fn span(trace: u64, id: u64, name: &str) -> Span {
    Span {
        trace_id: trace_number(trace).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: BEGIN,
        end_time_unix_nano: BEGIN + 10 * MILLI,
        ..Span::default()
    }
}

/// Places a span below another, with a kind and with times in milliseconds after the begin.
pub(crate) fn child(span: Span, parent: u64, kind: SpanKind, start: u64, end: u64) -> Span {
    Span {
        parent_span_id: parent.to_be_bytes().to_vec(),
        kind: kind.into(),
        start_time_unix_nano: BEGIN + start * MILLI,
        end_time_unix_nano: BEGIN + end * MILLI,
        ..span
    }
}

pub(crate) fn failed(span: Span) -> Span {
    Span { status: Some(Status { message: "declined".to_owned(), code: 2 }), ..span }
}

pub(crate) fn record(trace: u64, id: u64, at: u64, text: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: BEGIN + at * MILLI,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text.into()),
        trace_id: trace_number(trace).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        ..LogRecord::default()
    }
}

/// Sends three traces of two services: the second failed, and the third is a single span a minute
/// later.
pub(crate) async fn story(harness: &Harness) {
    for trace in [1, 2] {
        let root = Span {
            kind: SpanKind::Server.into(),
            attributes: vec![
                KeyValue::new("http.route", "/checkout"),
                KeyValue::new("http.response.status_code", 200_i64),
                KeyValue::new("ratio", 0.5),
                KeyValue::new("first", true),
            ],
            end_time_unix_nano: BEGIN + 100 * MILLI,
            ..span(trace, trace * 10, "POST /checkout")
        };
        let call = child(span(trace, trace * 10 + 1, "pay"), trace * 10, SpanKind::Client, 10, 60);
        harness.send("shop", vec![root, call]).await;
        let served = child(
            span(trace, trace * 10 + 2, "POST /pay"),
            trace * 10 + 1,
            SpanKind::Server,
            20,
            50,
        );
        let served = if trace == 2 { failed(served) } else { served };
        harness.send("payment", vec![served]).await;
    }
    let late = child(span(3, 30, "sweep"), 0, SpanKind::Internal, 60_000, 60_005);
    harness.send("shop", vec![Span { parent_span_id: Vec::new(), ..late }]).await;
    let records = vec![record(1, 10, 1, "checkout begins"), record(2, 22, 25, "card was declined")];
    harness.log("shop", records).await;
}
