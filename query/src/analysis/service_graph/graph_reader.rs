//! The graph from rows: the newest spans of a window, or one trace.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use tidings_assembly::assemble;
use tidings_proto::{UnixNanos, api::SpanFlags, otlp::SpanKind};
use tidings_storage::{
    Detail, GraphSpan, Peer, Scan, ScanStats, SpanFilter, TimeRange, split_at_gaps,
};

use super::{Graph, GraphSearch, LEAD, OpenSpan, SingleCallAccumulator, Window};
use crate::{
    QueryError,
    execution::Reader,
    trace::trace_rows::{GatherOptions, GatheredTraces, TraceFacts},
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
    let gather = GatherOptions { detail: Detail::Facts, hosts_max: 0, spans_max, instead: "" };
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
pub(crate) fn graph_spans(trace: &TraceFacts) -> Vec<GraphSpan> {
    let spans = trace.facts.iter().zip(&trace.marks).map(|(facts, marks)| GraphSpan {
        facts: *facts,
        failed: marks & SpanFlags::ERROR != 0,
        mark: 0,
    });
    spans.collect()
}

/// Peers that spans name in their attributes.
#[derive(Debug)]
pub(crate) struct PeersOfSpans {
    /// Peers by content hash of the spans that were read. `None` for a span that names no peer.
    peers: HashMap<u64, Option<Arc<Peer>>>,
    /// True if all of the spans were read.
    pub complete: bool,
}

impl PeersOfSpans {
    /// Returns the peer that the span with this content hash names.
    pub(crate) fn get(&self, content_hash: u64) -> Option<&Peer> {
        self.peers.get(&content_hash)?.as_deref()
    }
}

/// Reads the peers that these spans name, which are given by content hash. At most `rows_max` rows
/// of each kind of span are read.
pub(crate) fn peers_of_spans<T>(
    reader: &Reader,
    filter: &SpanFilter,
    rows_max: u64,
    open: &HashMap<u64, T>,
    kind_of: impl Fn(&T) -> SpanKind,
) -> Result<PeersOfSpans, QueryError> {
    let mut counts: HashMap<SpanKind, usize> = HashMap::new();
    for kind in open.values().map(kind_of) {
        *counts.entry(kind).or_default() += 1;
    }
    let mut found = PeersOfSpans { peers: HashMap::new(), complete: true };
    let mut distinct = HashSet::new();
    for (kind, mut unread) in counts {
        let filter = SpanFilter { kind: Some(kind), ..filter.clone() };
        let scan = Scan { detail: Detail::Attributes, rows_max };
        let stats = reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let content_hash = rows.content_hash(row);
                if !open.contains_key(&content_hash) || found.peers.contains_key(&content_hash) {
                    continue;
                }
                let text = |key: &str| rows.attribute_text(row, key).map(Cow::into_owned);
                let peer = Peer::from_attributes(kind, text);
                found.peers.insert(content_hash, peer.map(|peer| shared_peer(&mut distinct, peer)));
                unread = unread.saturating_sub(1);
            }
            Ok(if unread == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        found.complete &= stats.complete || unread == 0;
    }
    Ok(found)
}

/// Returns this peer as the set has it, and adds it first if the set lacks it.
fn shared_peer(distinct: &mut HashSet<Arc<Peer>>, peer: Peer) -> Arc<Peer> {
    if let Some(known) = distinct.get(&peer) {
        return Arc::clone(known);
    }
    let peer = Arc::new(peer);
    distinct.insert(Arc::clone(&peer));
    peer
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
