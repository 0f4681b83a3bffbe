//! Random telemetry for tests.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, MapArray, StructArray,
    builder::{
        ArrayBuilder, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder,
    },
    cast::AsArray,
};
use arrow_buffer::NullBuffer;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings_proto::{
    UnixNanos,
    otlp::{
        AnyValue, ArrayValue, EntityRef, Event, ExportLogsServiceRequest,
        ExportTraceServiceRequest, InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord,
        Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value,
    },
};

use crate::{packed::EntryValue, rows::entries::AttributeEntries, schema};

/// The time near which the records are.
pub const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
/// One minute, in nanoseconds.
pub const MINUTE: u64 = 60_000_000_000;
/// Frequent keys of attributes.
pub const KEYS: [&str; 6] = [
    "http.method",
    "n",
    "exception.type",
    "service.name",
    "http.response.status_code",
    "error.type",
];
/// Frequent texts.
pub const VALUES: [&str; 9] =
    ["GET", "200", "true", "0.5", "NaN", "", "é \"x\"", "[\"GET\"]", "AA=="];
/// Names of spans and events.
pub const NAMES: [&str; 4] = ["GET /", "query", "", "exception"];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => select(&VALUES[..]).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// Returns any value of an attribute or a body.
pub fn any_value() -> impl Strategy<Value = AnyValue> {
    let double = prop_oneof![
        Just(f64::NAN),
        Just(-0.0),
        Just(0.5),
        Just(f64::INFINITY),
        Just(f64::from_bits(0x7ff8_0000_0000_1234)),
        any::<f64>()
    ];
    let leaf = prop_oneof![
        1 => Just(None),
        6 => text().prop_map(|text| Some(Value::String(text))),
        2 => prop_oneof![Just(200), Just(1), any::<i64>()].prop_map(|number| Some(Value::Int(number))),
        2 => double.prop_map(|number| Some(Value::Double(number))),
        1 => any::<bool>().prop_map(|truth| Some(Value::Bool(truth))),
        1 => prop_oneof![Just(vec![0]), vec(any::<u8>(), 0..5)].prop_map(|bytes| Some(Value::Bytes(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Value::Array(ArrayValue { values }).into()),
            vec((select(&KEYS[..]), option::of(inner)), 0..3).prop_map(|entries| {
                let values = entries
                    .into_iter()
                    .map(|(key, value)| KeyValue { key: key.to_owned(), value })
                    .collect();
                Value::Kvlist(KeyValueList { values }).into()
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![6 => select(&KEYS[..]).prop_map(str::to_owned), 1 => ".{0,5}"];
    vec((key, option::weighted(0.9, any_value())), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
    })
}

/// Returns one of a few trace ids.
pub fn trace_id() -> impl Strategy<Value = Vec<u8>> {
    (1..9_u8, 0..2_u8).prop_map(|(low, high)| {
        let mut id = vec![0; 16];
        (id[0], id[15]) = (high, low);
        id
    })
}

/// Returns one of a few span ids.
pub fn span_id() -> impl Strategy<Value = Vec<u8>> {
    (1..40_u8).prop_map(|low| vec![0, 0, 0, 0, 0, 0, 0, low])
}

/// Returns a time, mostly of the hours before [`NOW`].
pub fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0..180 * MINUTE).prop_map(|back| NOW.0 - back),
        1 => Just(0),
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    let entity = ("[a-z]{0,3}", "[a-z]{0,3}", vec("[a-z]{1,3}".prop_map(String::from), 0..2));
    option::weighted(
        0.9,
        (attributes(), 0..2_u32, vec(entity, 0..2)).prop_map(
            |(attributes, dropped_attributes_count, entities)| Resource {
                attributes,
                dropped_attributes_count,
                entity_refs: entities
                    .into_iter()
                    .map(|(schema_url, r#type, id_keys)| EntityRef {
                        schema_url,
                        r#type,
                        description_keys: id_keys.clone(),
                        id_keys,
                    })
                    .collect(),
            },
        ),
    )
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    option::weighted(
        0.9,
        ("[ab]?", "[1-2]?", attributes(), 0..2_u32).prop_map(
            |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
                name,
                version,
                attributes,
                dropped_attributes_count,
            },
        ),
    )
}

fn event() -> impl Strategy<Value = Event> {
    (time(), select(&NAMES[..]), attributes(), 0..2_u32).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name: name.to_owned(),
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (trace_id(), span_id(), text(), attributes(), any::<u32>(), any::<u32>()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn status() -> impl Strategy<Value = Option<Status>> {
    let code = prop_oneof![9 => 0..3, 1 => any::<i32>()];
    option::of((text(), code).prop_map(|(message, code)| Status { message, code }))
}

fn span() -> impl Strategy<Value = Span> {
    let parent = prop_oneof![Just(vec![]), span_id()];
    let kind = prop_oneof![9 => 0..6, 1 => any::<i32>()];
    let duration = prop_oneof![4 => 0..MINUTE, 1 => any::<u64>()];
    let identity = (trace_id(), span_id(), parent, text(), any::<u32>());
    let what = (select(&NAMES[..]), kind, time(), duration, status());
    let more = (attributes(), vec(event(), 0..3), vec(link(), 0..2), any::<[u32; 3]>());
    (identity, what, more).prop_map(
        |(
            (trace_id, span_id, parent_span_id, trace_state, flags),
            (name, kind, start_time_unix_nano, duration, status),
            (attributes, events, links, [of_attributes, of_events, of_links]),
        )| Span {
            trace_id,
            span_id,
            trace_state,
            parent_span_id,
            flags,
            name: name.to_owned(),
            kind,
            start_time_unix_nano,
            end_time_unix_nano: start_time_unix_nano.wrapping_add(duration),
            attributes,
            dropped_attributes_count: of_attributes,
            events,
            dropped_events_count: of_events,
            links,
            dropped_links_count: of_links,
            status,
        },
    )
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let times = (time(), time());
    let ids = (option::of(trace_id()), option::of(span_id()), any::<u32>());
    let severity = prop_oneof![9 => 0..25, 1 => any::<i32>()];
    let what = (severity, text(), option::of(any_value()), select(&NAMES[..]));
    (times, ids, what, attributes(), 0..2_u32).prop_map(
        |(
            (time_unix_nano, observed_time_unix_nano),
            (trace_id, span_id, flags),
            (severity_number, severity_text, body, event_name),
            attributes,
            dropped_attributes_count,
        )| LogRecord {
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            body,
            attributes,
            dropped_attributes_count,
            flags,
            trace_id: trace_id.unwrap_or_default(),
            span_id: span_id.unwrap_or_default(),
            event_name: event_name.to_owned(),
        },
    )
}

/// Returns any request of spans.
pub fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(), vec(span(), 0..5), "[u-v]?")
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (resource(), vec(scope_spans, 0..3), "[u-v]?").prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url },
    );
    vec(resource_spans, 0..4)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Returns any request of log records.
