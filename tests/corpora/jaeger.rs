//! Imports Jaeger's JSON and Jaeger's OTLP fixtures with the command `tidings import`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tidings_proto::{
    api::TraceView,
    otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, decode_json},
};

use super::{
    source::{
        files, files_ending, import, import_traces, jaeger_traces, list, listed, text, trace_id,
    },
    stored::{export, send_spans, span_set, spans, trace_ids, view},
};
use crate::harness::{Server, http::post};

/// Returns the parent of a span: its first `CHILD_OF` reference within the trace.
fn parent(span: &Json) -> Option<String> {
    let within = |reference: &&Json| {
        reference["refType"] == "CHILD_OF" && reference["traceID"] == span["traceID"]
    };
    list(&span["references"]).iter().find(within).map(|reference| text(&reference["spanID"]))
}

/// Asserts that the assembled trace has the document's spans, parents, times and processes.
fn is_rebuilt(name: &str, trace: &Json, view: &TraceView) {
    let processes = &trace["processes"];
    let said: BTreeSet<String> = list(&trace["spans"])
        .iter()
        .map(|span| {
            let process = &processes[text(&span["processID"])];
            let inside = if process.is_null() { &span["process"] } else { process };
            let keys: BTreeSet<String> =
                list(&inside["tags"]).iter().map(|tag| text(&tag["key"])).collect();
            format!(
                "{} under {:?}: {} {} at {} for {} with {keys:?}",
                text(&span["spanID"]),
                parent(span),
                text(&inside["serviceName"]),
                text(&span["operationName"]),
                span["startTime"],
                span["duration"],
            )
        })
        .collect();
    let found: BTreeSet<String> = view
        .spans
        .iter()
        .map(|span| {
            let attributes = &view.resources[span.resource as usize].attributes;
            let keys = attributes.iter().map(|attribute| attribute.key.as_str());
            let keys: BTreeSet<&str> = keys.filter(|key| *key != "service.name").collect();
            format!(
                "{} under {:?}: {} {} at {} for {} with {keys:?}",
                span.span_id,
                span.parent_span_id.map(|id| id.to_string()),
                span.service,
                span.name,
                span.start_unix_nano.0 / 1_000,
                span.duration_nano.0 / 1_000,
            )
        })
        .collect();
    assert_eq!(found, said, "{name}");
    let by_id: BTreeSet<String> = view.spans.iter().map(|span| span.span_id.to_string()).collect();
    for span in &view.spans {
        let above = span.parent_index.map(|row| view.spans[row as usize].span_id);
        let named = span.parent_span_id.filter(|id| by_id.contains(&id.to_string()));
        assert_eq!(above, named, "{name}: {}", span.span_id);
    }
}

#[test]
fn traces_of_jaegers_ui_are_rebuilt() {
    let server = Server::start();
    let mut traces = Vec::new();
    for file in files("jaeger-ui-traces") {
        for document in file.documents() {
            if document.get("resourceSpans").is_some() {
                is_taken(&server, &file.name, &document);
            } else {
                // A list of dependencies has no spans and adds no traces.
                traces.extend(jaeger_traces(&file.name, &document));
            }
        }
    }
    import_traces(&server, &traces);
    for trace in &traces {
        let id = text(&trace["traceID"]);
        is_rebuilt(&id, trace, &view(&server, &id));
    }
}

/// Sends a request in OTLP/JSON and checks that its spans read back.
fn is_taken(server: &Server, name: &str, body: &Json) -> ExportTraceServiceRequest {
    let bytes = body.to_string().into_bytes();
    let answer = post(&server.otlp_http, "/v1/traces", "application/json", bytes.clone());
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{name}");
    let sent: ExportTraceServiceRequest = decode_json(&bytes).unwrap();
    let stored = span_set(&export(server, &trace_ids(&sent)));
    assert!(span_set(&sent).is_subset(&stored), "{name}");
    sent
}

/// Pads an id, because some senders print ids without leading zeros.
fn padded(id: &str) -> String {
    format!("{id:0>16}")
}

