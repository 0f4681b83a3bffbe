//! Tests the rules of OTLP/HTTP: methods, media types, encodings, and the bodies of errors.

use std::io::Write;

use prost::Message;
use serde_json::Value as Json;
use tidings_proto::otlp::{RpcStatus, encode_json};

use super::source::{listed, text};
use crate::harness::{
    Server,
    http::{Answer, send},
    spans::{log, logs, span, traces},
};

/// Returns the body of a case: its own, or a valid one that is compressed as the case says.
fn body(request: &Json) -> Vec<u8> {
    let asked = text(&request["body"]);
    if !asked.starts_with("a valid export request") {
        return asked.into_bytes();
    }
    let json = text(&request["content_type"]).contains("json");
    let plain = match (text(&request["path"]).as_str(), json) {
        ("/v1/logs", true) => encode_json(&logs("web", vec![log(7, 1, "hello")])),
        ("/v1/logs", false) => logs("web", vec![log(7, 1, "hello")]).encode_to_vec(),
        (_, true) => encode_json(&traces("web", vec![span(7, 1, 0, "GET /")])),
        (_, false) => traces("web", vec![span(7, 1, 0, "GET /")]).encode_to_vec(),
    };
    match text(&request["content_encoding"]).as_str() {
        "gzip" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&plain).unwrap();
            gzip.finish().unwrap()
        }
        "zstd" => zstd::encode_all(plain.as_slice(), 1).unwrap(),
        "deflate" => {
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(&plain).unwrap();
            zlib.finish().unwrap()
        }
        _ => plain,
    }
}

fn ask(server: &Server, request: &Json) -> Answer {
    let (kind, encoding) = (text(&request["content_type"]), text(&request["content_encoding"]));
    let headers = [("content-type", kind.as_str()), ("content-encoding", encoding.as_str())];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let (method, path) = (text(&request["method"]), text(&request["path"]));
    send(&method, &server.otlp_http, &path, &headers, body(request))
}

/// Returns `google.rpc.Status.code` from an error's body.
fn code(answer: &Answer) -> Option<i64> {
    if answer.headers["content-type"].to_str().unwrap().starts_with("application/json") {
        serde_json::from_slice::<Json>(&answer.body).ok()?["code"].as_i64()
    } else {
        RpcStatus::decode(answer.body.clone()).ok().map(|status| i64::from(status.code))
    }
}

#[test]
fn the_collectors_cases_are_answered_as_it_answers() {
    let server = Server::start();
    for (name, case) in listed("otlp-http-protocol") {
        let (request, expected) = (&case["request"], &case["expect"]);
        // The collector's tests and the kill test cover a store that fails temporarily.
        if !request.is_object() {
            continue;
        }
        let answer = ask(&server, request);
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(Some(u64::from(answer.status)), expected["status"].as_u64(), "{name}: {body}");
        let kind = answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        match text(&expected["response_content_type"]).as_str() {
            "" => {}
            "same family as the request" => {
                let asked = text(&request["content_type"]);
                let family = asked.split(';').next().unwrap();
                assert!(kind.starts_with(family), "{name}: {kind}");
            }
            wanted => assert!(kind.starts_with(wanted), "{name}: {kind}"),
        }
        if let Some(wanted) = expected["status_code"].as_i64() {
            assert_eq!(code(&answer), Some(wanted), "{name}: {body}");
        }
    }
}
