//! Tests Zipkin's v2 JSON: no span is lost, and its fields are translated to OTLP's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{ExportTraceServiceRequest, Value};

use super::{
    source::{Case, files, list, listed, text},
    stored::{export, spans, view},
};
use crate::harness::{
    Server,
    http::{Answer, post},
};

pub(super) fn send(server: &Server, body: impl Into<bytes::Bytes>) -> Answer {
    post(&server.zipkin, "/api/v2/spans", "application/json", body)
}

/// Returns false for tags that become fields of OTLP and for attributes made from endpoints.
fn is_own(key: &str) -> bool {
    !["network.", "zipkin.", "otel.", "w3c.", "peer.service", "span.kind"]
        .iter()
        .any(|translated| key.starts_with(translated))
}

/// Describes a Zipkin span with the names of OTLP's fields.
fn said(span: &Json) -> String {
    let tags: BTreeMap<&String, &Json> =
        span["tags"].as_object().into_iter().flatten().filter(|(key, _)| is_own(key)).collect();
    let internal = span["tags"]["span.kind"].as_str() == Some("internal");
    let kind = match text(&span["kind"]).to_uppercase().as_str() {
        "SERVER" => 2,
        "CLIENT" => 3,
        "PRODUCER" => 4,
        "CONSUMER" => 5,
        _ if internal => 1,
        _ if span["shared"] == true => 2,
        _ => 0,
    };
    let micros = |key: &str| span[key].as_u64().unwrap_or(0);
    let (start, duration) = (micros("timestamp"), micros("duration"));
    let end = if start == 0 || duration == 0 { 0 } else { start + duration };
    let events: BTreeSet<String> = list(&span["annotations"])
        .iter()
        .map(|event| format!("{} {}", event["timestamp"], text(&event["value"])))
        .collect();
    let failed = span["tags"]["error"].as_str().is_some_and(|error| error != "false");
    json!({
        "trace": format!("{:0>32}", text(&span["traceId"]).to_lowercase()),
        "id": format!("{:0>16}", text(&span["id"]).to_lowercase()),
        "parent": span["parentId"].as_str().map(|id| format!("{id:0>16}").to_lowercase()),
        "service": text(&span["localEndpoint"]["serviceName"]),
        "name": text(&span["name"]),
        "kind": kind,
        "shared": span["shared"] == true,
        "start": start,
        "end": end,
        "failed": failed,
        "events": events,
        "tags": tags,
    })
    .to_string()
}

/// Describes the stored spans in the form of [`said`].
fn stored(request: &ExportTraceServiceRequest) -> BTreeSet<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let all = spans(request).into_iter().map(|(resource, _, span)| {
        let attributes = span.attributes.iter();
        let tags: BTreeMap<&String, String> = attributes
            .filter(|attribute| is_own(&attribute.key))
            .map(|attribute| match attribute.value() {
                Some(Value::String(text)) => (&attribute.key, text.clone()),
                other => (&attribute.key, format!("{other:?}")),
            })
            .collect();
        let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let service =
            attributes.filter(|attribute| attribute.key == "service.name").find_map(|attribute| {
                match attribute.value() {
                    Some(Value::String(name)) => Some(name.clone()),
                    _ => None,
                }
            });
        let events: BTreeSet<String> = span
            .events
            .iter()
            .map(|event| format!("{} {}", event.time_unix_nano / 1_000, event.name))
            .collect();
        json!({
            "trace": hex(&span.trace_id),
            "id": hex(&span.span_id),
            "parent": Some(hex(&span.parent_span_id)).filter(|id| !id.is_empty()),
            "service": service.unwrap_or_default(),
            "name": span.name,
            "kind": span.kind,
            "shared": span.attributes.iter().any(|attribute| attribute.key == "zipkin.shared"),
            "start": span.start_time_unix_nano / 1_000,
            "end": span.end_time_unix_nano / 1_000,
            "failed": span.status.as_ref().is_some_and(|status| status.code == 2),
            "events": events,
            "tags": tags,
        })
        .to_string()
    });
    all.collect()
}

/// Asserts that the fields of all sent spans can be read back, and no others.
pub(super) fn nothing_is_lost(server: &Server, name: &str, sent: &[Json]) {
    let said: BTreeSet<String> = sent.iter().map(said).collect();
    let ids: BTreeSet<String> = sent.iter().map(|span| text(&span["traceId"])).collect();
    let traces = ids.iter().map(|id| format!("{id:0>32}").parse().unwrap()).collect();
    let request = export(server, &traces);
    assert_eq!(stored(&request), said, "{name}");
    let rows: usize = traces.iter().map(|id| view(server, &id.to_string()).spans.len()).sum();
    assert_eq!(rows, spans(&request).len(), "{name}: the tree has not every span");
}

/// Checks that a list of v2 spans is accepted as a whole, and that anything else is refused with a
/// reason.
fn holds(server: &Server, file: &Case) {
    let answer = send(server, file.bytes.clone());
    let body = String::from_utf8_lossy(&answer.body);
    let Some(spans) = v2(file) else {
        assert_eq!(answer.status, 400, "{}: {body}", file.name);
        assert!(body.len() > 20, "{}: {body:?} does not say why", file.name);
        return;
    };
    assert_eq!((answer.status, &*body), (202, ""), "{}", file.name);
    nothing_is_lost(server, &file.name, &spans);
}

/// Returns the spans; `None` when the file is invalid or of another version.
fn v2(file: &Case) -> Option<Vec<Json>> {
    let spans: Vec<Json> = serde_json::from_slice(&file.bytes).ok()?;
    let hex = |id: &Json| {
        id.as_str().is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit()))
    };
    let is_v2 = |span: &Json| {
        span.get("binaryAnnotations").or(span.get("binary_annotations")).is_none()
            && list(&span["annotations"]).iter().all(|event| event.get("endpoint").is_none())
            && hex(&span["traceId"])
            && hex(&span["id"])
    };
    spans.iter().all(is_v2).then_some(spans)
}

#[test]
fn real_traces_of_zipkins_users_lose_no_span() {
    let server = Server::start();
    for file in files("zipkin-v2-traces") {
        assert!(v2(&file).is_none() || !file.name.contains("malformed"), "{}", file.name);
        holds(&server, &file);
    }
}

/// Zipkin v1 is not supported, so its lists are refused as a whole. The files share ids, so each
/// has its own server.
#[test]
fn the_collectors_translator_cases_keep_what_they_say() {
    for file in files("zipkin-translator") {
        holds(&Server::start(), &file);
    }
}

/// Tests only the v2 files. The same cases in Thrift, in v1 and in protobuf's JSON are other
/// formats.
#[test]
fn jaegers_converter_cases_keep_what_they_say() {
    for file in files("zipkin-jaeger-converter") {
        if file.name.starts_with("zipkin_v2_") {
            assert!(v2(&file).is_some(), "{}", file.name);
        }
        if file.name.starts_with("zipkin_") {
            holds(&Server::start(), &file);
        }
    }
}

/// Clock skew is not corrected yet, so the test checks only that no span is lost.
#[test]
fn spans_of_clocks_that_disagree_are_all_there() {
    for (name, case) in listed("clock-skew") {
        let Some(spans) = case["spans"].as_array().filter(|spans| spans[0].get("id").is_some())
        else {
            continue;
        };
        let server = Server::start();
        let answer = send(&server, json!(spans).to_string());
        assert_eq!(answer.status, 202, "{name}");
        nothing_is_lost(&server, &name, spans);
    }
}
