//! Spans in columns.

use std::collections::HashSet;

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
    attributes::{Attributes, Events, Links, Scalar},
    column::{Column, Words, word},
    sender::SenderRows,
};

/// Spans in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct SpanRows {
    batch: RecordBatch,
    start: Column<Int64Array>,
    end: Column<Int64Array>,
    duration: Column<Int64Array>,
    trace_id: Column<BinaryArray>,
    span_id: Column<BinaryArray>,
    parent_span_id: Column<BinaryArray>,
    name: Option<Words>,
    kind: Column<Int32Array>,
    status_code: Column<Int32Array>,
    status_message: Option<Words>,
    trace_state: Option<Words>,
    flags: Column<Int64Array>,
    attributes: Option<Attributes>,
    dropped_attributes_count: Column<Int64Array>,
    events: Option<Events>,
    event_count: Column<Int32Array>,
    has_exception: Column<BooleanArray>,
    dropped_events_count: Column<Int64Array>,
    links: Option<Links>,
    link_count: Column<Int32Array>,
    dropped_links_count: Column<Int64Array>,
    received: Column<Int64Array>,
    content_hash: Column<Int64Array>,
    sender: SenderRows,
}

impl SpanRows {
    /// The rows of a batch, which may lack columns that its reader does not need.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let rows = Self {
            batch: batch.clone(),
            start: Column::of(batch, "start_unix_nanos")?,
            end: Column::of(batch, "end_unix_nanos")?,
            duration: Column::of(batch, "duration_nanos")?,
            trace_id: Column::of(batch, "trace_id")?,
            span_id: Column::of(batch, "span_id")?,
            parent_span_id: Column::of(batch, "parent_span_id")?,
            name: Words::of(batch, "name")?,
            kind: Column::of(batch, "kind")?,
            status_code: Column::of(batch, "status_code")?,
            status_message: Words::of(batch, "status_message")?,
            trace_state: Words::of(batch, "trace_state")?,
            flags: Column::of(batch, "flags")?,
            attributes: Attributes::of(batch, "attributes")?,
            dropped_attributes_count: Column::of(batch, "dropped_attributes_count")?,
            events: Events::of(batch, "events")?,
            event_count: Column::of(batch, "event_count")?,
            has_exception: Column::of(batch, "has_exception")?,
            dropped_events_count: Column::of(batch, "dropped_events_count")?,
            links: Links::of(batch, "links")?,
            link_count: Column::of(batch, "link_count")?,
            dropped_links_count: Column::of(batch, "dropped_links_count")?,
            received: Column::of(batch, "received_unix_nanos")?,
            content_hash: Column::of(batch, "content_hash")?,
            sender: SenderRows::of(batch)?,
        };
        check_ids(&rows.trace_id, |id| TraceId::from_wire(id).is_some(), "trace_id")?;
        check_ids(&rows.span_id, |id| SpanId::from_wire(id).is_some(), "span_id")?;
        Ok(rows)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The columns that the scan's detail has, as `docs/formats/tables.md` describes them;
    /// repetitive texts are dictionaries, and attributes of rows in memory have a form of their own:
    /// [`crate::AttributeTexts`] reads both.
    #[must_use]
    pub fn columns(&self) -> &RecordBatch {
        &self.batch
    }

    /// These rows alone, which are ascending, in that order. Holds nothing of the others, unless
    /// all are wanted.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        if rows.len() == self.len() {
            return self.clone();
        }
        let wanted = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
        let batch = take_record_batch(&self.batch, &wanted);
        let batch = batch.expect("invariant: the rows are the batch's");
        Self::of(&batch).expect("invariant: the columns were checked when the rows were made")
    }

    /// How many bytes of memory these rows hold, what they share with those that were measured
    /// before left out: `known` has the addresses of that. It is right while all of them are held.
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

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> TraceId {
        TraceId::from_wire(self.trace_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// Its id.
    #[must_use]
    pub fn span_id(&self, row: usize) -> SpanId {
        SpanId::from_wire(self.span_id.bytes(row).unwrap_or_default())
            .expect("invariant: ids are checked when rows are made")
    }

    /// The parent it names.
    #[must_use]
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        SpanId::from_wire(self.parent_span_id.bytes(row)?)
    }

    /// When it began; 0 when not known.
    #[must_use]
    pub fn start(&self, row: usize) -> UnixNanos {
        self.start.time(row)
    }

    /// When it ended; 0 when it has not.
    #[must_use]
    pub fn end(&self, row: usize) -> UnixNanos {
        self.end.time(row)
    }

    /// From start to end, never negative.
    #[must_use]
    pub fn duration(&self, row: usize) -> DurationNanos {
        DurationNanos(self.duration.unsigned(row))
    }

    /// `service.name`; empty when not said.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        self.sender.service(row)
    }

    /// The operation.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        word(self.name.as_ref(), row)
    }

    /// The part it plays.
    #[must_use]
    pub fn kind(&self, row: usize) -> SpanKind {
        self.kind
            .int(row)
            .and_then(|kind| SpanKind::try_from(kind).ok())
            .unwrap_or(SpanKind::Unspecified)
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self, row: usize) -> StatusCode {
        self.status_code
            .int(row)
            .and_then(|code| StatusCode::try_from(code).ok())
            .unwrap_or(StatusCode::Unset)
    }

    /// The description of its error.
    #[must_use]
    pub fn status_message(&self, row: usize) -> &str {
        word(self.status_message.as_ref(), row)
    }

    /// How many events it has.
    #[must_use]
    pub fn event_count(&self, row: usize) -> u32 {
        count(&self.event_count, row)
    }

    /// How many links it has.
    #[must_use]
    pub fn link_count(&self, row: usize) -> u32 {
        count(&self.link_count, row)
    }

    /// Whether one of its events is an exception.
    #[must_use]
    pub fn has_exception(&self, row: usize) -> bool {
        self.has_exception.truth(row)
    }

    /// When it was received.
    #[must_use]
    pub fn received(&self, row: usize) -> UnixNanos {
        self.received.time(row)
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

    /// Gives `visit` those of its attributes whose values are a text, a number or a truth value, in
    /// the order they were sent, without copying them. Needs `Detail::Attributes`.
    pub fn each_scalar<'a>(&'a self, row: usize, visit: impl FnMut(&'a str, Scalar<'a>)) {
        if let Some(attributes) = &self.attributes {
            attributes.each_scalar(row, visit);
        }
    }

    /// Its events. Needs `Detail::Events` or `Detail::Full`.
    #[must_use]
    pub fn events(&self, row: usize) -> Vec<Event> {
        self.events.as_ref().map_or_else(Vec::new, |events| events.get(row))
    }

    /// Its links. Needs `Detail::Full`.
    #[must_use]
    pub fn links(&self, row: usize) -> Vec<Link> {
        self.links.as_ref().map_or_else(Vec::new, |links| links.get(row))
    }

    /// The span as it was sent. Needs `Detail::Full`.
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

    /// The number of its service among these rows: equal numbers, equal services.
    #[must_use]
    pub fn service_number(&self, row: usize) -> Option<usize> {
        self.sender.service.as_ref()?.key(row)
    }

    /// The number of its operation among these rows: equal numbers, equal operations.
    #[must_use]
    pub fn name_number(&self, row: usize) -> Option<usize> {
        self.name.as_ref()?.key(row)
    }

    /// The number of its resource among these rows: equal numbers, equal resources. Needs
    /// `Detail::Resources`.
    #[must_use]
    pub fn resource_number(&self, row: usize) -> Option<usize> {
        self.sender.resource_number(row)
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

fn count(column: &Column<Int32Array>, row: usize) -> u32 {
    column.int(row).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

fn check_ids(
    ids: &Column<BinaryArray>,
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
