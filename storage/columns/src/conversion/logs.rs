//! Converts log records to rows.

use std::{borrow::Cow, collections::HashMap};

use ahash::RandomState;
use arrow_array::RecordBatch;
use prost::Message;
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{
        AnyValue,
        view::{AnyView, LogRecordView, NonCanonical, RequestView, View},
    },
};

use super::{
    attribute_builder::canonical, column_builders::column_builders, hash::ContentHash, sender,
    severity, text::json_text,
};
use crate::{
    ConversionError,
    schema::{SignalSchema, log_columns},
};

/// Makes one row per log record, in the request's order.
pub(super) fn rows(request: &[u8], received: UnixNanos) -> Result<RecordBatch, ConversionError> {
    let groups = sender::groups(RequestView::<LogRecordView<'_>>::read(request)?.resources)?;
    let rows = groups.iter().map(|group| group.records.len()).sum();
    let mut builder = LogBuilder::new(rows, request.len());
    for group in &groups {
        for record in group.records.iter() {
            builder.append(&record?, group.hash, received)?;
        }
    }
    let columns = builder.columns.finish(sender::columns(&groups)?)?;
    Ok(Signal::Logs.batch(columns)?)
}

log_columns!(column_builders, LogColumnBuilders);

struct LogBuilder<'a> {
    columns: LogColumnBuilders<'a>,
    /// Number of occurrences of each hash in this request.
    met: HashMap<i64, u64, RandomState>,
}

impl<'a> LogBuilder<'a> {
    fn new(rows: usize, bytes: usize) -> Self {
        let columns = LogColumnBuilders::new(rows, bytes / 2);
        Self { columns, met: HashMap::with_capacity_and_hasher(rows, RandomState::default()) }
    }

    fn append(
        &mut self,
        record: &LogRecordView<'a>,
        seed: u64,
        received: UnixNanos,
    ) -> Result<(), NonCanonical> {
        let time_known = record.time_unix_nano != 0;
        let time = if time_known { record.time_unix_nano } else { record.observed_time_unix_nano };
        let body = StoredBody::new(record.body)?;
        let severity_number = match record.severity_number {
            0 => severity::inferred(record.severity_text, body.text()),
            number => number,
        };
        let mut hash = hash(record, severity_number, seed);
        let columns = &mut self.columns;
        columns.time_unix_nanos.push(time.cast_signed());
        columns.time_known.append_value(time_known);
        columns.observed_unix_nanos.push(record.observed_time_unix_nano.cast_signed());
        columns.severity_number.push(severity_number);
        columns.severity_text.push(Some(record.severity_text), 1);
        body.append(columns, &mut hash);
        columns.event_name.push(Some(record.event_name), 1);
        columns.trace_id.push(record.trace_id);
        columns.span_id.push(record.span_id);
        columns.flags.push(record.flags.into());
        columns.attributes.append(record.attributes, &mut hash)?;
        columns.dropped_attributes_count.push(record.dropped_attributes_count.into());
        columns.received_unix_nanos.push(received.0.cast_signed());
        let hash = self.distinct(hash);
        self.columns.content_hash.push(hash);
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
}

/// A body as its two columns store it. A missing body has neither text nor value. A plain text has
/// text only. Any other body has both.
struct StoredBody<'a> {
    body: Option<AnyView<'a>>,
    text: Option<Cow<'a, [u8]>>,
    encoded: Option<Vec<u8>>,
}

impl<'a> StoredBody<'a> {
    fn new(body: Option<AnyView<'a>>) -> Result<Self, NonCanonical> {
        let encoded = match body {
            None => return Ok(Self { body, text: None, encoded: None }),
            Some(AnyView::String(text)) => {
                return Ok(Self { body, text: Some(Cow::Borrowed(text)), encoded: None });
            }
            Some(AnyView::Nested(encoded)) => canonical(encoded)?,
            Some(AnyView::Empty) => Vec::new(),
            Some(AnyView::Bool(truth)) => AnyValue::from(truth).encode_to_vec(),
            Some(AnyView::Int(number)) => AnyValue::from(number).encode_to_vec(),
            Some(AnyView::Double(number)) => AnyValue::from(number).encode_to_vec(),
        };
        let any = AnyValue::decode(encoded.as_slice()).map_err(|_| NonCanonical)?;
        let text = json_text(&any).into_bytes();
        Ok(Self { body, text: Some(Cow::Owned(text)), encoded: Some(encoded) })
    }

    fn text(&self) -> &[u8] {
        self.text.as_deref().unwrap_or_default()
    }

    fn append(&self, columns: &mut LogColumnBuilders<'_>, hash: &mut ContentHash) {
        match &self.encoded {
            Some(encoded) => {
                hash.value(Some(AnyView::Nested(encoded)));
                columns.body.append_value(encoded);
            }
            None => {
                hash.value(self.body);
                columns.body.append_null();
            }
        }
        columns.text.push(self.text.as_deref());
    }
}

/// Hashes the fields that occur once. Body and attributes are added when they are appended.
fn hash(record: &LogRecordView<'_>, severity_number: i32, seed: u64) -> ContentHash {
    let mut hash = ContentHash::new(seed);
    for bytes in [record.trace_id, record.span_id, record.severity_text, record.event_name] {
        hash.bytes(bytes);
    }
    hash.number(record.time_unix_nano);
    hash.number(record.observed_time_unix_nano);
    hash.number(u64::from(record.flags) << 32 | u64::from(severity_number.cast_unsigned()));
    hash.number(record.dropped_attributes_count.into());
    hash
}
