//! Converts spans to rows.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray, RecordBatch, StructArray,
    builder::{BinaryBuilder, Int64Builder},
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};
use tidings_proto::{
    Signal, SpanId, TraceId, UnixNanos,
    otlp::view::{EventView, LinkView, NonCanonical, Repeated, RequestView, SpanView, View},
};

use super::{
    attribute_builder::ElementAttributesBuilder,
    buffers::TextsBuilder,
    column_builders::{ColumnBuilder, column_builders},
    first_offset,
    hash::ContentHash,
    offset, sender,
};
use crate::{
    ConversionError,
    schema::{self, SignalSchema, span_columns},
};

/// Makes one row per span, in the request's order.
pub(super) fn rows(request: &[u8], received: UnixNanos) -> Result<RecordBatch, ConversionError> {
    let groups = sender::groups(RequestView::<SpanView<'_>>::read(request)?.resources)?;
    let rows = groups.iter().map(|group| group.records.len()).sum();
    let mut builders = SpanColumnBuilders::new(rows, request.len());
    for group in &groups {
        for span in group.records.iter() {
            builders.append(&span?, group.hash, received)?;
        }
    }
    let columns = builders.finish(sender::columns(&groups)?)?;
    Ok(Signal::Spans.batch(columns)?)
}

span_columns!(column_builders, SpanColumnBuilders);

impl<'a> SpanColumnBuilders<'a> {
    fn append(
        &mut self,
        span: &SpanView<'a>,
        seed: u64,
        received: UnixNanos,
    ) -> Result<(), ConversionError> {
        let invalid = |field| ConversionError::Invalid { record: "a span", field };
        let trace_id = TraceId::from_wire(span.trace_id).ok_or(invalid("trace id"))?;
        let span_id = SpanId::from_wire(span.span_id).ok_or(invalid("span id"))?;
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let duration = end.saturating_sub(start);
        let mut hash = hash(span, seed);
        self.start_unix_nanos.push(start.cast_signed());
        self.end_unix_nanos.push(end.cast_signed());
        self.duration_nanos.push(i64::try_from(duration).unwrap_or(i64::MAX));
        self.trace_id.push(trace_id.as_bytes());
        self.trace_id_low64.push(trace_id.low64().cast_signed());
        self.span_id.push(span_id.as_bytes());
        self.parent_span_id.push(span.parent_span_id);
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
        self.received_unix_nanos.push(received.0.cast_signed());
        self.content_hash.push(hash.finish());
        Ok(())
    }
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

/// Builds the column of events.
#[derive(Debug)]
struct EventsBuilder {
    offsets: Vec<i32>,
    time: Int64Builder,
    name: TextsBuilder,
    attributes: ElementAttributesBuilder,
    dropped: Int64Builder,
}

impl ColumnBuilder for EventsBuilder {
    fn allocate(rows: usize, _: usize) -> Self {
        Self {
            offsets: first_offset(rows),
            time: Int64Builder::with_capacity(0),
            name: TextsBuilder::new(0, 0),
            attributes: ElementAttributesBuilder::new(),
            dropped: Int64Builder::with_capacity(0),
        }
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        let lists = list(
            schema::event(),
            self.offsets,
            vec![
                Arc::new(self.time.finish()),
                Arc::new(self.name.finish(None)?),
                Arc::new(self.attributes.finish()?),
                Arc::new(self.dropped.finish()),
            ],
        )?;
        Ok(Arc::new(lists))
    }
}

impl EventsBuilder {
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
}

/// Builds the column of links.
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

impl ColumnBuilder for LinksBuilder {
    fn allocate(rows: usize, _: usize) -> Self {
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

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        let lists = list(
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
        )?;
        Ok(Arc::new(lists))
    }
}

impl LinksBuilder {
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
