//! Pinned traces: they survive kills and retention, and pages of other sites cannot pin.

use std::{path::Path, thread};

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::KeyValue;

use crate::harness::{
    Server,
    http::{self, Answer, post, send},
    spans::{log, logs, span, traces},
    wait_until,
};

/// The trace in the examples of `docs/api.md`.
const SHOWN: u128 = 0xaaaa_0000_0000_0000_0000_0000_0000_0001;
const PAGE: &str = include_str!("../docs/api.md");

/// Sends two spans and a log record.
fn fill(server: &Server, trace: u128) {
    let mut call = span(trace, 2, 1, "POST /pay");
    call.attributes.push(KeyValue::new("user.id", "ada"));
    let spans = traces("shop", vec![span(trace, 1, 0, "POST /checkout"), call]).encode_to_vec();
    let records = logs("shop", vec![log(trace, 1, "checkout")]).encode_to_vec();
    for (path, body) in [("/v1/traces", spans), ("/v1/logs", records)] {
        assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    }
}

fn path(trace: u128) -> String {
    format!("/api/v1/traces/{trace:032x}/pin")
}

fn put(server: &Server, trace: u128, body: &str) -> (u16, Json) {
    let headers = [("content-type", "application/json")];
    let answer = send("PUT", &server.http, &path(trace), &headers, body.to_owned());
    (answer.status, json_of(&answer))
}

fn json_of(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or(Json::Null)
}

fn pinned(server: &Server) -> Vec<String> {
    let (status, list) = server.get("/api/v1/pins");
    assert_eq!((status, &list["limit"]), (200, &json!(1_000)));
    let pins = list["pins"].as_array().unwrap().iter();
    pins.map(|pin| pin["traceId"].as_str().unwrap().to_owned()).collect()
}

/// Returns the numbers of spans and log records of a trace.
fn counts(server: &Server, trace: u128) -> (u64, u64) {
    let (status, view) = server.get(&format!("/api/v1/traces/{trace:032x}"));
    let logs = server.get(&format!("/api/v1/logs?traceId={trace:032x}")).1;
    let logs = logs["logs"].as_array().unwrap().len() as u64;
    (if status == 200 { view["spanCount"].as_u64().unwrap() } else { 0 }, logs)
}

fn on_directory(folder: &Path, command: &str, flags: &[&str]) -> (String, String) {
    let args = [&[command, "--data-dir", folder.to_str().unwrap()], flags].concat();
    let (code, out, error) = Server::command(&args);
    assert_eq!(code, Some(0), "{out}{error}");
    (out, error)
}

