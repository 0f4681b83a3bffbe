//! The answers are the same for every transport and protocol of the sender.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::{
    jaeger::rpc,
    otlp::{
        AnyValue, ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest,
        InstrumentationScope, KeyValue, KeyValueList, Link, ResourceSpans, ScopeSpans, Span,
        Status, Value, encode_json,
    },
};

use crate::harness::{
    Server,
    http::{self, call, frame, post},
    spans::{LOGS_EXPORT, TRACE_EXPORT, log, logs, resource, span, traces},
};

const TRACE: u128 = 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c;
/// A time long enough ago that the trace is no longer running.
const START: u64 = 1_760_000_000_000_000_000;

/// Returns a value of lists, maps and bytes.
fn nested() -> AnyValue {
    let list = vec![1_i64.into(), "two".into(), true.into(), AnyValue { value: None }];
    AnyValue::from(Value::Kvlist(KeyValueList {
        values: vec![
            KeyValue::new("list", AnyValue::from(Value::Array(ArrayValue { values: list }))),
            KeyValue::new("bytes", AnyValue::from(Value::Bytes(vec![0, 255, 7]))),
        ],
    }))
}

/// Returns a span of the trace. Its times are nanoseconds after the trace's start.
fn at(id: u64, parent: u64, from: u64, to: u64, name: &str) -> Span {
    Span {
        start_time_unix_nano: START + from,
        end_time_unix_nano: START + to,
        ..span(TRACE, id, parent, name)
    }
}

fn root() -> Span {
    Span {
        trace_state: "vendor=1".to_owned(),
        flags: 0x301,
        attributes: vec![
            KeyValue::new("http.response.status_code", 500_i64),
            KeyValue::new("big", i64::MAX),
            KeyValue::new("ratio", 0.1_f64),
            KeyValue::new("nothing", AnyValue { value: None }),
            KeyValue::new("nested", nested()),
            KeyValue::new("empty", ""),
        ],
        dropped_attributes_count: 2,
        dropped_events_count: 3,
        dropped_links_count: 4,
        events: vec![Event {
            time_unix_nano: START + 5,
            name: "exception".to_owned(),
            attributes: vec![KeyValue::new("exception.type", "Timeout")],
            dropped_attributes_count: 1,
        }],
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![8; 8],
            trace_state: "a=b".to_owned(),
            attributes: vec![KeyValue::new("why", "batch")],
            dropped_attributes_count: 5,
            flags: 1,
        }],
        status: Some(Status { message: "no answer".to_owned(), code: 2 }),
        ..at(1, 0, 0, 9_000_001, "GET /cart/{user}")
    }
}

/// Returns a trace of two services that uses every feature of OTLP.
fn rich() -> ExportTraceServiceRequest {
    let scope = |name: &str| {
        Some(InstrumentationScope {
            name: name.to_owned(),
            version: "1.2".to_owned(),
            attributes: vec![KeyValue::new("scope.key", true)],
            dropped_attributes_count: 6,
        })
    };
    let spans = |service: &str, spans| ResourceSpans {
        resource: Some(resource(service)),
        scope_spans: vec![ScopeSpans {
            scope: scope(service),
            spans,
            schema_url: "urn:scope".to_owned(),
        }],
        schema_url: "urn:resource".to_owned(),
    };
    let child = |id, from, to| Span { kind: 3, ..at(id, 1, from, to, "SELECT") };
    ExportTraceServiceRequest {
        resource_spans: vec![
            spans("gateway", vec![root(), child(2, 1_000, 2_000), child(3, 2_000, 4_000)]),
            spans("cart", vec![Span { kind: 2, ..at(4, 3, 2_500, 3_500, "Cart.Get") }]),
        ],
    }
}

fn log_lines() -> ExportLogsServiceRequest {
    let mut record = log(TRACE, 1, "charge timed out");
    (record.time_unix_nano, record.observed_time_unix_nano) = (START + 7, START + 8);
    record.attributes = vec![KeyValue::new("order.id", "A-20931")];
    logs("gateway", vec![record])
}

/// Returns the answers to all requests about the trace.
fn answers(server: &Server) -> Vec<(String, String)> {
    let trace = format!("{TRACE:032x}");
    ["", "/otlp", "/skeleton", "/spans/0000000000000001"]
        .into_iter()
        .map(|part| format!("/api/v1/traces/{trace}{part}"))
        .chain([format!("/api/v1/transactions/{trace}"), "/api/v1/transactions/A-20931".to_owned()])
        .map(|path| {
            let answer = http::get(&server.http, &path);
            assert_eq!(answer.status, 200, "{path}");
            (path, String::from_utf8(answer.body.to_vec()).unwrap())
        })
        .collect()
}

