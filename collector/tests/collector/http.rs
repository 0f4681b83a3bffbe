//! Behaviour of OTLP over HTTP that other transports do not have.

use http::Method;
use prost::Message;
use tidings_proto::otlp::encode_json;

use crate::{
    harness::{Fault, JSON, PROTOBUF, Reply, Running, request, start, start_with},
    samples::{good_logs, good_traces, gzip},
};

/// Method, path, headers and body of a request; expected HTTP status and code.
type Case<'a> = (Method, &'a str, Vec<Header<'a>>, &'a str, u16, i32);
type Header<'a> = (&'a str, &'a str);

#[tokio::test]
async fn every_refusal_is_a_status_in_the_requests_encoding() {
    let limits =
        tidings_collector::CollectorLimits { http_body_bytes_max: 1000, ..Default::default() };
    let running = start_with(limits).await;
    let post = Method::POST;
    let big = "x".repeat(2000);
    #[rustfmt::skip]
    let table: Vec<Case<'_>> = vec![
        (Method::GET, "/v1/traces", vec![], "", 405, 12),
        (Method::PUT, "/v1/logs", vec![], "", 405, 12),
        (Method::PATCH, "/v1/metrics", vec![], "", 405, 12),
        (Method::OPTIONS, "/v1/traces", vec![], "", 405, 12),
        (post.clone(), "/", vec![], "", 404, 12),
        (post.clone(), "/v1/traces/", vec![], "", 404, 12),
        (post.clone(), "/v1/metrics", vec![], "", 404, 12),
        (post.clone(), "/v1development/profiles", vec![], "", 404, 12),
        (post.clone(), "/v1/traces", vec![("content-encoding", "br")], "", 415, 12),
        (post.clone(), "/v1/traces", vec![("content-encoding", "gzip, gzip")], "", 415, 12),
        (post.clone(), "/v1/traces", vec![("content-encoding", "gzip")], "x", 400, 3),
        (post.clone(), "/v1/traces", vec![("content-encoding", "zstd")], "x", 400, 3),
        (post.clone(), "/v1/traces", vec![], "\u{7f}", 400, 3),
        (post.clone(), "/v1/traces", vec![], &big, 413, 8),
        (post.clone(), "/v1/traces", vec![("host", "evil.com")], "", 421, 7),
        (post.clone(), "/v1/traces", vec![("origin", "http://evil.com")], "", 403, 7),
        (post, "/v1/traces", vec![("origin", "null")], "", 403, 7),
    ];
    for (method, path, headers, body, http, code) in table {
        for encoding in [JSON, PROTOBUF] {
            let mut headers = headers.clone();
            headers.push(encoding);
            let reply =
                request(running.http, method.clone(), path, &headers, body.to_owned()).await;
            let what = format!("{method} {path} {headers:?}: {reply:?}");
            assert_eq!(reply.status, http, "{what}");
            assert_eq!(reply.header("content-type"), Some(encoding.1), "{what}");
            assert!(reply.header("access-control-allow-origin").is_none(), "{what}");
            if http == 405 {
                assert_eq!(reply.header("allow"), Some("POST"), "{what}");
            }
            let status = reply.rpc_status();
            assert_eq!(status.code, code, "{what}");
            assert!(!status.message.is_empty(), "{what}");
        }
    }
    assert_eq!(running.batches(), []);
    assert_eq!(running.refused("otlp/http", "origin"), 4);
}

#[tokio::test]
async fn signals_that_are_not_stored_are_refused_by_name() {
    let running = start().await;
    for (path, what) in [("/v1/metrics", "metrics"), ("/v1development/profiles", "profiles")] {
        let reply = running.post(path, &[PROTOBUF], "").await;
        let message = reply.rpc_status().message;
        assert!(message.contains(what) && message.contains("traces and logs are"), "{message}");
    }
}

#[tokio::test]
async fn content_types_may_have_parameters_and_must_be_known() {
    let running = start().await;
    let json = encode_json(&good_traces());
    for media_type in
        ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
    {
        let reply = running.post("/v1/traces", &[("content-type", media_type)], json.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "{}"), "{media_type}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    for headers in [vec![], vec![("content-type", "text/plain")], vec![("content-type", "invalid")]]
    {
        let reply = running.post("/v1/traces", &headers, json.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.rpc_status().code), (415, 3), "{headers:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_bad_value_is_named_by_its_path() {
    let running = start().await;
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":7}]}]}]}"#;
    let reply = running.post("/v1/traces", &[JSON], body).await;
    let status = reply.rpc_status();
    let bad_request = crate::harness::bad_request(&status).unwrap();
    let field = &bad_request.field_violations[0].field;
    assert_eq!(field, "resourceSpans[0].scopeSpans[0].spans[1].name", "{status:?}");
}

#[tokio::test]
async fn the_own_origin_and_http2_are_accepted() {
    let running = start().await;
    let origin = format!("http://{}", running.http);
    let reply = running.post("/v1/traces", &[JSON, ("origin", &origin)], "{}").await;
    assert_eq!(reply.status, 200);
    let reply = crate::harness::request2(running.http, "/v1/traces", &[JSON], "{}").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "{}"));
}

