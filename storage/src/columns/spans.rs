//! Spans to rows.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray, RecordBatch, StructArray,
    builder::{BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, StringBuilder},
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{Event, ExportTraceServiceRequest, Link, Span},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    WordBuilder,
    attributes::AttributesBuilder,
    first_offset, offset,
    sender::{Scope, Sender, SenderBuilder},
    words,
};
use crate::{
    StorageError,
    schema::{self, Signal},
};

/// One row per span, in the request's order.
///
/// # Errors
/// `Invalid` when a span has no valid trace or span id.
pub(crate) fn span_rows(
    request: &ExportTraceServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, StorageError> {
    let scopes = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
    let rows = scopes.map(|scope| scope.spans.len()).sum();
    let mut builder = SpanBuilder::new(rows);
    let mut senders = SenderBuilder::new(rows);
    for resource_spans in &request.resource_spans {
        let sender = Sender::new(resource_spans.resource.as_ref(), &resource_spans.schema_url);
        for scope_spans in &resource_spans.scope_spans {
            let scope = Scope::new(&sender, scope_spans.scope.as_ref(), &scope_spans.schema_url);
            senders.append(&sender, &scope, scope_spans.spans.len());
            for span in &scope_spans.spans {
                builder.append(span, scope.hash, received)?;
            }
        }
    }
    Ok(builder.finish(senders)?)
}

struct SpanBuilder {
    start: Int64Builder,
    end: Int64Builder,
    duration: Int64Builder,
    trace_id: BinaryBuilder,
    trace_id_low64: Int64Builder,
    span_id: BinaryBuilder,
    parent_span_id: BinaryBuilder,
    name: WordBuilder,
    kind: Int32Builder,
    status_code: Int32Builder,
    status_message: WordBuilder,
    trace_state: WordBuilder,
    flags: Int64Builder,
    attributes: AttributesBuilder,
    dropped_attributes_count: Int64Builder,
    events: EventsBuilder,
    event_count: Int32Builder,
    has_exception: BooleanBuilder,
    dropped_events_count: Int64Builder,
    links: LinksBuilder,
    link_count: Int32Builder,
    dropped_links_count: Int64Builder,
    received: Int64Builder,
    content_hash: Int64Builder,
    encoded: Vec<u8>,
}

impl SpanBuilder {
    fn new(rows: usize) -> Self {
        Self {
            start: Int64Builder::with_capacity(rows),
            end: Int64Builder::with_capacity(rows),
            duration: Int64Builder::with_capacity(rows),
            trace_id: BinaryBuilder::with_capacity(rows, rows * TraceId::LEN),
            trace_id_low64: Int64Builder::with_capacity(rows),
            span_id: BinaryBuilder::with_capacity(rows, rows * SpanId::LEN),
            parent_span_id: BinaryBuilder::with_capacity(rows, rows * SpanId::LEN),
            name: words(rows),
            kind: Int32Builder::with_capacity(rows),
            status_code: Int32Builder::with_capacity(rows),
            status_message: words(rows),
            trace_state: words(rows),
            flags: Int64Builder::with_capacity(rows),
            attributes: AttributesBuilder::new(rows),
            dropped_attributes_count: Int64Builder::with_capacity(rows),
            events: EventsBuilder::new(rows),
            event_count: Int32Builder::with_capacity(rows),
            has_exception: BooleanBuilder::with_capacity(rows),
            dropped_events_count: Int64Builder::with_capacity(rows),
            links: LinksBuilder::new(rows),
            link_count: Int32Builder::with_capacity(rows),
            dropped_links_count: Int64Builder::with_capacity(rows),
            received: Int64Builder::with_capacity(rows),
            content_hash: Int64Builder::with_capacity(rows),
            encoded: Vec::new(),
        }
    }

    fn append(&mut self, span: &Span, seed: u64, received: UnixNanos) -> Result<(), StorageError> {
        let invalid = |field| StorageError::Invalid { record: "a span", field };
        let trace_id = TraceId::from_wire(&span.trace_id).ok_or(invalid("trace id"))?;
        let span_id = SpanId::from_wire(&span.span_id).ok_or(invalid("span id"))?;
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let duration = end.saturating_sub(start);
        self.start.append_value(start.cast_signed());
        self.end.append_value(end.cast_signed());
        self.duration.append_value(i64::try_from(duration).unwrap_or(i64::MAX));
        self.trace_id.append_value(trace_id.as_bytes());
        self.trace_id_low64.append_value(trace_id.low64().cast_signed());
        self.span_id.append_value(span_id.as_bytes());
        append_bytes(&mut self.parent_span_id, &span.parent_span_id);
        self.name.append_value(&span.name);
        self.kind.append_value(span.kind);
        let status = span.status.as_ref();
        self.status_code.append_option(status.map(|status| status.code));
        self.status_message.append_value(status.map_or("", |status| &status.message));
        self.trace_state.append_value(&span.trace_state);
        self.flags.append_value(span.flags.into());
        self.attributes.append(&span.attributes);
        self.dropped_attributes_count.append_value(span.dropped_attributes_count.into());
        self.events.append(&span.events);
        self.event_count.append_value(offset(span.events.len()));
        self.has_exception.append_value(span.events.iter().any(|event| event.name == "exception"));
        self.dropped_events_count.append_value(span.dropped_events_count.into());
        self.links.append(&span.links);
        self.link_count.append_value(offset(span.links.len()));
        self.dropped_links_count.append_value(span.dropped_links_count.into());
        self.received.append_value(received.0.cast_signed());
        self.encoded.clear();
        span.encode_raw(&mut self.encoded);
        self.content_hash.append_value(xxh3_64_with_seed(&self.encoded, seed).cast_signed());
        Ok(())
    }

    fn finish(mut self, senders: SenderBuilder) -> Result<RecordBatch, ArrowError> {
        let sender = senders.finish();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("start_unix_nanos", Arc::new(self.start.finish())),
            ("end_unix_nanos", Arc::new(self.end.finish())),
            ("duration_nanos", Arc::new(self.duration.finish())),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("trace_id_low64", Arc::new(self.trace_id_low64.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("parent_span_id", Arc::new(self.parent_span_id.finish())),
            ("service", sender.service),
            ("name", Arc::new(self.name.finish())),
            ("kind", Arc::new(self.kind.finish())),
            ("status_code", Arc::new(self.status_code.finish())),
            ("status_message", Arc::new(self.status_message.finish())),
            ("trace_state", Arc::new(self.trace_state.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("attributes", Arc::new(self.attributes.finish()?)),
            ("dropped_attributes_count", Arc::new(self.dropped_attributes_count.finish())),
            ("events", Arc::new(self.events.finish()?)),
            ("event_count", Arc::new(self.event_count.finish())),
            ("has_exception", Arc::new(self.has_exception.finish())),
            ("dropped_events_count", Arc::new(self.dropped_events_count.finish())),
            ("links", Arc::new(self.links.finish()?)),
            ("link_count", Arc::new(self.link_count.finish())),
            ("dropped_links_count", Arc::new(self.dropped_links_count.finish())),
            ("resource", sender.resource),
            ("resource_schema_url", sender.resource_schema_url),
            ("scope", sender.scope),
            ("scope_schema_url", sender.scope_schema_url),
        ];
        columns.extend(schema::PROMOTED.map(|(name, _)| name).into_iter().zip(sender.promoted));
        columns.push(("received_unix_nanos", Arc::new(self.received.finish())));
        columns.push(("content_hash", Arc::new(self.content_hash.finish())));
        Signal::Spans.batch(columns)
    }
}

/// Appends an id of the wire, where empty means none.
pub(super) fn append_bytes(column: &mut BinaryBuilder, bytes: &[u8]) {
    column.append_option((!bytes.is_empty()).then_some(bytes));
}

#[derive(Debug)]
struct EventsBuilder {
    offsets: Vec<i32>,
    time: Int64Builder,
    name: StringBuilder,
    attributes: AttributesBuilder,
    dropped: Int64Builder,
}

impl EventsBuilder {
    fn new(rows: usize) -> Self {
        Self {
            offsets: first_offset(rows),
            time: Int64Builder::with_capacity(0),
            name: StringBuilder::with_capacity(0, 0),
            attributes: AttributesBuilder::new(0),
            dropped: Int64Builder::with_capacity(0),
        }
    }
}

impl EventsBuilder {
    fn append(&mut self, events: &[Event]) {
        for event in events {
            self.time.append_value(event.time_unix_nano.cast_signed());
            self.name.append_value(&event.name);
            self.attributes.append(&event.attributes);
            self.dropped.append_value(event.dropped_attributes_count.into());
        }
        self.offsets.push(offset(self.time.values_slice().len()));
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        let elements = StructArray::try_new(
            schema::event_fields(),
            vec![
                Arc::new(self.time.finish()),
                Arc::new(self.name.finish()),
                Arc::new(self.attributes.finish()?),
                Arc::new(self.dropped.finish()),
            ],
            None,
        )?;
        list(self.offsets, elements)
    }
}

#[derive(Debug)]
struct LinksBuilder {
    offsets: Vec<i32>,
    trace_id: BinaryBuilder,
    span_id: BinaryBuilder,
    trace_state: StringBuilder,
    attributes: AttributesBuilder,
    dropped: Int64Builder,
    flags: Int64Builder,
}

impl LinksBuilder {
    fn new(rows: usize) -> Self {
        Self {
            offsets: first_offset(rows),
            trace_id: BinaryBuilder::with_capacity(0, 0),
            span_id: BinaryBuilder::with_capacity(0, 0),
            trace_state: StringBuilder::with_capacity(0, 0),
            attributes: AttributesBuilder::new(0),
            dropped: Int64Builder::with_capacity(0),
            flags: Int64Builder::with_capacity(0),
        }
    }
}

impl LinksBuilder {
    fn append(&mut self, links: &[Link]) {
        for link in links {
            self.trace_id.append_value(&link.trace_id);
            self.span_id.append_value(&link.span_id);
            self.trace_state.append_value(&link.trace_state);
            self.attributes.append(&link.attributes);
            self.dropped.append_value(link.dropped_attributes_count.into());
            self.flags.append_value(link.flags.into());
        }
        self.offsets.push(offset(self.flags.values_slice().len()));
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        let elements = StructArray::try_new(
            schema::link_fields(),
            vec![
                Arc::new(self.trace_id.finish()),
                Arc::new(self.span_id.finish()),
                Arc::new(self.trace_state.finish()),
                Arc::new(self.attributes.finish()?),
                Arc::new(self.dropped.finish()),
                Arc::new(self.flags.finish()),
            ],
            None,
        )?;
        list(self.offsets, elements)
    }
}

fn list(offsets: Vec<i32>, elements: StructArray) -> Result<ListArray, ArrowError> {
    let field = schema::element(elements.fields().clone());
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(field, offsets, Arc::new(elements), None)
}
