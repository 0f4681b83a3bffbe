//! Finds the protobuf message that some bytes are. All begin alike (field 1, a message), so each is
//! tried. OTLP's two requests differ in the types of their fields. A span must have an id of the
//! right length, which bytes of another message hardly ever have.

use super::Imported;
use crate::{
    SpanId, TraceId,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest, decode_protobuf},
    zipkin,
};

const LENGTH_BYTES: usize = 4;

/// Returns the requests, or `None` when this is no known message.
pub(super) fn detect(bytes: &[u8]) -> Option<Vec<Imported>> {
    one(bytes).map(|request| vec![request]).or_else(|| frames(bytes))
}

/// Reads messages after their lengths in big-endian, as the Collector's file exporter writes them.
fn frames(mut bytes: &[u8]) -> Option<Vec<Imported>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        found.push(one(message)?);
        bytes = rest;
    }
    Some(found)
}

fn one(bytes: &[u8]) -> Option<Imported> {
    traces(bytes)
        .map(Imported::Traces)
        .or_else(|| logs(bytes).map(Imported::Logs))
        .or_else(|| zipkin(bytes).map(Imported::Traces))
}

fn traces(bytes: &[u8]) -> Option<ExportTraceServiceRequest> {
    let request: ExportTraceServiceRequest = decode_protobuf(bytes).ok()?;
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let mut spans = scopes.flat_map(|scope| &scope.spans).peekable();
    let are_spans = spans.peek().is_some()
        && spans
            .all(|span| span.trace_id.len() == TraceId::LEN && span.span_id.len() == SpanId::LEN);
    are_spans.then_some(request)
}

fn logs(bytes: &[u8]) -> Option<ExportLogsServiceRequest> {
    let request: ExportLogsServiceRequest = decode_protobuf(bytes).ok()?;
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let mut records = scopes.flat_map(|scope| &scope.log_records).peekable();
    let are_records = records.peek().is_some()
        && records.all(|record| {
            matches!(record.trace_id.len(), 0 | TraceId::LEN)
                && matches!(record.span_id.len(), 0 | SpanId::LEN)
        });
    are_records.then_some(request)
}

fn zipkin(bytes: &[u8]) -> Option<ExportTraceServiceRequest> {
    let spans = zipkin::decode_protobuf(bytes).ok()?;
    let (request, rejected) = zipkin::to_otlp(spans);
    (rejected.is_empty() && !request.resource_spans.is_empty()).then_some(request)
}
