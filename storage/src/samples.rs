//! Random telemetry and filters for tests, and a reference implementation of filters.

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
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{
        AnyValue, ArrayValue, EntityRef, Event, ExportLogsServiceRequest,
        ExportTraceServiceRequest, InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord,
        Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, SeverityNumber, Span,
        SpanKind, Status, StatusCode, Value,
    },
};

use crate::{
    AttributeFilter, LogFilter, Nesting, SpanFilter, TimeRange, packed::EntryValue,
    rows::entries::AttributeEntries, schema,
};

pub(crate) const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
const MINUTE: u64 = 60_000_000_000;
const KEYS: [&str; 6] = [
    "http.method",
    "n",
    "exception.type",
    "service.name",
    "http.response.status_code",
    "error.type",
];
const VALUES: [&str; 9] = ["GET", "200", "true", "0.5", "NaN", "", "é \"x\"", "[\"GET\"]", "AA=="];
const NAMES: [&str; 4] = ["GET /", "query", "", "exception"];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => select(&VALUES[..]).prop_map(str::to_owned), 1 => ".{0,12}"]
}

pub(crate) fn any_value() -> impl Strategy<Value = AnyValue> {
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

fn trace_id() -> impl Strategy<Value = Vec<u8>> {
    (1..9_u8, 0..2_u8).prop_map(|(low, high)| {
        let mut id = vec![0; 16];
        (id[0], id[15]) = (high, low);
        id
    })
}

fn span_id() -> impl Strategy<Value = Vec<u8>> {
    (1..40_u8).prop_map(|low| vec![0, 0, 0, 0, 0, 0, 0, low])
}

fn time() -> impl Strategy<Value = u64> {
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

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(), vec(span(), 0..5), "[u-v]?")
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (resource(), vec(scope_spans, 0..3), "[u-v]?").prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url },
    );
    vec(resource_spans, 0..4)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (scope(), vec(log_record(), 0..5), "[u-v]?")
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (resource(), vec(scope_logs, 0..3), "[u-v]?").prop_map(
        |(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url },
    );
    vec(resource_logs, 0..4).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn range() -> impl Strategy<Value = TimeRange> {
    let end = || option::weighted(0.3, time().prop_map(UnixNanos));
    (end(), end()).prop_map(|(start, end)| TimeRange { start, end })
}

fn wanted() -> impl Strategy<Value = Vec<AttributeFilter>> {
    let value = option::of(select(&VALUES[..]));
    let nesting = select(&[Nesting::Whole, Nesting::Elements, Nesting::Everywhere][..]);
    let one = (select(&KEYS[..]), value, nesting).prop_map(|(key, value, nesting)| {
        AttributeFilter { nesting, ..AttributeFilter::new(key, value.map(str::to_owned)) }
    });
    prop_oneof![2 => Just(vec![]), 1 => vec(one, 1..3)]
}

fn ids() -> impl Strategy<Value = Option<Vec<TraceId>>> {
    let id = trace_id().prop_map(|id| TraceId::from_wire(&id).unwrap());
    option::weighted(0.3, vec(id, 0..3))
}

fn services() -> impl Strategy<Value = Option<Vec<String>>> {
    option::weighted(0.3, vec(select(&VALUES[..]).prop_map(str::to_owned), 0..3))
}

