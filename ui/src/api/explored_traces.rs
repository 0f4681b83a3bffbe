//! Traces of a search, each with its matching spans.
//!
//! Owns the pairing of the two lists of an answer, and the values of an attribute that columns
//! show.

use std::sync::Arc;

use serde::Deserialize;
use tidings_proto::api::{MatchedSpan, Searched, Total, TraceSearchResult, TraceSummary};

use crate::format;

/// A trace that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct ExploredTrace {
    /// The trace.
    pub trace: TraceSummary,
    /// The first of its matching spans. Empty when the search had filters only.
    pub spans: Arc<[MatchedSpan]>,
    /// Number of its matching spans, including those that are not in `spans`.
    pub span_count: u64,
}

/// A page of found traces.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "TraceSearchResult")]
pub struct ExploredTraces {
    /// The traces.
    pub traces: Vec<ExploredTrace>,
    /// Cursor of the next page.
    pub next_cursor: Option<String>,
    /// Number of traces that match.
    pub total: Total,
    /// Rows and files that were read to find them.
    pub searched: Searched,
}

impl From<TraceSummary> for ExploredTrace {
    fn from(trace: TraceSummary) -> Self {
        Self { trace, spans: Arc::from([]), span_count: 0 }
    }
}

impl From<TraceSearchResult> for ExploredTraces {
    fn from(found: TraceSearchResult) -> Self {
        let mut matches = found.matches.into_iter().peekable();
        let traces = found.traces.into_iter().map(|trace| {
            // A ranked page may lack the matches of some traces.
            let id = trace.trace_id;
            let Some(of_trace) = matches.next_if(|found| found.trace_id == id) else {
                return ExploredTrace::from(trace);
            };
            let span_count = of_trace.spansets.iter().map(|spanset| spanset.span_count).sum();
            let spans = of_trace.spansets.into_iter().flat_map(|spanset| spanset.spans);
            ExploredTrace { trace, spans: spans.collect(), span_count }
        });
        Self {
            traces: traces.collect(),
            next_cursor: found.next_cursor,
            total: found.total,
            searched: found.searched,
        }
    }
}

/// Returns the value of a selected attribute, or `None` when the span does not have it.
#[must_use]
pub fn selected_value(span: &MatchedSpan, key: &str) -> Option<String> {
    if key == "service.name" {
        return Some(span.service.clone());
    }
    let is_named = |name: &str| {
        name.strip_prefix('.').is_some_and(|name| name == key || unquoted(name) == Some(key.into()))
    };
    let found = span.attributes.iter().find(|attribute| is_named(&attribute.key))?;
    found.value.as_ref().map(format::value)
}

/// Reports whether the selected status of a span is an error.
#[must_use]
pub fn has_failed(span: &MatchedSpan) -> bool {
    let status = span.attributes.iter().find(|attribute| attribute.key == "status");
    status.and_then(|status| status.value.as_ref()).map(format::value).as_deref() == Some("error")
}

/// Returns the text of a key that queries write in quotes.
fn unquoted(name: &str) -> Option<String> {
    let inside = name.strip_prefix('"')?.strip_suffix('"')?;
    Some(inside.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// Returns the distinct values of an attribute among the spans of a trace, in the order of the
/// spans.
#[must_use]
pub fn values_of(trace: &ExploredTrace, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for value in trace.spans.iter().filter_map(|span| selected_value(span, key)) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ExploredTraces, has_failed, selected_value, values_of};

    fn page() -> ExploredTraces {
        let trace = |id: u8| {
            json!({
                "traceId": format!("{id:032x}"), "complete": true, "state": "failed",
                "startUnixNano": "1", "endUnixNano": "2", "durationNano": "1",
                "rootService": "shop", "rootOperation": "pay", "hasRoot": true, "spanCount": 3,
                "errorCount": 1, "problemCount": 0, "services": [],
            })
        };
        let span = |id: u8, attributes: &[(&str, &str)]| {
            let attribute = |(key, value): &(&str, &str)| json!({ "key": key, "value": { "stringValue": value } });
            let attributes: Vec<_> = attributes.iter().map(attribute).collect();
            json!({
                "spanId": format!("{id:016x}"), "service": "shop", "name": "pay",
                "startUnixNano": "1", "durationNano": "1", "attributes": attributes,
            })
        };
        let spans = [
            span(1, &[("status", "error"), (".tier", "gold")]),
            span(2, &[("status", "ok"), (".tier", "basic"), (".\"a \\\"key\\\"\"", "odd")]),
            span(3, &[(".tier", "gold")]),
        ];
        let matches = json!([{
            "traceId": format!("{:032x}", 2), "spansetCount": 2, "spansets": [
                { "spanCount": 2, "attributes": [], "spans": spans[..2] },
                { "spanCount": 40, "attributes": [], "spans": spans[2..] },
            ],
        }]);
        let found = json!({
            "traces": [trace(1), trace(2)], "matches": matches,
            "total": { "value": 2, "relation": "exact" },
            "searched": { "rows": 1, "files": 0, "elapsedNano": "1", "complete": true },
        });
        serde_json::from_value(found).unwrap()
    }

    #[test]
    fn spans_belong_to_their_trace_and_are_counted() {
        let page = page();
        let counts: Vec<_> =
            page.traces.iter().map(|one| (one.spans.len(), one.span_count)).collect();
        assert_eq!(counts, [(0, 0), (3, 42)], "matches of the first trace are not there");
    }

    #[test]
    fn columns_show_the_values_that_were_selected() {
        let page = page();
        let trace = &page.traces[1];
        assert_eq!(values_of(trace, "tier"), ["gold", "basic"]);
        assert_eq!(values_of(trace, "a \"key\""), ["odd"]);
        assert!(values_of(trace, "status").is_empty(), "the status is no attribute");
        assert_eq!(selected_value(&trace.spans[0], "other"), None);
        assert_eq!(values_of(trace, "service.name"), ["shop"], "it stands beside the others");
        assert_eq!([0, 1, 2].map(|at| has_failed(&trace.spans[at])), [true, false, false]);
    }
}
