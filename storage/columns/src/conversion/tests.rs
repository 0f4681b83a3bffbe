use arrow_array::{Array, DictionaryArray, StringArray, types::Int32Type};
use proptest::prelude::*;
use prost::Message;
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{
        AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, KeyValueList,
        Resource, ResourceSpans, ScopeSpans, Span, Value,
    },
};

use super::{buffers::WordsBuilder, json_text, log_rows, rows, span_rows};
use crate::{ConversionError, LogRows, SpanRows, random_telemetry, rows::column::downcast};

type Sent = (Option<Vec<u8>>, String, Option<Vec<u8>>, String, Vec<u8>);

fn sent(
    resource: Option<&Resource>,
    resource_url: &str,
    scope: Option<&InstrumentationScope>,
    scope_url: &str,
    record: &impl Message,
) -> Sent {
    (
        resource.map(Message::encode_to_vec),
        resource_url.to_owned(),
        scope.map(Message::encode_to_vec),
        scope_url.to_owned(),
        record.encode_to_vec(),
    )
}

proptest! {
    #[test]
    fn nothing_of_a_span_is_lost(request in random_telemetry::traces()) {
        let mut expected = Vec::new();
        for of in &request.resource_spans {
            for scope in &of.scope_spans {
                expected.extend(scope.spans.iter().map(|span| {
                    let (resource, scope_of) = (of.resource.as_ref(), scope.scope.as_ref());
                    sent(resource, &of.schema_url, scope_of, &scope.schema_url, span)
                }));
            }
        }
        let rows = SpanRows::from_batch(&span_rows(&request, random_telemetry::NOW).unwrap()).unwrap();
        let found: Vec<_> = (0..rows.len())
            .map(|row| {
                let (resource, scope) = (rows.resource(row), rows.scope(row));
                let (of_resource, of_scope) =
                    (rows.resource_schema_url(row), rows.scope_schema_url(row));
                sent(resource.as_ref(), of_resource, scope.as_ref(), of_scope, &rows.span(row))
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn nothing_of_a_log_record_is_lost(request in random_telemetry::logs()) {
        let mut expected = Vec::new();
        for of in &request.resource_logs {
            for scope in &of.scope_logs {
                expected.extend(scope.log_records.iter().map(|record| {
                    let (resource, scope_of) = (of.resource.as_ref(), scope.scope.as_ref());
                    sent(resource, &of.schema_url, scope_of, &scope.schema_url, record)
                }));
            }
        }
        let rows = LogRows::from_batch(&log_rows(&request, random_telemetry::NOW).unwrap()).unwrap();
        let found: Vec<_> = (0..rows.len())
            .map(|row| {
                let (resource, scope) = (rows.resource(row), rows.scope(row));
                let (of_resource, of_scope) =
                    (rows.resource_schema_url(row), rows.scope_schema_url(row));
                sent(resource.as_ref(), of_resource, scope.as_ref(), of_scope, &rows.log_record(row))
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_body_is_valid_json_or_plain_text(any in random_telemetry::any_value()) {
        if any.value.is_some() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json_text(&any)).is_ok());
        } else {
            prop_assert_eq!(json_text(&any), "");
        }
    }
}

fn one_span(resource: Option<Resource>, span: Span) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

fn span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() }
}

#[test]
fn the_hash_tells_contents_and_senders_apart_and_not_arrivals() {
    let hash = |request: &ExportTraceServiceRequest, received| {
        let batch = span_rows(request, UnixNanos(received)).unwrap();
        SpanRows::from_batch(&batch).unwrap().content_hash(0)
    };
    let plain = one_span(None, span());
    assert_eq!(hash(&plain, 1), hash(&plain, 2));
    let others = [
        one_span(Some(Resource::default()), span()),
        one_span(None, Span { name: "other".to_owned(), ..span() }),
        one_span(None, Span { attributes: vec![KeyValue::new("a", 1)], ..span() }),
    ];
    let mut hashes: Vec<_> = others.iter().chain([&plain]).map(|of| hash(of, 1)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn the_hash_does_not_depend_on_how_the_span_was_shipped() {
    let attributes = vec![KeyValue::new("n", 7), KeyValue::new("d", 0.5), KeyValue::new("s", "x")];
    let resource = Resource { attributes: attributes.clone(), ..Resource::default() };
    let request = one_span(Some(resource), Span { attributes, flags: 257, ..span() });
    let by_grpc = ExportTraceServiceRequest::decode(&*request.encode_to_vec()).unwrap();
    let json = tidings_proto::otlp::encode_json(&request);
    let by_json = tidings_proto::otlp::decode_json(&json).unwrap();
    let hash = |request| {
        SpanRows::from_batch(&span_rows(request, random_telemetry::NOW).unwrap())
            .unwrap()
            .content_hash(0)
    };
    assert_eq!(hash(&by_grpc), hash(&by_json));
}

#[test]
fn non_canonical_encodings_are_stored_like_canonical_ones() {
    let request = one_span(None, Span { attributes: vec![KeyValue::new("n", 7)], ..span() });
    let bytes = request.encode_to_vec();
    let grouped = [&bytes[..], &[0x9b, 0x06, 0x9c, 0x06]].concat();
    let plain = rows(Signal::Spans, &bytes, random_telemetry::NOW).unwrap();
    assert_eq!(rows(Signal::Spans, &grouped, random_telemetry::NOW).unwrap(), plain);
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let mut no_text = one_span(None, Span { name: "name".to_owned(), ..span() }).encode_to_vec();
    let at = no_text.windows(4).position(|window| window == b"name").unwrap();
    no_text[at] = 0xff;
    for bytes in [&no_text[..], &no_text[..20], &[0x0a]] {
        let error = rows(Signal::Spans, bytes, random_telemetry::NOW).unwrap_err();
        assert!(matches!(error, ConversionError::Unstorable { .. }), "{error}");
    }
}

#[test]
fn words_are_kept_once_however_many() {
    let texts: Vec<String> = (0..500).map(|number| format!("word {}", number % 170)).collect();
    let mut words = WordsBuilder::new(texts.len());
    for text in &texts {
        words.push(Some(text.as_bytes()), 2);
        words.push(None, 1);
    }
    let column: DictionaryArray<Int32Type> = downcast(&words.finish().unwrap(), "words").unwrap();
    let values: StringArray = downcast(column.values(), "words").unwrap();
    assert_eq!(values.len(), 170);
    for (number, text) in texts.iter().enumerate() {
        for row in [number * 3, number * 3 + 1] {
            assert_eq!(values.value(column.key(row).unwrap()), text);
        }
        assert_eq!(column.key(number * 3 + 2), None);
    }
}

#[test]
fn a_span_without_ids_is_refused() {
    for wrong in [
        Span { trace_id: vec![0; 16], ..span() },
        Span { trace_id: vec![1; 8], ..span() },
        Span { span_id: vec![], ..span() },
    ] {
        let error = span_rows(&one_span(None, wrong), random_telemetry::NOW).unwrap_err();
        assert!(matches!(error, ConversionError::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_deep_body_becomes_text_without_recursion() {
    let mut any = AnyValue::from("x");
    for _ in 0..90 {
        let entry = KeyValue { key: "k".to_owned(), value: Some(any) };
        any = Value::Kvlist(KeyValueList { values: vec![entry] }).into();
    }
    assert!(json_text(&any).starts_with(r#"{"k":{"k":"#));
}

#[test]
fn a_structured_body_reads_as_json() {
    let entry = |key: &str, value| KeyValue { key: key.to_owned(), value };
    let array = tidings_proto::otlp::ArrayValue { values: vec![1.into(), f64::NAN.into()] };
    let values = vec![
        entry("a", Some(Value::Array(array).into())),
        entry("b\"", Some(true.into())),
        entry("c", None),
        entry("d", Some(Value::Bytes(vec![255]).into())),
    ];
    let any = Value::Kvlist(KeyValueList { values }).into();
    assert_eq!(json_text(&any), r#"{"a":[1,"NaN"],"b\"":true,"c":null,"d":"/w=="}"#);
}