pub(crate) fn span_filter() -> impl Strategy<Value = SpanFilter> {
    let span = option::weighted(0.1, span_id().prop_map(|id| SpanId::from_wire(&id).unwrap()));
    let kind = select(&[SpanKind::Unspecified, SpanKind::Server, SpanKind::Client][..]);
    let status = select(&[StatusCode::Unset, StatusCode::Ok, StatusCode::Error][..]);
    let duration = || option::weighted(0.2, (0..MINUTE).prop_map(DurationNanos));
    (
        (ids(), option::weighted(0.1, 1..9_u64), span, range(), services()),
        option::weighted(0.2, select(&NAMES[..])),
        (option::weighted(0.2, kind), option::weighted(0.2, status)),
        (
            duration(),
            duration(),
            wanted(),
            prop::bool::weighted(0.1),
            option::weighted(0.1, trace_id()),
            wanted(),
            option::weighted(0.1, select(&[2, MINUTE][..]).prop_map(DurationNanos)),
        ),
    )
        .prop_map(
            |((trace_ids, low64, span_id, start, services), name, (kind, status), rest)| {
                SpanFilter {
                    trace_ids,
                    trace_id_low64: low64,
                    span_id,
                    start,
                    services,
                    operation: name.map(str::to_owned),
                    kind,
                    status,
                    duration_min: rest.0,
                    duration_max: rest.1,
                    has_exception: rest.3,
                    attributes: rest.2,
                    any_attribute: rest.5,
                    links_to: rest.4.map(|id| TraceId::from_wire(&id).unwrap()),
                    start_multiple_of: rest.6,
                }
            },
        )
}

pub(crate) fn log_filter() -> impl Strategy<Value = LogFilter> {
    let span = option::weighted(0.1, span_id().prop_map(|id| SpanId::from_wire(&id).unwrap()));
    let severity = (1..=24).prop_map(|number| SeverityNumber::new(number).unwrap());
    let text = select(&["get", "E", "", "[", "é"][..]);
    (
        (ids(), span, range(), services()),
        option::weighted(0.2, severity),
        option::weighted(0.3, text),
        (wanted(), wanted()),
    )
        .prop_map(|((trace_ids, span_id, time, services), severity_min, text, attributes)| {
            LogFilter {
                trace_ids,
                span_id,
                time,
                keys: None,
                services,
                severity_min,
                text: text.map(str::to_owned),
                attributes: attributes.0,
                any_attribute: attributes.1,
                condition: None,
            }
        })
}

fn spells(text: &str, value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(value)) => value == text,
        Some(Value::Int(number)) => text.parse() == Ok(*number),
        Some(Value::Double(number)) => text
            .parse::<f64>()
            .is_ok_and(|parsed| parsed == *number || parsed.is_nan() && number.is_nan()),
        Some(Value::Bool(truth)) => text.parse() == Ok(*truth),
        _ => false,
    }
}

/// Returns true if a value, or a nested one, has this text.
fn is_within(text: &str, value: &Value) -> bool {
    let inner: Vec<&Value> = match value {
        Value::Array(array) => array.values.iter().filter_map(|of| of.value.as_ref()).collect(),
        Value::Kvlist(map) => map.values.iter().filter_map(KeyValue::value).collect(),
        _ => Vec::new(),
    };
    spells(text, Some(value))
        || value.to_text() == text
        || inner.into_iter().any(|value| is_within(text, value))
}

