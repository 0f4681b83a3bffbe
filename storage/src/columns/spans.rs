//! Converts spans to rows.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
    builder::{BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder},
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::view::{EventView, LinkView, NonCanonical, Repeated, RequestView, SpanView, View},
};

use super::{
    attribute_builder::{AttributesBuilder, ElementAttributesBuilder},
    buffers::{TextsBuilder, WordsBuilder},
    first_offset,
    hash::ContentHash,
    offset, sender,
};
use crate::{
    StorageError,
    schema::{self, Signal},
};

/// Makes one row per span, in the request's order.
pub(super) fn rows(request: &[u8], received: UnixNanos) -> Result<RecordBatch, StorageError> {
    let groups = sender::groups(RequestView::<SpanView<'_>>::read(request)?.resources)?;
    let rows = groups.iter().map(|group| group.records.len()).sum();
    let mut builder = SpanBuilder::new(rows, request.len());
    for group in &groups {
        for span in group.records.iter() {
            builder.append(&span?, group.hash, received)?;
        }
    }
    Ok(builder.finish(sender::columns(&groups, rows)?)?)
}

struct SpanBuilder<'a> {
    start: Vec<i64>,
    end: Vec<i64>,
    duration: Vec<i64>,
    trace_id: TextsBuilder,
    trace_id_low64: Vec<i64>,
    span_id: TextsBuilder,
    parent_span_id: BinaryBuilder,
    name: WordsBuilder<'a>,
    kind: Vec<i32>,
    status_code: Int32Builder,
    status_message: WordsBuilder<'a>,
    trace_state: WordsBuilder<'a>,
    flags: Vec<i64>,
    attributes: AttributesBuilder<'a>,
    dropped_attributes_count: Vec<i64>,
    events: EventsBuilder,
    event_count: Vec<i32>,
    has_exception: BooleanBuilder,
    dropped_events_count: Vec<i64>,
    links: LinksBuilder,
    link_count: Vec<i32>,
    dropped_links_count: Vec<i64>,
    received: Vec<i64>,
    content_hash: Vec<i64>,
}

