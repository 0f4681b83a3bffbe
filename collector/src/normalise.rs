//! Normalising: decoded records are checked one by one, repaired, and made a batch.
//!
//! Runs after decoding (bytes to wire structs) and before the store. A record that could never be
//! stored or found is rejected and counted. The rest of its batch is kept, and the response has the
//! number of rejected records and the reasons. Everything else is kept unchanged: values of any
//! length, unknown enum numbers, implausible times, empty keys. Three things are repaired. An
//! all-zero parent id (and, in log records, an all-zero trace or span id) means "none" and becomes
//! empty. Attributes above the limits are dropped and counted in the record's own dropped count.
//! Long names are cut, because query results repeat them for each of their records. Values nested
//! too deep are rejected, because the decoder could not read them from the log again.
//!
//! Most protobuf requests need no change. [`accept_in_place`] recognises them without decoding.

mod in_place;
mod outcome_counts;

use bytes::Bytes;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, KeyValue,
        LogRecord, NOT_HEX, Resource, Span, VALUE_DEPTH_MAX, Value, ValueDepth,
    },
};
use tidings_storage::{TelemetryBatch, is_sender_key};

use outcome_counts::{Fault, IdFault, OutcomeCounts, RecordPosition};

pub use in_place::{InPlace, accept_in_place};

/// Maximum attributes of one resource, scope, span, event, link or log record; SDKs keep 128.
pub const ATTRIBUTES_MAX: usize = 1024;

/// Maximum bytes of a name: of a service, span, scope or event, of the key of an attribute, and of
/// other texts by which records are grouped.
const NAME_BYTES_MAX: usize = 2 << 10;

/// Maximum bytes of the attributes of a resource or a scope.
const SENDER_BYTES_MAX: usize = 64 << 10;

/// Maximum bytes of the message of a span's status.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The latest time that storage can represent: in the year 2262.
const UNIX_NANOS_MAX: u64 = i64::MAX as u64;

/// Signals that a request can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

/// A checked request: the batch to store, and the outcome for the sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Signal of the request.
    pub signal: Signal,
    /// Batch to store; `None` when no record is left.
    pub batch: Option<TelemetryBatch>,
    /// Number of records in the batch.
    pub accepted: u64,
    /// Number of rejected records.
    pub rejected: u64,
    /// Reasons of rejected records, or a warning; empty if there are none.
    pub message: String,
}

/// Checks spans. `bytes` is their protobuf encoding, if they were sent so. The batch keeps it when
/// nothing was changed.
#[must_use]
pub fn prepare_traces(mut request: ExportTraceServiceRequest, bytes: Option<Bytes>) -> Prepared {
    let mut counts = OutcomeCounts::new(Signal::Traces);
    for (resource_index, resource_spans) in request.resource_spans.iter_mut().enumerate() {
        let resource_fault = check_resource(resource_spans.resource.as_mut(), &mut counts);
        check_name(&mut resource_spans.schema_url, &mut counts);
        for (scope_index, scope_spans) in resource_spans.scope_spans.iter_mut().enumerate() {
            let fault = resource_fault.or(check_scope(scope_spans.scope.as_mut(), &mut counts));
            check_name(&mut scope_spans.schema_url, &mut counts);
            let mut place = RecordPosition::new(resource_index, scope_index);
            scope_spans.spans.retain_mut(|span| {
                let result = fault.map_or_else(|| check_span(span, &mut counts), Err);
                counts.count(result, place.next())
            });
        }
    }
    if counts.rejected() > 0 {
        for resource_spans in &mut request.resource_spans {
            resource_spans.scope_spans.retain(|scope_spans| !scope_spans.spans.is_empty());
        }
        request.resource_spans.retain(|resource_spans| !resource_spans.scope_spans.is_empty());
    }
    let bytes = bytes.filter(|_| !counts.changed());
    counts.prepared(|| TelemetryBatch::Traces { request, bytes })
}

