//! Tests invalid requests of every kind. Each gets the documented refusal with a reason, the
//! process keeps running, and its memory does not grow.

mod api;
pub(crate) mod bodies;
pub(crate) mod returned;
mod stalled_bodies;
pub(crate) mod strings;

use prost::Message;
use tidings_proto::otlp::{RpcStatus, decode_json};

use crate::harness::{
    Server,
    http::{self, Answer, frame},
    spans::{LOGS_EXPORT, TRACE_EXPORT, span, traces},
};

use bodies::{deep_json, deep_protobuf, gzip, gzip_bomb, zstd, zstd_bomb, zstd_huge_window};

/// Maximum growth of the process's memory over all requests.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

/// An HTTP request and the statuses that it may get.
struct Case {
    name: String,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    wanted: &'static [u16],
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn case(
    name: impl Into<String>,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
    wanted: &'static [u16],
) -> Case {
    Case {
        name: name.into(),
        method: "POST",
        path,
        headers: headers.to_vec(),
        body: body.into(),
        wanted,
    }
}

fn valid() -> Vec<u8> {
    traces("shop", vec![span(7, 7, 0, "GET /")]).encode_to_vec()
}

/// Returns the cases for both paths and both encodings of OTLP/HTTP.
fn otlp_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/v1/traces", "/v1/logs"] {
        for kind in [PROTOBUF, JSON] {
            let of = |name: &str, more: &[(&'static str, &'static str)], body: Vec<u8>, wanted| {
                let headers: Vec<_> =
                    [("content-type", kind)].iter().chain(more).copied().collect();
                case(format!("{path} {kind} {name}"), path, &headers, body, wanted)
            };
            let encoded = |encoding: &'static str| [("content-encoding", encoding)];
            cases.extend([
                of("garbage", &[], b"\xff\xff\xff\xff garbage".to_vec(), &[400]),
                of("one byte", &[], b"\x0a".to_vec(), &[400]),
                of("html", &[], b"<html></html>".to_vec(), &[400]),
                of("unknown encoding", &encoded("br"), valid(), &[415]),
                of("stacked encodings", &encoded("gzip, gzip"), gzip(&gzip(&valid())), &[415]),
                of("nonsense encoding", &encoded("x-nothing"), valid(), &[415]),
                of("not gzip", &encoded("gzip"), valid(), &[400]),
                of("not zstd", &encoded("zstd"), valid(), &[400]),
                of("half a gzip", &encoded("gzip"), gzip(&[b' '; 9_000])[..20].to_vec(), &[400]),
                of("half a zstd", &encoded("zstd"), zstd(&[b' '; 9_000])[..12].to_vec(), &[400]),
                of("gzip bomb", &encoded("gzip"), gzip_bomb(), &[413]),
                of("zstd bomb", &encoded("zstd"), zstd_bomb(), &[413]),
                of("zstd window of 2 GiB", &encoded("zstd"), zstd_huge_window(), &[400, 413]),
                of("over-size", &[], vec![b' '; (20 << 20) + 1], &[413]),
                of(
                    "deep",
                    &[],
                    if kind == JSON {
                        deep_json(path, 100_000)
                    } else {
                        deep_protobuf(path, 5_000)
                    },
                    &[400],
                ),
            ]);
        }
        for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
            let mut wrong =
                case(format!("{method} {path}"), path, &[("content-type", JSON)], "", &[405]);
            wrong.method = method;
            cases.push(wrong);
        }
        for kind in
            ["text/plain", "application/thrift", "application/xml", "multipart/form-data", "x"]
        {
            cases.push(case(
                format!("{path} as {kind}"),
                path,
                &[("content-type", kind)],
                valid(),
                &[415],
            ));
        }
        cases.push(case(format!("{path} without a type"), path, &[], valid(), &[415]));
    }
    for path in
        ["/v1/metrics", "/v1development/profiles", "/", "/v1/trace", "/v2/traces", "/v1/traces/x"]
    {
        for kind in [PROTOBUF, JSON] {
            cases.push(case(format!("{path} {kind}"), path, &[("content-type", kind)], "", &[404]));
        }
    }
    cases
}

