//! Tests OTLP/JSON: the official examples, the forms that exporters write, and common mistakes.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tidings_proto::otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest, decode_json};

use super::{
    source::{files, listed},
    stored::{export, log_set, span_set, stored_logs, trace_ids},
};
use crate::harness::{
    Server,
    http::{Answer, post},
};

/// Sends a JSON request to the path of its kind; `None` when it is no OTLP request.
fn send(server: &Server, body: &Json) -> Option<(&'static str, Answer)> {
    let paths = [
        ("resourceSpans", "/v1/traces"),
        ("resourceLogs", "/v1/logs"),
        ("resourceMetrics", "/v1/metrics"),
    ];
    let (_, path) = paths.into_iter().find(|(key, _)| body.get(key).is_some())?;
    Some((path, post(&server.otlp_http, path, "application/json", body.to_string())))
}

/// Returns the number of records that a partial success reports as rejected.
fn rejected(answer: &Answer) -> usize {
    let json: Json = serde_json::from_slice(&answer.body).unwrap();
    let partial = &json["partialSuccess"];
    let count = ["rejectedSpans", "rejectedLogRecords"].into_iter().find_map(|key| {
        let count = &partial[key];
        count.as_u64().or_else(|| count.as_str()?.parse().ok())
    });
    usize::try_from(count.unwrap_or(0)).unwrap()
}

/// Sends a valid request and checks that it is accepted and reads back unchanged. Metrics are
/// refused.
fn holds(server: &Server, name: &str, body: &Json) {
    let Some((path, answer)) = send(server, body) else { return };
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if path == "/v1/metrics" {
        // Metrics are not stored yet. Status 404 tells an exporter not to retry.
        assert_eq!(answer.status, 404, "{name}: {text}");
        return;
    }
    assert_eq!((answer.status, text.as_str()), (200, "{}"), "{name}");
    let bytes = body.to_string().into_bytes();
    if path == "/v1/logs" {
        let sent: ExportLogsServiceRequest = decode_json(&bytes).unwrap();
        let (sent, stored) = (log_set(&sent), stored_logs(server));
        assert!(sent.is_subset(&stored), "{name}:\n{sent:#?}\nnot in\n{stored:#?}");
    } else {
        let sent: ExportTraceServiceRequest = decode_json(&bytes).unwrap();
        let (stored, sent) = (span_set(&export(server, &trace_ids(&sent))), span_set(&sent));
        assert!(sent.is_subset(&stored), "{name}:\n{sent:#?}\nnot in\n{stored:#?}");
    }
}

#[test]
fn the_official_examples_read_back_as_they_were_sent() {
    let server = Server::start();
    for file in files("otlp-examples") {
        holds(&server, &file.name, &file.json());
    }
}

#[test]
fn exports_of_rusts_sdk_are_taken_in_every_form() {
    let server = Server::start();
    for file in files("otlp-json-otelrust").iter().filter(|file| file.name.starts_with("expected"))
    {
        for document in file.documents() {
            holds(&server, &file.name, &document);
        }
    }
    for (name, case) in listed("otlp-json-otelrust") {
        // Another form of the same value must not store a second span.
        holds(&server, &name, &case["canonical"]);
        if case.get("alternative").is_some() {
            holds(&server, &name, &case["alternative"]);
            let ids = |form: &str| {
                let bytes = case[form].to_string().into_bytes();
                let request = decode_json::<ExportTraceServiceRequest>(&bytes);
                request.map(|request| trace_ids(&request)).unwrap_or_default()
            };
            assert_eq!(ids("canonical"), ids("alternative"), "{name}");
            let stored = export(&server, &ids("canonical"));
            assert!(span_set(&stored).len() <= 1, "{name}: stored twice");
        }
    }
}

/// Mistakes for Fluent Bit that OTLP permits. In proto3 only the ids are required, and a missing
/// list is empty. An invalid link does not invalidate its span.
const STRICTER_THAN_OTLP: [&str; 4] = ["_MISSING", "EVENT_ENTRY", "LINK_SPAN_ID", "LINK_TRACE_ID"];

