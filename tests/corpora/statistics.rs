//! Tests durations and self times, grouped as in Jaeger's UI.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidings_proto::api::{SpanView, TraceView};

use super::{
    source::{files, import_traces, jaeger_trace, list, listed, text, trace_id},
    stored::view,
};
use crate::harness::Server;

/// Returns the value by which a span is grouped. Spans without the tag form a group, too.
fn group(span: &SpanView, by: &str) -> String {
    match by {
        "Service Name" => span.service.clone(),
        "Operation Name" => span.name.clone(),
        tag => {
            let found = span.attributes.iter().find(|attribute| attribute.key == tag);
            format!("{:?}", found.map(|attribute| attribute.value()))
        }
    }
}

/// One row: for each span its duration and its self time, in nanoseconds.
#[derive(Default)]
struct Row {
    total: Vec<u64>,
    own: Vec<u64>,
}

impl Row {
    /// Returns a column of the row, in Jaeger's units.
    fn column(&self, name: &str, trace_nanos: u64) -> f64 {
        let sum = |list: &[u64]| list.iter().sum::<u64>();
        let count = self.total.len() as f64;
        let millis = |nanos: f64| nanos / 1e6;
        let least = |list: &[u64]| *list.iter().min().unwrap() as f64;
        let most = |list: &[u64]| *list.iter().max().unwrap() as f64;
        match name {
            "count" => count,
            "total" => millis(sum(&self.total) as f64),
            "avg" => millis(sum(&self.total) as f64 / count),
            "min" => millis(least(&self.total)),
            "max" => millis(most(&self.total)),
            "selfTotal" => millis(sum(&self.own) as f64),
            "selfAvg" => millis(sum(&self.own) as f64 / count),
            "selfMin" => millis(least(&self.own)),
            "selfMax" => millis(most(&self.own)),
            "percent" => 100.0 * sum(&self.own) as f64 / trace_nanos as f64,
            other => panic!("no column {other}"),
        }
    }

    fn is(&self, expected: &Json, trace_nanos: u64) -> bool {
        expected.as_object().unwrap().iter().all(|(name, value)| {
            let found = self.column(name, trace_nanos);
            // The expected value is rounded to two places, and computed from rounded parts.
            (found - value.as_f64().unwrap()).abs() <= 0.011
        })
    }
}

fn rows(view: &TraceView, by: &str, then: Option<&str>) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let levels: &[Option<&str>] = if then.is_some() { &[None, then] } else { &[None] };
    for level in levels {
        for span in &view.spans {
            let second = level.map_or_else(String::new, |tag| group(span, tag));
            let row = rows.entry((group(span, by), second)).or_default();
            row.total.push(span.duration_nano.0);
            row.own.push(span.self_nano.0);
        }
    }
    rows.into_values().collect()
}

/// Gives the trace an id of its own, because several cases have the same.
fn in_own_trace(case: &str, trace: &Json) -> Json {
    let id = &trace["traceID"];
    let own = trace.to_string().replace(&id.to_string(), &Json::from(trace_id(case)).to_string());
    // The root's span id equals the trace's id. It must not change, since its children refer to it.
    let mut own: Json = serde_json::from_str(&own).unwrap();
    let before = list(&trace["spans"]);
    for (span, before) in own["spans"].as_array_mut().unwrap().iter_mut().zip(before) {
        span["spanID"] = before["spanID"].clone();
        let references = span["references"].as_array_mut().into_iter().flatten();
        for (reference, before) in references.zip(list(&before["references"])) {
            reference["spanID"] = before["spanID"].clone();
        }
    }
    jaeger_trace(case, own)
}

#[test]
fn self_times_are_those_of_jaegers_statistics() {
    let server = Server::start();
    let files = files("trace-statistics-jaeger-ui").into_iter();
    let traces: BTreeMap<String, Json> = files
        .filter(|file| file.json()["spans"].is_array())
        .map(|file| (file.name.clone(), in_own_trace(&file.name, &file.json())))
        .collect();
    if traces.is_empty() {
        return;
    }
    import_traces(&server, &traces.values().cloned().collect::<Vec<_>>());
    for (name, case) in listed("trace-statistics-jaeger-ui") {
        let Some(trace) = traces.get(&text(&case["trace"])) else { continue };
        let view = view(&server, &text(&trace["traceID"]));
        let rows = rows(&view, &text(&case["group_by"]), case["then_group_by"].as_str());
        let nanos = view.summary.duration_nano.0;
        if let Some(count) = case["expect_row_count"].as_u64() {
            assert_eq!(rows.len() as u64, count, "{name}");
        }
        // The order of the rows is up to the UI, so it is not checked.
        for expected in case["expect_rows_by_index"].as_object().unwrap().values() {
            let found = rows.iter().any(|row| row.is(expected, nanos));
            let columns = |row: &Row| {
                let value = |column| row.column(column, nanos);
                (row.total.len(), value("total"), value("selfTotal"), value("percent"))
            };
            let shown: Vec<_> = rows.iter().map(columns).collect();
            assert!(found, "{name}: no row {expected} among {shown:?}");
        }
    }
}
