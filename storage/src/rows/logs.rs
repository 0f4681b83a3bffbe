//! Log records in columns.

use arrow_array::{BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{AnyValue, InstrumentationScope, KeyValue, LogRecord, Resource},
};

use super::{
    attributes::Attributes,
    column::{Column, Words, word},
    sender::SenderRows,
};

/// Log records in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct LogRows {
    batch: RecordBatch,
    time: Column<Int64Array>,
    time_known: Column<BooleanArray>,
    observed: Column<Int64Array>,
    severity_number: Column<Int32Array>,
    severity_text: Option<Words>,
    text: Column<StringArray>,
    body: Column<BinaryArray>,
    event_name: Option<Words>,
    trace_id: Column<BinaryArray>,
    span_id: Column<BinaryArray>,
    flags: Column<Int64Array>,
    attributes: Option<Attributes>,
    dropped_attributes_count: Column<Int64Array>,
    content_hash: Column<Int64Array>,
    sender: SenderRows,
}

impl LogRows {
    /// The rows of a batch, which may lack columns that its reader does not need.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            batch: batch.clone(),
            time: Column::of(batch, "time_unix_nanos")?,
            time_known: Column::of(batch, "time_known")?,
            observed: Column::of(batch, "observed_unix_nanos")?,
            severity_number: Column::of(batch, "severity_number")?,
            severity_text: Words::of(batch, "severity_text")?,
            text: Column::of(batch, "text")?,
            body: Column::of(batch, "body")?,
            event_name: Words::of(batch, "event_name")?,
            trace_id: Column::of(batch, "trace_id")?,
            span_id: Column::of(batch, "span_id")?,
            flags: Column::of(batch, "flags")?,
            attributes: Attributes::of(batch, "attributes")?,
            dropped_attributes_count: Column::of(batch, "dropped_attributes_count")?,
            content_hash: Column::of(batch, "content_hash")?,
            sender: SenderRows::of(batch)?,
        })
    }

    fn body(&self, row: usize) -> Option<AnyValue> {
        match self.body.bytes(row) {
            Some(bytes) => Some(AnyValue::decode(bytes).unwrap_or_default()),
            None => self.text.text(row).map(AnyValue::from),
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The columns that the scan's detail has, as [`super::SpanRows::columns`].
    #[must_use]
    pub fn columns(&self) -> &RecordBatch {
        &self.batch
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it happened; the observed time when it does not say.
    #[must_use]
    pub fn time(&self, row: usize) -> UnixNanos {
        self.time.time(row)
    }

    /// When a collector first saw it.
    #[must_use]
    pub fn observed(&self, row: usize) -> UnixNanos {
        self.observed.time(row)
    }

    /// OTLP's severity number.
    #[must_use]
    pub fn severity_number(&self, row: usize) -> i32 {
        self.severity_number.int(row).unwrap_or_default()
    }

    /// The sender's word for it.
    #[must_use]
    pub fn severity_text(&self, row: usize) -> &str {
        word(self.severity_text.as_ref(), row)
    }

    /// `service.name`; empty when not said.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// The message as text; a structured body as JSON.
    #[must_use]
    pub fn text(&self, row: usize) -> &str {
        self.text.text(row).unwrap_or_default()
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        TraceId::from_wire(self.trace_id.bytes(row)?)
    }

    /// The span it belongs to.
    #[must_use]
    pub fn span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.span_id.bytes(row)?)
    }

    /// A hash of all it says, its resource and scope included.
    #[must_use]
    pub fn content_hash(&self, row: usize) -> u64 {
        self.content_hash.unsigned(row)
    }

    /// Its attributes. Needs `Detail::Attributes`.
    #[must_use]
    pub fn attributes(&self, row: usize) -> Vec<KeyValue> {
        self.attributes.as_ref().map_or_else(Vec::new, |attributes| attributes.get(row))
    }

    /// The record as it was sent. Needs `Detail::Full`.
    #[must_use]
    pub fn log_record(&self, row: usize) -> LogRecord {
        LogRecord {
            time_unix_nano: if self.time_known.truth(row) { self.time.unsigned(row) } else { 0 },
            observed_time_unix_nano: self.observed.unsigned(row),
            severity_number: self.severity_number(row),
            severity_text: self.severity_text(row).to_owned(),
            body: self.body(row),
            attributes: self.attributes(row),
            dropped_attributes_count: self.dropped_attributes_count.count(row),
            flags: self.flags.count(row),
            trace_id: self.trace_id.bytes(row).unwrap_or_default().to_vec(),
            span_id: self.span_id.bytes(row).unwrap_or_default().to_vec(),
            event_name: word(self.event_name.as_ref(), row).to_owned(),
        }
    }

    /// The resource as stored text: equal texts, equal resources. Needs `Detail::Resources`.
    #[must_use]
    pub fn resource_key(&self, row: usize) -> &str {
        self.sender.resource_key(row)
    }

    /// Who sent it. Needs `Detail::Resources`.
    #[must_use]
    pub fn resource(&self, row: usize) -> Option<Resource> {
        self.sender.resource(row)
    }

    /// The schema of the resource's attributes. Needs `Detail::Full`.
    #[must_use]
    pub fn resource_schema_url(&self, row: usize) -> &str {
        self.sender.resource_schema_url(row)
    }

    /// The scope as stored text: equal texts, equal scopes. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_key(&self, row: usize) -> &str {
        self.sender.scope_key(row)
    }

    /// The library that made it. Needs `Detail::Full`.
    #[must_use]
    pub fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        self.sender.scope(row)
    }

    /// The schema of the scope's records. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_schema_url(&self, row: usize) -> &str {
        self.sender.scope_schema_url(row)
    }
}
