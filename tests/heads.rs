//! Tests requests with an invalid head. Hyper refuses them before a handler sees them. Every answer
//! still says what was wrong, in the format of the listener.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::Value as Json;

use crate::{
    harness::{PATIENCE, Server, http},
    keys::REQUIRED,
};

/// Sends these bytes and returns the answer.
fn answer(address: &str, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The write may fail, because a server that has answered need not read on.
    let _ = stream.write_all(sent);
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&answer) {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the value of a field of an answer's head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Returns true if the body has the length that the head names.
fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    field(head, "content-length").is_some_and(|length| body.len() >= length.parse().unwrap())
}

/// Returns the status, the content type and the body.
fn parts(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length: usize = field(head, "content-length").unwrap().parse().unwrap();
    assert_eq!(length, body.len(), "{answer}");
    (status, field(head, "content-type").unwrap_or_default().to_owned(), body.to_owned())
}

/// Returns heads that every listener refuses, with the expected status.
fn wrong_heads() -> Vec<(&'static str, u16, Vec<u8>)> {
    let with = |path: &str, fields: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{fields}\r\n")
            .into_bytes()
    };
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(40_000));
    let longer = format!("x-longer: {}\r\n", "a".repeat(200_000));
    vec![
        ("no HTTP", 400, b"hello\r\n\r\n".to_vec()),
        ("a field without a colon", 400, with("/", "x\r\n")),
        ("two lengths", 400, with("/", "content-length: 5\r\n")),
        ("a length that is no number", 400, with("/", "content-length: x\r\n")),
        ("a control character", 400, with("/a\u{1}b", "")),
        ("200 headers", 431, with("/", &many)),
        ("a long header", 431, with("/", &long)),
        ("a longer header", 431, with("/", &longer)),
    ]
}

#[test]
fn a_head_that_cannot_be_taken_gets_a_reason_in_the_form_of_the_listener() {
    let server = Server::start();
    for (name, wanted, sent) in wrong_heads() {
        let (status, kind, body) = parts(&answer(&server.otlp_http, &sent));
        assert_eq!((status, &*kind), (wanted, "application/json"), "{name}: {body}");
        let body: Json = serde_json::from_str(&body).unwrap();
        assert!(body["code"].is_number() && body["message"].is_string(), "{name}: {body}");

        let (status, kind, body) = parts(&answer(&server.http, &sent));
        assert_eq!((status, &*kind), (wanted, "application/problem+json"), "{name}: {body}");
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], wanted, "{name}: {body}");

        for address in [&server.zipkin, &server.otlp_grpc] {
            let (status, kind, body) = parts(&answer(address, &sent));
            assert_eq!((status, kind.starts_with("text/plain")), (wanted, true), "{name}: {body}");
            assert!(body.len() > 10, "{name}: {body:?}");
        }
    }
    let (status, _, body) = parts(&answer(
        &server.otlp_http,
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(70_000)).as_bytes(),
    ));
    assert!(matches!(status, 414 | 431) && body.contains("limit"), "{status} {body}");
}

#[test]
fn a_head_with_too_many_fields_is_refused_on_http_2_too() {
    let server = Server::start();
    let names: Vec<String> = (0..110).map(|number| format!("x{number}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    for (_, address) in server.listeners() {
        let path = "/grpc.health.v1.Health/Check";
        let many = http::try_call(address, path, &fields, "").unwrap();
        // The request is a gRPC call, so receivers of OTLP answer it with a gRPC status.
        if [&server.otlp_grpc, &server.otlp_http].contains(&address) {
            assert_eq!((many.http, many.code), (200, Some(8)), "{}", many.message);
            assert!(many.message.contains("headers, the limit is 100"), "{}", many.message);
        } else {
            assert_eq!(many.http, 431, "{address}");
        }
        let few = http::try_call(address, path, &fields[..80], "").unwrap();
        assert!(few.http != 431 && few.code != Some(8), "{address}");
    }
}

#[test]
fn a_head_over_our_bound_is_refused_in_the_encoding_of_the_request() {
    let server = Server::start();
    let long = "a".repeat(20_000);
    for kind in ["application/json", "application/x-protobuf"] {
        let headers = [("content-type", kind), ("x-long", long.as_str())];
        let answer = http::send("POST", &server.otlp_http, "/v1/traces", &headers, "");
        assert_eq!((answer.status, &answer.headers["content-type"]), (431, &kind.parse().unwrap()));
        assert!(!answer.body.is_empty());
    }
    let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for bytes in [20_000, 40_000] {
        let long = "a".repeat(bytes);
        let answer = http::call(&server.otlp_grpc, method, &[("x-long", &long)], "");
        assert_eq!((answer.http, answer.code), (200, Some(8)), "{}", answer.message);
    }
}

#[test]
fn refusal_is_logged_with_the_problem_of_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>\"$0\"", log.to_str().unwrap()]);
    let data = folder.path().join("data");
    let mut server = Server::start_under(shell, &data, &["--log", "warn"]);
    let headers = [("content-type", "text/plain")];
    let told = http::send("POST", &server.otlp_http, "/v1/traces", &headers, "x");
    let told: Json = serde_json::from_slice(&told.body).unwrap();
    server.terminate();
    let log = std::fs::read_to_string(&log).unwrap();
    let line = log.lines().find(|line| line.contains("request refused")).unwrap();
    // Most parsers of JSON would keep only one of two fields of the same name.
    assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    let fields = &serde_json::from_str::<Json>(line).unwrap()["fields"];
    assert_eq!(fields["message"], "request refused");
    assert_eq!(
        (&fields["receiver"], &fields["reason"]),
        (&"otlp/http".into(), &"media_type".into())
    );
    assert_eq!(fields["detail"], told["message"]);
}