/// Checks log records, as [`prepare_traces`] checks spans.
#[must_use]
pub fn prepare_logs(mut request: ExportLogsServiceRequest, bytes: Option<Bytes>) -> Prepared {
    let mut counts = OutcomeCounts::new(Signal::Logs);
    for (resource_index, resource_logs) in request.resource_logs.iter_mut().enumerate() {
        let resource_fault = check_resource(resource_logs.resource.as_mut(), &mut counts);
        check_name(&mut resource_logs.schema_url, &mut counts);
        for (scope_index, scope_logs) in resource_logs.scope_logs.iter_mut().enumerate() {
            let fault = resource_fault.or(check_scope(scope_logs.scope.as_mut(), &mut counts));
            check_name(&mut scope_logs.schema_url, &mut counts);
            let mut place = RecordPosition::new(resource_index, scope_index);
            scope_logs.log_records.retain_mut(|record| {
                let result = fault.map_or_else(|| check_record(record, &mut counts), Err);
                counts.count(result, place.next())
            });
        }
    }
    if counts.rejected() > 0 {
        for resource_logs in &mut request.resource_logs {
            resource_logs.scope_logs.retain(|scope_logs| !scope_logs.log_records.is_empty());
        }
        request.resource_logs.retain(|resource_logs| !resource_logs.scope_logs.is_empty());
    }
    let bytes = bytes.filter(|_| !counts.changed());
    counts.prepared(|| TelemetryBatch::Logs { request, bytes })
}

/// Checks a resource. Its records are rejected if it cannot be stored.
fn check_resource(resource: Option<&mut Resource>, counts: &mut OutcomeCounts) -> Option<Fault> {
    let resource = resource?;
    let (attributes, dropped) = (&mut resource.attributes, &mut resource.dropped_attributes_count);
    check_sender_attributes(attributes, dropped, counts).err()
}

fn check_scope(
    scope: Option<&mut InstrumentationScope>,
    counts: &mut OutcomeCounts,
) -> Option<Fault> {
    let scope = scope?;
    check_name(&mut scope.name, counts);
    check_name(&mut scope.version, counts);
    let (attributes, dropped) = (&mut scope.attributes, &mut scope.dropped_attributes_count);
    check_sender_attributes(attributes, dropped, counts).err()
}

fn check_span(span: &mut Span, counts: &mut OutcomeCounts) -> Result<(), Fault> {
    check_id(&span.trace_id, TraceId::LEN).map_err(Fault::TraceId)?;
    check_id(&span.span_id, SpanId::LEN).map_err(Fault::SpanId)?;
    check_optional_id(&mut span.parent_span_id, SpanId::LEN, counts)
        .map_err(Fault::ParentSpanId)?;
    check_time(span.start_time_unix_nano, "start time")?;
    check_time(span.end_time_unix_nano, "end time")?;
    check_name(&mut span.name, counts);
    check_name(&mut span.trace_state, counts);
    if let Some(status) = &mut span.status {
        cut(&mut status.message, MESSAGE_BYTES_MAX, counts);
    }
    check_attributes(&mut span.attributes, &mut span.dropped_attributes_count, counts)?;
    for event in &mut span.events {
        check_time(event.time_unix_nano, "event time")?;
        check_name(&mut event.name, counts);
        check_attributes(&mut event.attributes, &mut event.dropped_attributes_count, counts)?;
    }
    for link in &mut span.links {
        check_link(&link.trace_id, &link.span_id)?;
        check_name(&mut link.trace_state, counts);
        check_attributes(&mut link.attributes, &mut link.dropped_attributes_count, counts)?;
    }
    Ok(())
}

fn check_record(record: &mut LogRecord, counts: &mut OutcomeCounts) -> Result<(), Fault> {
    check_optional_id(&mut record.trace_id, TraceId::LEN, counts).map_err(Fault::TraceId)?;
    check_optional_id(&mut record.span_id, SpanId::LEN, counts).map_err(Fault::SpanId)?;
    check_time(record.time_unix_nano, "time")?;
    check_time(record.observed_time_unix_nano, "observed time")?;
    check_name(&mut record.severity_text, counts);
    check_name(&mut record.event_name, counts);
    if record.body.value_depth() > VALUE_DEPTH_MAX {
        return Err(Fault::TooDeep);
    }
    check_attributes(&mut record.attributes, &mut record.dropped_attributes_count, counts)
}