/// Returns documents that are JSON but not OTLP's.
fn json_cases() -> Vec<Case> {
    let span = |fields: &str| {
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
    };
    let documents = [
        ("a number", "1".to_owned()),
        ("a text", "\"x\"".to_owned()),
        ("a list", "[]".to_owned()),
        ("nothing", "   ".to_owned()),
        ("two documents", "{}{}".to_owned()),
        ("no list", r#"{"resourceSpans":1}"#.to_owned()),
        ("list of numbers", r#"{"resourceSpans":[1]}"#.to_owned()),
        ("scope spans a text", r#"{"resourceSpans":[{"scopeSpans":"x"}]}"#.to_owned()),
        ("id a number", span(r#""traceId":5"#)),
        ("kind by name", span(r#""kind":"SPAN_KIND_SERVER""#)),
        ("kind a float", span(r#""kind":1.5"#)),
        ("time a word", span(r#""startTimeUnixNano":"now""#)),
        ("time negative", span(r#""startTimeUnixNano":-1"#)),
        ("time too large", span(r#""startTimeUnixNano":"99999999999999999999999""#)),
        ("attributes a map", span(r#""attributes":{"a":"b"}"#)),
        ("value a text", span(r#""attributes":[{"key":"a","value":"b"}]"#)),
        (
            "integer too large",
            span(r#""attributes":[{"key":"a","value":{"intValue":"9223372036854775808"}}]"#),
        ),
        ("integer a float", span(r#""attributes":[{"key":"a","value":{"intValue":1.5}}]"#)),
        ("bytes not base64", span(r#""attributes":[{"key":"a","value":{"bytesValue":"***"}}]"#)),
        ("name a number", span(r#""name":1"#)),
        ("status a number", span(r#""status":2"#)),
        ("dropped count negative", span(r#""droppedAttributesCount":-1"#)),
        ("flags too large", span(r#""flags":4294967296"#)),
        ("unfinished text", r#"{"resourceSpans":[{"schemaUrl":"x"#.to_owned()),
        ("a lone surrogate", span(r#""name":"\ud800""#)),
        ("a control character", span("\"name\":\"a\u{1}\"")),
    ];
    documents
        .into_iter()
        .map(|(name, text)| case(name, "/v1/traces", &[("content-type", JSON)], text, &[400]))
        .collect()
}

const ZIPKIN: &str = "/api/v2/spans";

/// Returns documents that are not Zipkin's.
fn zipkin_documents() -> Vec<Case> {
    let documents = [
        ("html", "<html>".to_owned()),
        ("number", "1".to_owned()),
        ("object", "{}".to_owned()),
        ("v1", r#"[{"traceId":"a","id":"b","name":"x","binaryAnnotations":[]}]"#.to_owned()),
        ("no trace id", r#"[{"id":"b"}]"#.to_owned()),
        ("no id", r#"[{"traceId":"a"}]"#.to_owned()),
        ("id not hex", r#"[{"traceId":"xyz","id":"1"}]"#.to_owned()),
        ("id too long", format!(r#"[{{"traceId":"{}","id":"1"}}]"#, "a".repeat(33))),
        ("zero id", r#"[{"traceId":"0000000000000000","id":"1"}]"#.to_owned()),
        ("time a word", r#"[{"traceId":"a","id":"1","timestamp":"now"}]"#.to_owned()),
        ("unknown kind", r#"[{"traceId":"a","id":"1","kind":"FOO"}]"#.to_owned()),
        ("deep", "[".repeat(200_000)),
    ];
    let json = [("content-type", JSON)];
    documents
        .into_iter()
        .map(|(name, text)| case(format!("zipkin {name}"), ZIPKIN, &json, text, &[400]))
        .collect()
}

fn zipkin_cases() -> Vec<Case> {
    let json = ("content-type", JSON);
    let gzip = [json, ("content-encoding", "gzip")];
    let thrift = [("content-type", "application/x-thrift")];
    let foreign = [("origin", "http://evil.example"), ("content-type", "text/plain")];
    let garbage = vec![0xff; 30];
    let mut get = case("zipkin GET", ZIPKIN, &[], "", &[400]);
    get.method = "GET";
    let mut cases = zipkin_documents();
    cases.extend([
        get,
        case("zipkin over-size", ZIPKIN, &[json], vec![b' '; (20 << 20) + 1], &[413]),
        case("zipkin bomb", ZIPKIN, &gzip, gzip_bomb(), &[413]),
        case("zipkin not gzip", ZIPKIN, &gzip, "[]", &[400]),
        case("zipkin encoding", ZIPKIN, &[json, ("content-encoding", "br")], "[]", &[415]),
        case("zipkin protobuf garbage", ZIPKIN, &[("content-type", PROTOBUF)], garbage, &[400]),
        case("zipkin thrift", "/api/v1/spans", &thrift, vec![12; 30], &[400, 404, 415]),
        case("zipkin foreign page", ZIPKIN, &foreign, "[]", &[403, 415]),
        case("zipkin foreign host", ZIPKIN, &[("host", "evil.example")], "[]", &[403, 421]),
        case("zipkin unknown path", "/api/v3/spans", &[json], "[]", &[404]),
    ]);
    cases
}

#[test]
fn every_wrong_request_gets_a_reason_and_changes_nothing() {
    // The allocator returns freed memory to the system at once. Otherwise its caches would count as
    // resident, and they differ between runs by as much as the bound.
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_as(folder.path(), &[], &[("MIMALLOC_PURGE_DELAY", "0")]);
    let pid = server.pid();
    warm(&server);
    let before = server.resident_bytes();
    let mut count = 0;
    for case in otlp_cases().into_iter().chain(json_cases()) {
        let answer = send(&server.otlp_http, &case);
        let wants_protobuf = case.headers.contains(&("content-type", PROTOBUF));
        if case.method != "HEAD" {
            let status = rpc_status(&answer, wants_protobuf, &case.name);
            assert!(!status.message.is_empty(), "{}: no reason", case.name);
        }
        assert!(answer.status != 405 || answer.headers.contains_key("allow"), "{}", case.name);
        count += 1;
    }
    for case in zipkin_cases() {
        let answer = send(&server.zipkin, &case);
        assert!(!answer.body.is_empty(), "{}: no reason", case.name);
        count += 1;
    }
    count += grpc(&server);
    count += api::check(&server);
    assert!(count >= 200, "{count}");
    assert!(server.is_alive() && server.pid() == pid);
    let after = server.resident_bytes();
    println!(
        "{count} wrong requests, {} MiB resident before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(after < before + GROWTH_BYTES_MAX, "{before} to {after}");
    let status = server.get("/api/v1/status").1;
    assert_eq!(status["spans"]["stored"], 1, "something wrong was stored");
    assert_eq!(http::get(&server.http, "/ready").status, 200);
}

/// Sends a valid request, so that one-time initialisation does not count as growth.
fn warm(server: &Server) {
    assert_eq!(http::post(&server.otlp_http, "/v1/traces", PROTOBUF, valid()).status, 200);
}

fn send(address: &str, case: &Case) -> Answer {
    let answer = http::send(case.method, address, case.path, &case.headers, case.body.clone());
    let text = String::from_utf8_lossy(&answer.body);
    assert!(case.wanted.contains(&answer.status), "{}: {} {text}", case.name, answer.status);
    answer
}

/// Decodes the body as `google.rpc.Status`, in the encoding of the request.
fn rpc_status(answer: &Answer, protobuf: bool, name: &str) -> RpcStatus {
    let kind = answer.headers["content-type"].to_str().unwrap();
    if protobuf {
        assert_eq!(kind, PROTOBUF, "{name}");
        RpcStatus::decode(answer.body.clone()).unwrap()
    } else {
        assert!(kind.starts_with(JSON), "{name}: {kind}");
        decode_json(&answer.body).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// A gRPC call: its name, method, headers and body, and the expected codes.
type Call<'a> = (String, &'a str, Vec<(&'a str, &'a str)>, Vec<u8>, &'a [i32]);

/// Makes invalid gRPC calls and returns their number.
fn grpc(server: &Server) -> usize {
    const INVALID: &[i32] = &[3];
    const EXHAUSTED: &[i32] = &[8];
    const UNIMPLEMENTED: &[i32] = &[12];
    let bad_frame: &[i32] = &[3, 12, 13];
    let mut cases: Vec<Call<'_>> = Vec::new();
    for method in [TRACE_EXPORT, LOGS_EXPORT] {
        let signal = if method == TRACE_EXPORT { "/v1/traces" } else { "/v1/logs" };
        let mut add =
            |name: &str, headers: &[(&'static str, &'static str)], body: Vec<u8>, wanted| {
                cases.push((format!("{signal} {name}"), method, headers.to_vec(), body, wanted));
            };
        let encoded = |encoding: &'static str| [("grpc-encoding", encoding)];
        add("garbage", &[], frame(false, b"\xff\xff\xff").to_vec(), INVALID);
        add("deep", &[], frame(false, &deep_protobuf(signal, 5_000)).to_vec(), INVALID);
        add("over-size", &[], frame(false, &vec![0; (4 << 20) + 1]).to_vec(), EXHAUSTED);
        add("gzip bomb", &encoded("gzip"), frame(true, &gzip_bomb()).to_vec(), EXHAUSTED);
        add("zstd bomb", &encoded("zstd"), frame(true, &zstd_bomb()).to_vec(), EXHAUSTED);
        add("unknown encoding", &encoded("snappy"), frame(true, b"x").to_vec(), UNIMPLEMENTED);
        add("not gzip", &encoded("gzip"), frame(true, b"not gzip").to_vec(), bad_frame);
        add("compressed without encoding", &[], frame(true, b"x").to_vec(), bad_frame);
        add("no frame", &[], b"".to_vec(), bad_frame);
        add("half a header", &[], vec![0, 0, 0], bad_frame);
        add("half a message", &[], frame(false, &[0; 40])[..20].to_vec(), bad_frame);
        add("frame of 4 GiB", &[], vec![0, 0xff, 0xff, 0xff, 0xff, 1], EXHAUSTED);
        add("two messages", &[], [frame(false, b""), frame(false, b"")].concat(), bad_frame);
        add("wrong flag", &[], vec![7, 0, 0, 0, 0], bad_frame);
    }
    for method in [
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/nothing.Service/Call",
        "/x",
    ] {
        cases.push((
            method.to_owned(),
            method,
            Vec::new(),
            frame(false, b"").to_vec(),
            UNIMPLEMENTED,
        ));
    }
    for (name, method, headers, body, wanted) in &cases {
        let answer = http::call(&server.otlp_grpc, method, headers, body.clone());
        let code =
            answer.code.unwrap_or_else(|| panic!("{name}: no grpc-status, HTTP {}", answer.http));
        assert!(wanted.contains(&code), "{name}: {code} {}", answer.message);
        assert!(!answer.message.is_empty(), "{name}: no reason");
        if code == 8 {
            let details = answer.details.unwrap_or_default();
            let has_delay = details.windows(9).any(|part| part == b"RetryInfo");
            assert!(!has_delay, "{name}: told to retry what is too large");
        }
    }
    cases.len()
}
