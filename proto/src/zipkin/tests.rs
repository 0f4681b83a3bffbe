use prost::Message;

use super::{
    Endpoint, Kind, RejectedSpan, Span, Tag, decode_json, decode_protobuf, protobuf::ListOfSpans,
    to_otlp,
};
use crate::{
    DecodeError,
    otlp::{ExportTraceServiceRequest, KeyValue, Span as OtlpSpan, Value},
};

const IDS: &str = r#""traceId":"1","id":"2""#;

fn decode_one(fields: &str) -> Result<Span, DecodeError> {
    Ok(decode_json(format!("[{{{fields}}}]").as_bytes())?.remove(0))
}

fn request(fields: &str) -> ExportTraceServiceRequest {
    let (request, rejected) = to_otlp(vec![decode_one(&format!("{IDS},{fields}")).unwrap()]);
    assert_eq!(rejected, [], "{fields}");
    request
}

fn translated(fields: &str) -> OtlpSpan {
    request(fields).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

/// Formats the attributes as `key=value`, texts in quotes.
fn attributes(fields: &str) -> Vec<String> {
    let shown = |value: Option<&Value>| match value {
        Some(Value::String(text)) => format!("{text:?}"),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let list = translated(fields).attributes;
    list.iter().map(|attribute| format!("{}={}", attribute.key, shown(attribute.value()))).collect()
}

fn reason(result: Result<Vec<Span>, DecodeError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn ids_are_padded_on_the_left() {
    for (text, expected) in [
        ("1", "00000000000000000000000000000001"),
        ("48485A3953bb6124", "000000000000000048485a3953bb6124"),
        ("148485A3953bb6124", "0000000000000001 48485a3953bb6124"),
        ("463ac35c9f6413ad48485a3953bb6124", "463ac35c9f6413ad48485a3953bb6124"),
    ] {
        let span = decode_one(&format!(r#""traceId":"{text}","id":"a","parentId":"b""#)).unwrap();
        let (request, _) = to_otlp(vec![span]);
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        let id = crate::TraceId::from_wire(&span.trace_id).unwrap();
        assert_eq!(id.to_string(), expected.replace(' ', ""));
        assert_eq!(span.span_id, [0, 0, 0, 0, 0, 0, 0, 0xa]);
        assert_eq!(span.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 0xb]);
    }
}

#[test]
fn broken_json_is_named_with_its_path() {
    for (fields, at) in [
        (r#""traceId":"x""#, "`[0].traceId`"),
        (r#""traceId":"463ac35c9f6413ad48485a3953bb61240""#, "`[0].traceId`"),
        (r#""id":"48485a3953bb61240""#, "`[0].id`"),
        (r#""kind":"FRIEND""#, "`[0].kind`"),
        (r#""timestamp":"soon""#, "`[0].timestamp`"),
        (r#""timestamp":1.5"#, "`[0].timestamp`"),
        (r#""tags":[]"#, "`[0].tags`"),
        (r#""annotations":[{"timestamp":{}}]"#, "`[0].annotations[0].timestamp`"),
        (r#""localEndpoint":"web""#, "`[0].localEndpoint`"),
    ] {
        let error = decode_one(fields).unwrap_err().to_string();
        assert!(error.contains(at), "{fields}: {error}");
    }
    assert!(reason(decode_json(b"[{\"traceId\":\"1\"")).contains("EOF"));
    assert!(reason(decode_json(b"[[]]")).contains("[0]"));
}

#[test]
fn errors_are_short_whatever_the_client_wrote() {
    let long = "x".repeat(1_000_000);
    for fields in [
        format!(r#""traceId":"{long}""#),
        format!(r#""kind":"{long}""#),
        format!(r#""localEndpoint":"{long}""#),
        format!(r#""tags":"{long}""#),
        format!(r#""tags":{{"{long}":"#),
    ] {
        let error = decode_one(&fields).unwrap_err().to_string();
        assert!(error.len() < 1_200, "{}", error.len());
    }
}

#[test]
fn another_format_is_named_in_zipkins_words() {
    let v1 = br#"[{"traceId":"1","id":"2","name":"x","annotations":[
        {"timestamp":1,"value":"sr","endpoint":{"serviceName":"web"}}]}]"#;
    let binary = br#"[{"traceId":"1","id":"2","binaryAnnotations":[{"key":"a","value":"b"}]}]"#;
    let listed = ListOfSpans { spans: vec![Span { name: "x".into(), ..Span::default() }] };
    let cases: &[(&[u8], &str)] = &[
        (v1, "JSON_V1"),
        (binary, "JSON_V1"),
        (br#"[{"traceId":5,"binary_annotations":[]}]"#, "JSON_V1"),
        (br#"{"traceId":"1"}"#, "one JSON object"),
        (&listed.encode_to_vec(), "PROTO3"),
        (b"\x0c\0\0\0\x01", "THRIFT"),
        (b"hello", "something that is not JSON"),
        (b"null", "one JSON value"),
    ];
    for (body, received) in cases {
        let expected = format!("Expected a JSON_V2 encoded list, but received: {received}");
        assert_eq!(reason(decode_json(body)), expected);
    }
}

#[test]
fn nothing_is_a_success() {
    for body in ["", " \n", "[]", " [ ] ", "\u{feff}[]"] {
        assert_eq!(decode_json(body.as_bytes()), Ok(Vec::new()), "{body:?}");
    }
    assert_eq!(decode_protobuf(b""), Ok(Vec::new()));
    assert_eq!(to_otlp(Vec::new()), (ExportTraceServiceRequest::default(), Vec::new()));
}

#[test]
fn times_become_nanoseconds_and_absent_ones_stay_absent() {
    for (fields, start, end) in [
        (
            r#""timestamp":1472470996199001,"duration":207001"#,
            1472470996199001000,
            1472470996406002000,
        ),
        (
            r#""timestamp":1.472470996199e15,"duration":"1""#,
            1472470996199000000,
            1472470996199001000,
        ),
        (r#""timestamp":5,"duration":0"#, 5000, 0),
        (r#""timestamp":5"#, 5000, 0),
        (r#""timestamp":-5,"duration":-1"#, 0, 0),
        (r#""timestamp":null,"duration":null"#, 0, 0),
        (r#""duration":7"#, 0, 0),
    ] {
        let span = translated(fields);
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (start, end), "{fields}");
    }
    assert_eq!(attributes(r#""duration":7"#), ["zipkin.duration_micros=\"7\""]);
}

#[test]
fn kinds_are_translated_and_none_is_not_invented() {
    for (fields, kind) in [
        (r#""kind":"CLIENT""#, 3),
        (r#""kind":"SERVER""#, 2),
        (r#""kind":"PRODUCER""#, 4),
        (r#""kind":"CONSUMER""#, 5),
        (r#""kind":"server""#, 2),
        (r#""kind":null"#, 0),
        (r#""tags":{"span.kind":"internal"}"#, 1),
        // Only a server shares an id that its client chose, so the kind follows from `shared`.
        (r#""shared":true"#, 2),
        (r#""kind":"CLIENT","shared":true"#, 3),
    ] {
        assert_eq!(translated(fields).kind, kind, "{fields}");
    }
}

#[test]
fn status_comes_from_the_tags() {
    for (tags, expected) in [
        (r#"{"error":"boom"}"#, Some((2, "boom"))),
        (r#"{"error":""}"#, Some((2, ""))),
        (r#"{"error":"true"}"#, Some((2, ""))),
        (r#"{"error":true}"#, Some((2, ""))),
        (r#"{"error":"false"}"#, None),
        (r#"{"error":500}"#, Some((2, "500"))),
        (r#"{"otel.status_code":"OK","error":"boom"}"#, Some((1, ""))),
        (r#"{"otel.status_code":"ERROR","error":"boom"}"#, Some((2, "boom"))),
        (
            r#"{"otel.status_code":"ERROR","otel.status_description":"why","error":"x"}"#,
            Some((2, "why")),
        ),
        (r#"{"otel.status_code":"UNSET"}"#, None),
        (r#"{}"#, None),
        ("null", None),
    ] {
        let status = translated(&format!(r#""tags":{tags}"#)).status;
        let status = status.as_ref().map(|status| (status.code, status.message.as_str()));
        assert_eq!(status, expected, "{tags}");
    }
}

#[test]
fn tags_become_text_attributes_whatever_they_are() {
    let fields = r#""tags":{"s":"x","n":1.50,"i":-7,"b":true,"l":[1,"a"],"z":null,"s":"last"}"#;
    let expected =
        ["n=\"1.5\"", "i=\"-7\"", "b=\"true\"", "l=\"[1,\\\"a\\\"]\"", "z=\"\"", "s=\"last\""];
    assert_eq!(attributes(fields), expected);
}

#[test]
fn endpoints_become_attributes_unless_a_tag_says_otherwise() {
    let remote = r#""remoteEndpoint":{"serviceName":"db","ipv4":"10.0.0.9","port":5432}"#;
    let expected =
        ["peer.service=\"db\"", "network.peer.address=\"10.0.0.9\"", "network.peer.port=5432"];
    assert_eq!(attributes(remote), expected);
    let tagged = format!(r#"{remote},"tags":{{"peer.service":"pg"}}"#);
    assert_eq!(
        attributes(&tagged)[..2],
        ["peer.service=\"pg\"", "zipkin.remote_endpoint.service_name=\"db\""]
    );
    let same = format!(r#"{remote},"tags":{{"peer.service":"db"}}"#);
    assert_eq!(attributes(&same), expected);
    let both = r#""localEndpoint":{"ipv4":"10.0.0.1","ipv6":"2001:DB8::1","port":0}"#;
    let expected =
        ["network.local.address=\"10.0.0.1\"", "zipkin.local_endpoint.address=\"2001:db8::1\""];
    assert_eq!(attributes(both), expected);
    let none: &[&str] = &[];
    // A text that is no address is kept as it arrived.
    assert_eq!(
        attributes(r#""remoteEndpoint":{"ipv4":"nowhere","port":null}"#),
        ["zipkin.remote_endpoint.address=\"nowhere\""]
    );
    assert_eq!(
        attributes(r#""localEndpoint":{"ipv4":"10.0.0.300","ipv6":"::1"}"#),
        ["zipkin.local_endpoint.address=\"10.0.0.300\"", "network.local.address=\"::1\""]
    );
    assert_eq!(
        attributes(r#""remoteEndpoint":{"ipv4":"one","ipv6":"two"}"#),
        ["zipkin.remote_endpoint.address=\"one, two\""]
    );
    assert_eq!(attributes(r#""remoteEndpoint":null,"localEndpoint":{}"#), none);
    // In protobuf an address is bytes, and only 4 or 16 bytes are one.
    let mut span = decode_one(r#""traceId":"1","id":"2""#).unwrap();
    let ipv4 = vec![10, 0, 0];
    span.remote_endpoint = Some(Endpoint { ipv4, ..Endpoint::default() });
    let (request, _) = to_otlp(vec![span]);
    let kept = &request.resource_spans[0].scope_spans[0].spans[0].attributes;
    assert_eq!(*kept, [KeyValue::new("zipkin.remote_endpoint.address", "0a0000")]);
}

#[test]
fn shared_and_debug_survive() {
    assert_eq!(
        attributes(r#""shared":true,"debug":true"#),
        ["zipkin.shared=true", "zipkin.debug=true"]
    );
    let none: &[&str] = &[];
    assert_eq!(attributes(r#""shared":false,"debug":null"#), none);
}

#[test]
fn both_halves_of_a_shared_span_come_out() {
    let body = format!(
        r#"[{{{IDS},"kind":"CLIENT","localEndpoint":{{"serviceName":"a"}}}},
            {{{IDS},"kind":"SERVER","shared":true,"localEndpoint":{{"serviceName":"b"}}}}]"#
    );
    let (request, rejected) = to_otlp(decode_json(body.as_bytes()).unwrap());
    assert_eq!((request.resource_spans.len(), rejected.len()), (2, 0));
}

#[test]
fn the_parent_is_kept_even_when_it_is_the_span_itself() {
    assert_eq!(translated(r#""parentId":"2""#).parent_span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
    assert!(translated(r#""parentId":"0000000000000000""#).parent_span_id.is_empty());
}

#[test]
fn spans_are_grouped_by_service_and_library() {
    let span = |service: &str, library: &str| {
        format!(
            r#"{{{IDS},"localEndpoint":{{"serviceName":"{service}"}},
            "tags":{{"otel.library.name":"{library}","otel.scope.name":"{library}","otel.scope.version":"1"}}}}"#
        )
    };
    let body =
        [span("a", "x"), span("b", "x"), span("a", "y"), span("a", "x"), format!("{{{IDS}}}")];
    let (request, _) = to_otlp(decode_json(format!("[{}]", body.join(",")).as_bytes()).unwrap());
    let shape: Vec<_> = request
        .resource_spans
        .iter()
        .map(|resource| {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            let name = attributes.first().and_then(|attribute| attribute.value().cloned());
            let scopes = resource.scope_spans.iter().map(|scope| {
                let name = scope.scope.as_ref().map(|scope| scope.name.clone());
                (name.unwrap_or_default(), scope.spans.len())
            });
            (name, scopes.collect::<Vec<_>>())
        })
        .collect();
    let service = |name: &str| Some(Value::String(name.to_owned()));
    let expected = [
        (service("a"), vec![("x".to_owned(), 2), ("y".to_owned(), 1)]),
        (service("b"), vec![("x".to_owned(), 1)]),
        (None, vec![(String::new(), 1)]),
    ];
    assert_eq!(shape, expected);
    assert!(request.resource_spans[0].scope_spans[0].spans[0].attributes.is_empty());
}

#[test]
fn spans_without_valid_ids_or_times_are_rejected_one_by_one() {
    let good = Span { trace_id: vec![1; 16], id: vec![2; 8], ..Span::default() };
    let spans = vec![
        Span { trace_id: Vec::new(), ..good.clone() },
        good.clone(),
        Span { trace_id: vec![1; 15], ..good.clone() },
        Span { trace_id: vec![0; 16], ..good.clone() },
        Span { id: vec![0; 8], ..good.clone() },
        Span { parent_id: vec![1; 7], ..good.clone() },
        Span { timestamp: u64::MAX / 999, ..good.clone() },
        Span { timestamp: u64::MAX / 1000, duration: u64::MAX / 1000, ..good.clone() },
        Span { kind: 77, ..good },
    ];
    let (request, rejected) = to_otlp(spans);
    let indexes: Vec<_> = rejected.iter().map(|RejectedSpan { index, .. }| *index).collect();
    assert_eq!(indexes, [0, 2, 3, 4, 5, 6, 7]);
    assert_eq!(rejected[1].reason, "traceId has 15 bytes: 8 or 16 are needed");
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!((spans.len(), spans[1].kind), (2, 0), "an unknown kind is unspecified");
}

#[test]
fn protobuf_and_json_give_the_same_spans() {
    let json = r#"[{"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"5","id":"6",
        "kind":"SERVER","name":"get /","timestamp":1472470996199000,"duration":207000,
        "localEndpoint":{"serviceName":"web","ipv6":"2001:db8::c001","port":8080},
        "remoteEndpoint":{"ipv4":"192.168.99.101","port":9000},
        "annotations":[{"timestamp":1472470996238000,"value":"foo"}],
        "tags":{"http.path":"/api","clnt/finagle.version":"6.45.0"},"shared":true}]"#;
    let spans = decode_json(json.as_bytes()).unwrap();
    let bytes = ListOfSpans { spans: spans.clone() }.encode_to_vec();
    assert_eq!(decode_protobuf(&bytes), Ok(spans.clone()));
    assert_eq!(spans[0].kind(), Kind::Server);
    assert_eq!(
        spans[0].tags[1],
        Tag { key: "clnt/finagle.version".into(), value: "6.45.0".into() }
    );
    let (request, _) = to_otlp(spans);
    insta::assert_snapshot!(serde_json::to_string_pretty(&request).unwrap());
}

#[test]
fn broken_protobuf_is_an_error() {
    assert!(matches!(decode_protobuf(b"\x0a\x05\x0a"), Err(DecodeError::Protobuf { .. })));
}