fn check_id(id: &[u8], length: usize) -> Result<(), IdFault> {
    if id == NOT_HEX {
        return Err(IdFault::NotHex);
    }
    if id.len() != length {
        return Err(IdFault::Length(id.len()));
    }
    if id.iter().all(|&byte| byte == 0) {
        return Err(IdFault::Zeros);
    }
    Ok(())
}

/// Checks the ids of a link, which may be those of unknown spans but must not be malformed.
fn check_link(trace_id: &[u8], span_id: &[u8]) -> Result<(), Fault> {
    if [trace_id, span_id].contains(&NOT_HEX) { Err(Fault::LinkId) } else { Ok(()) }
}

/// Checks an id that may be empty. An all-zero id means "none" and becomes empty.
fn check_optional_id(
    id: &mut Vec<u8>,
    length: usize,
    counts: &mut OutcomeCounts,
) -> Result<(), IdFault> {
    if id.is_empty() {
        return Ok(());
    }
    match check_id(id, length) {
        Err(IdFault::Zeros) => {
            id.clear();
            counts.change();
            Ok(())
        }
        result => result,
    }
}

fn check_time(unix_nanos: u64, which: &'static str) -> Result<(), Fault> {
    if unix_nanos > UNIX_NANOS_MAX { Err(Fault::Time(which)) } else { Ok(()) }
}

fn check_attributes(
    attributes: &mut Vec<KeyValue>,
    dropped: &mut u32,
    counts: &mut OutcomeCounts,
) -> Result<(), Fault> {
    let sent = attributes.len();
    attributes.retain(|attribute| attribute.key.len() <= NAME_BYTES_MAX);
    attributes.truncate(ATTRIBUTES_MAX);
    count_dropped(sent - attributes.len(), dropped, counts);
    if attributes.value_depth() > VALUE_DEPTH_MAX { Err(Fault::TooDeep) } else { Ok(()) }
}

/// As [`check_attributes`], for a resource or a scope: names are cut, and other attributes above
/// the limit of bytes are dropped.
fn check_sender_attributes(
    attributes: &mut Vec<KeyValue>,
    dropped: &mut u32,
    counts: &mut OutcomeCounts,
) -> Result<(), Fault> {
    let (sent, mut room) = (attributes.len(), SENDER_BYTES_MAX);
    attributes.retain_mut(|attribute| {
        let name = sender_name(attribute).map(|name| check_name(name, counts));
        let left = room.checked_sub(attribute.encoded_len());
        room = left.unwrap_or(room);
        left.is_some() || name.is_some()
    });
    count_dropped(sent - attributes.len(), dropped, counts);
    check_attributes(attributes, dropped, counts)
}

fn count_dropped(attributes: usize, dropped: &mut u32, counts: &mut OutcomeCounts) {
    if attributes > 0 {
        *dropped = dropped.saturating_add(u32::try_from(attributes).unwrap_or(u32::MAX));
        counts.drop_attributes(attributes);
    }
}

/// Returns the text of a resource attribute that has a column of its own.
fn sender_name(attribute: &mut KeyValue) -> Option<&mut String> {
    match attribute.value.as_mut()?.value.as_mut()? {
        Value::String(name) if is_sender_key(&attribute.key) => Some(name),
        _ => None,
    }
}

fn check_name(name: &mut String, counts: &mut OutcomeCounts) {
    cut(name, NAME_BYTES_MAX, counts);
}

/// Cuts a text to whole characters of at most `bytes_max` bytes.
fn cut(text: &mut String, bytes_max: usize, counts: &mut OutcomeCounts) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        counts.cut_text();
    }
}

#[cfg(test)]
mod tests;
