use serde_json::{Value as Json, json};

use super::{NO_SERVICE, from_otlp};
use crate::{
    jaeger::{RefType, Seconds, Tag, TagType, Trace, decode_json, trace_id},
    otlp::{
        self, AnyValue, ArrayValue, Event, ExportTraceServiceRequest, InstrumentationScope,
        KeyValue, Link, Resource, ResourceSpans, ScopeSpans, Span, SpanKind, Status, StatusCode,
        Value,
    },
};

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![
            KeyValue::new("host.name", "h"),
            KeyValue::new("service.name", "web"),
            KeyValue::new("process.pid", 7_i64),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "lib".into(),
        version: "1".into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}

fn span() -> Span {
    Span {
        trace_id: vec![0x0a; 16],
        span_id: vec![0x0b; 8],
        name: "GET /".into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_000_123_459_999,
        ..Span::default()
    }
}

fn json_of(span: Span) -> Json {
    let trace = serde_json::to_value(from_otlp(&request(vec![span]))).unwrap();
    trace["spans"][0].clone()
}

#[test]
fn a_span_has_the_shape_that_the_ui_expects() {
    let mut full = span();
    full.parent_span_id = vec![0x0c; 8];
    full.trace_state = "a=b".into();
    full.attributes = vec![
        KeyValue::new("text", "x"),
        KeyValue::new("truth", true),
        KeyValue::new("safe", 9_007_199_254_740_991_i64),
        KeyValue::new("unsafe", 9_007_199_254_740_992_i64),
        KeyValue::new("negative", -9_007_199_254_740_992_i64),
        KeyValue::new("float", 72.5),
        KeyValue::new("whole", 3.0),
        KeyValue::new("blob", Value::Bytes(vec![0, 0, 0x30, 0x39])),
        KeyValue::new("list", Value::Array(ArrayValue { values: vec!["a".into(), 1_i64.into()] })),
        KeyValue { key: "nothing".into(), value: Some(AnyValue::default()) },
    ];
    full.events = vec![Event {
        time_unix_nano: 1_700_000_000_123_457_999,
        name: "cache miss".into(),
        attributes: vec![KeyValue::new("size", 7_i64)],
        ..Event::default()
    }];
    full.links =
        vec![Link { trace_id: [[0; 8], [9; 8]].concat(), span_id: vec![1; 8], ..Link::default() }];
    full.status = Some(Status { code: StatusCode::Error.into(), message: "why".into() });
    let trace = serde_json::to_string_pretty(&from_otlp(&request(vec![full]))).unwrap();
    insta::assert_snapshot!(trace);
}

