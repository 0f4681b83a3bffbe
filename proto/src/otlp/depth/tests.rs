use prost::Message;

use super::{VALUE_DEPTH_MAX, ValueDepth};
use crate::otlp::{
    AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, KeyValueList, ResourceSpans,
    ScopeSpans, Span, Value, decode_json, decode_protobuf, encode_json,
};

fn nested(depth: usize, wrap: fn(AnyValue) -> Value) -> AnyValue {
    (1..depth).fold(AnyValue::from("x"), |inner, _| wrap(inner).into())
}

fn in_map(value: AnyValue) -> Value {
    Value::Kvlist(KeyValueList { values: vec![KeyValue { key: "k".into(), value: Some(value) }] })
}

fn in_list(value: AnyValue) -> Value {
    Value::Array(ArrayValue { values: vec![1.into(), value] })
}

fn in_event(value: AnyValue) -> ExportTraceServiceRequest {
    let attributes = vec![KeyValue { key: "deep".into(), value: Some(value) }];
    let span = Span { events: vec![Event { attributes, ..Event::default() }], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

#[test]
fn depth_counts_values_within_values() {
    assert_eq!(Span::default().value_depth(), 0);
    assert_eq!(KeyValue::default().value_depth(), 0);
    assert_eq!(KeyValue::new("k", "v").value_depth(), 1);
    for depth in [1, 2, 31, 32, 33, 5_000] {
        assert_eq!(in_event(nested(depth, in_list)).value_depth(), depth);
        assert_eq!(in_event(nested(depth, in_map)).value_depth(), depth);
    }
}

#[test]
fn messages_within_the_limit_of_depth_decode_again() {
    for wrap in [in_map, in_list] {
        let request = in_event(nested(VALUE_DEPTH_MAX, wrap));
        let bytes = request.encode_to_vec();
        assert_eq!(decode_protobuf::<ExportTraceServiceRequest>(&bytes), Ok(request));
    }
    let deeper = in_event(nested(VALUE_DEPTH_MAX + 1, in_map)).encode_to_vec();
    let error = decode_protobuf::<ExportTraceServiceRequest>(&deeper).unwrap_err().to_string();
    assert!(
        error.contains(
            "nested deeper than 100 messages, in ExportTraceServiceRequest.resource_spans"
        ),
        "{error}"
    );
    assert!(error.len() < 1_000, "{error}");
}

#[test]
fn json_that_decodes_also_survives_protobuf() {
    for wrap in [in_map, in_list] {
        let mut accepted = 0;
        for depth in 1..=VALUE_DEPTH_MAX + 20 {
            let json = encode_json(&in_event(nested(depth, wrap)));
            let Ok(request) = decode_json::<ExportTraceServiceRequest>(&json) else { continue };
            let bytes = request.encode_to_vec();
            assert_eq!(decode_protobuf::<ExportTraceServiceRequest>(&bytes), Ok(request));
            accepted = depth;
        }
        assert!(accepted >= 20, "only {accepted} levels");
    }
}
