//! Spans in columns.

use std::{collections::HashSet, ops::Range};

use arrow_array::{
    Array, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, UInt64Array,
};
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
    attributes::{AttributesColumn, EventsColumn, LinksColumn, Scalar},
    column::{OptionalColumn, WordColumn, word},
    derived::with_ends,
    sender::SenderRows,
};

/// Spans in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct SpanRows {
    batch: RecordBatch,
    start: OptionalColumn<Int64Array>,
    end: OptionalColumn<Int64Array>,
    duration: OptionalColumn<Int64Array>,
    trace_id: OptionalColumn<BinaryArray>,
    span_id: OptionalColumn<BinaryArray>,
    parent_span_id: OptionalColumn<BinaryArray>,
    name: Option<WordColumn>,
    kind: OptionalColumn<Int32Array>,
    status_code: OptionalColumn<Int32Array>,
    status_message: Option<WordColumn>,
    trace_state: Option<WordColumn>,
    flags: OptionalColumn<Int64Array>,
    attributes: Option<AttributesColumn>,
    dropped_attributes_count: OptionalColumn<Int64Array>,
    events: Option<EventsColumn>,
    event_count: OptionalColumn<Int32Array>,
    has_exception: OptionalColumn<BooleanArray>,
    dropped_events_count: OptionalColumn<Int64Array>,
    links: Option<LinksColumn>,
    link_count: OptionalColumn<Int32Array>,
    dropped_links_count: OptionalColumn<Int64Array>,
    received: OptionalColumn<Int64Array>,
    content_hash: OptionalColumn<Int64Array>,
    sender: SenderRows,
}

