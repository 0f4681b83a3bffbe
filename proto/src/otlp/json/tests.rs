use crate::{
    DecodeError,
    otlp::{
        Any, AnyValue, BadRequest, ExportLogsServiceRequest, ExportTracePartialSuccess,
        ExportTraceServiceRequest, ExportTraceServiceResponse, FieldViolation, KeyValue, NOT_HEX,
        ProtoDuration, RetryInfo, RpcStatus, Span, Value, decode_json, encode_json,
    },
};

fn request_with(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

fn decode_span(span: &str) -> Result<Span, DecodeError> {
    let request: ExportTraceServiceRequest = decode_json(request_with(span).as_bytes())?;
    Ok(request.resource_spans[0].scope_spans[0].spans[0].clone())
}

fn decode_value(value: &str) -> Result<Option<Value>, DecodeError> {
    let span = decode_span(&format!(r#"{{"attributes":[{{"key":"k","value":{value}}}]}}"#))?;
    Ok(span.attributes[0].value.clone().and_then(|value| value.value))
}

/// Returns the path below the span and the reason.
fn error_of<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> (String, String) {
    match result.unwrap_err() {
        DecodeError::Json { path, reason, .. } => {
            let below = path.strip_prefix("resourceSpans[0].scopeSpans[0].spans[0]");
            (below.unwrap_or(&path).trim_start_matches('.').to_owned(), reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_hex_in_either_case_of_any_length() {
    let cases: &[(&str, &[u8])] = &[
        (r#""""#, &[]),
        ("null", &[]),
        (r#""00""#, &[0]),
        (r#""EEe19b7ec3C1b174""#, &[0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74]),
        (r#""\u0061b""#, &[0xab]),
    ];
    for (text, bytes) in cases {
        assert_eq!(decode_span(&format!(r#"{{"spanId":{text}}}"#)).unwrap().span_id, *bytes);
    }
}

#[test]
fn a_text_that_is_not_hex_is_no_id_and_costs_no_other_span() {
    for id in ["abc", "7uGbfsPBsXQ=", "é1", "zz"] {
        let span = decode_span(&format!(r#"{{"spanId":"{id}","links":[{{"traceId":"{id}"}}]}}"#));
        let span = span.unwrap();
        assert_eq!((&*span.span_id, &*span.links[0].trace_id), (NOT_HEX, NOT_HEX), "{id}");
    }
    let (path, reason) = error_of(decode_span(r#"{"traceId":12}"#));
    assert_eq!(path, "traceId");
    assert!(reason.contains("expected a string of hex digits"), "{reason}");
}

#[test]
fn ignored_fields_have_a_maximum_depth_too() {
    let nested =
        |levels: usize| format!(r#"{{"ignored":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    // A span's fields are seven levels deep.
    assert!(decode_span(&nested(121)).is_ok());
    for levels in [122, 100_000] {
        let reason = decode_span(&nested(levels)).unwrap_err().to_string();
        assert!(reason.contains("deeper than 128 levels"), "{reason}");
    }
    let text = format!(r#"{{"name":"\\\"{}"}}"#, "{[".repeat(200));
    assert!(decode_span(&text).is_ok(), "brackets in a text nest nothing");
}

#[test]
fn integers_are_numbers_or_strings() {
    for text in
        ["1544712660000000000", r#""1544712660000000000""#, "1.54471266e18", r#""1.54471266E18""#]
    {
        let span = decode_span(&format!(r#"{{"startTimeUnixNano":{text}}}"#)).unwrap();
        assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000, "{text}");
    }
    for text in ["18446744073709551615", r#""18446744073709551615""#] {
        let span = decode_span(&format!(r#"{{"endTimeUnixNano":{text}}}"#)).unwrap();
        assert_eq!(span.end_time_unix_nano, u64::MAX, "{text}");
    }
    let span = decode_span(r#"{"flags":"257","droppedEventsCount":"3","droppedLinksCount":4.0}"#);
    let span = span.unwrap();
    assert_eq!((span.flags, span.dropped_events_count, span.dropped_links_count), (257, 3, 4));
    for (text, number) in [
        ("-9223372036854775808", i64::MIN),
        (r#""9223372036854775807""#, i64::MAX),
        ("-0", 0),
        (r#""-0""#, 0),
        ("1e3", 1000),
    ] {
        let value = decode_value(&format!(r#"{{"intValue":{text}}}"#)).unwrap();
        assert_eq!(value, Some(Value::Int(number)), "{text}");
    }
}

#[test]
fn integers_out_of_range_or_with_a_fraction_are_errors() {
    for span in [
        r#"{"startTimeUnixNano":-1}"#,
        r#"{"startTimeUnixNano":18446744073709551616}"#,
        r#"{"startTimeUnixNano":"18446744073709551616"}"#,
        r#"{"startTimeUnixNano":1.5}"#,
        r#"{"startTimeUnixNano":""}"#,
        r#"{"startTimeUnixNano":" 1"}"#,
        r#"{"startTimeUnixNano":"0x10"}"#,
        r#"{"startTimeUnixNano":true}"#,
        r#"{"startTimeUnixNano":1e400}"#,
        r#"{"flags":4294967296}"#,
        r#"{"droppedEventsCount":-1}"#,
    ] {
        error_of(decode_span(span));
    }
    for value in ["9223372036854775808", r#""9223372036854775808""#, "-9223372036854775809", "1e19"]
    {
        let (path, _) = error_of(decode_value(&format!(r#"{{"intValue":{value}}}"#)));
        assert_eq!(path, "attributes[0].value.intValue");
    }
}

#[test]
fn enums_are_numbers_and_a_name_is_an_error_that_says_so() {
    assert_eq!(decode_span(r#"{"kind":3}"#).unwrap().kind, 3);
    assert_eq!(decode_span(r#"{"kind":99}"#).unwrap().kind, 99, "unknown numbers are kept");
    assert_eq!(decode_span(r#"{"kind":null}"#).unwrap().kind, 0);
    for (span, at) in [
        (r#"{"kind":"SPAN_KIND_CLIENT"}"#, "kind"),
        (r#"{"kind":"3"}"#, "kind"),
        (r#"{"status":{"code":"STATUS_CODE_ERROR"}}"#, "status.code"),
    ] {
        let (path, reason) = error_of(decode_span(span));
        assert_eq!(path, at);
        assert!(reason.contains("enums are numbers"), "{reason}");
    }
    error_of(decode_span(r#"{"kind":2147483648}"#));
}

#[test]
fn doubles_take_every_form() {
    for (text, expected) in [
        ("5", 5.0),
        ("-5", -5.0),
        ("0.1", 0.1),
        ("1e-7", 1e-7),
        (r#""2.5""#, 2.5),
        (r#""Infinity""#, f64::INFINITY),
        (r#""-Infinity""#, f64::NEG_INFINITY),
    ] {
        let value = decode_value(&format!(r#"{{"doubleValue":{text}}}"#)).unwrap();
        assert_eq!(value, Some(Value::Double(expected)), "{text}");
    }
    let value = decode_value(r#"{"doubleValue":"NaN"}"#).unwrap();
    assert!(matches!(value, Some(Value::Double(nan)) if nan.is_nan()));
    for text in [r#""inf""#, r#""nan""#, r#""""#, r#""1e999""#, "true", "[]"] {
        error_of(decode_value(&format!(r#"{{"doubleValue":{text}}}"#)));
    }
}

#[test]
fn bytes_are_base64_of_either_alphabet() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        let value = decode_value(&format!(r#"{{"bytesValue":"{text}"}}"#)).unwrap();
        assert_eq!(value, Some(Value::Bytes(vec![0xfb, 0xff])), "{text}");
    }
    error_of(decode_value(r#"{"bytesValue":"***"}"#));
}

#[test]
fn a_value_has_at_most_one_type() {
    assert_eq!(decode_value("{}").unwrap(), None);
    assert_eq!(decode_value("null").unwrap(), None);
    assert_eq!(decode_value(r#"{"stringValue":null}"#).unwrap(), None);
    assert_eq!(decode_value(r#"{"futureValue":{"a":[1]}}"#).unwrap(), None);
    let value = decode_value(r#"{"stringValue":null,"intValue":5}"#).unwrap();
    assert_eq!(value, Some(Value::Int(5)));
    assert_eq!(decode_value(r#"{"intValue":0}"#).unwrap(), Some(Value::Int(0)));
    let two = decode_value(r#"{"stringValue":"a","intValue":5}"#);
    assert!(error_of(two).1.contains("more than one value"));
    error_of(decode_value(r#""text""#));
    error_of(decode_value(r#"["text"]"#));
}

#[test]
fn unknown_and_snake_case_keys_are_ignored_at_every_depth() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    let span = decode_span(&format!(
        r#"{{"trace_id":"zz","new":{deep},"name":"n","status":{{"future":{{}}}},
        "attributes":[{{"x":1,"key":"k","value":{{"string_value":"s"}}}}]}}"#
    ))
    .unwrap();
    assert_eq!((span.name.as_str(), span.trace_id.len()), ("n", 0));
    assert_eq!(span.attributes[0].value(), None);
    let empty: ExportTraceServiceRequest = decode_json(br#"{"resource_spans":[1]}"#).unwrap();
    assert_eq!(empty, ExportTraceServiceRequest::default());
}

#[test]
fn null_is_the_default_of_every_field() {
    let span = decode_span(
        r#"{"traceId":null,"spanId":null,"traceState":null,"parentSpanId":null,"flags":null,
        "name":null,"kind":null,"startTimeUnixNano":null,"endTimeUnixNano":null,"attributes":null,
        "droppedAttributesCount":null,"events":null,"droppedEventsCount":null,"links":null,
        "droppedLinksCount":null,"status":null}"#,
    );
    assert_eq!(span.unwrap(), Span::default());
    let empty = r#"{"resourceLogs":[{"resource":null,"scopeLogs":null,"schemaUrl":null}]}"#;
    assert!(decode_json::<ExportLogsServiceRequest>(empty.as_bytes()).is_ok());
}

#[test]
fn documents_of_another_shape_are_errors() {
    for text in [
        "",
        "null",
        "[]",
        "7",
        r#""x""#,
        "{",
        "{}{}",
        "{} x",
        r#"{"resourceSpans":{}}"#,
        r#"{"resourceSpans":[null]}"#,
        r#"{"resourceSpans":[[]]}"#,
        r#"{"resourceSpans":"x"}"#,
        r#"{"resourceSpans":[],"resourceSpans":[]}"#,
        "{'resourceSpans':[]}",
        "\u{feff}\u{feff}{}",
    ] {
        let result = decode_json::<ExportTraceServiceRequest>(text.as_bytes());
        assert!(matches!(result, Err(DecodeError::Json { .. })), "{text}: {result:?}");
    }
    let broken = request_with("{\"name\":\"\u{1}\"}");
    assert!(decode_json::<ExportTraceServiceRequest>(broken.as_bytes()).is_err());
    assert!(
        decode_json::<ExportTraceServiceRequest>(b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}")
            .is_err()
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let text = "\u{feff}{\"resourceSpans\":[]}";
    assert!(decode_json::<ExportTraceServiceRequest>(text.as_bytes()).is_ok());
}

#[test]
fn nesting_beyond_the_limit_is_an_error_not_a_crash() {
    for open in [r#"{"arrayValue":{"values":["#, r#"{"kvlistValue":{"values":[{"value":"#] {
        let text = request_with(&format!(r#"{{"attributes":[{{"value":{}"#, open.repeat(100_000)));
        let (_, reason) = error_of(decode_json::<ExportTraceServiceRequest>(text.as_bytes()));
        assert!(reason.contains("recursion limit"), "{reason}");
    }
}

#[test]
fn errors_are_short_whatever_the_client_wrote() {
    let long = "é".repeat(1_000_000);
    for document in [
        format!(r#"{{"resourceSpans":"{long}"}}"#),
        request_with(&format!(r#"{{"kind":"{long}"}}"#)),
        request_with(&format!(r#"{{"startTimeUnixNano":"{long}"}}"#)),
        request_with(&format!(r#"{{"attributes":[{{"value":{{"intValue":"{long}"}}}}]}}"#)),
        request_with(&format!(r#"{{"{long}":1,"name":["{long}"]}}"#)),
    ] {
        let error = decode_json::<ExportTraceServiceRequest>(document.as_bytes()).unwrap_err();
        assert!(error.to_string().len() < 1_200, "{}", error.to_string().len());
    }
    let deep = "[".repeat(100_000);
    let error = error_of(decode_span(&format!(r#"{{"spanId":1,"new":{deep}"#)));
    assert_eq!(error.0, "spanId", "what is unknown is not even looked at");
}

#[test]
fn defaults_are_left_out_and_values_are_not() {
    let span = Span {
        trace_id: vec![0xAB; 16],
        start_time_unix_nano: 7,
        attributes: vec![
            KeyValue::new("zero", 0),
            KeyValue::new("no", false),
            KeyValue::new("nan", f64::NAN),
            KeyValue::new("bytes", Value::Bytes(vec![0xfb, 0xff])),
            KeyValue { key: "empty".to_owned(), value: Some(AnyValue { value: None }) },
            KeyValue { key: "none".to_owned(), value: None },
        ],
        ..Span::default()
    };
    insta::assert_snapshot!(serde_json::to_string_pretty(&span).unwrap(), @r#"
    {
      "traceId": "abababababababababababababababab",
      "startTimeUnixNano": "7",
      "attributes": [
        {
          "key": "zero",
          "value": {
            "intValue": "0"
          }
        },
        {
          "key": "no",
          "value": {
            "boolValue": false
          }
        },
        {
          "key": "nan",
          "value": {
            "doubleValue": "NaN"
          }
        },
        {
          "key": "bytes",
          "value": {
            "bytesValue": "+/8="
          }
        },
        {
          "key": "empty",
          "value": {}
        },
        {
          "key": "none"
        }
      ]
    }
    "#);
}

#[test]
fn a_full_success_is_an_empty_object() {
    assert_eq!(encode_json(&ExportTraceServiceResponse::default()), b"{}");
    let partial_success =
        Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "why".to_owned() });
    let response = ExportTraceServiceResponse { partial_success };
    let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why"}}"#;
    assert_eq!(encode_json(&response), json);
    assert_eq!(decode_json(json), Ok(response));
}

#[test]
fn error_details_stand_beside_their_type() {
    let field_violations = vec![FieldViolation { field: "f".into(), description: "d".into() }];
    let unknown = "type.googleapis.com/google.rpc.Help".to_owned();
    let status = RpcStatus {
        code: 14,
        message: "busy".to_owned(),
        details: vec![
            Any::pack(&RetryInfo {
                retry_delay: Some(ProtoDuration { seconds: 1, nanos: 500_000_000 }),
            }),
            Any::pack(&BadRequest { field_violations }),
            Any { type_url: unknown, value: vec![1, 2] },
        ],
    };
    let json = concat!(
        r#"{"code":14,"message":"busy","details":["#,
        r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"},"#,
        r#"{"@type":"type.googleapis.com/google.rpc.BadRequest","#,
        r#""fieldViolations":[{"field":"f","description":"d"}]},"#,
        r#"{"@type":"type.googleapis.com/google.rpc.Help","value":"AQI="}]}"#,
    );
    assert_eq!(String::from_utf8(encode_json(&status)).unwrap(), json);
    assert_eq!(decode_json(json.as_bytes()), Ok(status));
}

#[test]
fn durations_are_texts_in_seconds() {
    for (seconds, nanos, text) in [
        (0, 0, "0s"),
        (3, 0, "3s"),
        (0, 1, "0.000000001s"),
        (-1, -500_000_000, "-1.5s"),
        (0, -1, "-0.000000001s"),
    ] {
        let duration = ProtoDuration { seconds, nanos };
        let json = format!("{text:?}");
        assert_eq!(serde_json::to_string(&duration).unwrap(), json);
        assert_eq!(serde_json::from_str::<ProtoDuration>(&json).unwrap(), duration);
    }
    for text in ["", "1", "s", "1.s", "1.0000000001s", "+1s", "1e3s"] {
        assert!(serde_json::from_str::<ProtoDuration>(&format!("{text:?}")).is_err(), "{text}");
    }
}

#[test]
fn the_described_types_are_those_that_are_written() {
    let type_of = |schema: &serde_json::Value, name: &str| {
        let property = &schema["properties"][name];
        property["type"].as_str().unwrap_or_else(|| panic!("{name}: {schema}")).to_owned()
    };
    let span = serde_json::to_value(<Span as utoipa::PartialSchema>::schema()).unwrap();
    for name in ["traceId", "spanId", "parentSpanId", "startTimeUnixNano", "endTimeUnixNano"] {
        assert_eq!(type_of(&span, name), "string");
    }
    for name in ["kind", "flags", "droppedLinksCount"] {
        assert_eq!(type_of(&span, name), "integer");
    }
    let value = serde_json::to_value(<Value as utoipa::PartialSchema>::schema()).unwrap();
    let variants = value["oneOf"].as_array().unwrap();
    for (index, name, expected) in [(2, "intValue", "string"), (6, "bytesValue", "string")] {
        assert_eq!(type_of(&variants[index], name), expected);
    }
}