fn fluent_bit(file: &str, check: impl Fn(&Server, &str, &Json)) {
    let Some(cases) = files("otlp-json-fluentbit").into_iter().find(|case| case.name == file)
    else {
        return;
    };
    let server = Server::start();
    for (name, case) in cases.json().as_object().unwrap() {
        check(&server, name, case);
    }
}

/// Asserts that the answer to a case of Fluent Bit is the expected one.
fn judge(name: &str, case: &Json, answer: &Answer, sent: usize) {
    let text = String::from_utf8_lossy(&answer.body);
    match case["expected_error"]["code"].as_str() {
        None => assert_eq!((answer.status, &*text), (200, "{}"), "{name}"),
        Some(code) if STRICTER_THAN_OTLP.iter().any(|mild| code.contains(mild)) => {
            assert!(matches!(answer.status, 200 | 400), "{name}: {} {text}", answer.status);
        }
        Some(code) => {
            let refused = answer.status == 400 || (answer.status == 200 && rejected(answer) > 0);
            assert!(refused, "{name}: {code}, and {} {text} of {sent}", answer.status);
        }
    }
}

#[test]
fn mistakes_in_spans_are_refused_and_no_garbage_is_stored() {
    fluent_bit("traces.json", |server, name, case| {
        let bytes = case["input"].to_string().into_bytes();
        let sent: ExportTraceServiceRequest = decode_json(&bytes).unwrap_or_default();
        let ids = trace_ids(&sent);
        let before = span_set(&export(server, &ids));
        let answer = post(&server.otlp_http, "/v1/traces", "application/json", bytes);
        let sent = span_set(&sent);
        judge(name, case, &answer, sent.len());
        stored_is_what_was_taken(name, &answer, &sent, &before, &span_set(&export(server, &ids)));
    });
}

#[test]
fn mistakes_in_log_records_are_refused_and_no_garbage_is_stored() {
    fluent_bit("logs.json", |server, name, case| {
        let bytes = case["input"].to_string().into_bytes();
        let sent: ExportLogsServiceRequest = decode_json(&bytes).unwrap_or_default();
        let before = stored_logs(server);
        let answer = post(&server.otlp_http, "/v1/logs", "application/json", bytes);
        let sent = log_set(&sent);
        judge(name, case, &answer, sent.len());
        stored_is_what_was_taken(name, &answer, &sent, &before, &stored_logs(server));
    });
}

/// Checks that a refusal stores nothing. A success must store all records except those that it
/// reports as rejected, and no other records.
fn stored_is_what_was_taken(
    name: &str,
    answer: &Answer,
    sent: &BTreeSet<String>,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) {
    let new: BTreeSet<&String> = after.difference(before).collect();
    assert!(new.iter().all(|record| sent.contains(*record)), "{name}: {new:#?}\nnot {sent:#?}");
    if answer.status == 200 {
        let there = sent.intersection(after).count();
        assert!(there + rejected(answer) >= sent.len(), "{name}: {there} of {}", sent.len());
    } else {
        assert!(new.is_empty(), "{name}: {new:#?}");
    }
}

#[test]
fn whole_requests_of_fluent_bits_tests_are_no_servers_error() {
    let server = Server::start();
    for file in files("otlp-json-fluentbit") {
        if !file.name.starts_with("ingest") {
            continue;
        }
        for path in ["/v1/traces", "/v1/logs"] {
            let answer = post(&server.otlp_http, path, "application/json", file.bytes.clone());
            assert!(matches!(answer.status, 200 | 400), "{}: {}", file.name, answer.status);
        }
        // Fluent Bit reads `snake_case`, which the OTLP/JSON specification forbids. The
        // specification requires receivers to ignore unknown keys, so these keys have no effect.
        let json = file.json();
        if json.get("resourceSpans").or(json.get("resourceLogs")).is_some() {
            holds(&server, &file.name, &json);
        }
    }
}