#[test]
fn the_edges_of_deathstarbench_are_the_rebuilt_ones() {
    let server = Server::start();
    let mut traces = Vec::new();
    for file in files("jaeger-traces-deathstarbench") {
        traces.extend(jaeger_traces(&file.name, &file.json()));
    }
    import_traces(&server, &traces);
    let mut found = BTreeSet::new();
    for trace in &traces {
        let id = text(&trace["traceID"]);
        let view = view(&server, &id);
        is_rebuilt(&id, trace, &view);
        let roots = view.spans.iter().filter(|span| span.parent_index.is_none()).count();
        assert_eq!((view.spans.len(), roots), (33, 1), "{id}");
        for span in &view.spans {
            let Some(above) = span.parent_index.map(|row| &view.spans[row as usize]) else {
                continue;
            };
            let micros = |span: &tidings_proto::api::SpanView| span.duration_nano.0 / 1_000;
            let (up, down) = (above.span_id, span.span_id);
            let (up_micros, down_micros) = (micros(above), micros(span));
            found.insert(format!("{id} {up} {down} {up_micros} {down_micros}"));
        }
    }
    let mut expected = BTreeSet::new();
    for file in files_ending("jaeger-traces-deathstarbench", ".csv") {
        let csv = String::from_utf8(file.bytes).unwrap();
        let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = rows.next().unwrap();
        let column = |name: &str| header.iter().position(|title| *title == name).unwrap();
        let columns = ["traceId", "parentId", "childId", "parentDuration", "childDuration"];
        let columns = columns.map(column);
        for row in rows {
            let [trace, up, down, up_micros, down_micros] = columns.map(|place| row[place]);
            let (up, down) = (padded(up), padded(down));
            expected.insert(format!("{trace:0>32} {up} {down} {up_micros} {down_micros}"));
        }
    }
    assert_eq!(found, expected);
}

/// Kiali's folder also has answers of Tempo's API (`batches`, `traces`). The import command does
/// not support them, so it refuses them with the formats that it knows.
#[test]
fn answers_of_jaegers_api_are_rebuilt_and_those_of_tempo_are_refused() {
    let server = Server::start();
    for file in files("jaeger-http-responses-kiali") {
        let document = file.json();
        let traces = jaeger_traces(&file.name, &document);
        if traces.is_empty() {
            let (code, _, error) = import(&server, &file.path);
            let tempo = document.get("batches").or(document.get("traces")).is_some();
            if tempo {
                assert_ne!(code, Some(0), "{}", file.name);
                assert!(error.contains("Jaeger"), "{}: {error}", file.name);
            }
            continue;
        }
        import_traces(&server, &traces);
        for trace in &traces {
            let id = text(&trace["traceID"]);
            is_rebuilt(&file.name, trace, &view(&server, &id));
        }
    }
}

#[test]
fn traces_of_jaegers_storage_tests_read_back_whole() {
    let server = Server::start();
    let mut sent: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files("jaeger-storage") {
        let document = file.json();
        if document.get("resourceSpans").is_none() {
            continue;
        }
        let request = is_taken(&server, &file.name, &document);
        for id in trace_ids(&request) {
            let mut own = request.clone();
            for resource in &mut own.resource_spans {
                for scope in &mut resource.scope_spans {
                    scope.spans.retain(|span| span.trace_id == id.as_bytes());
                }
            }
            sent.entry(id.to_string()).or_default().extend(span_set(&own));
        }
    }
    for (id, spans) in sent {
        assert_eq!(view(&server, &id).spans.len(), spans.len(), "{id}");
    }
}

/// Clock skew is not corrected yet, so the test checks only that no span is lost.
#[test]
fn spans_of_hosts_whose_clocks_disagree_are_all_there() {
    let server = Server::start();
    for (name, case) in listed("clock-skew") {
        let Some(list) = case["spans"].as_array().filter(|spans| spans[0].get("spanId").is_some())
        else {
            continue;
        };
        let request = of_hosts(&trace_id(&name), list);
        send_spans(&server, &request);
        let stored = export(&server, &trace_ids(&request));
        assert_eq!(span_set(&stored), span_set(&request), "{name}");
        let rows = view(&server, &trace_id(&name)).spans.len();
        assert_eq!(rows, spans(&stored).len(), "{name}");
    }
}

fn of_hosts(trace: &str, list: &[Json]) -> ExportTraceServiceRequest {
    let bytes = |hex: &Json| {
        let number = u64::from_str_radix(hex.as_str()?, 16).ok()?;
        Some(number.to_be_bytes().to_vec())
    };
    let trace = u128::from_str_radix(trace, 16).unwrap();
    let resource_spans = list.iter().map(|span| {
        let start = (1_700_000_000_000 + span["start_ms"].as_u64().unwrap_or(0)) * 1_000_000;
        let duration = span["duration_ms"].as_u64().unwrap_or(0) * 1_000_000;
        let span = Span {
            trace_id: trace.to_be_bytes().to_vec(),
            span_id: bytes(&span["spanId"]).unwrap(),
            parent_span_id: bytes(&span["parentSpanId"]).unwrap_or_default(),
            attributes: vec![KeyValue::new("host.ip", json!(span["host_ip"]).to_string())],
            start_time_unix_nano: start,
            end_time_unix_nano: start + duration,
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        ResourceSpans { scope_spans, ..ResourceSpans::default() }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}
