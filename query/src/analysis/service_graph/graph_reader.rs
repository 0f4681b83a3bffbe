//! The graph from rows: the newest spans of a window, or one trace.

use std::collections::HashMap;

use tidings_assembly::assemble;
use tidings_proto::{UnixNanos, api::SpanFlags};
use tidings_storage::{GraphSpan, Projection, ScanStats, SpanFilter, TimeRange, split_at_gaps};

use super::{Graph, GraphSearch, LEAD, OpenSpan, SingleCallAccumulator, Window};
use crate::{
    QueryError,
    execution::Reader,
    trace::{
        called_peers::peers_of_spans,
        trace_rows::{GatherOptions, GatheredTraces, TraceFacts},
    },
};

/// The first and last moment of a trace.
type Bounds = (UnixNanos, UnixNanos);

/// Reads and assembles the selected spans. Returns the graph, the bounds of the last trace, and the
/// scan statistics.
pub(super) fn gather<K: SingleCallAccumulator>(
    reader: &Reader,
    filter: &SpanFilter,
    window: Option<Window>,
) -> Result<(Graph<K>, Option<Bounds>, ScanStats), QueryError> {
    let spans_max = reader.limits.graph_spans_max;
    let gather = GatherOptions { detail: Projection::Facts, hosts_max: 0, spans_max, instead: "" };
    let (gathered, complete) = GatheredTraces::read_newest(reader, filter, gather)?;
    let mut graph = Graph::new();
    let mut open: HashMap<u64, OpenSpan> = HashMap::new();
    let mut rows = 0;
    let mut bounds = None;
    for (trace_id, facts) in gathered.traces {
        reader.check()?;
        let name = |number| gathered.names.text(number);
        let mut spans = graph_spans(&facts);
        if let Some(window) = window {
            for part in split_at_gaps(&mut spans) {
                rows += graph.add(trace_id, part, name, Some(window), &mut open);
            }
        } else {
            bounds = Some(assemble(&facts.facts).bounds);
            rows += graph.add(trace_id, &spans, name, None, &mut open);
        }
    }
    let peers = peers_of_spans(reader, filter, u64::MAX, &open, |open| open.kind)?;
    for (content_hash, open) in open {
        graph.add_open(&open, peers.get(content_hash));
    }
    let complete = complete && peers.complete;
    Ok((graph, bounds, ScanStats { rows, complete, ..ScanStats::default() }))
}

/// Converts the spans of a trace to the form in which calls are detected.
#[must_use]
pub fn graph_spans(trace: &TraceFacts) -> Vec<GraphSpan> {
    let spans = trace.facts.iter().zip(&trace.marks).map(|(facts, marks)| GraphSpan {
        facts: *facts,
        failed: marks & SpanFlags::ERROR != 0,
        mark: 0,
    });
    spans.collect()
}

/// Filter of the spans to read: the window and a lead before it, or one trace.
pub(super) fn selection(search: &GraphSearch, window: Option<Window>) -> SpanFilter {
    let Some(window) = window else {
        let trace_ids = search.trace_id.map(|trace_id| vec![trace_id]);
        return SpanFilter { trace_ids, ..SpanFilter::default() };
    };
    let range = window.range();
    let lead = range.start.map(|start| UnixNanos(start.0.saturating_sub(LEAD.0)));
    SpanFilter { start: TimeRange { start: lead, end: range.end }, ..SpanFilter::default() }
}