#[tokio::test]
async fn the_collectors_protocol_cases_hold() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora/otlp-http-protocol/cases.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    assert!(cases.len() >= 15);
    for case in &cases {
        let running = start().await;
        let name = case["case"].as_str().unwrap();
        let expect = &case["expect"];
        let reply = if case.get("fault").is_some() {
            running.fail(Fault::Io);
            let body = good_traces().encode_to_vec();
            let refused = running.post("/v1/traces", &[PROTOBUF], body.clone()).await;
            running.fail(None);
            assert_eq!(running.post("/v1/traces", &[PROTOBUF], body).await.status, 200);
            assert_eq!(running.batches().len(), 1, "{name}: stored when sent again");
            refused
        } else {
            send_case(&running, &case["request"]).await
        };
        assert_eq!(u64::from(reply.status.as_u16()), expect["status"], "{name}: {reply:?}");
        if let Some(code) = expect["status_code"].as_i64() {
            assert_eq!(i64::from(reply.rpc_status().code), code, "{name}");
        }
        let request_type = case["request"]["content_type"].as_str().unwrap_or("application/json");
        if expect.get("response_content_type").is_some() {
            let family = request_type.split(';').next();
            assert_eq!(reply.header("content-type"), family, "{name}");
        }
    }
}

async fn send_case(running: &Running, case: &serde_json::Value) -> Reply {
    let text = |field: &str| case[field].as_str();
    let media_type = text("content_type");
    let body = match text("body") {
        Some(body) if body.starts_with("a valid export request") => {
            let plain = match media_type {
                Some("application/x-protobuf") => good_traces().encode_to_vec(),
                _ => encode_json(&good_traces()),
            };
            if text("content_encoding") == Some("gzip") { gzip(&plain) } else { plain }
        }
        body => body.unwrap_or_default().as_bytes().to_vec(),
    };
    let mut headers = Vec::new();
    headers.extend(media_type.map(|value| ("content-type", value)));
    headers.extend(text("content_encoding").map(|value| ("content-encoding", value)));
    let method = text("method").unwrap().parse().unwrap();
    request(running.http, method, text("path").unwrap(), &headers, body).await
}

#[tokio::test]
async fn receivers_and_refusals_are_counted() {
    let running = start().await;
    running.post("/v1/logs", &[JSON], encode_json(&good_logs())).await;
    running.post("/v1/logs", &[JSON], "{\u{1b}[31m").await;
    running.post("/v1/logs", &[JSON], "[").await;
    running.post("/nowhere", &[JSON], "").await;
    let receivers = running.collector.receivers();
    let names: Vec<_> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    assert!(names.starts_with(&["otlp/grpc", "otlp/http", "zipkin"]), "{names:?}");
    let http = &receivers[1];
    assert_eq!((http.accepted_requests, http.refused_requests), (1, 3));
    let [unknown, malformed] = http.refusals.as_slice() else { panic!("{http:?}") };
    assert!(unknown.message.contains("nothing at \"/nowhere\""), "{unknown:?}");
    assert!(unknown.sender.starts_with("127.0.0.1"), "{unknown:?}");
    assert_eq!((malformed.reason.as_str(), malformed.count), ("malformed", 2));
    assert_eq!(running.refused("otlp/http", "malformed"), 2);
    assert_eq!(running.refused("otlp/http", "unknown_path"), 1);
}

#[tokio::test]
async fn a_malformed_id_rejects_only_its_own_span() {
    let running = start().await;
    let span = |trace_id: &str| {
        format!(r#"{{"traceId":"{trace_id}","spanId":"eee19b7ec3c1b174","name":"n"}}"#)
    };
    let good = "5b8efff798038103d269b633813fc60c";
    for (bad, reason) in [
        ("5b81", "has 2 bytes"),
        ("5b8", "is not 32 digits of hex"),
        ("zz8efff798038103d269b633813fc60c", "is not 32 digits of hex"),
        ("W47/95gDgQPSabYzgT/GDA==", "is not 32 digits of hex"),
        ("00000000000000000000000000000000", "is all zeros"),
    ] {
        let spans = [span(good), span(bad), span(good)].join(",");
        let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        let reply = running.post("/v1/traces", &[JSON], body).await;
        assert_eq!(reply.status, 200, "{bad}: {reply:?}");
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let partial = &answer["partialSuccess"];
        assert_eq!(partial["rejectedSpans"], "1", "{bad}: {answer}");
        assert!(partial["errorMessage"].as_str().unwrap().contains(reason), "{bad}: {answer}");
    }
}
