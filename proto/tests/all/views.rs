//! Views see what the structs see: in any request, and in any bytes that they take at all.

use proptest::prelude::*;
use prost::{
    Message,
    bytes::BufMut,
    encoding::{WireType, encode_key, encode_varint},
};
use tidings_proto::otlp::{
    AnyValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, Link,
    LogRecord, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value,
    view::{
        AnyView, EventView, KeyValueView, LinkView, LogRecordView, NonCanonical, Repeated,
        RequestView, SpanView, View,
    },
};

use crate::round_trip::{logs, traces};

fn text(bytes: &[u8]) -> Result<String, NonCanonical> {
    String::from_utf8(bytes.to_vec()).map_err(|_| NonCanonical)
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, NonCanonical> {
    M::decode(bytes).map_err(|_| NonCanonical)
}

fn value(view: AnyView<'_>) -> Result<AnyValue, NonCanonical> {
    Ok(match view {
        AnyView::Empty => AnyValue { value: None },
        AnyView::String(bytes) => Value::String(text(bytes)?).into(),
        AnyView::Bool(truth) => truth.into(),
        AnyView::Int(number) => number.into(),
        AnyView::Double(number) => number.into(),
        AnyView::Nested(bytes) => message(bytes)?,
    })
}

fn attributes(views: Repeated<'_, KeyValueView<'_>>) -> Result<Vec<KeyValue>, NonCanonical> {
    assert_eq!(views.iter().count(), views.len());
    let attribute = |view: Result<KeyValueView<'_>, NonCanonical>| {
        let view = view?;
        Ok(KeyValue { key: text(view.key)?, value: view.value.map(value).transpose()? })
    };
    views.iter().map(attribute).collect()
}

fn event(view: Result<EventView<'_>, NonCanonical>) -> Result<Event, NonCanonical> {
    let view = view?;
    Ok(Event {
        time_unix_nano: view.time_unix_nano,
        name: text(view.name)?,
        attributes: attributes(view.attributes)?,
        dropped_attributes_count: view.dropped_attributes_count,
    })
}

fn link(view: Result<LinkView<'_>, NonCanonical>) -> Result<Link, NonCanonical> {
    let view = view?;
    Ok(Link {
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        trace_state: text(view.trace_state)?,
        attributes: attributes(view.attributes)?,
        dropped_attributes_count: view.dropped_attributes_count,
        flags: view.flags,
    })
}

fn span(view: Result<SpanView<'_>, NonCanonical>) -> Result<Span, NonCanonical> {
    let view = view?;
    let status = |status: tidings_proto::otlp::view::StatusView<'_>| {
        Ok(Status { message: text(status.message)?, code: status.code })
    };
    Ok(Span {
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        trace_state: text(view.trace_state)?,
        parent_span_id: view.parent_span_id.to_vec(),
        flags: view.flags,
        name: text(view.name)?,
        kind: view.kind,
        start_time_unix_nano: view.start_time_unix_nano,
        end_time_unix_nano: view.end_time_unix_nano,
        attributes: attributes(view.attributes)?,
        dropped_attributes_count: view.dropped_attributes_count,
        events: view.events.iter().map(event).collect::<Result<_, _>>()?,
        dropped_events_count: view.dropped_events_count,
        links: view.links.iter().map(link).collect::<Result<_, _>>()?,
        dropped_links_count: view.dropped_links_count,
        status: view.status.map(status).transpose()?,
    })
}

fn record(view: Result<LogRecordView<'_>, NonCanonical>) -> Result<LogRecord, NonCanonical> {
    let view = view?;
    Ok(LogRecord {
        time_unix_nano: view.time_unix_nano,
        observed_time_unix_nano: view.observed_time_unix_nano,
        severity_number: view.severity_number,
        severity_text: text(view.severity_text)?,
        body: view.body.map(value).transpose()?,
        attributes: attributes(view.attributes)?,
        dropped_attributes_count: view.dropped_attributes_count,
        flags: view.flags,
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        event_name: text(view.event_name)?,
    })
}

/// The request that views of these bytes show.
fn traces_of(bytes: &[u8]) -> Result<ExportTraceServiceRequest, NonCanonical> {
    let mut resource_spans = Vec::new();
    for of in RequestView::<SpanView<'_>>::read(bytes)?.resources.iter() {
        let of = of?;
        let mut scope_spans = Vec::new();
        for scope in of.scopes.iter() {
            let scope = scope?;
            scope_spans.push(ScopeSpans {
                scope: scope.scope.map(message).transpose()?,
                spans: scope.records.iter().map(span).collect::<Result<_, _>>()?,
                schema_url: text(scope.schema_url)?,
            });
        }
        resource_spans.push(ResourceSpans {
            resource: of.resource.map(message).transpose()?,
            scope_spans,
            schema_url: text(of.schema_url)?,
        });
    }
    Ok(ExportTraceServiceRequest { resource_spans })
}

