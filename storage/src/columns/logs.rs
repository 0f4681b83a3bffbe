//! Converts log records to rows.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder},
};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{
        AnyValue,
        view::{AnyView, LogRecordView, NonCanonical, RequestView, View},
    },
};

use super::{
    attribute_builder::{AttributesBuilder, canonical},
    buffers::{TextsBuilder, WordsBuilder, nulls},
    hash::ContentHash,
    sender,
    spans::append_bytes,
    text::json_text,
};
use crate::{
    StorageError,
    schema::{self, Signal},
};

/// Makes one row per log record, in the request's order.
pub(super) fn rows(request: &[u8], received: UnixNanos) -> Result<RecordBatch, StorageError> {
    let groups = sender::groups(RequestView::<LogRecordView<'_>>::read(request)?.resources)?;
    let rows = groups.iter().map(|group| group.records.len()).sum();
    let mut builder = LogBuilder::new(rows, request.len());
    for group in &groups {
        for record in group.records.iter() {
            builder.append(&record?, group.hash, received)?;
        }
    }
    Ok(builder.finish(sender::columns(&groups, rows)?)?)
}

struct LogBuilder<'a> {
    time: Int64Builder,
    time_known: BooleanBuilder,
    observed: Int64Builder,
    severity_number: Int32Builder,
    severity_text: WordsBuilder<'a>,
    text: TextsBuilder,
    /// True for each row with text.
    has_text: Vec<bool>,
    body: BinaryBuilder,
    event_name: WordsBuilder<'a>,
    trace_id: BinaryBuilder,
    span_id: BinaryBuilder,
    flags: Int64Builder,
    attributes: AttributesBuilder<'a>,
    dropped_attributes_count: Int64Builder,
    received: Int64Builder,
    content_hash: Int64Builder,
    /// Number of occurrences of each hash in this request.
    met: HashMap<i64, u64>,
}

impl<'a> LogBuilder<'a> {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            time: Int64Builder::with_capacity(rows),
            time_known: BooleanBuilder::with_capacity(rows),
            observed: Int64Builder::with_capacity(rows),
            severity_number: Int32Builder::with_capacity(rows),
            severity_text: WordsBuilder::new(rows),
            text: TextsBuilder::new(rows, bytes / 2),
            has_text: Vec::with_capacity(rows),
            body: BinaryBuilder::with_capacity(rows, 0),
            event_name: WordsBuilder::new(rows),
            trace_id: BinaryBuilder::with_capacity(rows, rows * TraceId::LEN),
            span_id: BinaryBuilder::with_capacity(rows, rows * SpanId::LEN),
            flags: Int64Builder::with_capacity(rows),
            attributes: AttributesBuilder::new(rows, bytes / 2),
            dropped_attributes_count: Int64Builder::with_capacity(rows),
            received: Int64Builder::with_capacity(rows),
            content_hash: Int64Builder::with_capacity(rows),
            met: HashMap::with_capacity(rows),
        }
    }

    fn append(
        &mut self,
        record: &LogRecordView<'a>,
        seed: u64,
        received: UnixNanos,
    ) -> Result<(), NonCanonical> {
        let time_known = record.time_unix_nano != 0;
        let time = if time_known { record.time_unix_nano } else { record.observed_time_unix_nano };
        let mut hash = hash(record, seed);
        self.time.append_value(time.cast_signed());
        self.time_known.append_value(time_known);
        self.observed.append_value(record.observed_time_unix_nano.cast_signed());
        self.severity_number.append_value(record.severity_number);
        self.severity_text.push(Some(record.severity_text), 1);
        self.append_body(record.body, &mut hash)?;
        self.event_name.push(Some(record.event_name), 1);
        append_bytes(&mut self.trace_id, record.trace_id);
        append_bytes(&mut self.span_id, record.span_id);
        self.flags.append_value(record.flags.into());
        self.attributes.append(record.attributes, &mut hash)?;
        self.dropped_attributes_count.append_value(record.dropped_attributes_count.into());
        self.received.append_value(received.0.cast_signed());
        let hash = self.distinct(hash);
        self.content_hash.append_value(hash);
        Ok(())
    }

    /// Returns a hash that is unique in the request. Log records have no id, and equal records in
    /// one request are separate events. A request sent again has the same records in the same
    /// order, and so gets the same hashes.
    fn distinct(&mut self, mut hash: ContentHash) -> i64 {
        let met = self.met.entry(hash.finish()).or_default();
        if *met > 0 {
            hash.number(*met);
        }
        *met += 1;
        hash.finish()
    }

    /// Appends a body. A missing body has neither text nor body value. A plain text has text only.
    /// Any other body has both.
    fn append_body(
        &mut self,
        body: Option<AnyView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        self.has_text.push(body.is_some());
        let encoded = match body {
            None | Some(AnyView::String(_)) => {
                hash.value(body);
                let text = if let Some(AnyView::String(text)) = body { text } else { &[] };
                self.text.push(text);
                self.body.append_null();
                return Ok(());
            }
            Some(AnyView::Nested(encoded)) => canonical(encoded)?,
            Some(AnyView::Empty) => Vec::new(),
            Some(AnyView::Bool(truth)) => AnyValue::from(truth).encode_to_vec(),
            Some(AnyView::Int(number)) => AnyValue::from(number).encode_to_vec(),
            Some(AnyView::Double(number)) => AnyValue::from(number).encode_to_vec(),
        };
        hash.value(Some(AnyView::Nested(&encoded)));
        let any = AnyValue::decode(encoded.as_slice()).map_err(|_| NonCanonical)?;
        self.text.push(json_text(&any).as_bytes());
        self.body.append_value(&encoded);
        Ok(())
    }

    fn finish(mut self, sender: sender::SenderColumns) -> Result<RecordBatch, ArrowError> {
        let has_text = nulls(self.has_text.len(), |row| self.has_text[row]);
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("time_unix_nanos", Arc::new(self.time.finish())),
            ("time_known", Arc::new(self.time_known.finish())),
            ("observed_unix_nanos", Arc::new(self.observed.finish())),
            ("severity_number", Arc::new(self.severity_number.finish())),
            ("severity_text", self.severity_text.finish()?),
            ("service", sender.service),
            ("text", Arc::new(self.text.finish(has_text)?)),
            ("body", Arc::new(self.body.finish())),
            ("event_name", self.event_name.finish()?),
            ("trace_id", Arc::new(self.trace_id.finish())),
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

/// Hashes the fields that occur once. Body and attributes are added when they are appended.
fn hash(record: &LogRecordView<'_>, seed: u64) -> ContentHash {
    let mut hash = ContentHash::new(seed);
    for bytes in [record.trace_id, record.span_id, record.severity_text, record.event_name] {
        hash.bytes(bytes);
    }
    hash.number(record.time_unix_nano);
    hash.number(record.observed_time_unix_nano);
    hash.number(u64::from(record.flags) << 32 | u64::from(record.severity_number.cast_unsigned()));
    hash.number(record.dropped_attributes_count.into());
    hash
}
