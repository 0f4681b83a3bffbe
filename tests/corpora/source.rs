//! Reads the corpora and converts them to requests.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::harness::{Server, corpora};

/// One file of a family.
pub(super) struct Case {
    /// Its path within the family.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Case {
    pub(super) fn json(&self) -> Json {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Parses the JSON values of the file, which follow one another.
    pub(super) fn documents(&self) -> Vec<Json> {
        let values = serde_json::Deserializer::from_slice(&self.bytes).into_iter();
        values.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// Returns the JSON files of a family by name; an empty list where the corpora are missing.
pub(super) fn files(family: &str) -> Vec<Case> {
    files_ending(family, ".json")
}

/// Returns the files of a family whose names have this ending.
pub(super) fn files_ending(family: &str, ending: &str) -> Vec<Case> {
    let Some(root) = corpora().map(|corpora| corpora.join(family)) else { return Vec::new() };
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(ending) {
                let bytes = std::fs::read(&path).unwrap();
                found.push(Case { name, path, bytes });
            }
        }
    }
    assert!(!found.is_empty(), "{family}: no {ending}");
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Returns the cases of a family whose JSON files are lists of cases.
pub(super) fn listed(family: &str) -> Vec<(String, Json)> {
    let lists = files(family).into_iter().map(|file| file.json());
    let cases = lists.flat_map(|list| match list {
        Json::Array(cases) => cases,
        mut object => object["cases"].take().as_array().cloned().unwrap_or_default(),
    });
    cases.map(|case| (text(&case["case"]), case)).collect()
}

/// Returns the text of a value, or an empty text for any other type.
pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the list of a value, or an empty list for any other type.
pub(super) fn list(value: &Json) -> &[Json] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Hashes a text to a number, which is never 0.
pub(super) fn number(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    fnv.max(1)
}

/// Derives a trace id from a text.
pub(super) fn trace_id(text: &str) -> String {
    format!("{:016x}{:016x}", number(&format!("high {text}")), number(text))
}

/// Keeps a valid id, and derives one from an invalid id and the name of its case.
fn jaeger_id(case: &str, id: &str, digits_max: usize) -> String {
    let hex = !id.is_empty() && id.len() <= digits_max && id.chars().all(|c| c.is_ascii_hexdigit());
    match (digits_max, hex) {
        (16, true) => format!("{id:0>16}"),
        (16, false) => format!("{:016x}", number(id)),
        (_, true) if id.len() >= 16 => format!("{id:0>32}"),
        _ => trace_id(&format!("{case} {id}")),
    }
}

/// Makes a trace importable: ids become hex, and times that begin at 0 move to a day in 2023.
pub(super) fn jaeger_trace(case: &str, mut trace: Json) -> Json {
    let own = text(&trace["traceID"]);
    trace["traceID"] = jaeger_id(case, &own, 32).into();
    let base = base_micros(&trace);
    for span in trace["spans"].as_array_mut().unwrap() {
        let trace_of = |id: &Json| id.as_str().unwrap_or(&own).to_owned();
        span["traceID"] = jaeger_id(case, &trace_of(&span["traceID"]), 32).into();
        span["spanID"] = jaeger_id(case, &text(&span["spanID"]), 16).into();
        span["startTime"] = (span["startTime"].as_u64().unwrap() + base).into();
        for reference in span["references"].as_array_mut().into_iter().flatten() {
            // Jaeger's UI adds a copy of the parent.
            reference.as_object_mut().unwrap().remove("span");
            reference["traceID"] = jaeger_id(case, &trace_of(&reference["traceID"]), 32).into();
            reference["spanID"] = jaeger_id(case, &text(&reference["spanID"]), 16).into();
        }
    }
    trace
}

/// Returns the microseconds that [`jaeger_trace`] adds to the trace's times.
pub(super) fn base_micros(trace: &Json) -> u64 {
    let real = |span: &Json| span["startTime"].as_u64().is_some_and(|start| start > 1 << 40);
    if list(&trace["spans"]).iter().all(real) { 0 } else { 1_700_000_000_000_000 }
}

/// Returns the traces in a Jaeger document: an answer of its API, state of its UI, or one trace.
pub(super) fn jaeger_traces(name: &str, document: &Json) -> Vec<Json> {
    let traces = match &document["data"] {
        Json::Array(traces) => traces.clone(),
        Json::Object(_) => vec![document["data"].clone()],
        _ => vec![document.clone()],
    };
    let traces = traces.into_iter().filter(|trace| trace["spans"].is_array());
    traces.map(|trace| jaeger_trace(name, trace)).collect()
}

/// Imports traces in Jaeger's JSON with the command `tidings import`.
pub(super) fn import_traces(server: &Server, traces: &[Json]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.json");
    #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
    std::fs::write(&path, json!({ "data": traces }).to_string()).unwrap();
    let spans: usize = traces.iter().map(|trace| list(&trace["spans"]).len()).sum();
    let (code, out, error) = import(server, &path);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains(&format!(": {spans} spans, 0 log records sent")), "{out}");
    assert!(!out.contains("refused"), "{out}");
}

/// Runs `tidings import` and returns its exit code, standard output and standard error.
pub(super) fn import(server: &Server, path: &Path) -> (Option<i32>, String, String) {
    Server::command(&["import", "--otlp-http", &server.otlp_http, path.to_str().unwrap()])
}