#[test]
fn pins_survive_kills_and_their_traces_retention_but_not_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &[]);
    for trace in 1..=4 {
        fill(&server, trace);
    }
    // The server is killed at any moment, also during changes of pins.
    for round in 0..4 {
        let (kept, moved) = (1 + round % 2, 3 + round % 2);
        assert!(matches!(put(&server, kept, r#"{"note":"kept"}"#).0, 200 | 201));
        let address = server.http.clone();
        let busy = thread::spawn(move || {
            let mut done = 0;
            while let Ok(answer) = http::try_send("PUT", &address, &path(moved), &[], "") {
                let unpinned = http::try_send("DELETE", &address, &path(moved), &[], "");
                done += usize::from(answer.status < 300 && unpinned.is_ok());
            }
            done
        });
        // Some changes are done, and one is probably in progress.
        wait_until("the trace is pinned", || pinned(&server).contains(&format!("{moved:032x}")));
        server = server.restart();
        busy.join().unwrap();
        assert!(pinned(&server).contains(&format!("{kept:032x}")), "round {round}");
        let answer = send("DELETE", &server.http, &path(moved), &[], "");
        assert!(matches!(answer.status, 204 | 404), "{}", answer.status);
    }
    assert_eq!(pinned(&server).len(), 2);
    assert_eq!(server.terminate().code(), Some(0));

    let (out, _) = on_directory(folder.path(), "compact", &["--retention-bytes-max", "1B"]);
    assert!(out.contains("left     2 files, 4 spans, 2 log records"), "{out}");
    let mut server = Server::start_in(folder.path(), &[]);
    assert_eq!([1, 2, 3, 4].map(|trace| counts(&server, trace)), [(2, 1), (2, 1), (0, 0), (0, 0)]);
    assert_eq!(put(&server, 3, "").0, 404);
    assert_eq!(server.terminate().code(), Some(0));

    let args = ["erase", "--data-dir", folder.path().to_str().unwrap(), "--attribute", "user.id"];
    let (code, out, error) = Server::command_with_input(&args, "ada\n");
    assert_eq!(code, Some(0), "{out}{error}");
    for trace in [1, 2] {
        let told = format!("pinned   {trace:032x} is pinned and lost some");
        assert!(out.contains(&told), "{out}");
    }
    let id = format!("{:032x}", 1);
    let (out, _) = on_directory(folder.path(), "erase", &["--trace", &id]);
    assert!(out.contains(&format!("{id} was pinned; nothing is left of it")), "{out}");
    let server = Server::start_in(folder.path(), &[]);
    assert_eq!([1, 2].map(|trace| counts(&server, trace)), [(0, 0), (1, 1)]);
    assert_eq!(pinned(&server), [format!("{:032x}", 2)]);
}

#[test]
fn pages_of_other_origins_can_neither_pin_nor_unpin() {
    let server = Server::start();
    fill(&server, 1);
    fill(&server, 2);
    assert_eq!(put(&server, 1, "").0, 201);
    let own = format!("http://{}", server.http);
    let json = ("content-type", "application/json");
    for headers in [
        [("origin", "http://evil.example"), json],
        [("origin", "null"), json],
        [("host", "evil.example"), json],
        [("origin", "https://127.0.0.1"), ("content-type", "text/plain")],
    ] {
        for (method, trace) in [("PUT", 2), ("DELETE", 1)] {
            let answer = send(method, &server.http, &path(trace), &headers, "");
            assert!(matches!(answer.status, 403 | 421), "{method} {headers:?}: {}", answer.status);
            assert_eq!(json_of(&answer)["type"], "/problems/foreign-request");
        }
    }
    // A browser sends this preflight request before a page of another origin may pin.
    let asked = [("origin", "http://evil.example"), ("access-control-request-method", "PUT")];
    let answer = send("OPTIONS", &server.http, &path(2), &asked, "");
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    // Forms and images of other pages send these methods, which change nothing either.
    for method in ["GET", "POST"] {
        assert_eq!(send(method, &server.http, &path(2), &[], "").status, 405, "{method}");
    }
    assert_eq!(pinned(&server), [format!("{:032x}", 1)]);
    // The UI's own page adds a header to its requests. A form of any page cannot.
    let own = [("origin", own.as_str()), ("tidings-request", "1")];
    assert_eq!(send("PUT", &server.http, &path(2), &own[..1], "").status, 403);
    assert_eq!(send("PUT", &server.http, &path(2), &own, "").status, 201);
}

#[test]
fn pins_that_are_wrong_are_refused_with_the_reason() {
    let server = Server::start();
    fill(&server, 1);
    let (one, json) = (path(1), "application/json");
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(501));
    let huge = format!(r#"{{"note":"{}"}}"#, "x".repeat(20_000));
    let (unknown, whole) = (path(9), format!("{one}?note=why"));
    for (target, kind, body, status, parameter) in [
        (unknown.as_str(), json, "{}", 404, None),
        ("/api/v1/traces/xyz/pin", json, "{}", 400, Some("traceId")),
        ("/api/v1/traces/0000000000000001/pin", json, "{}", 400, Some("traceId")),
        (&whole, json, "{}", 400, Some("note")),
        (&one, json, "{", 400, Some("body")),
        (&one, json, r#"{"notes":"x"}"#, 400, Some("body")),
        (&one, json, &long, 400, Some("note")),
        (&one, json, &huge, 413, None),
        (&one, "text/plain", "why", 415, None),
        (&one, "", "{}", 415, None),
    ] {
        let headers = [("content-type", kind)];
        let answer = send("PUT", &server.http, target, &headers, body.to_owned());
        let problem = json_of(&answer);
        let told = (answer.status, problem["status"].clone(), problem["parameter"].as_str());
        assert_eq!(told, (status, json!(status), parameter), "{target} {problem}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{target}");
    }
    assert_eq!(send("DELETE", &server.http, &one, &[], "").status, 404);
    assert_eq!(server.get("/api/v1/pins?all=1").0, 400);
    assert_eq!(put(&server, 1, "null").0, 201);
    assert_eq!(put(&server, 1, r#"{"note":"why"}"#).1["note"], "why");
    let described = server.get("/api/v1/openapi.json").1;
    for (path, methods) in
        [("/api/v1/pins", &["get"][..]), ("/api/v1/traces/{traceId}/pin", &["put", "delete"])]
    {
        for method in methods {
            assert!(described["paths"][path][method].is_object(), "{method} {path}");
        }
    }
}

#[test]
fn pins_and_the_status_are_named_and_compressed_as_the_rest_of_the_api() {
    let server = Server::start();
    let check = |path: &str| {
        let whole = send("GET", &server.http, path, &[], "");
        assert_eq!(whole.headers["cache-control"], "no-store", "{path}");
        let tag = whole.headers["etag"].to_str().unwrap();
        let again = send("GET", &server.http, path, &[("if-none-match", tag)], "");
        (again.status, again.body.len())
    };
    // The tag of the status leaves out memory, free disk and ages, which change without new
    // records.
    assert_eq!(check("/api/v1/status"), (304, 0));
    fill(&server, 1);
    assert_eq!(put(&server, 1, "{}").0, 201);
    assert_eq!(check("/api/v1/pins"), (304, 0));
    for path in ["/api/v1/pins", "/api/v1/status"] {
        let packed = send("GET", &server.http, path, &[("accept-encoding", "gzip")], "");
        assert_eq!(packed.headers["content-encoding"], "gzip", "{path}");
    }
    for (method, path) in
        [("GET", "/api/v1/pins"), ("GET", "/api/v1/status"), ("POST", "/api/v1/demo")]
    {
        let answer = send(method, &server.http, &format!("{path}?all=1"), &[], "");
        let problem = json_of(&answer);
        assert_eq!((answer.status, problem["parameter"].as_str()), (400, Some("all")), "{path}");
    }
    assert_eq!(server.get("/api/v1/status").1["demoRunning"], json!(false));
}

/// A documented request with its method, path and body, and the documented answer.
struct Example {
    method: String,
    path: String,
    body: String,
    shown: Option<Json>,
}

/// Returns the examples of the section about pins.
fn examples() -> Vec<Example> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Pinned traces")).unwrap();
    let mut examples: Vec<Example> = Vec::new();
    for block in section.split("```").skip(1).step_by(2) {
        if let Some(shown) = block.strip_prefix("json\n") {
            examples.last_mut().unwrap().shown = Some(serde_json::from_str(shown).unwrap());
            continue;
        }
        for line in block.lines().filter(|line| line.starts_with("curl ")) {
            let after = |flag: &str| line.split_once(flag).map(|(_, rest)| rest);
            let method = after("-X ").and_then(|rest| rest.split(' ').next()).unwrap_or("GET");
            let body = after("-d '").and_then(|rest| rest.split('\'').next()).unwrap_or_default();
            let path = after("localhost:8434").unwrap().split(' ').next().unwrap();
            let [method, path, body] = [method, path, body].map(str::to_owned);
            examples.push(Example { method, path, body, shown: None });
        }
    }
    examples
}

/// Compares two answers. Times may have any value.
fn is_like(shown: &Json, found: &Json) -> bool {
    match (shown, found) {
        (Json::Object(shown), Json::Object(found)) => {
            shown.len() == found.len()
                && shown.iter().all(|(key, shown)| {
                    let found = &found[key];
                    if key.ends_with("UnixNano") {
                        found.as_str().is_some_and(|time| time.parse::<u64>().is_ok())
                    } else {
                        is_like(shown, found)
                    }
                })
        }
        (Json::Array(shown), Json::Array(found)) => {
            shown.len() == found.len() && shown.iter().zip(found).all(|(a, b)| is_like(a, b))
        }
        _ => shown == found,
    }
}

#[test]
fn the_examples_of_the_page_are_answered_as_it_shows() {
    let server = Server::start();
    fill(&server, SHOWN);
    let examples = examples();
    assert_eq!(examples.len(), 3);
    for Example { method, path, body, shown } in examples {
        let headers = [("content-type", "application/json")];
        let answer = send(&method, &server.http, &path, &headers, body);
        assert_eq!(answer.status / 100, 2, "{method} {path}");
        match shown {
            Some(shown) => assert!(is_like(&shown, &json_of(&answer)), "{}", json_of(&answer)),
            None => assert!(answer.body.is_empty(), "{method} {path}"),
        }
    }
    assert!(pinned(&server).is_empty());
}