impl<'a> SpanBuilder<'a> {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            start: Vec::with_capacity(rows),
            end: Vec::with_capacity(rows),
            duration: Vec::with_capacity(rows),
            trace_id: TextsBuilder::new(rows, rows * TraceId::LEN),
            trace_id_low64: Vec::with_capacity(rows),
            span_id: TextsBuilder::new(rows, rows * SpanId::LEN),
            parent_span_id: BinaryBuilder::with_capacity(rows, rows * SpanId::LEN),
            name: WordsBuilder::new(rows),
            kind: Vec::with_capacity(rows),
            status_code: Int32Builder::with_capacity(rows),
            status_message: WordsBuilder::new(rows),
            trace_state: WordsBuilder::new(rows),
            flags: Vec::with_capacity(rows),
            attributes: AttributesBuilder::new(rows, bytes),
            dropped_attributes_count: Vec::with_capacity(rows),
            events: EventsBuilder::new(rows),
            event_count: Vec::with_capacity(rows),
            has_exception: BooleanBuilder::with_capacity(rows),
            dropped_events_count: Vec::with_capacity(rows),
            links: LinksBuilder::new(rows),
            link_count: Vec::with_capacity(rows),
            dropped_links_count: Vec::with_capacity(rows),
            received: Vec::with_capacity(rows),
            content_hash: Vec::with_capacity(rows),
        }
    }

    fn append(
        &mut self,
        span: &SpanView<'a>,
        seed: u64,
        received: UnixNanos,
    ) -> Result<(), StorageError> {
        let invalid = |field| StorageError::Invalid { record: "a span", field };
        let trace_id = TraceId::from_wire(span.trace_id).ok_or(invalid("trace id"))?;
        let span_id = SpanId::from_wire(span.span_id).ok_or(invalid("span id"))?;
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let duration = end.saturating_sub(start);
        let mut hash = hash(span, seed);
        self.start.push(start.cast_signed());
        self.end.push(end.cast_signed());
        self.duration.push(i64::try_from(duration).unwrap_or(i64::MAX));
        self.trace_id.push(trace_id.as_bytes());
        self.trace_id_low64.push(trace_id.low64().cast_signed());
        self.span_id.push(span_id.as_bytes());
        append_bytes(&mut self.parent_span_id, span.parent_span_id);
        self.name.push(Some(span.name), 1);
        self.kind.push(span.kind);
        self.status_code.append_option(span.status.map(|status| status.code));
        self.status_message.push(Some(span.status.map_or(&[], |status| status.message)), 1);
        self.trace_state.push(Some(span.trace_state), 1);
        self.flags.push(span.flags.into());
        self.attributes.append(span.attributes, &mut hash)?;
        self.dropped_attributes_count.push(span.dropped_attributes_count.into());
        let has_exception = self.events.append(span.events, &mut hash)?;
        self.event_count.push(offset(span.events.len()));
        self.has_exception.append_value(has_exception);
        self.dropped_events_count.push(span.dropped_events_count.into());
        self.links.append(span.links, &mut hash)?;
        self.link_count.push(offset(span.links.len()));
        self.dropped_links_count.push(span.dropped_links_count.into());
        self.received.push(received.0.cast_signed());
        self.content_hash.push(hash.finish());
        Ok(())
    }

    fn finish(mut self, sender: sender::SenderColumns) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("start_unix_nanos", Arc::new(Int64Array::from(self.start))),
            ("end_unix_nanos", Arc::new(Int64Array::from(self.end))),
            ("duration_nanos", Arc::new(Int64Array::from(self.duration))),
            ("trace_id", Arc::new(self.trace_id.finish_binary(None)?)),
            ("trace_id_low64", Arc::new(Int64Array::from(self.trace_id_low64))),
            ("span_id", Arc::new(self.span_id.finish_binary(None)?)),
            ("parent_span_id", Arc::new(self.parent_span_id.finish())),
            ("service", sender.service),
            ("name", self.name.finish()?),
            ("kind", Arc::new(Int32Array::from(self.kind))),
            ("status_code", Arc::new(self.status_code.finish())),
            ("status_message", self.status_message.finish()?),
            ("trace_state", self.trace_state.finish()?),
            ("flags", Arc::new(Int64Array::from(self.flags))),
            ("attributes", Arc::new(self.attributes.finish()?)),
            ("dropped_attributes_count", Arc::new(Int64Array::from(self.dropped_attributes_count))),
            ("events", Arc::new(self.events.finish()?)),
            ("event_count", Arc::new(Int32Array::from(self.event_count))),
            ("has_exception", Arc::new(self.has_exception.finish())),
            ("dropped_events_count", Arc::new(Int64Array::from(self.dropped_events_count))),
            ("links", Arc::new(self.links.finish()?)),
            ("link_count", Arc::new(Int32Array::from(self.link_count))),
            ("dropped_links_count", Arc::new(Int64Array::from(self.dropped_links_count))),
            ("resource", sender.resource),
            ("resource_schema_url", sender.resource_schema_url),
            ("scope", sender.scope),
            ("scope_schema_url", sender.scope_schema_url),
        ];
        columns.extend(schema::PROMOTED.map(|(name, _)| name).into_iter().zip(sender.promoted));
        columns.push(("received_unix_nanos", Arc::new(Int64Array::from(self.received))));
        columns.push(("content_hash", Arc::new(Int64Array::from(self.content_hash))));
        Signal::Spans.batch(columns)
    }
}

/// Appends an id from the wire, where empty means null.
pub(super) fn append_bytes(column: &mut BinaryBuilder, bytes: &[u8]) {
    column.append_option((!bytes.is_empty()).then_some(bytes));
}

/// Hashes the fields that occur once. Lists are added when they are appended.
fn hash(span: &SpanView<'_>, seed: u64) -> ContentHash {
    let mut hash = ContentHash::new(seed);
    for bytes in [span.trace_id, span.span_id, span.parent_span_id, span.name, span.trace_state] {
        hash.bytes(bytes);
    }
    hash.number(u64::from(span.flags) << 32 | u64::from(span.kind.cast_unsigned()));
    hash.number(span.start_time_unix_nano);
    hash.number(span.end_time_unix_nano);
    hash.number(
        u64::from(span.dropped_attributes_count) << 32 | u64::from(span.dropped_events_count),
    );
    let code = span.status.map_or(u64::MAX, |status| status.code.cast_unsigned().into());
    hash.number(code);
    hash.bytes(span.status.map_or(&[], |status| status.message));
    hash.number(span.dropped_links_count.into());
    hash
}

