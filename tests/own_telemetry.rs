//! The server's own traces and log lines in its own store.

use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        PATIENCE, Server, found_until, http, pause,
        spans::{span, traces},
        wait_until,
    },
    keys::{REQUIRED, key},
};

/// Longer than the interval between two batches, so that the next batch arrives meanwhile.
const QUIET: Duration = Duration::from_secs(6);
/// Pause between requests that are stored as well.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(300);
const ALL: [&str; 4] = ["--own-telemetry", "all", "--log", "error"];
const OWN_TRACES: &str = "/api/v1/traces?service=tidings";

/// Returns the value of a metric.
fn metric(server: &Server, name: &str) -> u64 {
    let answer = http::get(&server.http, "/metrics");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse().unwrap()
}

fn stored(server: &Server) -> u64 {
    metric(server, r#"tidings_own_records_total{outcome="stored"}"#)
}

/// Waits until the value of a metric is as wanted. Requests for `/metrics` create no span.
fn wait_for(server: &Server, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = metric(server, name);
        if wanted(value) {
            return value;
        }
        assert!(Instant::now() < deadline, "{name} stays {value}");
        pause();
    }
}

/// Waits this long without sending a request.
fn rest(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Returns the trace whose root has this name, once it is stored.
fn own_trace(server: &Server, name: &str) -> Json {
    let path = format!("{OWN_TRACES}&operation={}", name.replace(' ', "%20"));
    found_until(&format!("a trace of {name} is stored"), || {
        let (status, answer) = server.get(&path);
        assert_eq!(status, 200, "{answer}");
        let mut traces = answer["traces"].as_array().unwrap().iter();
        let found = traces.find(|trace| trace["rootOperation"] == name).cloned();
        if found.is_none() {
            rest(BETWEEN_REQUESTS);
        }
        found
    })
}

#[test]
fn a_slow_question_and_a_failed_one_are_found_with_their_logs() {
    let flags = ["--own-telemetry", "errors", "--own-telemetry-slow-millis", "1"];
    let server = Server::start_with(&flags);
    // A query that runs in a worker takes longer than a millisecond.
    let slow = server.get("/api/v1/sql?query=SELECT%20count(*)%20FROM%20spans");
    assert_eq!(slow.0, 200, "{}", slow.1);
    let refused = http::post(&server.otlp_http, "/v1/traces", "application/json", "{");
    assert_eq!(refused.status, 400);
    let trace = |name: &str| {
        let id = own_trace(&server, name)["traceId"].as_str().unwrap().to_owned();
        (server.get(&format!("/api/v1/traces/{id}")).1, id)
    };
    let (of_sql, _) = trace("GET /api/v1/sql");
    let text = of_sql.to_string();
    for part in ["sql query", "process.worker.pid", "http.response.status_code", "service.version"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("SELECT"), "the text of the query is in {text}");
    // The refused request has a log line.
    let (_, id) = trace("otlp/http");
    let logs = server.wait_for(&format!("/api/v1/logs?traceId={id}"), |answer| {
        answer["logs"].as_array().is_some_and(|logs| !logs.is_empty())
    });
    let text = logs.to_string();
    assert!(text.contains("request refused") && text.contains("malformed"), "{text}");
    assert_eq!(logs["logs"].as_array().unwrap().len(), 1, "{text}");
}

#[test]
fn an_idle_server_stores_nothing() {
    let flags = [&ALL[..], &["--memory-flush-seconds", "1", "--own-telemetry-slow-millis", "1"]];
    let server = Server::start_with(&flags.concat());
    assert_eq!(server.get("/api/v1/traces").0, 200);
    // The span of the request is stored and flushed. A flush counts as slow with these flags.
    wait_for(&server, r#"tidings_own_records_total{outcome="stored"}"#, |count| count > 0);
    wait_for(&server, "tidings_flush_seconds_count", |count| count > 0);
    rest(QUIET);
    let before = (stored(&server), metric(&server, "tidings_log_records_total"));
    rest(QUIET);
    assert_eq!((stored(&server), metric(&server, "tidings_log_records_total")), before);
    // Spans of flushes are stored once a client sends something.
    let body = traces("shop", vec![span(7, 1, 0, "GET /")]).encode_to_vec();
    let sent = http::post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!(sent.status, 200);
    let flush = own_trace(&server, "flush");
    assert_eq!(flush["spanCount"], 1, "nothing is there twice: {flush}");
}

#[test]
fn a_store_that_refuses_drops_and_does_not_spin() {
    // No disk has this much free space.
    let full = "--disk-reserve-bytes";
    let server = Server::start_with(&[&ALL[..], &[full, "1000000000GiB"]].concat());
    for _ in 0..20 {
        server.get("/api/v1/traces");
    }
    let dropped = r#"tidings_own_records_total{outcome="dropped"}"#;
    wait_for(&server, dropped, |count| count >= 20);
    for _ in 0..1500 {
        server.get("/api/v1/traces?limit=x");
    }
    assert_eq!(
        (stored(&server), metric(&server, "tidings_stored_records{signal=\"spans\"}")),
        (0, 0)
    );
    // The next attempt is half a minute later. The queue until then is bounded.
    assert!(metric(&server, dropped) >= 500, "more than may wait came");
}

#[test]
fn nothing_is_stored_unless_it_is_asked_for() {
    let server = Server::start();
    assert_eq!(server.get("/api/v1/traces?limit=x").0, 400);
    let refused = http::post(&server.otlp_http, "/v1/traces", "application/json", "{");
    assert_eq!(refused.status, 400);
    rest(QUIET / 2);
    assert_eq!(metric(&server, "tidings_log_records_total"), 0);
}

#[test]
fn another_tenant_sees_nothing_of_it() {
    let server = Server::start_with(&[&ALL[..], &REQUIRED].concat());
    let of_default = key(&server, "operator", "read", &[]);
    let of_other = key(&server, "guest", "read", &["--tenant", "beta"]);
    let ask = |key: &str, path: &str| {
        let bearer = format!("Bearer {key}");
        let answer = http::send("GET", &server.http, path, &[("authorization", &bearer)], "");
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, json)
    };
    // Requests of the other tenant are among the records of `default`.
    wait_until("a question of the other tenant is stored", || {
        assert_eq!(ask(&of_other, "/api/v1/traces").0, 200);
        let path = format!("{OWN_TRACES}&attribute=tidings.tenant=beta");
        let (status, answer) = ask(&of_default, &path);
        assert_eq!(status, 200, "{answer}");
        let is_stored = !answer["traces"].as_array().unwrap().is_empty();
        if !is_stored {
            rest(BETWEEN_REQUESTS);
        }
        is_stored
    });
    for path in ["/api/v1/traces", "/api/v1/logs"] {
        let (status, answer) = ask(&of_other, path);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["total"]["value"], 0, "{answer}");
    }
}