impl SpanRows {
    /// Reads the rows of a batch. Columns that the reader does not need may be missing. Restores
    /// the ends that files omit.
    pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let batch = &with_ends(batch)?;
        let rows = Self {
            batch: batch.clone(),
            start: OptionalColumn::from_batch(batch, "start_unix_nanos")?,
            end: OptionalColumn::from_batch(batch, "end_unix_nanos")?,
            duration: OptionalColumn::from_batch(batch, "duration_nanos")?,
            trace_id: OptionalColumn::from_batch(batch, "trace_id")?,
            span_id: OptionalColumn::from_batch(batch, "span_id")?,
            parent_span_id: OptionalColumn::from_batch(batch, "parent_span_id")?,
            name: WordColumn::from_batch(batch, "name")?,
            kind: OptionalColumn::from_batch(batch, "kind")?,
            status_code: OptionalColumn::from_batch(batch, "status_code")?,
            status_message: WordColumn::from_batch(batch, "status_message")?,
            trace_state: WordColumn::from_batch(batch, "trace_state")?,
            flags: OptionalColumn::from_batch(batch, "flags")?,
            attributes: AttributesColumn::from_batch(batch, "attributes")?,
            dropped_attributes_count: OptionalColumn::from_batch(
                batch,
                "dropped_attributes_count",
            )?,
            events: EventsColumn::from_batch(batch, "events")?,
            event_count: OptionalColumn::from_batch(batch, "event_count")?,
            has_exception: OptionalColumn::from_batch(batch, "has_exception")?,
            dropped_events_count: OptionalColumn::from_batch(batch, "dropped_events_count")?,
            links: LinksColumn::from_batch(batch, "links")?,
            link_count: OptionalColumn::from_batch(batch, "link_count")?,
            dropped_links_count: OptionalColumn::from_batch(batch, "dropped_links_count")?,
            received: OptionalColumn::from_batch(batch, "received_unix_nanos")?,
            content_hash: OptionalColumn::from_batch(batch, "content_hash")?,
            sender: SenderRows::from_batch(batch)?,
        };
        check_ids(&rows.trace_id, |id| TraceId::from_wire(id).is_some(), "trace_id")?;
        check_ids(&rows.span_id, |id| SpanId::from_wire(id).is_some(), "span_id")?;
        Ok(rows)
    }

    /// Returns the number of rows.
    #[must_use]
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
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the trace that it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> TraceId {
        TraceId::from_wire(self.trace_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// Returns its id.
    #[must_use]
    pub fn span_id(&self, row: usize) -> SpanId {
        SpanId::from_wire(self.span_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// Returns its parent's id.
    #[must_use]
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.parent_span_id.bytes(row)?)
    }

    /// Returns its start, or 0 when unknown.
    #[must_use]
    pub fn start(&self, row: usize) -> UnixNanos {
        self.start.time(row)
    }

    /// Returns its end, or 0 when it has not ended.
    #[must_use]
    pub fn end(&self, row: usize) -> UnixNanos {
        self.end.time(row)
    }

    /// Returns the time from start to end, which is never negative.
    #[must_use]
    pub fn duration(&self, row: usize) -> DurationNanos {
        DurationNanos(self.duration.unsigned(row))
    }

    /// Returns `service.name`, or an empty text when the sender gave none.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// Returns the operation name.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        word(self.name.as_ref(), row)
    }

    /// Returns its kind.
    #[must_use]
    pub fn kind(&self, row: usize) -> SpanKind {
        self.kind
            .int(row)
            .and_then(|kind| SpanKind::try_from(kind).ok())
            .unwrap_or(SpanKind::Unspecified)
    }

    /// Returns its status code.
    #[must_use]
    pub fn status(&self, row: usize) -> StatusCode {
        self.status_code
            .int(row)
            .and_then(|code| StatusCode::try_from(code).ok())
            .unwrap_or(StatusCode::Unset)
    }

    /// Returns its status message.
    #[must_use]
    pub fn status_message(&self, row: usize) -> &str {
        word(self.status_message.as_ref(), row)
    }

    /// Returns its number of events.
    #[must_use]
    pub fn event_count(&self, row: usize) -> u32 {
        count(&self.event_count, row)
    }

    /// Returns its number of links.
    #[must_use]
    pub fn link_count(&self, row: usize) -> u32 {
        count(&self.link_count, row)
    }

    /// Returns true if one of its events is an exception.
    #[must_use]
    pub fn has_exception(&self, row: usize) -> bool {
        self.has_exception.truth(row)
    }

    /// Returns the time at which it was received.
    #[must_use]
    pub fn received(&self, row: usize) -> UnixNanos {
        self.received.time(row)
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

    /// Calls `visit` for each of its attributes whose value is a scalar, in the order they were
    /// sent, without copying them. Needs `Detail::Attributes`.
    pub fn each_scalar<'a>(&'a self, row: usize, visit: impl FnMut(&'a str, Scalar<'a>)) {
        if let Some(attributes) = &self.attributes {
            attributes.each_scalar(row, visit);
        }
    }

    /// Returns its events. Needs `Detail::Events` or `Detail::Full`.
    #[must_use]
    pub fn events(&self, row: usize) -> Vec<Event> {
        self.events.as_ref().map_or_else(Vec::new, |events| events.get(row))
    }

    /// Returns its links. Needs `Detail::Full`.
    #[must_use]
    pub fn links(&self, row: usize) -> Vec<Link> {
        self.links.as_ref().map_or_else(Vec::new, |links| links.get(row))
    }

    /// Returns the span as it was sent. Needs `Detail::Full`.
    #[must_use]
    pub fn span(&self, row: usize) -> Span {
        Span {
            trace_id: self.trace_id.bytes(row).unwrap_or_default().to_vec(),
            span_id: self.span_id.bytes(row).unwrap_or_default().to_vec(),
            trace_state: word(self.trace_state.as_ref(), row).to_owned(),
            parent_span_id: self.parent_span_id.bytes(row).unwrap_or_default().to_vec(),
            flags: self.flags.count(row),
            name: self.name(row).to_owned(),
            kind: self.kind.int(row).unwrap_or_default(),
            start_time_unix_nano: self.start.unsigned(row),
            end_time_unix_nano: self.end.unsigned(row),
            attributes: self.attributes(row),
            dropped_attributes_count: self.dropped_attributes_count.count(row),
            events: self.events(row),
            dropped_events_count: self.dropped_events_count.count(row),
            links: self.links(row),
            dropped_links_count: self.dropped_links_count.count(row),
            status: self
                .status_code
                .int(row)
                .map(|code| Status { message: self.status_message(row).to_owned(), code }),
        }
    }

    /// Returns the dictionary code of its service. Rows with equal codes have equal services.
    #[must_use]
    pub fn service_number(&self, row: usize) -> Option<usize> {
        self.sender.service.as_ref()?.key(row)
    }

    /// Returns the dictionary code of its operation. Rows with equal codes have equal operations.
    #[must_use]
    pub fn name_number(&self, row: usize) -> Option<usize> {
        self.name.as_ref()?.key(row)
    }

    /// Returns the dictionary code of its resource. Rows with equal codes have equal resources.
    /// Needs `Detail::Resources`.
    #[must_use]
    pub fn resource_number(&self, row: usize) -> Option<usize> {
        self.sender.resource_number(row)
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

fn count(column: &OptionalColumn<Int32Array>, row: usize) -> u32 {
    column.int(row).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
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
