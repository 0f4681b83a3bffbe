//! Golden data directories: one of every format version, as a program of that version wrote it,
//! read by the current program.
//!
//! `storage/tests/golden/v<format>/data` is a directory with both tables (a merged file and an
//! unmerged one, with their indexes) and a log of records that were not flushed. `expected.jsonl`
//! beside it has every row as OTLP/JSON, one per line, sorted. These files are never changed. With
//! `TIDINGS_WRITE_GOLDEN=<folder>` the test writes such a folder: see CONTRIBUTING.

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_index::{AttributeFilter, LogFilter, SpanFilter};
use tidings_proto::{
    TraceId, UnixNanos,
    otlp::{
        AnyValue, ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest,
        InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord, Resource, ResourceLogs,
        ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, Value, encode_json,
    },
};

use super::{Store, StoreSettings, TelemetryBatch};
use crate::{Retention, check, store::simulation::StillClock};

const NOW: u64 = 1_790_000_000_000_000_000;
const FULL: Scan = Scan { detail: Projection::Full, rows_max: u64::MAX };

async fn open(root: &Path) -> Store {
    let settings = StoreSettings {
        disk_reserve_bytes: 0,
        removed_file_age: Duration::ZERO,
        retention: Retention { age: None, ..Retention::default() },
        ..StoreSettings::new(root)
    };
    Store::open(settings, Arc::new(StillClock(UnixNanos(NOW)))).await.unwrap().0
}

fn attribute(key: &str, value: impl Into<AnyValue>) -> KeyValue {
    KeyValue::new(key, value)
}

/// Returns attributes of every type.
fn adornment() -> Vec<KeyValue> {
    let list = vec![AnyValue::from(1_i64), AnyValue::from("two")];
    let values = vec![attribute("inner", true)];
    vec![
        attribute("user.id", "ada"),
        attribute("count", i64::MIN),
        attribute("ratio", 0.1),
        attribute("is.new", false),
        attribute("bytes", Value::Bytes(vec![0, 255])),
        attribute("list", Value::Array(ArrayValue { values: list })),
        attribute("map", Value::Kvlist(KeyValueList { values })),
        attribute("count", 2_i64),
        KeyValue { key: "nothing".to_owned(), value: None },
    ]
}

fn span(trace: u64, number: u64) -> Span {
    let start = NOW - 7_200_000_000_000 + trace * 1_000_000_000 + number * 1_000_000;
    let exception = Event {
        time_unix_nano: start + 5,
        name: "exception".to_owned(),
        attributes: vec![attribute("exception.type", "Refused")],
        dropped_attributes_count: 1,
    };
    let link = Link {
        trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
        span_id: 9_u64.to_be_bytes().to_vec(),
        ..Link::default()
    };
    let parent = if number == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() };
    Span {
        trace_id: u128::from(trace).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: parent,
        name: format!("step {number}"),
        kind: i32::try_from(number % 6).unwrap(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 3_000_000 / number,
        attributes: if number == 2 { adornment() } else { vec![attribute("n", 1_i64)] },
        events: if number == 3 { vec![exception] } else { Vec::new() },
        links: if number == 1 { vec![link] } else { Vec::new() },
        status: (number == 3).then(|| Status { code: 2, message: "refused".to_owned() }),
        trace_state: if trace == 1 { "a=b".to_owned() } else { String::new() },
        ..Span::default()
    }
}

fn resource(service: &str) -> Option<Resource> {
    let attributes = vec![attribute("service.name", service), attribute("host.name", "node-1")];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("golden".to_owned(), "1.2".to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

fn one_span(
    resource: Option<Resource>,
    scope: Option<InstrumentationScope>,
    span: Span,
) -> ExportTraceServiceRequest {
    let schema_url = "https://opentelemetry.io/schemas/1.30.0".to_owned();
    let scope_spans = vec![ScopeSpans { scope, spans: vec![span], schema_url }];
    let of_it = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![of_it] }
}

fn one_record(resource: Option<Resource>, record: LogRecord) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let of_it = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![of_it] }
}

async fn send(store: &Store, traces: &[u64], numbers: &[u64]) {
    for trace in traces {
        let service = if trace % 2 == 0 { "shop" } else { "payment" };
        for number in numbers {
            let request = one_span(resource(service), scope(), span(*trace, *number));
            store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
        }
        let structured = Value::Kvlist(KeyValueList { values: vec![attribute("order", 7_i64)] });
        let body = match trace % 3 {
            0 => AnyValue::from(structured),
            _ => AnyValue::from(format!("order {trace} was paid by ada")),
        };
        let record = LogRecord {
            time_unix_nano: span(*trace, 1).start_time_unix_nano,
            severity_number: 9,
            severity_text: "INFO".to_owned(),
            body: Some(body),
            attributes: adornment(),
            trace_id: u128::from(*trace).to_be_bytes().to_vec(),
            span_id: 1_u64.to_be_bytes().to_vec(),
            ..LogRecord::default()
        };
        let request = one_record(resource(service), record);
        store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
    }
}

