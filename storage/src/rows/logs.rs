//! Log records in columns.

use std::ops::Range;

use arrow_array::{BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{AnyValue, InstrumentationScope, KeyValue, LogRecord, Resource},
};

use super::{
    attributes::{AttributesColumn, Scalar},
    column::{OptionalColumn, WordColumn, word},
    derived::with_observed,
    sender::SenderRows,
};

/// Log records in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct LogRows {
    batch: RecordBatch,
    time: OptionalColumn<Int64Array>,
    time_known: OptionalColumn<BooleanArray>,
    observed: OptionalColumn<Int64Array>,
    severity_number: OptionalColumn<Int32Array>,
    severity_text: Option<WordColumn>,
    text: OptionalColumn<StringArray>,
    body: OptionalColumn<BinaryArray>,
    event_name: Option<WordColumn>,
    trace_id: OptionalColumn<BinaryArray>,
    span_id: OptionalColumn<BinaryArray>,
    flags: OptionalColumn<Int64Array>,
    attributes: Option<AttributesColumn>,
    dropped_attributes_count: OptionalColumn<Int64Array>,
    content_hash: OptionalColumn<Int64Array>,
    sender: SenderRows,
}

impl LogRows {
    /// Reads the rows of a batch. Columns that the reader does not need may be missing.
    pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let batch = &with_observed(batch)?;
        Ok(Self {
            batch: batch.clone(),
            time: OptionalColumn::from_batch(batch, "time_unix_nanos")?,
            time_known: OptionalColumn::from_batch(batch, "time_known")?,
            observed: OptionalColumn::from_batch(batch, "observed_unix_nanos")?,
            severity_number: OptionalColumn::from_batch(batch, "severity_number")?,
            severity_text: WordColumn::from_batch(batch, "severity_text")?,
            text: OptionalColumn::from_batch(batch, "text")?,
            body: OptionalColumn::from_batch(batch, "body")?,
            event_name: WordColumn::from_batch(batch, "event_name")?,
            trace_id: OptionalColumn::from_batch(batch, "trace_id")?,
            span_id: OptionalColumn::from_batch(batch, "span_id")?,
            flags: OptionalColumn::from_batch(batch, "flags")?,
            attributes: AttributesColumn::from_batch(batch, "attributes")?,
            dropped_attributes_count: OptionalColumn::from_batch(
                batch,
                "dropped_attributes_count",
            )?,
            content_hash: OptionalColumn::from_batch(batch, "content_hash")?,
            sender: SenderRows::from_batch(batch)?,
        })
    }

    fn body(&self, row: usize) -> Option<AnyValue> {
        match self.body.bytes(row) {
            Some(bytes) => Some(AnyValue::decode(bytes).unwrap_or_default()),
            None => self.text.text(row).map(AnyValue::from),
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns the columns of the scan's detail, like [`super::SpanRows::columns`].
    #[must_use]
    pub fn columns(&self) -> &RecordBatch {
        &self.batch
    }

    /// Returns a range of the rows, which shares their buffers.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        Self::from_batch(&self.batch.slice(rows.start, rows.len()))
            .expect("invariant: the columns were checked when the rows were made")
    }

    /// Returns true if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the time of the event, or the observed time when the record has none.
    #[must_use]
    pub fn time(&self, row: usize) -> UnixNanos {
        self.time.time(row)
    }

    /// Returns the time at which a collector first saw it.
    #[must_use]
    pub fn observed(&self, row: usize) -> UnixNanos {
        self.observed.time(row)
    }

    /// Returns OTLP's severity number.
    #[must_use]
    pub fn severity_number(&self, row: usize) -> i32 {
        self.severity_number.int(row).unwrap_or_default()
    }

    /// Returns the severity text of the sender.
    #[must_use]
    pub fn severity_text(&self, row: usize) -> &str {
        word(self.severity_text.as_ref(), row)
    }

    /// Returns `service.name`, or an empty text when the sender gave none.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// Returns the message as text. A structured body is JSON.
    #[must_use]
    pub fn text(&self, row: usize) -> &str {
        self.text.text(row).unwrap_or_default()
    }

    /// Returns the trace that it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        TraceId::from_wire(self.trace_id.bytes(row)?)
    }

    /// Returns the span that it belongs to.
    #[must_use]
    pub fn span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.span_id.bytes(row)?)
    }

    /// Returns its content hash, which includes resource and scope.
    #[must_use]
    pub fn content_hash(&self, row: usize) -> u64 {
        self.content_hash.unsigned(row)
    }

    /// Returns its attributes. Needs `Detail::Attributes`.
    #[must_use]
    pub fn attributes(&self, row: usize) -> Vec<KeyValue> {
        self.attributes.as_ref().map_or_else(Vec::new, |attributes| attributes.get(row))
    }

    /// Works like [`super::SpanRows::each_scalar`]. Needs `Detail::Attributes`.
    pub fn each_scalar<'a>(&'a self, row: usize, visit: impl FnMut(&'a str, Scalar<'a>)) {
        if let Some(attributes) = &self.attributes {
            attributes.each_scalar(row, visit);
        }
    }

    /// Returns the record as it was sent. Needs `Detail::Full`.
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

    /// Returns the stored text of the resource. Equal resources have equal texts. Needs
    /// `Detail::Resources`.
    #[must_use]
    pub fn resource_key(&self, row: usize) -> &str {
        self.sender.resource_key(row)
    }

    /// Returns the resource that sent it. Needs `Detail::Resources`.
    #[must_use]
    pub fn resource(&self, row: usize) -> Option<Resource> {
        self.sender.resource(row)
    }

    /// Returns the schema URL of the resource. Needs `Detail::Full`.
    #[must_use]
    pub fn resource_schema_url(&self, row: usize) -> &str {
        self.sender.resource_schema_url(row)
    }

    /// Returns the stored text of the scope. Equal scopes have equal texts. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_key(&self, row: usize) -> &str {
        self.sender.scope_key(row)
    }

    /// Returns the instrumentation scope. Needs `Detail::Full`.
    #[must_use]
    pub fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        self.sender.scope(row)
    }

    /// Returns the schema URL of the scope's records. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_schema_url(&self, row: usize) -> &str {
        self.sender.scope_schema_url(row)
    }
}
