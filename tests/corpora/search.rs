//! Runs the queries of Jaeger's conformance suite with the native search.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use tidings_proto::otlp::{ExportTraceServiceRequest, decode_json};

use super::{
    source::{files, list, text},
    stored::{send_spans, trace_ids},
};
use crate::harness::Server;

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Translates a query into parameters of `/api/v1/traces`.
fn path(query: &Json) -> String {
    let mut parts = vec!["limit=1000".to_owned()];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            parts.push(format!("{name}={}", encoded(&value)));
        }
    };
    add("service", text(&query["ServiceName"]));
    add("operation", text(&query["OperationName"]));
    add("start", text(&query["StartTimeMin"]));
    add("end", text(&query["StartTimeMax"]));
    for (name, key) in [("minDuration", "DurationMin"), ("maxDuration", "DurationMax")] {
        let nanos = query[key].as_u64().unwrap_or(0);
        add(name, if nanos == 0 { String::new() } else { nanos.to_string() });
    }
    for (key, value) in query["Tags"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        add("attribute", format!("{key}={value}"));
    }
    format!("/api/v1/traces?{}", parts.join("&"))
}

#[test]
fn jaegers_queries_find_their_traces_and_no_others() {
    let server = Server::start();
    let mut fixtures: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut queries = Vec::new();
    for file in files("jaeger-storage") {
        let document = file.json();
        if document.get("resourceSpans").is_some() {
            let request: ExportTraceServiceRequest = decode_json(&file.bytes).unwrap();
            send_spans(&server, &request);
            let name = file.name.rsplit('/').next().unwrap().trim_end_matches(".json").to_owned();
            let ids = trace_ids(&request).into_iter().map(|id| id.to_string());
            fixtures.insert(name, ids.collect());
        } else if file.name == "queries.json" {
            queries = document.as_array().cloned().unwrap_or_default();
        }
    }
    let mut others = Vec::new();
    for query in &queries {
        let names = list(&query["ExpectedFixtures"]).iter().map(text);
        let expected: BTreeSet<String> = names.flat_map(|name| fixtures[&name].clone()).collect();
        let (status, found) = server.get(&path(&query["Query"]));
        assert_eq!(status, 200, "{query}: {found}");
        let found: BTreeSet<String> =
            list(&found["traces"]).iter().map(|trace| text(&trace["traceId"])).collect();
        if found != expected {
            others.push(text(&query["Caption"]));
        }
    }
    assert!(others.is_empty(), "{others:?}");
}
