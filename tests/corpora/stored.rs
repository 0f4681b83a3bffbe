//! Converts sent and stored records to sets for comparison. A record that was sent twice is stored
//! once.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::Value as Json;
use tidings_proto::{
    TraceId, UnixNanos,
    api::{LogSearchResult, LogView, TraceView},
    otlp::{
        AnyValue, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope,
        LogRecord, Resource, ResourceSpans, ScopeSpans, Span, decode_json, encode_json,
    },
};

use crate::harness::{
    Server,
    http::{self, post},
};

/// Returns each span with its resource and scope.
pub(super) fn spans(
    request: &ExportTraceServiceRequest,
) -> Vec<(&ResourceSpans, &ScopeSpans, &Span)> {
    let resources = request.resource_spans.iter();
    resources
        .flat_map(|resource| resource.scope_spans.iter().map(move |scope| (resource, scope)))
        .flat_map(|(resource, scope)| scope.spans.iter().map(move |span| (resource, scope, span)))
        .collect()
}

/// Returns each span as a request of its own, in JSON.
pub(super) fn span_set(request: &ExportTraceServiceRequest) -> BTreeSet<String> {
    spans(request)
        .into_iter()
        .map(|(resource, scope, span)| {
            // A missing resource or scope equals an empty one.
            let alone = ResourceSpans {
                resource: Some(resource.resource.clone().unwrap_or_default()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope.scope.clone().unwrap_or_default()),
                    spans: vec![Span {
                        status: Some(span.status.clone().unwrap_or_default()),
                        ..span.clone()
                    }],
                    schema_url: scope.schema_url.clone(),
                }],
                schema_url: resource.schema_url.clone(),
            };
            let alone = ExportTraceServiceRequest { resource_spans: vec![alone] };
            String::from_utf8(encode_json(&alone)).unwrap()
        })
        .collect()
}

/// Returns the valid trace ids of a request.
pub(super) fn trace_ids(request: &ExportTraceServiceRequest) -> BTreeSet<TraceId> {
    let spans = spans(request).into_iter();
    spans.filter_map(|(_, _, span)| TraceId::from_wire(&span.trace_id)).collect()
}

/// Returns the stored spans of these traces.
pub(super) fn export(server: &Server, traces: &BTreeSet<TraceId>) -> ExportTraceServiceRequest {
    let mut all = ExportTraceServiceRequest::default();
    for trace in traces {
        let answer = http::get(&server.http, &format!("/api/v1/traces/{trace}/otlp"));
        if answer.status != 404 {
            assert_eq!(answer.status, 200, "{trace}");
            let request: ExportTraceServiceRequest = decode_json(&answer.body).unwrap();
            all.resource_spans.extend(request.resource_spans);
        }
    }
    all
}

/// Sends spans as protobuf and checks that all are accepted.
pub(super) fn send_spans(server: &Server, request: &ExportTraceServiceRequest) {
    let body = request.encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

/// Sends log records as protobuf and checks that all are accepted.
pub(super) fn send_logs(server: &Server, request: &ExportLogsServiceRequest) {
    let body = request.encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", body);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

/// Returns the assembled trace.
pub(super) fn view(server: &Server, trace: &str) -> TraceView {
    let (status, json) = server.get(&format!("/api/v1/traces/{trace}"));
    assert_eq!(status, 200, "{trace}: {json}");
    serde_json::from_value(json).unwrap()
}

/// Returns each sent log record in the form that the API returns.
pub(super) fn log_set(request: &ExportLogsServiceRequest) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for resource in &request.resource_logs {
        for scope in &resource.scope_logs {
            for record in &scope.log_records {
                let resource = resource.resource.clone().unwrap_or_default();
                set.insert(shown(record, resource, scope.scope.clone().unwrap_or_default()));
            }
        }
    }
    set
}

fn shown(record: &LogRecord, resource: Resource, scope: InstrumentationScope) -> String {
    let time = match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    log_line(&LogLine {
        time: UnixNanos(time),
        severity: (record.severity_number, record.severity_text.clone()),
        body: record.body.clone().unwrap_or_default(),
        ids: (hex(&record.trace_id), hex(&record.span_id)),
        flags: record.flags,
        event_name: record.event_name.clone(),
        attributes: serde_json::to_value(&record.attributes).unwrap(),
        dropped: record.dropped_attributes_count,
        resource,
        scope,
    })
}

#[derive(Debug)]
#[expect(dead_code, reason = "compared by its debug form")]
struct LogLine {
    time: UnixNanos,
    severity: (i32, String),
    body: AnyValue,
    ids: (String, String),
    flags: u32,
    event_name: String,
    attributes: Json,
    dropped: u32,
    resource: Resource,
    scope: InstrumentationScope,
}

fn log_line(line: &LogLine) -> String {
    format!("{line:?}")
}

/// Returns each stored log record in the form of [`log_set`].
pub(super) fn stored_logs(server: &Server) -> BTreeSet<String> {
    let (status, json) = server.get("/api/v1/logs?limit=1000");
    assert_eq!(status, 200, "{json}");
    let page: LogSearchResult = serde_json::from_value(json).unwrap();
    assert_eq!(page.next_cursor, None, "more than a page");
    page.logs.into_iter().map(|log| log_line(&line(log))).collect()
}

fn line(log: LogView) -> LogLine {
    LogLine {
        time: log.time_unix_nano,
        severity: (log.severity_number, log.severity_text),
        body: log.body.unwrap_or_else(|| AnyValue::from(log.text.as_str())),
        ids: (
            log.trace_id.map(|id| id.to_string()).unwrap_or_default(),
            log.span_id.map(|id| id.to_string()).unwrap_or_default(),
        ),
        flags: log.flags,
        event_name: log.event_name,
        attributes: serde_json::to_value(&log.attributes).unwrap(),
        dropped: log.dropped_attributes_count,
        resource: log.resource,
        scope: log.scope,
    }
}
