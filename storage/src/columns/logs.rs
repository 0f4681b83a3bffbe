//! Log records to rows.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, StringBuilder},
};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{AnyValue, ExportLogsServiceRequest, LogRecord, Value},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    WordBuilder,
    attributes::AttributesBuilder,
    sender::{Scope, Sender, SenderBuilder},
    spans::append_bytes,
    text::json_text,
    words,
};
use crate::{
    StorageError,
    schema::{self, Signal},
};

/// One row per log record, in the request's order.
///
/// # Errors
/// When Arrow refuses the columns.
pub(crate) fn log_rows(
    request: &ExportLogsServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, StorageError> {
    let scopes = request.resource_logs.iter().flat_map(|of| &of.scope_logs);
    let rows = scopes.map(|scope| scope.log_records.len()).sum();
    let mut builder = LogBuilder::new(rows);
    let mut senders = SenderBuilder::new(rows);
    for resource_logs in &request.resource_logs {
        let sender = Sender::new(resource_logs.resource.as_ref(), &resource_logs.schema_url);
        for scope_logs in &resource_logs.scope_logs {
            let scope = Scope::new(&sender, scope_logs.scope.as_ref(), &scope_logs.schema_url);
            senders.append(&sender, &scope, scope_logs.log_records.len());
            for record in &scope_logs.log_records {
                builder.append(record, scope.hash, received);
            }
        }
    }
    Ok(builder.finish(senders)?)
}

/// A guess at the length of a message.
const TEXT_BYTES: usize = 128;

struct LogBuilder {
    time: Int64Builder,
    time_known: BooleanBuilder,
    observed: Int64Builder,
    severity_number: Int32Builder,
    severity_text: WordBuilder,
    text: StringBuilder,
    body: BinaryBuilder,
    event_name: WordBuilder,
    trace_id: BinaryBuilder,
    trace_id_low64: Int64Builder,
    span_id: BinaryBuilder,
    flags: Int64Builder,
    attributes: AttributesBuilder,
    dropped_attributes_count: Int64Builder,
    received: Int64Builder,
    content_hash: Int64Builder,
    encoded: Vec<u8>,
}

impl LogBuilder {
    fn new(rows: usize) -> Self {
        Self {
            time: Int64Builder::with_capacity(rows),
            time_known: BooleanBuilder::with_capacity(rows),
            observed: Int64Builder::with_capacity(rows),
            severity_number: Int32Builder::with_capacity(rows),
            severity_text: words(rows),
            text: StringBuilder::with_capacity(rows, rows * TEXT_BYTES),
            body: BinaryBuilder::with_capacity(rows, 0),
            event_name: words(rows),
            trace_id: BinaryBuilder::with_capacity(rows, rows * TraceId::LEN),
            trace_id_low64: Int64Builder::with_capacity(rows),
            span_id: BinaryBuilder::with_capacity(rows, rows * SpanId::LEN),
            flags: Int64Builder::with_capacity(rows),
            attributes: AttributesBuilder::new(rows),
            dropped_attributes_count: Int64Builder::with_capacity(rows),
            received: Int64Builder::with_capacity(rows),
            content_hash: Int64Builder::with_capacity(rows),
            encoded: Vec::new(),
        }
    }

    fn append(&mut self, record: &LogRecord, seed: u64, received: UnixNanos) {
        let time_known = record.time_unix_nano != 0;
        let time = if time_known { record.time_unix_nano } else { record.observed_time_unix_nano };
        self.time.append_value(time.cast_signed());
        self.time_known.append_value(time_known);
        self.observed.append_value(record.observed_time_unix_nano.cast_signed());
        self.severity_number.append_value(record.severity_number);
        self.severity_text.append_value(&record.severity_text);
        self.append_body(record.body.as_ref());
        self.event_name.append_value(&record.event_name);
        append_bytes(&mut self.trace_id, &record.trace_id);
        let low64 = TraceId::from_wire(&record.trace_id).map(|id| id.low64().cast_signed());
        self.trace_id_low64.append_option(low64);
        append_bytes(&mut self.span_id, &record.span_id);
        self.flags.append_value(record.flags.into());
        self.attributes.append(&record.attributes);
        self.dropped_attributes_count.append_value(record.dropped_attributes_count.into());
        self.received.append_value(received.0.cast_signed());
        self.encoded.clear();
        record.encode_raw(&mut self.encoded);
        self.content_hash.append_value(xxh3_64_with_seed(&self.encoded, seed).cast_signed());
    }

    /// No body: neither text nor body. A plain text: no body. Anything else: both.
    fn append_body(&mut self, body: Option<&AnyValue>) {
        match body.map(|any| (any, any.value.as_ref())) {
            None => {
                self.text.append_null();
                self.body.append_null();
            }
            Some((_, Some(Value::String(text)))) => {
                self.text.append_value(text);
                self.body.append_null();
            }
            Some((any, _)) => {
                self.text.append_value(json_text(any));
                self.encoded.clear();
                any.encode_raw(&mut self.encoded);
                self.body.append_value(&self.encoded);
            }
        }
    }

    fn finish(mut self, senders: SenderBuilder) -> Result<RecordBatch, ArrowError> {
        let sender = senders.finish();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("time_unix_nanos", Arc::new(self.time.finish())),
            ("time_known", Arc::new(self.time_known.finish())),
            ("observed_unix_nanos", Arc::new(self.observed.finish())),
            ("severity_number", Arc::new(self.severity_number.finish())),
            ("severity_text", Arc::new(self.severity_text.finish())),
            ("service", sender.service),
            ("text", Arc::new(self.text.finish())),
            ("body", Arc::new(self.body.finish())),
            ("event_name", Arc::new(self.event_name.finish())),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("trace_id_low64", Arc::new(self.trace_id_low64.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("attributes", Arc::new(self.attributes.finish()?)),
            ("dropped_attributes_count", Arc::new(self.dropped_attributes_count.finish())),
            ("resource", sender.resource),
            ("resource_schema_url", sender.resource_schema_url),
            ("scope", sender.scope),
            ("scope_schema_url", sender.scope_schema_url),
        ];
        columns.extend(schema::PROMOTED.map(|(name, _)| name).into_iter().zip(sender.promoted));
        columns.push(("received_unix_nanos", Arc::new(self.received.finish())));
        columns.push(("content_hash", Arc::new(self.content_hash.finish())));
        Signal::Logs.batch(columns)
    }
}
