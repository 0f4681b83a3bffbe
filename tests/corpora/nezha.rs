//! Tests real traces of two shops, with the logs of their containers, from CSV tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value as Json;
use tidings_proto::{
    api::{ChangeReport, ProblemKind, TraceSkeleton},
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, LogRecord, ResourceLogs,
        ResourceSpans, ScopeLogs, ScopeSpans, Span,
    },
};

use super::{
    source::{files, files_ending, list, text},
    stored::{send_logs, send_spans},
};
use crate::harness::{Server, spans::resource};

/// Maximum rows in one request.
const ROWS_AT_ONCE: usize = 3_000;

/// Parses CSV into rows by column. Quoted fields may contain commas, line breaks and doubled
/// quotes.
fn table(csv: &str) -> Vec<HashMap<String, String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    let header = rows.remove(0);
    let named = |row: Vec<String>| header.iter().cloned().zip(row).collect();
    rows.into_iter().filter(|row| row.len() == header.len()).map(named).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Returns the pod's name without the suffixes of its replica set and of itself.
fn service(pod: &str) -> &str {
    pod.rsplitn(3, '-').last().unwrap()
}

fn spans(rows: &[HashMap<String, String>]) -> ExportTraceServiceRequest {
    let mut of_service: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for row in rows {
        of_service.entry(service(&row["PodName"])).or_default().push(Span {
            trace_id: bytes(&row["TraceID"]),
            span_id: bytes(&row["SpanID"]),
            parent_span_id: match row["ParentID"].as_str() {
                "root" => Vec::new(),
                parent => bytes(parent),
            },
            name: row["OperationName"].clone(),
            start_time_unix_nano: row["StartTimeUnixNano"].parse().unwrap(),
            end_time_unix_nano: row["EndTimeUnixNano"].parse().unwrap(),
            ..Span::default()
        });
    }
    let resource_spans = of_service.into_iter().map(|(service, spans)| ResourceSpans {
        resource: Some(resource(service)),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn logs(rows: &[HashMap<String, String>]) -> ExportLogsServiceRequest {
    let mut of_service: BTreeMap<&str, Vec<LogRecord>> = BTreeMap::new();
    for row in rows {
        of_service.entry(service(&row["PodName"])).or_default().push(LogRecord {
            trace_id: bytes(&row["TraceID"]),
            span_id: bytes(&row["SpanID"]),
            // Some rows have a negative number, which means that their time is unknown.
            time_unix_nano: row["TimeUnixNano"].parse().unwrap_or(0),
            body: Some(row["Log"].as_str().into()),
            ..LogRecord::default()
        });
    }
    let resource_logs = of_service.into_iter().map(|(service, log_records)| ResourceLogs {
        resource: Some(resource(service)),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

/// Asserts that the trace matches the summary.
fn holds(server: &Server, window: &str, expected: &Json) {
    let id = text(&expected["traceId"]);
    let (status, json) = server.get(&format!("/api/v1/traces/{id}/skeleton"));
    assert_eq!(status, 200, "{window} {id}: {json}");
    let trace: TraceSkeleton = serde_json::from_value(json).unwrap();
    let count = |key: &str| usize::try_from(expected[key].as_u64().unwrap()).unwrap();
    let columns = &trace.spans;
    let orphans = trace.problems.iter().filter(|it| it.kind == ProblemKind::MissingParent).count();
    let tops = columns.parent.iter().filter(|parent| **parent < 0).count();
    let ids: BTreeSet<_> = columns.span_id.iter().collect();
    let depth = columns.depth.iter().max().map_or(0, |depth| depth + 1);
    assert_eq!(columns.span_id.len(), count("spans"), "{window} {id}: spans");
    assert_eq!(ids.len(), count("distinctSpanIds"), "{window} {id}: ids");
    assert_eq!(orphans, count("orphans"), "{window} {id}: orphans");
    assert_eq!(tops - orphans, count("roots"), "{window} {id}: roots");
    if orphans == 0 {
        assert_eq!(depth as usize, count("depthFromRoot"), "{window} {id}: depth");
    }
    let services: BTreeSet<&String> = trace.services.iter().collect();
    let wanted: Vec<String> = list(&expected["services"]).iter().map(text).collect();
    assert_eq!(services, wanted.iter().collect(), "{window} {id}: services");
    let (start, end) = (trace.summary.start_unix_nano.0, trace.summary.end_unix_nano.0);
    assert_eq!(start.to_string(), text(&expected["startUnixNano"]), "{window} {id}: start");
    assert_eq!(end.to_string(), text(&expected["endUnixNano"]), "{window} {id}: end");
    let lines = expected["logLinesWithThisTraceId"].as_u64().unwrap();
    assert_eq!(trace.log_count, lines, "{window} {id}: log lines");
}

#[test]
fn every_trace_of_the_shops_is_whole_with_its_logs() {
    let tables = files_ending("microservice-traces-nezha", ".csv");
    if tables.is_empty() {
        return;
    }
    let server = Server::start();
    for file in tables {
        let rows = table(std::str::from_utf8(&file.bytes).unwrap());
        for rows in rows.chunks(ROWS_AT_ONCE) {
            if file.name.ends_with("trace.csv") {
                send_spans(&server, &spans(rows));
            } else {
                send_logs(&server, &logs(rows));
            }
        }
    }
    for file in files("microservice-traces-nezha") {
        if file.name.ends_with("expected-summary.json") {
            for expected in list(&file.json()["perTrace"]) {
                holds(&server, &file.name, expected);
            }
        }
    }
}

/// A window of the corpus with an injected fault, and another window of the same shop as baseline.
/// The corpus has no window without a fault. `rank_max` is the rank that is reached today.
struct Fault {
    window: &'static str,
    baseline: &'static str,
    culprit: &'static str,
    rank_max: usize,
}

/// The corpus' list of faults names the services. Each baseline has another fault, which is over in
/// the window.
const FAULTS: [Fault; 4] = [
    Fault {
        window: "2022-08-22_05_20",
        baseline: "2022-08-22_04_03",
        culprit: "currencyservice",
        rank_max: 1,
    },
    Fault {
        window: "2022-08-22_04_03",
        baseline: "2022-08-22_05_20",
        culprit: "frontend",
        rank_max: 1,
    },
    Fault {
        window: "2023-01-29_10_14",
        baseline: "2023-01-29_09_21",
        culprit: "ts-travel-service",
        rank_max: 3,
    },
    Fault {
        window: "2023-01-29_09_21",
        baseline: "2023-01-29_10_14",
        culprit: "ts-basic-service",
        rank_max: 1,
    },
];

/// Returns the first start of these spans and the nanosecond after the last start.
fn bounds(rows: &[HashMap<String, String>]) -> (u64, u64) {
    let starts = rows.iter().map(|row| row["StartTimeUnixNano"].parse::<u64>().unwrap());
    (starts.clone().min().unwrap(), starts.max().unwrap() + 1)
}

#[test]
fn injected_faults_are_traced_to_their_service() {
    let tables = files_ending("microservice-traces-nezha", "trace.csv");
    if tables.is_empty() {
        return;
    }
    let server = Server::start();
    let mut windows = HashMap::new();
    for file in tables {
        let rows = table(std::str::from_utf8(&file.bytes).unwrap());
        for rows in rows.chunks(ROWS_AT_ONCE) {
            send_spans(&server, &spans(rows));
        }
        windows.insert(file.name.split('/').next().unwrap().to_owned(), bounds(&rows));
    }
    for Fault { window, baseline, culprit, rank_max } in FAULTS {
        let ((start, end), (from, to)) = (windows[window], windows[baseline]);
        let (status, json) = server.get(&format!(
            "/api/v1/changes?start={start}&end={end}&baselineStart={from}&baselineEnd={to}"
        ));
        assert_eq!(status, 200, "{json}");
        let report: ChangeReport = serde_json::from_value(json).unwrap();
        let services = report.culprits.services.iter();
        let services: Vec<String> = services.map(|of| of.subject.service.clone()).collect();
        let rank = services.iter().position(|service| service == culprit).map(|at| at + 1);
        println!("{window} against {baseline}: {culprit} is {rank:?} of {services:?}");
        assert!(rank.is_some_and(|rank| rank <= rank_max), "{window}: {rank:?} of {services:?}");
    }
}