fn has_attribute(attributes: &[KeyValue], filter: &AttributeFilter) -> bool {
    let is = |text: &str, value: Option<&Value>| match value {
        Some(Value::Array(array)) if filter.nesting == Nesting::Elements => {
            array.values.iter().any(|element| spells(text, element.value.as_ref()))
        }
        Some(value) if filter.nesting == Nesting::Everywhere => is_within(text, value),
        Some(value @ (Value::Array(_) | Value::Kvlist(_) | Value::Bytes(_))) => {
            filter.nesting == Nesting::Whole && value.to_text() == text
        }
        value => spells(text, value),
    };
    attributes.iter().any(|attribute| {
        attribute.key == filter.key
            && filter.value.as_ref().is_none_or(|text| is(text, attribute.value()))
    })
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let first = attributes.iter().find(|attribute| attribute.key == "service.name");
    match first.and_then(KeyValue::value) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Double(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

/// Returns true if a span matches. Follows the filter's documentation directly.
pub(crate) fn span_matches(
    filter: &SpanFilter,
    resource: Option<&Resource>,
    scope: Option<&InstrumentationScope>,
    span: &Span,
) -> bool {
    let id = TraceId::from_wire(&span.trace_id).unwrap();
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let duration = DurationNanos(duration.min(i64::MAX.unsigned_abs()));
    let kind = SpanKind::try_from(span.kind).unwrap_or(SpanKind::Unspecified);
    let code = span.status.as_ref().map_or(0, |status| status.code);
    let status = StatusCode::try_from(code).unwrap_or(StatusCode::Unset);
    let is_had = |wanted: &AttributeFilter| {
        has_attribute(&span.attributes, wanted)
            || resource.is_some_and(|resource| has_attribute(&resource.attributes, wanted))
            || scope.is_some_and(|scope| has_attribute(&scope.attributes, wanted))
            || span.events.iter().any(|event| has_attribute(&event.attributes, wanted))
            || span.links.iter().any(|link| has_attribute(&link.attributes, wanted))
    };
    filter.trace_ids.as_ref().is_none_or(|ids| ids.contains(&id))
        && filter.trace_id_low64.is_none_or(|low64| id.low64() == low64)
        && filter.span_id.is_none_or(|id| id.as_bytes().as_slice() == span.span_id)
        && filter.start.contains(UnixNanos(span.start_time_unix_nano))
        && filter
            .start_multiple_of
            .is_none_or(|unit| span.start_time_unix_nano.is_multiple_of(unit.0))
        && filter.services.as_ref().is_none_or(|services| services.contains(&service(resource)))
        && filter.operation.as_ref().is_none_or(|name| *name == span.name)
        && filter.kind.is_none_or(|wanted| wanted == kind)
        && filter.status.is_none_or(|wanted| wanted == status)
        && filter.duration_min.is_none_or(|min| duration >= min)
        && filter.duration_max.is_none_or(|max| duration <= max)
        && (!filter.has_exception || span.events.iter().any(|event| event.name == "exception"))
        && filter.links_to.is_none_or(|id| {
            span.links.iter().any(|link| TraceId::from_wire(&link.trace_id) == Some(id))
        })
        && filter.attributes.iter().all(is_had)
        && (filter.any_attribute.is_empty() || filter.any_attribute.iter().any(is_had))
}

/// Returns true if a log record matches. `text` is its message as text.
pub(crate) fn log_matches(
    filter: &LogFilter,
    resource: Option<&Resource>,
    scope: Option<&InstrumentationScope>,
    record: &LogRecord,
    text: &str,
) -> bool {
    let id = TraceId::from_wire(&record.trace_id);
    let given = record.time_unix_nano;
    let time = UnixNanos(if given == 0 { record.observed_time_unix_nano } else { given });
    let is_had = |wanted: &AttributeFilter| {
        has_attribute(&record.attributes, wanted)
            || resource.is_some_and(|resource| has_attribute(&resource.attributes, wanted))
            || scope.is_some_and(|scope| has_attribute(&scope.attributes, wanted))
    };
    filter.trace_ids.as_ref().is_none_or(|ids| id.is_some_and(|id| ids.contains(&id)))
        && filter.span_id.is_none_or(|id| id.as_bytes().as_slice() == record.span_id)
        && filter.time.contains(time)
        && filter.services.as_ref().is_none_or(|services| services.contains(&service(resource)))
        && filter.severity_min.is_none_or(|min| {
            SeverityNumber::new(record.severity_number).is_some_and(|severity| severity >= min)
        })
        && filter
            .text
            .as_ref()
            .is_none_or(|part| text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
        && filter.attributes.iter().all(is_had)
        && (filter.any_attribute.is_empty() || filter.any_attribute.iter().any(is_had))
}

/// Converts attributes of the memtable to the form that is read from a file.
pub(crate) fn typed(packed: &ArrayRef) -> MapArray {
    let (map, column) = (packed.as_map(), AttributeEntries::new(packed, "attributes").unwrap());
    let mut values = TypedValues::default();
    (0..map.values().len()).for_each(|entry| values.push(&column.value(entry)));
    let (offsets, keys) = (map.offsets().clone(), Arc::clone(map.keys()));
    schema::map(schema::coded_attributes(), offsets, keys, values.finish()).unwrap()
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