#[test]
fn grpc_protobuf_and_json_give_byte_equal_answers() {
    let (spans, lines) = (rich(), log_lines());
    let grpc = Server::start();
    for (method, message) in
        [(TRACE_EXPORT, spans.encode_to_vec()), (LOGS_EXPORT, lines.encode_to_vec())]
    {
        let answer = call(&grpc.otlp_grpc, method, &[], frame(false, &message));
        assert_eq!((answer.code, answer.body.len()), (Some(0), 0));
    }
    let protobuf = Server::start();
    for (path, body) in [("/v1/traces", spans.encode_to_vec()), ("/v1/logs", lines.encode_to_vec())]
    {
        let answer = post(&protobuf.otlp_http, path, "application/x-protobuf", body);
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    let json = Server::start();
    for (path, body) in [("/v1/traces", encode_json(&spans)), ("/v1/logs", encode_json(&lines))] {
        let answer = post(&json.otlp_http, path, "application/json", body);
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    }
    let expected = answers(&grpc);
    assert_eq!(expected, answers(&protobuf));
    assert_eq!(expected, answers(&json));
    let exported: ExportTraceServiceRequest =
        tidings_proto::otlp::decode_json(expected[1].1.as_bytes()).unwrap();
    assert_eq!(sorted(exported), sorted(spans), "what was sent is not what is exported");
}

/// Sorts resources and spans, because the export groups them and does not keep their order.
fn sorted(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for resource in &mut request.resource_spans {
        for scope in &mut resource.scope_spans {
            scope.spans.sort_by(|left, right| left.span_id.cmp(&right.span_id));
        }
    }
    request.resource_spans.sort_by_key(|resource| resource.scope_spans[0].spans[0].span_id.clone());
    request
}

#[test]
fn the_answers_are_the_same_from_memory_and_from_files() {
    let mut server = Server::start();
    post(&server.otlp_http, "/v1/traces", "application/x-protobuf", rich().encode_to_vec());
    post(&server.otlp_http, "/v1/logs", "application/x-protobuf", log_lines().encode_to_vec());
    let from_memory = answers(&server);
    assert_eq!(server.terminate().code(), Some(0));
    let server = server.restart();
    let files = std::fs::read_dir(server.data_dir().join("tables/spans")).unwrap().count();
    assert!(files > 1, "nothing was flushed");
    assert_eq!(from_memory, answers(&server));
}

/// Kind in both protocols, start and duration in microseconds, and name of the spans, in order.
const CALLS: [(&str, i32, u64, u64, &str); 4] = [
    ("SERVER", 2, 0, 900, "get /cart"),
    ("CLIENT", 3, 10, 400, "select"),
    ("CLIENT", 3, 410, 300, "cart.get"),
    ("SERVER", 2, 420, 280, "cart.get"),
];

/// Returns the calls in Zipkin's format.
fn zipkin_calls() -> Json {
    let places = [("gateway", 1, 0), ("gateway", 2, 1), ("gateway", 3, 1), ("cart", 4, 3)];
    let spans = places.into_iter().zip(CALLS).map(|((service, id, parent), call)| {
        let (kind, _, from, micros, name) = call;
        let mut span = json!({
            "traceId": format!("{TRACE:032x}"), "id": format!("{id:016x}"), "name": name, "kind": kind,
            "timestamp": START / 1_000 + from, "duration": micros,
            "localEndpoint": { "serviceName": service },
        });
        if parent != 0 {
            span["parentId"] = format!("{parent:016x}").into();
        }
        span
    });
    spans.collect()
}

/// Returns the calls in OTLP.
fn otlp_calls() -> ExportTraceServiceRequest {
    let mut request = rich();
    let scopes =
        request.resource_spans.iter_mut().flat_map(|resource| resource.scope_spans.iter_mut());
    let spans = scopes.flat_map(|scope| scope.spans.iter_mut());
    for (span, (_, kind, from, micros, name)) in spans.zip(CALLS) {
        span.kind = kind;
        span.start_time_unix_nano = START + from * 1_000;
        span.end_time_unix_nano = START + (from + micros) * 1_000;
        span.name = name.to_owned();
        span.status = None;
    }
    request
}

/// Returns the tree of the API: facts of each span, and of the whole trace.
fn tree(server: &Server) -> (Vec<Vec<Json>>, [Json; 3]) {
    let facts = [
        "spanId",
        "parentSpanId",
        "parentIndex",
        "depth",
        "descendantCount",
        "service",
        "name",
        "kind",
        "startUnixNano",
        "endUnixNano",
        "durationNano",
        "selfNano",
        "criticalNano",
        "asynchronous",
    ];
    let (status, view) = server.get(&format!("/api/v1/traces/{TRACE:032x}"));
    assert_eq!(status, 200);
    let spans = view["spans"].as_array().unwrap().iter();
    let rows = spans.map(|span| facts.iter().map(|fact| span[fact].clone()).collect());
    (rows.collect(), ["criticalPath", "services", "problems"].map(|key| view[key].clone()))
}

#[test]
fn the_same_service_through_zipkin_gives_the_same_tree() {
    let zipkin = Server::start();
    let list = zipkin_calls().to_string();
    let answer = post(&zipkin.zipkin, "/api/v2/spans", "application/json", list);
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let other = Server::start();
    let bytes = otlp_calls().encode_to_vec();
    post(&other.otlp_http, "/v1/traces", "application/x-protobuf", bytes);
    assert_eq!(tree(&zipkin), tree(&other));
    assert_eq!(tree(&zipkin).0.len(), 4);
}

#[test]
fn joined_zipkin_halves_both_survive() {
    let server = Server::start();
    let half = |kind: &str, service: &str, shared: bool| {
        let mut span = json!({
            "traceId": "000000000000002a", "id": "000000000000000b", "parentId": "000000000000000a",
            "name": "get", "kind": kind, "timestamp": START / 1_000, "duration": 100,
            "localEndpoint": { "serviceName": service },
        });
        if shared {
            span["shared"] = true.into();
        }
        span
    };
    let root = json!({
        "traceId": "000000000000002a", "id": "000000000000000a", "name": "entry", "kind": "SERVER",
        "timestamp": START / 1_000 - 10, "duration": 200, "localEndpoint": { "serviceName": "front" },
    });
    let list = json!([half("SERVER", "back", true), half("CLIENT", "front", false), root]);
    assert_eq!(
        post(&server.zipkin, "/api/v2/spans", "application/json", list.to_string()).status,
        202
    );
    let (_, view) = server.get("/api/v1/traces/000000000000002a");
    let rows: Vec<_> = view["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| {
            (
                span["service"].as_str().unwrap(),
                span["kind"].as_str().unwrap(),
                span["depth"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("front", "server", 0), ("front", "client", 1), ("back", "server", 2)]);
    assert_eq!(view["problems"], json!([]));
}

/// Returns a compressed message in a frame.
fn gzip_frame(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).unwrap();
    frame(true, &encoder.finish().unwrap())
}

#[test]
fn calls_that_read_take_compressed_messages_as_receivers_do() {
    let server = Server::start();
    let sent = traces("shop", vec![span(1, 1, 0, "work")]).encode_to_vec();
    let gzip = [("grpc-encoding", "gzip")];
    let stored = call(&server.otlp_grpc, TRACE_EXPORT, &gzip, gzip_frame(&sent));
    assert_eq!(stored.code, Some(0), "{}", stored.message);
    let asked = rpc::GetTraceByText { trace_id: format!("{:032x}", 1), raw_traces: false };
    let method = "/jaeger.api_v3.QueryService/GetTrace";
    let answer = call(&server.http, method, &gzip, gzip_frame(&asked.encode_to_vec()));
    assert_eq!(answer.code, Some(0), "{}", answer.message);
    let found = ExportTraceServiceRequest::decode(answer.body).unwrap();
    assert_eq!(found.resource_spans[0].scope_spans[0].spans[0].name, "work");
    // The message is compressed to a few KiB and exceeds the maximum size of a request when
    // decompressed.
    let bomb = call(&server.http, method, &gzip, gzip_frame(&vec![0; 4 << 20]));
    assert_eq!(bomb.code, Some(8), "{}", bomb.message);
    let unknown = call(&server.http, method, &[("grpc-encoding", "br")], gzip_frame(b""));
    assert_eq!(unknown.code, Some(12), "{}", unknown.message);
}

#[test]
fn calls_end_at_the_deadline_of_their_client() {
    let server = Server::start();
    let watch = "/grpc.health.v1.Health/Watch";
    for (timeout, code) in [("100m", 4), ("1n", 4), ("soon", 13)] {
        let answer = call(&server.http, watch, &[("grpc-timeout", timeout)], frame(false, b""));
        assert_eq!((answer.http, answer.code), (200, Some(code)), "{timeout}: {}", answer.message);
    }
    let services = "/jaeger.api_v3.QueryService/GetServices";
    let answer = call(&server.http, services, &[("grpc-timeout", "1H")], frame(false, b""));
    assert_eq!(answer.code, Some(0), "{}", answer.message);
}