fn logs_of(bytes: &[u8]) -> Result<ExportLogsServiceRequest, NonCanonical> {
    let mut resource_logs = Vec::new();
    for of in RequestView::<LogRecordView<'_>>::read(bytes)?.resources.iter() {
        let of = of?;
        let mut scope_logs = Vec::new();
        for scope in of.scopes.iter() {
            let scope = scope?;
            scope_logs.push(ScopeLogs {
                scope: scope.scope.map(message).transpose()?,
                log_records: scope.records.iter().map(record).collect::<Result<_, _>>()?,
                schema_url: text(scope.schema_url)?,
            });
        }
        resource_logs.push(ResourceLogs {
            resource: of.resource.map(message).transpose()?,
            scope_logs,
            schema_url: text(of.schema_url)?,
        });
    }
    Ok(ExportLogsServiceRequest { resource_logs })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn views_of_traces_show_all_of_them(request in traces()) {
        prop_assert_eq!(traces_of(&request.encode_to_vec()), Ok(request));
    }

    #[test]
    fn views_of_logs_show_all_of_them(request in logs()) {
        prop_assert_eq!(logs_of(&request.encode_to_vec()), Ok(request));
    }

    #[test]
    fn views_never_show_other_than_the_decoder(
        request in traces(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let place = at.index(bytes.len());
                bytes[place] = byte;
            }
        }
        if let Ok(seen) = traces_of(&bytes) {
            let decoded = ExportTraceServiceRequest::decode(bytes.as_slice());
            prop_assert_eq!(seen.encode_to_vec(), decoded.unwrap().encode_to_vec());
        }
    }
}

/// A field of bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(bytes.len() as u64, &mut field);
    field.put_slice(bytes);
    field
}

/// The request in which this message is the only one where these fields lead.
fn request_with(message: Vec<u8>, path: &[u32]) -> Vec<u8> {
    path.iter().rev().fold(message, |inner, number| field(*number, &inner))
}

/// A span as the only one of a request.
fn request_of(span: &[u8]) -> Vec<u8> {
    request_with(span.to_vec(), &[1, 2, 2])
}

#[test]
fn fields_in_any_order_and_unknown_ones_are_seen_through() {
    let attribute = |key: &str| KeyValue::new(key, 1).encode_to_vec();
    let mut span = Vec::new();
    for (number, bytes) in
        [(9, attribute("a")), (99, vec![1, 2]), (9, attribute("b")), (1, vec![7; 16])]
    {
        span.extend(field(number, &bytes));
    }
    let bytes = request_of(&span);
    let seen = traces_of(&bytes).unwrap();
    assert_eq!(seen, ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap());
    assert_eq!(seen.resource_spans[0].scope_spans[0].spans[0].attributes.len(), 2);
}

#[test]
fn messages_that_the_decoder_would_merge_or_refuse_are_not_canonical() {
    let table: &[(&str, &[u8])] = &[
        ("two statuses", &[0x7a, 0, 0x7a, 0]),
        ("two values of an attribute", &[0x4a, 8, 0x12, 2, 0x10, 1, 0x12, 2, 0x10, 1]),
        ("two types of a value", &[0x4a, 6, 0x12, 4, 0x10, 1, 0x18, 1]),
        ("a name that is a number", &[0x28, 1]),
        ("a group", &[0x0b, 0x0c]),
        ("field 0", &[0x02, 0]),
        ("a length beyond the end", &[0x2a, 5, b'x']),
        ("a varint without an end", &[0x30, 0xff]),
        ("a varint of eleven bytes", &[0x30, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ("a varint above 64 bits", &[0x30, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
        ("half a time", &[0x39, 1, 2, 3]),
    ];
    for (what, span) in table {
        assert_eq!(traces_of(&request_of(span)).err(), Some(NonCanonical), "{what}");
    }
}

/// The decoder looks at each of them, and a view shows only the last.
#[test]
fn a_text_that_is_set_twice_is_odd() {
    let of_both: &[(&str, &[u32], u32)] =
        &[("the resource's schema URL", &[1], 3), ("the scope's schema URL", &[1, 2], 3)];
    let of_spans: &[(&str, &[u32], u32)] = &[
        ("a span's trace state", &[1, 2, 2], 3),
        ("a span's name", &[1, 2, 2], 5),
        ("a status's message", &[1, 2, 2, 15], 2),
        ("an event's name", &[1, 2, 2, 11], 2),
        ("a link's trace state", &[1, 2, 2, 13], 3),
        ("a span's attribute's key", &[1, 2, 2, 9], 1),
        ("a span's attribute's text", &[1, 2, 2, 9, 2], 1),
        ("an event's attribute's key", &[1, 2, 2, 11, 3], 1),
        ("a link's attribute's key", &[1, 2, 2, 13, 4], 1),
    ];
    let of_logs: &[(&str, &[u32], u32)] = &[
        ("a severity's text", &[1, 2, 2], 3),
        ("an event's name", &[1, 2, 2], 12),
        ("a body's text", &[1, 2, 2, 5], 1),
        ("a record's attribute's key", &[1, 2, 2, 6], 1),
        ("a record's attribute's text", &[1, 2, 2, 6, 2], 1),
    ];
    let twice = |path: &[u32], number: u32, first: &[u8]| {
        request_with([field(number, first), field(number, b"b")].concat(), path)
    };
    for (what, path, number) in of_both.iter().chain(of_spans) {
        for first in [b"a", b"\xff"] {
            let bytes = twice(path, *number, first);
            assert_eq!(traces_of(&bytes).err(), Some(NonCanonical), "{what} {first:?}");
            let decoded = ExportTraceServiceRequest::decode(bytes.as_slice());
            assert_eq!(decoded.is_ok(), first.is_ascii(), "{what} {first:?}");
        }
    }
    for (what, path, number) in of_both.iter().chain(of_logs) {
        for first in [b"a", b"\xff"] {
            let bytes = twice(path, *number, first);
            assert_eq!(logs_of(&bytes).err(), Some(NonCanonical), "{what} {first:?}");
            let decoded = ExportLogsServiceRequest::decode(bytes.as_slice());
            assert_eq!(decoded.is_ok(), first.is_ascii(), "{what} {first:?}");
        }
    }
}
