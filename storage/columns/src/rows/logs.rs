//! Log records in columns.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{AnyValue, InstrumentationScope, KeyValue, LogRecord, Resource},
};

use super::{
    attributes::Scalar, column_readers::column_readers, sender::SenderRows, with_observed,
};
use crate::schema::log_columns;

/// Log records in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct LogRows {
    batch: RecordBatch,
    readers: LogColumnReaders,
    sender: SenderRows,
}

log_columns!(column_readers, LogRows, LogColumnReaders);

impl LogRows {
    /// Reads the rows of a batch. Columns that the reader does not need may be missing.
    ///
    /// # Errors
    /// When a column has another type.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let batch = &with_observed(batch)?;
        Ok(Self {
            batch: batch.clone(),
            readers: LogColumnReaders::from_batch(batch)?,
            sender: SenderRows::from_batch(batch)?,
        })
    }

    fn body(&self, row: usize) -> Option<AnyValue> {
        match self.readers.body.bytes(row) {
            Some(bytes) => Some(AnyValue::decode(bytes).unwrap_or_default()),
            None => self.readers.text.text(row).map(AnyValue::from),
        }
    }

    /// Returns the number of rows.
    #[must_use]
    #[inline]
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
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the time of the event, or the observed time when the record has none.
    #[must_use]
    #[inline]
    pub fn time(&self, row: usize) -> UnixNanos {
        self.readers.time_unix_nanos.time(row)
    }

    /// Returns the time at which a collector first saw it.
    #[must_use]
    #[inline]
    pub fn observed(&self, row: usize) -> UnixNanos {
        self.readers.observed_unix_nanos.time(row)
    }

    /// Returns `service.name`, or an empty text when the sender gave none.
    #[must_use]
    #[inline]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// Returns the message as text. A structured body is JSON.
    #[must_use]
    #[inline]
    pub fn text(&self, row: usize) -> &str {
        self.readers.text.text(row).unwrap_or_default()
    }

    /// Returns the trace that it belongs to.
    #[must_use]
    #[inline]
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        TraceId::from_wire(self.readers.trace_id.bytes(row)?)
    }

    /// Returns the span that it belongs to.
    #[must_use]
    #[inline]
    pub fn span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.readers.span_id.bytes(row)?)
    }

    /// Returns its content hash, which includes resource and scope.
    #[must_use]
    #[inline]
    pub fn content_hash(&self, row: usize) -> u64 {
        self.readers.content_hash.unsigned(row)
    }

    /// Returns its attributes. Needs `Projection::Attributes`.
    #[must_use]
    pub fn attributes(&self, row: usize) -> Vec<KeyValue> {
        self.readers.attributes.as_ref().map_or_else(Vec::new, |attributes| attributes.get(row))
    }

    /// Works like [`super::SpanRows::each_scalar`]. Needs `Projection::Attributes`.
    pub fn each_scalar<'a>(&'a self, row: usize, visit: impl FnMut(&'a str, Scalar<'a>)) {
        if let Some(attributes) = &self.readers.attributes {
            attributes.each_scalar(row, visit);
        }
    }

    /// Returns the record as it was sent. Needs `Projection::Full`.
    #[must_use]
    pub fn log_record(&self, row: usize) -> LogRecord {
        LogRecord {
            time_unix_nano: if self.readers.time_known.truth(row) {
                self.readers.time_unix_nanos.unsigned(row)
            } else {
                0
            },
            observed_time_unix_nano: self.readers.observed_unix_nanos.unsigned(row),
            severity_number: self.severity_number(row),
            severity_text: self.severity_text(row).to_owned(),
            body: self.body(row),
            attributes: self.attributes(row),
            dropped_attributes_count: self.dropped_attributes_count(row),
            flags: self.flags(row),
            trace_id: self.readers.trace_id.bytes(row).unwrap_or_default().to_vec(),
            span_id: self.readers.span_id.bytes(row).unwrap_or_default().to_vec(),
            event_name: self.event_name(row).to_owned(),
        }
    }

    /// Returns the stored text of the resource. Equal resources have equal texts. Needs
    /// `Projection::Resources`.
    #[must_use]
    #[inline]
    pub fn resource_key(&self, row: usize) -> &str {
        self.sender.resource_key(row)
    }

    /// Returns the resource that sent it. Needs `Projection::Resources`.
    #[must_use]
    pub fn resource(&self, row: usize) -> Option<Resource> {
        self.sender.resource(row)
    }

    /// Returns the schema URL of the resource. Needs `Projection::Full`.
    #[must_use]
    pub fn resource_schema_url(&self, row: usize) -> &str {
        self.sender.resource_schema_url(row)
    }

    /// Returns the stored text of the scope. Equal scopes have equal texts. Needs
    /// `Projection::Full`.
    #[must_use]
    pub fn scope_key(&self, row: usize) -> &str {
        self.sender.scope_key(row)
    }

    /// Returns the instrumentation scope. Needs `Projection::Full`.
    #[must_use]
    pub fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        self.sender.scope(row)
    }

    /// Returns the schema URL of the scope's records. Needs `Projection::Full`.
    #[must_use]
    pub fn scope_schema_url(&self, row: usize) -> &str {
        self.sender.scope_schema_url(row)
    }
}