/// Returns every matching row as OTLP/JSON, sorted.
fn rows(store: &Store, spans: &SpanFilter, logs: &LogFilter) -> Vec<String> {
    let snapshot = store.snapshot();
    let text = |json: Vec<u8>| String::from_utf8(json).unwrap();
    let mut lines = Vec::new();
    let complete = snapshot.scan_spans(spans, FULL, &mut |rows| {
        lines.extend((0..rows.len()).map(|row| {
            let one = one_span(rows.resource(row), rows.scope(row), rows.span(row));
            text(encode_json(&one))
        }));
        ControlFlow::Continue(())
    });
    assert!(complete.unwrap().complete);
    let complete =
        snapshot.scan_logs(logs, FULL, &mut |rows| {
            lines.extend((0..rows.len()).map(|row| {
                text(encode_json(&one_record(rows.resource(row), rows.log_record(row))))
            }));
            ControlFlow::Continue(())
        });
    assert!(complete.unwrap().complete);
    lines.sort();
    lines
}

fn all(store: &Store) -> Vec<String> {
    rows(store, &SpanFilter::default(), &LogFilter::default())
}

/// Writes a folder for tests of later programs.
async fn write(folder: &Path) {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let store = open(&data).await;
    send(&store, &[1, 2, 3, 4], &[1, 2]).await;
    store.flush().await.unwrap();
    send(&store, &[1, 2], &[3]).await; // Late.
    send(&store, &[3], &[1]).await; // Again.
    store.compact(false).await.unwrap();
    send(&store, &[5, 6], &[1, 2, 3]).await;
    store.flush().await.unwrap();
    send(&store, &[7], &[1, 2]).await;
    let lines = all(&store);
    store.abandon().await;
    fs::write(folder.join("expected.jsonl"), lines.join("\n") + "\n").unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Fails unless every query has the same result as when the folder was written.
fn ask(store: &Store, expected: &[String], format: &str) {
    assert_eq!(all(store), expected, "{format}");
    let with = |part: &str| -> Vec<&String> {
        expected.iter().filter(|line| line.contains(part)).collect()
    };
    let nothing = SpanFilter { services: Some(Vec::new()), ..SpanFilter::default() };
    let no_logs = LogFilter { services: Some(Vec::new()), ..LogFilter::default() };
    for trace in 1..=8_u128 {
        let ids = Some(vec![TraceId::from_wire(&trace.to_be_bytes()).unwrap()]);
        let spans = SpanFilter { trace_ids: ids.clone(), ..SpanFilter::default() };
        let logs = LogFilter { trace_ids: ids, ..LogFilter::default() };
        let found = rows(store, &spans, &logs);
        let part = format!("\"spans\":[{{\"traceId\":\"{trace:032x}\"");
        let of_logs = format!("\"traceId\":\"{trace:032x}\",\"spanId\":\"0000000000000001\"");
        let is_of_it = |line: &&String| {
            line.contains(&part) || { line.contains("logRecords") && line.contains(&of_logs) }
        };
        let known: Vec<&String> = expected.iter().filter(is_of_it).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), known, "{format}: trace {trace}");
        assert_eq!(trace == 8, found.is_empty());
    }
    let (key, value) = ("user.id".to_owned(), Some("ada".to_owned()));
    let attributes = vec![AttributeFilter::new(key, value)];
    let spans = SpanFilter { attributes: attributes.clone(), ..SpanFilter::default() };
    let logs = LogFilter { attributes, ..LogFilter::default() };
    let found = rows(store, &spans, &logs);
    assert_eq!(found.iter().collect::<Vec<_>>(), with("user.id"), "{format}");
    let logs = LogFilter { text: Some("PAID by".to_owned()), ..LogFilter::default() };
    let found = rows(store, &nothing, &logs);
    assert_eq!(found.iter().collect::<Vec<_>>(), with("was paid by"), "{format}");
    let spans = SpanFilter { operation: Some("step 3".to_owned()), ..SpanFilter::default() };
    let found = rows(store, &spans, &no_logs);
    assert_eq!(found.iter().collect::<Vec<_>>(), with("\"step 3\""), "{format}");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_every_format_are_read() {
    if let Some(folder) = std::env::var_os("TIDINGS_WRITE_GOLDEN") {
        write(Path::new(&folder)).await;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let formats: BTreeMap<String, PathBuf> = fs::read_dir(golden)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    assert!(formats.contains_key("v1"));
    for (format, folder) in &formats {
        let expected = fs::read_to_string(folder.join("expected.jsonl")).unwrap();
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        let copied = tempfile::tempdir().unwrap();
        copy(&folder.join("data"), copied.path());
        let mut findings = Vec::new();
        let checked = check(copied.path(), &mut |finding| findings.push(finding.clone())).await;
        assert_eq!(findings, [], "{format}");
        assert!(checked.unwrap().records > 0, "{format}: nothing is in the log");

        let store = open(copied.path()).await;
        assert_eq!(store.alarms(), Vec::<String>::new(), "{format}");
        ask(&store, &expected, format);
        store.flush().await.unwrap();
        ask(&store, &expected, format);
        store.compact(false).await.unwrap();
        ask(&store, &expected, format);
        store.close().await.unwrap();
        ask(&open(copied.path()).await, &expected, format);
    }
}
