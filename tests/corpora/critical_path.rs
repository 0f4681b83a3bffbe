//! Tests the critical path against Jaeger's sections and CRISP's sums.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    source::{base_micros, files, import_traces, jaeger_trace, list, text},
    stored::view,
};
use crate::harness::Server;

#[test]
fn the_path_is_the_one_that_jaegers_ui_draws() {
    let server = Server::start();
    let cases: Vec<(String, Json)> = files("critical-path-jaeger-ui")
        .into_iter()
        .map(|file| (file.name.clone(), file.json()))
        .collect();
    let traces: Vec<Json> =
        cases.iter().map(|(name, case)| jaeger_trace(name, case["trace"].clone())).collect();
    import_traces(&server, &traces);
    for ((name, case), trace) in cases.iter().zip(&traces) {
        let base = base_micros(&case["trace"]);
        // Maps the stored ids to the document's ids. The spans keep their order.
        let originals = list(&case["trace"]["spans"]).iter().map(|span| text(&span["spanID"]));
        let stored = list(&trace["spans"]).iter().map(|span| text(&span["spanID"]));
        let names: BTreeMap<String, String> = stored.zip(originals).collect();
        let path = view(&server, &text(&trace["traceID"])).critical_path;
        let found: Vec<Json> = path
            .iter()
            .rev()
            .map(|part| {
                let micros = |nanos: u64| nanos / 1_000 - base;
                json!({
                    "spanID": names[&part.span_id.to_string()],
                    "sectionStart": micros(part.start_unix_nano.0),
                    "sectionEnd": micros(part.end_unix_nano.0),
                })
            })
            .collect();
        assert_eq!(json!(found), case["expected"]["criticalPathSections"], "{name}");
    }
}

/// Cases where Tidings follows Jaeger and not CRISP. If a sibling slightly overlaps the next one,
/// CRISP treats it as finished before. Jaeger treats the two as concurrent and attributes the time
/// before the later one to the parent.
const CRISP_DIFFERS: [&str; 2] = ["19.json", "21.json"];

#[test]
fn time_on_the_path_per_operation_is_crisps() {
    let server = Server::start();
    let cases: Vec<(String, Json)> = files("critical-path-crisp")
        .into_iter()
        .map(|file| (file.name.clone(), file.json()))
        .collect();
    let traces: Vec<Json> =
        cases.iter().map(|(name, case)| jaeger_trace(name, case["data"][0].clone())).collect();
    import_traces(&server, &traces);
    for ((name, case), trace) in cases.iter().zip(&traces) {
        let view = view(&server, &text(&trace["traceID"]));
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for span in &view.spans {
            let micros = span.critical_nano.0 / 1_000;
            *found.entry(format!("[{}] {}", span.service, span.name)).or_default() += micros;
        }
        let root = view.spans[0].duration_nano.0 / 1_000;
        assert_eq!(found.values().sum::<u64>(), root, "{name}");
        let answer = &case["testing"];
        let answer = answer.get("opTimeExclusive").unwrap_or(&answer[0]).as_object().unwrap();
        let wanted: BTreeMap<String, u64> = answer
            .iter()
            .map(|(operation, time)| (operation.clone(), time.as_u64().unwrap()))
            .filter(|(_, time)| *time > 0)
            .collect();
        found.retain(|_, time| *time > 0);
        let differs = CRISP_DIFFERS.contains(&name.as_str());
        assert_eq!(found != wanted, differs, "{name}: {found:?} {wanted:?}");
    }
}
