//! Whatever a message holds survives protobuf and JSON, in either order.

use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use tidings_proto::{
    otlp::{
        AnyValue, ArrayValue, EntityRef, Event, ExportLogsServiceRequest,
        ExportTraceServiceRequest, InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord,
        Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value, Wire,
        decode_json, decode_protobuf, encode_json,
    },
    zipkin,
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.]{0,8}", "\\PC{0,6}", Just("\u{0}\"\\\n\u{2028}".to_owned())]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        text().prop_map(Value::String),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        // Not a number is never equal to itself: a table test has it.
        any::<f64>().prop_filter("a number", |float| !float.is_nan()).prop_map(Value::Double),
        Just(Value::Double(f64::NEG_INFINITY)),
        vec(any::<u8>(), 0..6).prop_map(Value::Bytes),
    ];
    let leaf = option::weighted(0.9, leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 12, 3, |inner| {
        let entry = (text(), option::of(inner.clone()));
        let entry = entry.prop_map(|(key, value)| KeyValue { key, value });
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::Array(ArrayValue { values })),
            vec(entry, 0..3).prop_map(|values| Value::Kvlist(KeyValueList { values })),
        ]
        .prop_map(AnyValue::from)
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((text(), option::of(value())).prop_map(|(key, value)| KeyValue { key, value }), 0..3)
}

fn bytes(usual: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), usual), 1 => vec(any::<u8>(), 0..20)]
}

fn resource() -> impl Strategy<Value = Resource> {
    let names = || vec(text(), 0..3);
    let entity = (text(), text(), names(), names()).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    );
    (attributes(), any::<u32>(), vec(entity, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    )
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), any::<u32>()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (bytes(16), bytes(8), text(), attributes(), any::<u32>(), any::<u32>()).prop_map(
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

fn span() -> impl Strategy<Value = Span> {
    let ids = (bytes(16), bytes(8), bytes(8));
    let words = (text(), text(), any::<i32>(), any::<u32>());
    let times = (any::<u64>(), any::<u64>());
    let lists = (attributes(), vec(event(), 0..2), vec(link(), 0..2));
    let dropped = (any::<u32>(), any::<u32>(), any::<u32>());
    let status = option::of((text(), any::<i32>()));
    (ids, words, times, lists, dropped, status).prop_map(
        |(ids, words, times, lists, dropped, status)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: words.0,
            name: words.1,
            kind: words.2,
            flags: words.3,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes: lists.0,
            events: lists.1,
            links: lists.2,
            dropped_attributes_count: dropped.0,
            dropped_events_count: dropped.1,
            dropped_links_count: dropped.2,
            status: status.map(|(message, code)| Status { message, code }),
        },
    )
}

fn record() -> impl Strategy<Value = LogRecord> {
    let times = (any::<u64>(), any::<u64>());
    let words = (any::<i32>(), text(), text());
    let contents = (option::of(value()), attributes(), any::<u32>(), any::<u32>());
    (times, words, contents, bytes(16), bytes(8)).prop_map(
        |(times, words, contents, trace_id, span_id)| LogRecord {
            time_unix_nano: times.0,
            observed_time_unix_nano: times.1,
            severity_number: words.0,
            severity_text: words.1,
            event_name: words.2,
            body: contents.0,
            attributes: contents.1,
            dropped_attributes_count: contents.2,
            flags: contents.3,
            trace_id,
            span_id,
        },
    )
}

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (option::of(scope()), vec(span(), 0..3), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (option::of(resource()), vec(scope_spans, 0..3), text()).prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url },
    );
    vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (option::of(scope()), vec(record(), 0..3), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (option::of(resource()), vec(scope_logs, 0..3), text()).prop_map(
        |(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url },
    );
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn check<T: Wire + PartialEq + std::fmt::Debug>(request: &T) -> Result<(), TestCaseError> {
    let decoded: T = decode_protobuf(&request.encode_to_vec()).unwrap();
    prop_assert_eq!(&decoded, request);
    let json = encode_json(&decoded);
    let read: T = decode_json(&json).unwrap();
    prop_assert_eq!(&read, request);
    prop_assert_eq!(encode_json(&read), json);
    Ok(())
}

fn zipkin_span() -> impl Strategy<Value = zipkin::Span> {
    let endpoint = || {
        let ips = (option::of(any::<[u8; 4]>()), option::of(any::<[u8; 16]>()));
        option::of((text(), ips, any::<u16>()).prop_map(|(service_name, ips, port)| {
            zipkin::Endpoint {
                service_name,
                ipv4: ips.0.map(Vec::from).unwrap_or_default(),
                ipv6: ips.1.map(Vec::from).unwrap_or_default(),
                port: port.into(),
            }
        }))
    };
    let ids = (prop_oneof![bytes(8), bytes(16)], bytes(8), bytes(8));
    let times = (any::<u64>(), 0..u64::MAX / 1_000);
    let annotation = (0..u64::MAX / 1_000, text())
        .prop_map(|(timestamp, value)| zipkin::Annotation { timestamp, value });
    let tag = (prop_oneof![text(), Just("error".to_owned())], text())
        .prop_map(|(key, value)| zipkin::Tag { key, value });
    let lists = (vec(annotation, 0..3), vec(tag, 0..4));
    (ids, 0..7_i32, text(), times, (endpoint(), endpoint()), lists, any::<(bool, bool)>()).prop_map(
        |(ids, kind, name, times, endpoints, lists, marks)| zipkin::Span {
            trace_id: ids.0,
            parent_id: ids.1,
            id: ids.2,
            kind,
            name,
            timestamp: times.0 / 1_000_000,
            duration: times.1 / 1_000_000,
            local_endpoint: endpoints.0,
            remote_endpoint: endpoints.1,
            annotations: lists.0,
            tags: lists.1,
            debug: marks.0,
            shared: marks.1,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn traces_survive_protobuf_and_json(request in traces()) {
        check(&request)?;
    }

    #[test]
    fn logs_survive_protobuf_and_json(request in logs()) {
        check(&request)?;
    }

    #[test]
    fn zipkin_spans_are_all_translated_or_rejected(spans in vec(zipkin_span(), 0..6)) {
        let (request, rejected) = zipkin::to_otlp(spans.clone());
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let kept: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
        prop_assert_eq!(kept.len() + rejected.len(), spans.len());
        for span in kept {
            prop_assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            let mut keys: Vec<_> = span.attributes.iter().map(|entry| &entry.key).collect();
            keys.sort_unstable();
            let count = keys.len();
            keys.dedup();
            prop_assert_eq!(keys.len(), count, "an attribute is there twice");
        }
        check(&request)?;
        prop_assert_eq!(zipkin::to_otlp(spans), (request, rejected));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_protobuf::<ExportTraceServiceRequest>(&bytes);
        let _ = decode_protobuf::<ExportLogsServiceRequest>(&bytes);
        let _ = decode_json::<ExportTraceServiceRequest>(&bytes);
        let _ = zipkin::decode_json(&bytes);
        if let Ok(spans) = zipkin::decode_protobuf(&bytes) {
            let _ = zipkin::to_otlp(spans);
        }
        let _ = tidings_proto::import::detect(&bytes);
    }

    #[test]
    fn no_mutation_of_a_document_is_too_odd(
        request in traces(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for mut document in [encode_json(&request), request.encode_to_vec()] {
            if !document.is_empty() {
                let place = at.index(document.len());
                document[place] = byte;
            }
            let _ = decode_json::<ExportTraceServiceRequest>(&document);
            let _ = decode_protobuf::<ExportTraceServiceRequest>(&document);
            let _ = tidings_proto::import::detect(&document);
        }
    }
}