#[test]
fn status_and_kind_become_tags() {
    let tags = |span: Span| {
        let span = json_of(span);
        let tags = span["tags"].as_array().unwrap().iter().skip(2);
        tags.map(|tag| format!("{}={}", tag["key"].as_str().unwrap(), tag["value"]))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let with = |kind: SpanKind, code: StatusCode, message: &str, error: Option<AnyValue>| {
        let status = Some(Status { code: code.into(), message: message.into() });
        let attributes = error.into_iter().map(|error| KeyValue::new("error", error)).collect();
        Span { kind: kind.into(), status, attributes, ..span() }
    };
    let (internal, none) = (SpanKind::Internal, SpanKind::Unspecified);
    for (span, expected) in [
        (with(none, StatusCode::Unset, "", None), ""),
        (with(internal, StatusCode::Unset, "", None), r#"span.kind="internal""#),
        (with(SpanKind::Producer, StatusCode::Unset, "", None), r#"span.kind="producer""#),
        (with(none, StatusCode::Ok, "", None), r#"otel.status_code="OK""#),
        (
            with(none, StatusCode::Error, "why", None),
            r#"otel.status_code="ERROR" error=true otel.status_description="why""#,
        ),
        (
            with(none, StatusCode::Error, "", Some(true.into())),
            r#"otel.status_code="ERROR" error=true"#,
        ),
        (
            with(none, StatusCode::Error, "why", Some("why".into())),
            r#"otel.status_code="ERROR" error=true otel.status_description="why""#,
        ),
        (
            with(none, StatusCode::Error, "", Some("timeout".into())),
            r#"error="timeout" otel.status_code="ERROR" error=true"#,
        ),
        (with(none, StatusCode::Unset, "", Some(false.into())), "error=false"),
    ] {
        assert_eq!(tags(span), expected);
    }
}

#[test]
fn references_are_the_parent_and_the_links() {
    let link = |trace: u8, id: u8, ref_type: Option<&str>| Link {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        attributes: ref_type
            .map(|text| KeyValue::new("opentracing.ref_type", text))
            .into_iter()
            .collect(),
        ..Link::default()
    };
    let references = |parent: Vec<u8>, links: Vec<Link>| {
        let span = Span { parent_span_id: parent, links, ..span() };
        let trace = from_otlp(&request(vec![span]));
        let references = trace.spans[0].references.iter();
        references
            .map(|reference| {
                let sign = if reference.ref_type() == RefType::ChildOf { '<' } else { '~' };
                format!("{sign}{:x}.{:x}", reference.trace_id[0], reference.span_id[0])
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(references(vec![], vec![]), "");
    assert_eq!(references(vec![0; 8], vec![]), "", "no parent");
    assert_eq!(references(vec![1; 8], vec![]), "<a.1");
    assert_eq!(references(vec![], vec![link(2, 3, None)]), "~2.3");
    assert_eq!(references(vec![1; 8], vec![link(2, 1, Some("child_of"))]), "<a.1 <2.1");
    let to_parent = link(0xa, 1, Some("follows_from"));
    assert_eq!(references(vec![1; 8], vec![to_parent, link(2, 3, None)]), "~a.1 ~2.3");
}

#[test]
fn ids_of_eight_bytes_have_sixteen_digits() {
    assert_eq!(trace_id(&[[0; 8], [1; 8]].concat()), "0101010101010101");
    assert_eq!(
        trace_id(&[[0, 0, 0, 0, 0, 0, 0, 1], [1; 8]].concat()),
        "00000000000000010101010101010101"
    );
}

#[test]
fn times_that_make_no_sense_are_zero() {
    let unfinished = json_of(Span { end_time_unix_nano: 0, ..span() });
    assert_eq!(unfinished["duration"], 0);
    let backwards = json_of(Span { end_time_unix_nano: 5, ..span() });
    assert_eq!(backwards["duration"], 0);
    assert_eq!(Seconds::from_nanos(u64::MAX).to_nanos(), Some(u64::MAX));
    assert_eq!(Seconds { seconds: -1, nanos: 0 }.to_nanos(), None);
}

#[test]
fn spans_of_one_resource_share_a_process() {
    let mut two = request(vec![span()]);
    two.resource_spans.extend(request(vec![span()]).resource_spans);
    two.resource_spans.push(ResourceSpans {
        scope_spans: vec![ScopeSpans { spans: vec![span()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let trace = from_otlp(&two);
    let ids: Vec<&str> = trace.spans.iter().map(|span| span.process_id.as_str()).collect();
    assert_eq!(ids, ["p1", "p1", "p2"]);
    assert_eq!(trace.processes[0].service_name, "web");
    assert_eq!(trace.processes[1].service_name, NO_SERVICE);
    let services: Vec<String> =
        trace.into_spans().map(|span| span.process.unwrap().service_name).collect();
    assert_eq!(services, ["web", "web", NO_SERVICE]);
}

#[test]
fn jaegers_own_document_comes_back_as_it_was() {
    let document = json!({
        "traceID": "00000000000000a1",
        "spans": [{
            "traceID": "00000000000000a1", "spanID": "0000000000000001", "operationName": "GET /",
            "references": [
                {"refType": "CHILD_OF", "traceID": "00000000000000a1", "spanID": "0000000000000009"},
                {"refType": "FOLLOWS_FROM", "traceID": "00000000000000b2", "spanID": "0000000000000003"},
            ],
            "startTime": 1_700_000_000_000_001_u64, "duration": 1500,
            "tags": [
                {"key": "otel.scope.name", "type": "string", "value": "lib"},
                {"key": "http.status_code", "type": "int64", "value": 500},
                {"key": "large", "type": "int64", "value": "9223372036854775222"},
                {"key": "ratio", "type": "float64", "value": 72.5},
                {"key": "raw", "type": "binary", "value": "AQI="},
                {"key": "span.kind", "type": "string", "value": "server"},
                {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                {"key": "error", "type": "bool", "value": true},
                {"key": "otel.status_description", "type": "string", "value": "why"},
                {"key": "w3c.tracestate", "type": "string", "value": "a=b"},
            ],
            "logs": [{"timestamp": 1_700_000_000_000_002_u64, "fields": [
                {"key": "event", "type": "string", "value": "cache miss"},
                {"key": "size", "type": "int64", "value": 7},
            ]}],
            "processID": "p1", "warnings": ["clock skew"],
        }],
        "processes": {"p1": {"serviceName": "web", "tags": [
            {"key": "hostname", "type": "string", "value": "h"},
        ]}},
        "warnings": null,
    });
    let request = decode_json(document.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(from_otlp(&request)).unwrap(), document);
}

#[test]
fn the_model_is_protobuf() {
    use prost::Message;

    let trace: Trace = from_otlp(&request(vec![span()]));
    let spans: Vec<_> = trace.into_spans().collect();
    let bytes = spans[0].encode_to_vec();
    assert_eq!(crate::jaeger::Span::decode(bytes.as_slice()).unwrap(), spans[0]);
    let tag = Tag { key: "k".into(), v_type: TagType::Bool.into(), v_bool: true, ..Tag::default() };
    assert_eq!(tag.encode_to_vec(), [0x0a, 1, b'k', 0x10, 1, 0x20, 1]);
}

/// Jaeger's own pairs of input and the answer of its API.
#[test]
fn jaegers_pairs_hold() {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora");
    for family in ["jaeger-api-and-converters", "jaeger-ui-traces"] {
        let read = |name: &str| std::fs::read(format!("{corpora}/{family}/{name}"));
        let (Ok(given), Ok(expected)) = (read("otlp2jaeger-in.json"), read("otlp2jaeger-out.json"))
        else {
            eprintln!("left out: {family} is not here");
            continue;
        };
        // The older of the two has the scope under its former name.
        let expected = String::from_utf8(expected).unwrap().replace("otel.library.", "otel.scope.");
        let expected: Json = serde_json::from_str(&expected).unwrap();
        let given: ExportTraceServiceRequest = otlp::decode_json(&given).unwrap();
        let given = serde_json::to_value(from_otlp(&given)).unwrap();
        assert_eq!(given, expected["data"][0], "{family}");
    }
}
