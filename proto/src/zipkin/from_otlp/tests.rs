use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{from_otlp, span_from_otlp};
use crate::{
    otlp::{Event, KeyValue, Link, Resource, Span, SpanKind, Status, StatusCode, Value},
    zipkin::{Annotation, Endpoint, Span as ZipkinSpan, Tag, decode_json, to_otlp},
};

fn span(kind: SpanKind, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![0x0a; 16],
        span_id: vec![0x0b; 8],
        name: "GET /Users".into(),
        kind: kind.into(),
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_000_123_458_023,
        attributes,
        ..Span::default()
    }
}

fn json_of(otlp: &Span) -> Json {
    let resource = Resource {
        attributes: vec![KeyValue::new("service.name", "Front"), KeyValue::new("host.name", "h")],
        ..Resource::default()
    };
    serde_json::to_value(span_from_otlp(otlp, Some(&resource), None)).unwrap()
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key, value)
}

#[test]
fn a_span_has_zipkins_shape() {
    let mut otlp =
        span(SpanKind::Client, vec![text("http.method", "GET"), text("peer.service", "Pay")]);
    otlp.parent_span_id = vec![0x0c; 8];
    assert_eq!(
        json_of(&otlp),
        json!({
            "traceId": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "parentId": "0c0c0c0c0c0c0c0c",
            "id": "0b0b0b0b0b0b0b0b", "kind": "CLIENT", "name": "get /users",
            "timestamp": 1_700_000_000_123_456_u64, "duration": 1,
            "localEndpoint": {"serviceName": "front"}, "remoteEndpoint": {"serviceName": "pay"},
            "tags": {"http.method": "GET", "host.name": "h"},
        })
    );
    let bare = Span { trace_id: [[0; 8], [1; 8]].concat(), span_id: vec![2; 8], ..Span::default() };
    let shown = serde_json::to_value(span_from_otlp(&bare, None, None)).unwrap();
    assert_eq!(shown, json!({"traceId": "0101010101010101", "id": "0202020202020202"}));
}

#[test]
fn the_other_side_is_named_by_the_best_attribute() {
    let remote = |kind, attributes| json_of(&span(kind, attributes))["remoteEndpoint"].clone();
    let (client, server) = (SpanKind::Client, SpanKind::Server);
    for (kind, attributes, expected) in [
        (
            client,
            vec![text("peer.service", "pay"), text("server.address", "10.0.0.7")],
            json!({"serviceName": "pay"}),
        ),
        (
            client,
            vec![text("server.address", "DB.local"), text("db.name", "orders")],
            json!({"serviceName": "db.local"}),
        ),
        (client, vec![text("db.name", "orders")], json!({"serviceName": "orders"})),
        (server, vec![text("server.address", "me")], Json::Null),
        (server, vec![text("db.name", "orders")], Json::Null),
        (server, vec![text("net.peer.name", "caller")], json!({"serviceName": "caller"})),
        (
            SpanKind::Producer,
            vec![
                text("network.peer.address", "10.0.0.9"),
                KeyValue::new("network.peer.port", 9092_i64),
            ],
            json!({"ipv4": "10.0.0.9", "port": 9092}),
        ),
        (
            client,
            vec![text("peer.service", "pay"), text("network.peer.address", "2001:db8::c001")],
            json!({"serviceName": "pay", "ipv6": "2001:db8::c001"}),
        ),
        (client, vec![text("network.peer.address", "/tmp/socket")], Json::Null),
        (
            client,
            vec![
                text("net.sock.peer.addr", "10.1.1.1"),
                KeyValue::new("net.sock.peer.port", 70_000_i64),
            ],
            json!({"ipv4": "10.1.1.1"}),
        ),
    ] {
        assert_eq!(remote(kind, attributes.clone()), expected, "{attributes:?}");
    }
}

#[test]
fn attributes_become_texts() {
    let list = Value::Array(crate::otlp::ArrayValue { values: vec!["x".into(), 1_i64.into()] });
    let mut otlp = span(
        SpanKind::Internal,
        vec![
            KeyValue::new("b", true),
            KeyValue::new("i", 42_i64),
            KeyValue::new("d", 1.5),
            KeyValue::new("arr", list),
            KeyValue::new("host.name", "own"),
        ],
    );
    otlp.trace_state = "a=b".into();
    otlp.dropped_events_count = 3;
    otlp.links = vec![Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: vec![KeyValue::new("k", 1_i64)],
        ..Link::default()
    }];
    let link = format!("{}|{}||{{\"k\":1}}|0", "01".repeat(16), "02".repeat(8));
    assert_eq!(
        json_of(&otlp)["tags"],
        json!({
            "b": "true", "i": "42", "d": "1.5", "arr": "[\"x\",1]", "host.name": "own",
            "span.kind": "internal", "w3c.tracestate": "a=b", "otel.dropped_events_count": "3",
            "otlp.link.0": link,
        })
    );
}

