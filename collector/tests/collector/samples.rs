//! Sample requests.

use std::io::Write;

use tidings_proto::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span,
};

pub(crate) fn span(number: u8) -> Span {
    Span {
        trace_id: vec![number; 16],
        span_id: vec![number; 8],
        name: format!("span {number}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_000_999,
        attributes: vec![KeyValue::new("key", i64::MAX), KeyValue::new("half", 0.5)],
        ..Span::default()
    }
}

pub(crate) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", "shop")], ..Resource::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

pub(crate) fn good_traces() -> ExportTraceServiceRequest {
    traces(vec![span(1), span(2), span(3)])
}

/// 100 spans, three of them invalid.
pub(crate) fn mixed_traces() -> ExportTraceServiceRequest {
    let mut spans: Vec<_> = (1..=100).map(span).collect();
    spans[7].trace_id.pop();
    spans[50].span_id = vec![0; 8];
    spans[99].span_id.clear();
    traces(spans)
}

pub(crate) fn good_logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some("hello".into()),
        trace_id: vec![0xa1; 16],
        ..LogRecord::default()
    };
    let scope_logs = ScopeLogs { log_records: vec![record; 2], ..ScopeLogs::default() };
    let resource_logs = ResourceLogs { scope_logs: vec![scope_logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A gibibyte of zeros, compressed.
pub(crate) fn gzip_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

pub(crate) fn zstd_bomb() -> Vec<u8> {
    use std::io::Read;
    zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap()
}