#[test]
fn supervisors_of_any_age_get_an_answer_and_other_methods_a_reason() {
    let server = Server::start();
    for path in ["/live", "/ready"] {
        let answer = answer(&server.http, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
    }
    for (method, path) in
        [("DELETE", "/api/v1/demo"), ("POST", "/api/v1/status"), ("POST", "/live")]
    {
        let answer = http::send(method, &server.http, path, &[], "");
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.headers.contains_key("allow"), "{method} {path}: {:?}", answer.headers);
        let problem: Json = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["type"], "/problems/method-not-allowed", "{method} {path}");
    }
    let foreign = http::send("GET", &server.http, "/api/v1/status", &[("host", "evil.com")], "");
    assert_eq!(foreign.status, 421);
    assert!(foreign.headers.contains_key("content-security-policy"), "{:?}", foreign.headers);
}

#[test]
fn missing_path_is_answered_in_the_form_of_the_request() {
    let server = Server::start();
    let answer = http::call(&server.http, "/shop.v1.Carts/Get", &[], http::frame(false, b""));
    assert_eq!((answer.http, answer.code), (200, Some(12)), "{}", answer.message);
    assert!(answer.message.contains("/shop.v1.Carts/Get"), "{}", answer.message);
    let answer = http::send("POST", &server.http, "/assets/boot.js", &[], "");
    let problem: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &problem["type"]), (405, &"/problems/method-not-allowed".into()));
}

/// Returns spellings of a path that a server could treat as the same path.
fn spellings(path: &str) -> Vec<String> {
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let encoded = format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]);
    let before = [
        "/",
        "//",
        "/.",
        "/x/..",
        "/live/..",
        "/live/",
        "/live%2f..",
        "/assets/..",
        "/sign-in/..",
        "/api/v1/session/..",
        "/api/v1/sign-in/..",
        "/grpc.health.v1.Health/..",
        "/%2e%2e",
        "/%2f",
        "/live;",
        "/live%00",
        "http://localhost/",
        "http://localhost/live/..",
    ];
    let behind =
        ["", "/", "//", "/.", "/live", "/../live", ";", "%2f", "%00", "%20", "#/live", "?/live"];
    let ways = before.map(|before| format!("{before}{path}")).into_iter();
    let ways = ways.chain(behind.map(|behind| format!("{path}{behind}")));
    let joins = ["//", "%2f", "/./", "/x/../", "\\"];
    let ways = ways.chain(joins.map(|join| format!("/{first}{join}{rest}")));
    ways.chain([encoded, path.to_uppercase(), format!("http://localhost{path}")]).collect()
}

#[test]
fn no_spelling_of_a_path_leads_past_its_key() {
    let server = Server::start_with(&REQUIRED);
    let ask = |method: &str, path: &str| {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
        parts(&answer(&server.http, head.as_bytes()))
    };
    for path in
        ["/metrics", "/api/v1/keys", "/api/v1/traces", "/tempo/api/search", "/jaeger/api/services"]
    {
        assert_eq!(ask("GET", path).0, 401, "{path}");
        for spelling in spellings(path) {
            for method in ["GET", "POST", "DELETE"] {
                let (status, kind, body) = ask(method, &spelling);
                // A path without a route gets the UI's page, which asks for the key, or a refusal.
                let is_page = (status, method) == (200, "GET") && kind.starts_with("text/html");
                assert!(
                    is_page || [400, 401, 404].contains(&status),
                    "{method} {spelling}: {body}"
                );
            }
        }
    }
    // Only the exact paths report health. Other spellings get the UI's page or status 404.
    for path in ["//live", "//ready", "/live/", "/ready/."] {
        let (status, kind, _) = ask("GET", path);
        let is_page = status == 200 && kind.starts_with("text/html");
        assert!(is_page || status == 404, "{path}: {status} {kind}");
    }
}