#[derive(Debug)]
struct EventsBuilder {
    offsets: Vec<i32>,
    time: Int64Builder,
    name: TextsBuilder,
    attributes: ElementAttributesBuilder,
    dropped: Int64Builder,
}

impl EventsBuilder {
    fn new(rows: usize) -> Self {
        Self {
            offsets: first_offset(rows),
            time: Int64Builder::with_capacity(0),
            name: TextsBuilder::new(0, 0),
            attributes: ElementAttributesBuilder::new(),
            dropped: Int64Builder::with_capacity(0),
        }
    }

    /// Appends a span's events. Returns true if one of them is an exception.
    fn append(
        &mut self,
        events: Repeated<'_, EventView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<bool, NonCanonical> {
        let mut has_exception = false;
        hash.number(events.len() as u64);
        for event in events.iter() {
            let event = event?;
            has_exception |= event.name == b"exception";
            self.time.append_value(event.time_unix_nano.cast_signed());
            self.name.push(event.name);
            hash.number(event.time_unix_nano);
            hash.bytes(event.name);
            hash.number(event.dropped_attributes_count.into());
            self.attributes.append(event.attributes, hash)?;
            self.dropped.append_value(event.dropped_attributes_count.into());
        }
        self.offsets.push(offset(self.time.values_slice().len()));
        Ok(has_exception)
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        list(
            schema::event(),
            self.offsets,
            vec![
                Arc::new(self.time.finish()),
                Arc::new(self.name.finish(None)?),
                Arc::new(self.attributes.finish()?),
                Arc::new(self.dropped.finish()),
            ],
        )
    }
}

#[derive(Debug)]
struct LinksBuilder {
    offsets: Vec<i32>,
    trace_id: BinaryBuilder,
    span_id: BinaryBuilder,
    trace_state: TextsBuilder,
    attributes: ElementAttributesBuilder,
    dropped: Int64Builder,
    flags: Int64Builder,
}

impl LinksBuilder {
    fn new(rows: usize) -> Self {
        Self {
            offsets: first_offset(rows),
            trace_id: BinaryBuilder::with_capacity(0, 0),
            span_id: BinaryBuilder::with_capacity(0, 0),
            trace_state: TextsBuilder::new(0, 0),
            attributes: ElementAttributesBuilder::new(),
            dropped: Int64Builder::with_capacity(0),
            flags: Int64Builder::with_capacity(0),
        }
    }

    fn append(
        &mut self,
        links: Repeated<'_, LinkView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        hash.number(links.len() as u64);
        for link in links.iter() {
            let link = link?;
            self.trace_id.append_value(link.trace_id);
            self.span_id.append_value(link.span_id);
            self.trace_state.push(link.trace_state);
            for bytes in [link.trace_id, link.span_id, link.trace_state] {
                hash.bytes(bytes);
            }
            hash.number(u64::from(link.dropped_attributes_count) << 32 | u64::from(link.flags));
            self.attributes.append(link.attributes, hash)?;
            self.dropped.append_value(link.dropped_attributes_count.into());
            self.flags.append_value(link.flags.into());
        }
        self.offsets.push(offset(self.flags.values_slice().len()));
        Ok(())
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        list(
            schema::link(),
            self.offsets,
            vec![
                Arc::new(self.trace_id.finish()),
                Arc::new(self.span_id.finish()),
                Arc::new(self.trace_state.finish(None)?),
                Arc::new(self.attributes.finish()?),
                Arc::new(self.dropped.finish()),
                Arc::new(self.flags.finish()),
            ],
        )
    }
}

fn list(
    element: FieldRef,
    offsets: Vec<i32>,
    columns: Vec<ArrayRef>,
) -> Result<ListArray, ArrowError> {
    let DataType::Struct(fields) = element.data_type() else {
        unreachable!("invariant: events and links are structs");
    };
    let elements = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(element, offsets, Arc::new(elements), None)
}
