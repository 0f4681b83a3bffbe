//! Spans in columns.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use arrow_array::{Array, BinaryArray, RecordBatch, UInt64Array};
use arrow_data::ArrayData;
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{
        Event, InstrumentationScope, KeyValue, Link, Resource, Span, SpanKind, Status, StatusCode,
    },
};

use super::{
    attributes::Scalar, column::OptionalColumn, column_readers::column_readers, sender::SenderRows,
    with_ends,
};
use crate::schema::span_columns;

/// Spans in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct SpanRows {
    batch: RecordBatch,
    readers: SpanColumnReaders,
    sender: SenderRows,
}

span_columns!(column_readers, SpanRows, SpanColumnReaders);

impl SpanRows {
    /// Reads the rows of a batch. Columns that the reader does not need may be missing. Restores
    /// the ends that files omit.
    ///
    /// # Errors
    /// When a column has another type, or an id is not valid.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let batch = &with_ends(batch)?;
        let rows = Self {
            batch: batch.clone(),
            readers: SpanColumnReaders::from_batch(batch)?,
            sender: SenderRows::from_batch(batch)?,
        };
        check_ids(&rows.readers.trace_id, |id| TraceId::from_wire(id).is_some(), "trace_id")?;
        check_ids(&rows.readers.span_id, |id| SpanId::from_wire(id).is_some(), "span_id")?;
        Ok(rows)
    }

    /// Returns the number of rows.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns the columns of the scan's detail, as `docs/formats/tables.md` describes them.
    /// Repetitive texts are dictionaries. Attributes of rows in the memtable are packed, and
    /// [`crate::AttributeTexts`] reads both forms.
    #[must_use]
    pub fn columns(&self) -> &RecordBatch {
        &self.batch
    }

    /// Returns these rows, which are ascending, in that order. Shares no buffers with the other
    /// rows, unless all rows are selected.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        if rows.len() == self.len() {
            return self.clone();
        }
        let wanted = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
        let batch = take_record_batch(&self.batch, &wanted);
        let batch = batch.expect("invariant: the rows are the batch's");
        Self::from_batch(&batch)
            .expect("invariant: the columns were checked when the rows were made")
    }

    /// Returns the memory in bytes that these rows hold. Buffers that are shared with rows measured
    /// before do not count. `known` has the addresses of those buffers. The sum is correct while
    /// all measured rows are held.
    pub fn bytes_held(&self, known: &mut HashSet<usize>) -> u64 {
        let mut bytes = 0;
        let mut open: Vec<ArrayData> = self.batch.columns().iter().map(|of| of.to_data()).collect();
        while let Some(data) = open.pop() {
            let valid = data.nulls().map(|nulls| nulls.buffer());
            for buffer in data.buffers().iter().chain(valid) {
                if known.insert(buffer.data_ptr().addr().get()) {
                    bytes += buffer.capacity() as u64;
                }
            }
            open.extend(data.child_data().iter().cloned());
        }
        bytes
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

    /// Returns the trace that it belongs to.
    #[must_use]
    #[inline]
    pub fn trace_id(&self, row: usize) -> TraceId {
        TraceId::from_wire(self.readers.trace_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// Returns its id.
    #[must_use]
    #[inline]
    pub fn span_id(&self, row: usize) -> SpanId {
        SpanId::from_wire(self.readers.span_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// Returns its parent's id.
    #[must_use]
    #[inline]
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.readers.parent_span_id.bytes(row)?)
    }

    /// Returns its start, or 0 when unknown.
    #[must_use]
    #[inline]
    pub fn start(&self, row: usize) -> UnixNanos {
        self.readers.start_unix_nanos.time(row)
    }

    /// Returns its end, or 0 when it has not ended.
    #[must_use]
    #[inline]
    pub fn end(&self, row: usize) -> UnixNanos {
        self.readers.end_unix_nanos.time(row)
    }

    /// Returns the time from start to end, which is never negative.
    #[must_use]
    #[inline]
    pub fn duration(&self, row: usize) -> DurationNanos {
        DurationNanos(self.readers.duration_nanos.unsigned(row))
    }

    /// Returns `service.name`, or an empty text when the sender gave none.
    #[must_use]
    #[inline]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// Returns its kind.
    #[must_use]
    #[inline]
    pub fn kind(&self, row: usize) -> SpanKind {
        self.readers
            .kind
            .int(row)
            .and_then(|kind| SpanKind::try_from(kind).ok())
            .unwrap_or(SpanKind::Unspecified)
    }

    /// Returns its status code.
    #[must_use]
    #[inline]
    pub fn status(&self, row: usize) -> StatusCode {
        self.readers
            .status_code
            .int(row)
            .and_then(|code| StatusCode::try_from(code).ok())
            .unwrap_or(StatusCode::Unset)
    }

    /// Returns the time at which it was received.
    #[must_use]
    #[inline]
    pub fn received(&self, row: usize) -> UnixNanos {
        self.readers.received_unix_nanos.time(row)
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

    /// Returns its first attribute with this key as text, if that is a scalar, without copying the
    /// others. Needs `Projection::Attributes`.
    #[must_use]
    pub fn attribute_text(&self, row: usize, key: &str) -> Option<Cow<'_, str>> {
        self.readers.attributes.as_ref()?.text_of(row, key)
    }

    /// Calls `visit` for each of its attributes whose value is a scalar, in the order they were
    /// sent, without copying them. Needs `Projection::Attributes`.
    pub fn each_scalar<'a>(&'a self, row: usize, visit: impl FnMut(&'a str, Scalar<'a>)) {
        if let Some(attributes) = &self.readers.attributes {
            attributes.each_scalar(row, visit);
        }
    }

    /// Returns its events. Needs `Projection::Events` or `Projection::Full`.
    #[must_use]
    pub fn events(&self, row: usize) -> Vec<Event> {
        self.readers.events.as_ref().map_or_else(Vec::new, |events| events.get(row))
    }

    /// Returns its links. Needs `Projection::Full`.
    #[must_use]
    pub fn links(&self, row: usize) -> Vec<Link> {
        self.readers.links.as_ref().map_or_else(Vec::new, |links| links.get(row))
    }

    /// Returns the span as it was sent. Needs `Projection::Full`.
    #[must_use]
    pub fn span(&self, row: usize) -> Span {
        Span {
            trace_id: self.readers.trace_id.bytes(row).unwrap_or_default().to_vec(),
            span_id: self.readers.span_id.bytes(row).unwrap_or_default().to_vec(),
            trace_state: self.trace_state(row).to_owned(),
            parent_span_id: self.readers.parent_span_id.bytes(row).unwrap_or_default().to_vec(),
            flags: self.flags(row),
            name: self.name(row).to_owned(),
            kind: self.readers.kind.int(row).unwrap_or_default(),
            start_time_unix_nano: self.readers.start_unix_nanos.unsigned(row),
            end_time_unix_nano: self.readers.end_unix_nanos.unsigned(row),
            attributes: self.attributes(row),
            dropped_attributes_count: self.dropped_attributes_count(row),
            events: self.events(row),
            dropped_events_count: self.dropped_events_count(row),
            links: self.links(row),
            dropped_links_count: self.dropped_links_count(row),
            status: self
                .readers
                .status_code
                .int(row)
                .map(|code| Status { message: self.status_message(row).to_owned(), code }),
        }
    }

    /// Returns the dictionary code of its service. Rows with equal codes have equal services.
    #[must_use]
    #[inline]
    pub fn service_number(&self, row: usize) -> Option<usize> {
        self.sender.service.as_ref()?.key(row)
    }

    /// Returns the dictionary code of its operation. Rows with equal codes have equal operations.
    #[must_use]
    #[inline]
    pub fn name_number(&self, row: usize) -> Option<usize> {
        self.readers.name.as_ref()?.key(row)
    }

    /// Returns the dictionary code of its resource. Rows with equal codes have equal resources.
    /// Needs `Projection::Resources`.
    #[must_use]
    #[inline]
    pub fn resource_number(&self, row: usize) -> Option<usize> {
        self.sender.resource_number(row)
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

fn check_ids(
    ids: &OptionalColumn<BinaryArray>,
    valid: impl Fn(&[u8]) -> bool,
    name: &str,
) -> Result<(), ArrowError> {
    let Some(ids) = &ids.0 else { return Ok(()) };
    if ids.null_count() == 0 && ids.iter().flatten().all(valid) {
        Ok(())
    } else {
        Err(ArrowError::InvalidArgumentError(format!("{name} holds something else than ids")))
    }
}
