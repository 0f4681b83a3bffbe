//! Tests that query engines without knowledge of Tidings read its tables. Their row counts and sums
//! must equal those of the API.
//!
//! The directory has what makes tables hard to read: several flushes, late and repeated spans,
//! erased rows, merged files, and the files that the merges replaced and did not delete yet.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{AnyValue, KeyValue, Span, Value};

use crate::{
    clients::{
        JAVA, PYTHON,
        program::{Tool, run_within, source},
        python_program,
    },
    harness::{
        Server,
        http::post,
        spans::{log, logs, now, span, traces},
    },
};

const SERVICES: [&str; 3] = ["shop", "payment", "mailer"];
/// Number of the trace that is erased.
const ERASED: u128 = 30;
/// Id of the span whose attributes are compared.
const ADORNED: u64 = 1001;
/// Age of the oldest span. All spans lie within three past hours.
const PAST_NANOS: u64 = 5 * 3600 * 1_000_000_000;

/// Longest time of a program: Spark alone needs 15 s to start, and downloads Delta's library at its
/// first run.
const ENGINE_PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn deltalake_polars_and_duckdb_read_what_the_api_says() {
    if PYTHON.is_installed("independent engines") {
        check("engines", &["deltalake", "polars", "duckdb"]);
    }
}

#[test]
fn spark_reads_what_the_api_says() {
    let java = Tool { least: (17, 0), ..JAVA };
    if PYTHON.is_installed("Spark") && java.is_installed("Spark") {
        check("spark", &["spark"]);
    }
}

/// Checks the results of the engines in one of the programs in `clients`.
fn check(program: &str, engines: &[&str]) {
    let python = python_program(program);
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let server = Server::start_in(folder.path(), &[]);
    let expected = said_by_the_api(&server);
    assert_eq!(expected["spans"]["services"].as_object().unwrap().len(), SERVICES.len());
    let mut command = Command::new(&python);
    command
        .arg(source(&format!("{program}/read.py")))
        .arg(folder.path().join("tables"))
        .arg(format!("{ADORNED:016x}"))
        .arg(python.with_file_name("fetched"));
    let mut found_by = Vec::new();
    for line in run_within(ENGINE_PATIENCE, &mut command).lines() {
        let mut found: Json = serde_json::from_str(line).unwrap();
        found_by.push(found["engine"].take());
        for part in ["spans", "logs"] {
            assert_eq!(found[part], expected[part], "{part} of {:?}", found_by.last());
        }
    }
    assert_eq!(found_by, engines);
}