pub fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (scope(), vec(log_record(), 0..5), "[u-v]?")
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (resource(), vec(scope_logs, 0..3), "[u-v]?").prop_map(
        |(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url },
    );
    vec(resource_logs, 0..4).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

/// Converts attributes of the memtable to the form that is read from a file.
#[must_use]
pub fn typed(packed: &ArrayRef) -> MapArray {
    let column = AttributeEntries::new(packed, "attributes");
    let (map, column) = (packed.as_map(), column.expect("invariant: the column has attributes"));
    let mut values = TypedValues::default();
    (0..map.values().len()).for_each(|entry| values.push(&column.value(entry)));
    let (offsets, keys) = (map.offsets().clone(), Arc::clone(map.keys()));
    let typed = schema::map(schema::coded_attributes(), offsets, keys, values.finish());
    typed.expect("invariant: the parts are those of a column")
}

#[derive(Default)]
struct TypedValues {
    strings: StringBuilder,
    ints: Int64Builder,
    doubles: Float64Builder,
    bools: BooleanBuilder,
    bytes: BinaryBuilder,
    are_there: Vec<bool>,
}

impl TypedValues {
    fn push(&mut self, value: &EntryValue<'_>) {
        self.are_there.push(*value != EntryValue::None);
        match value {
            EntryValue::None | EntryValue::Empty => {}
            EntryValue::Text(text) => self.strings.append_value(text),
            EntryValue::Int(number) => self.ints.append_value(*number),
            EntryValue::Double(number) => self.doubles.append_value(*number),
            EntryValue::Bool(truth) => self.bools.append_value(*truth),
            EntryValue::Nested(nested) => self.bytes.append_value(nested.encoded()),
        }
        let count = self.are_there.len();
        self.strings.append_nulls(count - self.strings.len());
        self.ints.append_nulls(count - self.ints.len());
        self.doubles.append_nulls(count - self.doubles.len());
        self.bools.append_nulls(count - self.bools.len());
        self.bytes.append_nulls(count - self.bytes.len());
    }

    fn finish(mut self) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.strings.finish()),
            Arc::new(self.ints.finish()),
            Arc::new(self.doubles.finish()),
            Arc::new(self.bools.finish()),
            Arc::new(self.bytes.finish()),
        ];
        let are_there = Some(NullBuffer::from(self.are_there));
        StructArray::new(schema::value_fields(), columns, are_there)
    }
}
