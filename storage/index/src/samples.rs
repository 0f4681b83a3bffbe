//! Random filters for tests, and a reference implementation of filters. The telemetry is
//! `tidings_columns::random_telemetry`.

#![allow(clippy::unwrap_used, reason = "tests alone call it")]

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings_columns::random_telemetry::{KEYS, MINUTE, NAMES, VALUES, span_id, time, trace_id};
pub use tidings_columns::random_telemetry::{NOW, logs, traces};
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{
        InstrumentationScope, KeyValue, LogRecord, Resource, SeverityNumber, Span, SpanKind,
        StatusCode, Value,
    },
};

use crate::{AttributeFilter, LogFilter, Nesting, SpanFilter, TimeRange};

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

/// Returns a strategy that generates filters of spans.
pub fn span_filter() -> impl Strategy<Value = SpanFilter> {
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

/// Returns a strategy that generates filters of log records.
pub fn log_filter() -> impl Strategy<Value = LogFilter> {
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
pub fn span_matches(
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
pub fn log_matches(
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