/// Fills the directory. Each flush is a server that starts, takes data and ends.
fn fill(folder: &Path) {
    let begin = now() - PAST_NANOS;
    flush(folder, |server| {
        for trace in 1..=ERASED {
            send(server, begin, trace, 1..=4);
            send_log(server, begin, trace);
        }
    });
    flush(folder, |server| {
        for trace in 1..=15 {
            send(server, begin, trace, 5..=6); // Late.
        }
        for trace in 1..=5 {
            send(server, begin, trace, 1..=4); // Again.
        }
    });
    let dir = folder.to_str().unwrap();
    let trace = format!("{ERASED:032x}");
    let (code, out, error) =
        Server::command(&["erase", "--data-dir", dir, "--trace", &trace, "--log", "error"]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(out.contains("erased   4 spans, 1 log records"), "{out}");
    flush(folder, |server| {
        for trace in 31..=40 {
            send(server, begin, trace, 1..=4);
            send_log(server, begin, trace);
        }
    });
    let named = data_files(folder);
    let (code, out, error) = Server::command(&["compact", "--data-dir", dir, "--log", "error"]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(!out.contains("merged   0 files"), "{out}");
    assert!(data_files(folder) > named, "what was merged is to lie there still: {out}");
    flush(folder, |server| {
        for trace in 41..=45 {
            send(server, begin, trace, 1..=4);
            send_log(server, begin, trace);
        }
    });
}

fn flush(folder: &Path, fill: impl FnOnce(&Server)) {
    let mut server = Server::start_in(folder, &[]);
    fill(&server);
    assert_eq!(server.terminate().code(), Some(0));
}

fn data_files(folder: &Path) -> usize {
    let hours = ["spans", "logs"].into_iter().flat_map(|table| {
        let entries = std::fs::read_dir(folder.join("tables").join(table)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    let hours = hours.filter(|path| path.to_string_lossy().contains("hour="));
    hours.map(|hour| std::fs::read_dir(hour).unwrap().count()).sum()
}

/// Sends these spans of a trace. The spans are the same in every call.
fn send(server: &Server, begin: u64, trace: u128, numbers: std::ops::RangeInclusive<u64>) {
    let index = u64::try_from(trace).unwrap();
    let (service, start) = place(begin, trace);
    let made = numbers.map(|number| {
        let (id, parent) = (index * 1000 + number, if number == 1 { 0 } else { index * 1000 + 1 });
        Span {
            start_time_unix_nano: start + number * 1_000,
            end_time_unix_nano: start + number * 1_000 + index * 10 + number,
            attributes: if id == ADORNED { adornment() } else { Vec::new() },
            ..span(trace, id, parent, "work")
        }
    });
    let request = traces(service, made.collect()).encode_to_vec();
    let kind = "application/x-protobuf";
    assert_eq!(post(&server.otlp_http, "/v1/traces", kind, request).status, 200);
}

/// Sends a log record of a trace.
fn send_log(server: &Server, begin: u64, trace: u128) {
    let (service, start) = place(begin, trace);
    let mut record = log(trace, 1, &format!("line of {service}"));
    record.time_unix_nano = start;
    let request = logs(service, vec![record]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/logs", "application/x-protobuf", request).status, 200);
}

/// Returns the service of a trace and its start.
fn place(begin: u64, trace: u128) -> (&'static str, u64) {
    let index = u64::try_from(trace).unwrap();
    let service = SERVICES[usize::try_from(index).unwrap() % SERVICES.len()];
    (service, begin + index % 3 * 3600 * 1_000_000_000 + index * 1_000_000)
}

/// Returns attributes of every type that is not stored as protobuf.
fn adornment() -> Vec<KeyValue> {
    let one = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    };
    vec![
        one("text", Value::String("größer \u{1f980}".to_owned())),
        one("int", Value::Int(i64::MIN)),
        one("double", Value::Double(0.1)),
        one("truth", Value::Bool(true)),
        one("http.route", Value::String("/pay".to_owned())),
        one("http.response.status_code", Value::Int(200)),
    ]
}

/// Returns the expected results from the API, in the format that the engines print.
fn said_by_the_api(server: &Server) -> Json {
    let (mut ids, mut unique, mut sum) = (std::collections::BTreeSet::new(), 0_u64, 0_u64);
    let mut services: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let (mut first, mut last) = (u64::MAX, 0);
    let (mut attributes, mut hours) = (Json::Null, std::collections::BTreeSet::new());
    for trace in (1..=45).filter(|trace| *trace != ERASED) {
        let (status, json) = server.get(&format!("/api/v1/traces/{trace:032x}/otlp"));
        assert_eq!(status, 200, "{trace}: {json}");
        for resource in json["resourceSpans"].as_array().unwrap() {
            let service = &resource["resource"]["attributes"][0]["value"]["stringValue"];
            let of_it = services.entry(service.as_str().unwrap().to_owned()).or_default();
            let scopes = resource["scopeSpans"].as_array().unwrap();
            for span in scopes.iter().flat_map(|scope| scope["spans"].as_array().unwrap()) {
                let number = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
                let (start, end) = (number("startTimeUnixNano"), number("endTimeUnixNano"));
                let id = span["spanId"].as_str().unwrap().to_owned();
                if id == format!("{ADORNED:016x}") {
                    attributes = typed(&span["attributes"]);
                }
                ids.insert(id);
                *of_it = [of_it[0] + 1, of_it[1] + end - start];
                unique += 1;
                sum += end - start;
                (first, last) = (first.min(start), last.max(start));
                hours.insert(start / 3_600_000_000_000);
            }
        }
    }
    assert_eq!(server.get(&format!("/api/v1/traces/{ERASED:032x}")).0, 404);
    let status = server.get("/api/v1/status").1;
    json!({
        "spans": {
            "rows": status["spans"]["stored"],
            "unique": unique,
            "span_ids": ids.len(),
            "duration": sum,
            "services": services,
            "start": [first, last],
            "hours": hours.len(),
            "attributes": attributes,
        },
        "logs": { "rows": status["logs"]["stored"], "texts": texts(server) },
    })
}

/// Converts OTLP's attributes to [key, type, value], ordered by the JSON of their keys.
fn typed(attributes: &Json) -> Json {
    let one = |attribute: &Json| {
        let (kind, value) = attribute["value"].as_object().unwrap().iter().next().unwrap();
        let kind = kind.trim_end_matches("Value");
        let value = match kind {
            "int" => json!(value.as_str().unwrap().parse::<i64>().unwrap()),
            _ => value.clone(),
        };
        json!([attribute["key"], kind, value])
    };
    let mut typed: Vec<Json> = attributes.as_array().unwrap().iter().map(one).collect();
    typed.sort_by_key(|attribute| attribute[0].to_string());
    Json::Array(typed)
}

/// Counts the texts of the API's log records.
fn texts(server: &Server) -> BTreeMap<String, u64> {
    let mut texts = BTreeMap::new();
    let json = server.get("/api/v1/logs?limit=1000&start=0").1;
    for line in json["logs"].as_array().unwrap_or_else(|| panic!("{json}")) {
        *texts.entry(line["text"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    texts
}