#[test]
fn status_becomes_the_tags_that_zipkin_counts_errors_by() {
    let tags = |code: StatusCode, message: &str, error: Option<&str>| {
        let mut otlp = span(SpanKind::Server, vec![]);
        otlp.attributes.extend(error.map(|error| text("error", error)));
        otlp.status = Some(Status { code: code.into(), message: message.into() });
        let mut tags = json_of(&otlp)["tags"].clone();
        tags.as_object_mut().unwrap().remove("host.name");
        tags
    };
    let (unset, ok, error) = (StatusCode::Unset, StatusCode::Ok, StatusCode::Error);
    for (code, message, own, expected) in [
        (unset, "", None, json!({})),
        (unset, "", Some("false"), json!({})),
        (ok, "", None, json!({"otel.status_code": "OK"})),
        (error, "", None, json!({"otel.status_code": "ERROR", "error": ""})),
        (error, "why", None, json!({"otel.status_code": "ERROR", "error": "why"})),
        (error, "why", Some("false"), json!({"otel.status_code": "ERROR", "error": "why"})),
        (error, "", Some("true"), json!({"error": "true"})),
        (error, "500", Some("500"), json!({"error": "500"})),
        (
            error,
            "why",
            Some("true"),
            json!({"otel.status_code": "ERROR", "otel.status_description": "why", "error": "true"}),
        ),
    ] {
        assert_eq!(tags(code, message, own), expected, "{code:?} {message} {own:?}");
    }
}

#[test]
fn events_become_annotations_in_order() {
    let mut otlp = span(SpanKind::Server, vec![]);
    let event = |time: u64, name: &str, attributes| Event {
        time_unix_nano: time,
        name: name.into(),
        attributes,
        ..Event::default()
    };
    otlp.events = vec![
        event(3_000, "late", vec![]),
        event(1_999, "my-\"event\"", vec![text("key1", "value1"), text("key2", "value2")]),
    ];
    assert_eq!(
        json_of(&otlp)["annotations"],
        json!([
            {"timestamp": 1, "value": r#""my-\"event\"": {"key1":"value1","key2":"value2"}"#},
            {"timestamp": 3, "value": "late"},
        ])
    );
}

#[test]
fn times_that_are_not_known_are_left_out() {
    let with = |start, end| {
        let otlp = Span {
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            ..span(SpanKind::Server, vec![])
        };
        let shown = json_of(&otlp);
        (shown["timestamp"].as_u64(), shown["duration"].as_u64())
    };
    assert_eq!(with(5_000, 0), (Some(5), None), "not over");
    assert_eq!(with(5_000, 5_000), (Some(5), Some(1)), "Zipkin rounds up to 1");
    assert_eq!(with(5_000, 7_999), (Some(5), Some(2)));
    assert_eq!(with(5_000, 4_000), (Some(5), None), "a clock went back");
    assert_eq!(with(0, 4_000), (None, None));
}

/// Returns the span as Zipkin itself would store it.
fn kept(mut span: ZipkinSpan) -> ZipkinSpan {
    span.name = span.name.to_lowercase();
    span.trace_id = [vec![0; 16 - span.trace_id.len()], span.trace_id].concat();
    for endpoint in [&mut span.local_endpoint, &mut span.remote_endpoint] {
        if let Some(given) = endpoint {
            given.service_name = given.service_name.to_lowercase();
        }
        *endpoint = endpoint.take().filter(|given| *given != Endpoint::default());
    }
    if span.parent_id == span.id || span.parent_id.iter().all(|byte| *byte == 0) {
        span.parent_id.clear();
    }
    let order = |annotation: &Annotation| (annotation.timestamp, annotation.value.clone());
    span.annotations.sort_by_key(order);
    let tags: BTreeMap<_, _> = span.tags.drain(..).map(|tag| (tag.key, tag.value)).collect();
    span.tags = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
    span
}

fn comes_back(name: &str, spans: Vec<ZipkinSpan>) {
    for span in spans {
        let (request, rejected) = to_otlp(vec![span.clone()]);
        assert_eq!(rejected, [], "{name}");
        assert_eq!(from_otlp(&request).collect::<Vec<_>>(), [kept(span)], "{name}");
    }
}

#[test]
fn a_span_from_zipkin_comes_back_as_zipkin_keeps_it() {
    for fields in [
        r#""kind":"CLIENT","name":"GET","timestamp":1700000000000001,"duration":1"#,
        r#""kind":"SERVER","shared":true,"debug":true,"parentId":"9""#,
        r#""kind":"PRODUCER","remoteEndpoint":{"serviceName":"Kafka"}"#,
        r#""localEndpoint":{"serviceName":"A","ipv4":"1.2.3.4","ipv6":"2001:db8::1","port":80}"#,
        r#""localEndpoint":{"ipv4":"1.2.3.4"},"remoteEndpoint":{"port":80}"#,
        r#""remoteEndpoint":{"serviceName":"b","ipv6":"2001:db8::1","port":80},"tags":{"peer.service":"c"}"#,
        r#""tags":{"network.peer.port":"81"},"remoteEndpoint":{"ipv4":"1.2.3.4","port":80}"#,
        r#""tags":{"error":"","http.path":"/"},"timestamp":5"#,
        r#""tags":{"error":"true"}"#,
        r#""tags":{"error":"connection refused"}"#,
        r#""tags":{"span.kind":"internal"}"#,
        r#""duration":70"#,
        r#""annotations":[{"timestamp":9,"value":"b"},{"timestamp":2,"value":"a"}]"#,
        r#""name":"个人信息服务""#,
    ] {
        let body = format!(r#"[{{"traceId":"1","id":"2",{fields}}}]"#);
        comes_back(fields, decode_json(body.as_bytes()).unwrap());
    }
}

#[test]
fn real_spans_come_back() {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora");
    let mut checked = 0;
    for family in ["zipkin-v2-traces", "zipkin-translator"] {
        let Ok(files) = std::fs::read_dir(format!("{corpora}/{family}")) else {
            eprintln!("left out: {family} is not here");
            continue;
        };
        for path in files.map(|file| file.unwrap().path()) {
            let Ok(spans) = decode_json(&std::fs::read(&path).unwrap()) else { continue };
            checked += spans.len();
            comes_back(&path.display().to_string(), spans);
        }
    }
    eprintln!("{checked} spans");
}
