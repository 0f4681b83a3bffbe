//! Who calls whom: services, what they call that sends no spans, and the calls between them.
//!
//! The spans of the window are assembled trace by trace, so that both halves of a shared id, late
//! parents and messages count right. A call is a span under a span of another service, or a SERVER
//! or CONSUMER under a CLIENT or PRODUCER of its own. A CLIENT or PRODUCER that nothing hangs under
//! called something that sends no spans; its attributes say what (`peers`). Calls count in the
//! window their called span began in.

mod peers;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{EdgeKind, Exemplar, GraphEdge, GraphNode, NodeKind, ServiceGraph},
    otlp::SpanKind,
};
use tidings_storage::{Call, Calls, Detail, Latency, Scan, ScanStats, SpanFilter, TimeRange};

use super::window::Window;
use crate::{
    QueryError,
    execution::Reader,
    search::searched,
    trace::{
        gather::{Gather, Gathered},
        tree::Tree,
    },
};
use peers::Peer;

/// The newest spans that are looked at.
const SPANS_MAX: u64 = 1_000_000;
/// Edges that are given.
const EDGES_MAX: usize = 10_000;
/// The parents of the window's first spans began at most so long before it.
const LEAD_NANOS: u64 = 60_000_000_000;
/// Traces that a filter can choose.
const CHOSEN_MAX: usize = 500_000;

/// Which calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphSearch {
    /// Of traces of which one span is like this and starts in the window.
    pub filter: SpanFilter,
    /// Of this trace alone; the filter then has no say.
    pub trace_id: Option<TraceId>,
}

/// What is scanned, for which window, and which traces of it count.
type Selection = (SpanFilter, Option<Window>, Option<BTreeSet<TraceId>>);

/// A node: what it is and its name.
pub(crate) type NodeKey = (NodeKind, String);

/// The nodes and edges as they grow.
#[derive(Debug)]
struct Graph<K> {
    nodes: BTreeMap<NodeKey, Node>,
    edges: BTreeMap<(NodeKey, NodeKey, EdgeKind), K>,
}

/// What is kept of the calls of an edge.
trait Kept: Default {
    /// One more call, and how long its caller waited for it, as far as that is known.
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>);
}

#[derive(Debug, Default)]
struct Node {
    system: Option<String>,
    served: Calls,
    entries: u64,
    spans: u64,
}

#[derive(Debug, Default)]
struct Edge {
    calls: Calls,
    caller: Latency,
}

impl Kept for Edge {
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>) {
        self.calls.add(call);
        if let Some(waited) = waited {
            self.caller.add(waited);
        }
    }
}

/// One call of one node by another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeCall {
    /// When the called began.
    pub start: UnixNanos,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took, when it has ended.
    pub called: Option<DurationNanos>,
    /// How long its caller waited for it, as far as that is known.
    pub calling: Option<DurationNanos>,
}

impl Kept for Vec<EdgeCall> {
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>) {
        let Exemplar { start_unix_nano: start, duration_nano, .. } = call.exemplar;
        let called = call.timed.then_some(duration_nano);
        self.push(EdgeCall { start, failed: call.failed, called, calling: waited });
    }
}

/// The calls of one node by another.
#[derive(Debug)]
pub(crate) struct EdgeCalls {
    /// Who calls.
    pub from: NodeKey,
    /// Who is called.
    pub to: NodeKey,
    /// How.
    pub kind: EdgeKind,
    /// The calls.
    pub calls: Vec<EdgeCall>,
}

/// A span that called something that has no span, or took a message that nobody here sent.
#[derive(Debug)]
struct Open {
    service: String,
    kind: SpanKind,
    call: Call,
}

/// The graph.
pub(crate) fn graph(reader: &Reader, search: &GraphSearch) -> Result<ServiceGraph, QueryError> {
    let (filter, window, chosen) = selection(reader, search)?;
    let (graph, bounds, stats) = gather::<Edge>(reader, &filter, window, chosen.as_ref())?;
    let window = match (window, bounds) {
        (Some(window), _) => window,
        (None, Some((start, end))) => {
            let end = Some(UnixNanos(end.0.saturating_add(1).max(start.0.saturating_add(2))));
            Window::new(reader, TimeRange { start: Some(start), end }, None)?
        }
        (None, None) => {
            let what = "no span of this trace is stored".to_owned();
            return Err(QueryError::NotFound { what });
        }
    };
    Ok(graph.view(reader, window, stats))
}

/// Every call of which the called began in this range, and whether all of it was looked at.
pub(crate) fn calls(
    reader: &Reader,
    range: TimeRange,
) -> Result<(Vec<EdgeCalls>, bool), QueryError> {
    let filter = SpanFilter { start: range, ..SpanFilter::default() };
    let search = GraphSearch { filter, trace_id: None };
    let (filter, window, chosen) = selection(reader, &search)?;
    let (graph, _, stats) = gather::<Vec<EdgeCall>>(reader, &filter, window, chosen.as_ref())?;
    let calls = |((from, to, kind), calls)| EdgeCalls { from, to, kind, calls };
    Ok((graph.edges.into_iter().map(calls).collect(), stats.complete))
}

/// The first and last moment of a trace.
type Bounds = (UnixNanos, UnixNanos);

/// Reads and assembles what is selected: the graph, the bounds of the last trace, what was read.
fn gather<K: Kept>(
    reader: &Reader,
    filter: &SpanFilter,
    window: Option<Window>,
    chosen: Option<&BTreeSet<TraceId>>,
) -> Result<(Graph<K>, Option<Bounds>, ScanStats), QueryError> {
    let gather = Gather { detail: Detail::Facts, spans_max: SPANS_MAX, instead: "" };
    let (gathered, complete) = Gathered::read_newest(reader, filter, gather)?;
    let mut graph = Graph { nodes: BTreeMap::new(), edges: BTreeMap::new() };
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut rows = 0;
    let mut bounds = None;
    for (trace_id, facts) in gathered.traces {
        if chosen.is_some_and(|chosen| !chosen.contains(&trace_id)) {
            continue;
        }
        reader.check()?;
        let tree = Tree::new(trace_id, facts);
        rows += tree.assembled.nodes.len() as u64;
        bounds = Some((tree.start, tree.end));
        graph.add(&tree, |number| gathered.names.text(number), window, &mut open);
    }
    let found = peers::read(reader, filter, &open)?;
    for (content_hash, open) in open {
        graph.add_peer(&open, found.get(&content_hash));
    }
    Ok((graph, bounds, ScanStats { rows, complete, ..ScanStats::default() }))
}

/// Reads what the question selects.
fn selection(reader: &Reader, search: &GraphSearch) -> Result<Selection, QueryError> {
    if let Some(trace_id) = search.trace_id {
        let filter = SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() };
        return Ok((filter, None, None));
    }
    let window = Window::new(reader, search.filter.start, None)?;
    let range = window.range();
    let lead = range.start.map(|start| UnixNanos(start.0.saturating_sub(LEAD_NANOS)));
    let filter =
        SpanFilter { start: TimeRange { start: lead, end: range.end }, ..SpanFilter::default() };
    let unbounded = SpanFilter { start: TimeRange::default(), ..search.filter.clone() };
    if unbounded == SpanFilter::default() {
        return Ok((filter, Some(window), None));
    }
    let mut chosen = BTreeSet::new();
    let matching = SpanFilter { start: range, ..search.filter.clone() };
    let scan = Scan { detail: Detail::Ids, rows_max: reader.settings.search_rows_max };
    reader.spans(&matching, scan, |rows| {
        chosen.extend((0..rows.len()).map(|row| rows.trace_id(row)));
        Ok(if chosen.len() < CHOSEN_MAX {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        })
    })?;
    Ok((filter, Some(window), Some(chosen)))
}

fn service(name: &str) -> NodeKey {
    (NodeKind::Service, name.to_owned())
}

impl<K: Kept> Graph<K> {
    fn add<'n>(
        &mut self,
        tree: &Tree,
        name: impl Fn(u32) -> &'n str,
        window: Option<Window>,
        open: &mut HashMap<u64, Open>,
    ) {
        let in_window =
            |at: usize| window.is_none_or(|window| window.contains(tree.fact(at).start));
        let calls_on: BTreeSet<u32> = tree
            .indexes()
            .filter_map(|at| Some((at, tree.assembled.nodes[at].parent?)))
            .filter(|(at, parent)| is_call(tree, *parent as usize, *at))
            .map(|(_, parent)| parent)
            .collect();
        for at in tree.indexes().filter(|at| in_window(*at)) {
            let (fact, call) = (tree.fact(at), call_of(tree, at));
            let own = service(name(fact.service));
            let parent = tree.assembled.nodes[at].parent.map(|parent| parent as usize);
            let caller = parent.filter(|parent| is_call(tree, *parent, at));
            let serves = matches!(fact.kind, SpanKind::Server | SpanKind::Consumer);
            let node = self.nodes.entry(own.clone()).or_default();
            node.spans += 1;
            if serves {
                node.served.add(&call);
                node.entries += u64::from(caller.is_none());
            }
            if let Some(caller) = caller {
                let from = service(name(tree.fact(caller).service));
                self.nodes.entry(from.clone()).or_default();
                let kind = edge_kind(fact.kind, tree.fact(caller).kind);
                let edge = self.edges.entry((from, own.clone(), kind)).or_default();
                let failed = call.failed || is_calling(tree, caller) && tree.failed(caller);
                let calling = call_of(tree, caller);
                let waited = is_calling(tree, caller) && calling.timed;
                let waited = waited.then_some(calling.exemplar.duration_nano);
                edge.keep(&Call { failed, ..call }, waited);
            }
            let is_open = match fact.kind {
                SpanKind::Client | SpanKind::Producer => {
                    !u32::try_from(at).is_ok_and(|at| calls_on.contains(&at))
                }
                SpanKind::Consumer => caller.is_none(),
                _ => false,
            };
            if is_open {
                let service = name(fact.service).to_owned();
                open.insert(fact.content_hash, Open { service, kind: fact.kind, call });
            }
        }
    }

    fn add_peer(&mut self, open: &Open, peer: Option<&Peer>) {
        let unknown = Peer { name: String::new(), kind: NodeKind::Unknown, system: None };
        let peer = match (peer, open.kind) {
            (Some(peer), _) => peer,
            // A consumer whose queue nobody names is an entry like any other.
            (None, SpanKind::Consumer) => return,
            (None, _) => &unknown,
        };
        let instrumented = service(&peer.name);
        let is_known = peer.kind == NodeKind::External && self.nodes.contains_key(&instrumented);
        let there = if is_known { instrumented } else { (peer.kind, peer.name.clone()) };
        let here = service(&open.service);
        let node = self.nodes.entry(there.clone()).or_default();
        node.system = node.system.take().max(peer.system.clone());
        let key = match open.kind {
            SpanKind::Consumer => (there, here, EdgeKind::Message),
            SpanKind::Producer => (here, there, EdgeKind::Message),
            _ => (here, there, EdgeKind::Call),
        };
        let is_message_taken = open.kind == SpanKind::Consumer;
        let edge = self.edges.entry(key.clone()).or_default();
        let waited = !is_message_taken && open.call.timed;
        edge.keep(&open.call, waited.then_some(open.call.exemplar.duration_nano));
        if is_message_taken && let Some(node) = self.nodes.get_mut(&key.1) {
            node.entries = node.entries.saturating_sub(1);
        }
    }
}

impl Graph<Edge> {
    fn view(self, reader: &Reader, window: Window, stats: ScanStats) -> ServiceGraph {
        let places: BTreeMap<&NodeKey, u32> = self.nodes.keys().zip(0..).collect();
        let edge_count = self.edges.len() as u64;
        let mut edges: Vec<GraphEdge> = self
            .edges
            .iter()
            .map(|((from, to, kind), edge)| GraphEdge {
                from: places[from],
                to: places[to],
                kind: *kind,
                call_count: edge.calls.count,
                error_count: edge.calls.errors,
                rate_per_second: window.rate(edge.calls.count),
                duration: edge.calls.latency.stats(),
                caller_duration: (edge.caller.count() > 0).then(|| edge.caller.stats()),
                slowest: edge.calls.slowest(),
                failed: edge.calls.failed(),
            })
            .collect();
        edges.sort_by_key(|edge| std::cmp::Reverse(edge.call_count));
        edges.truncate(EDGES_MAX);
        let node = |((kind, name), node): (NodeKey, Node)| GraphNode {
            name,
            kind,
            system: node.system,
            call_count: node.served.count,
            error_count: node.served.errors,
            entry_count: node.entries,
            span_count: node.spans,
            duration: node.served.latency.stats(),
        };
        ServiceGraph {
            window: window.view(),
            nodes: self.nodes.into_iter().map(node).collect(),
            edges,
            edge_count,
            searched: searched(reader, stats),
        }
    }
}

/// Whether the span under the other is a call from one service to another, or of its own.
fn is_call(tree: &Tree, parent: usize, child: usize) -> bool {
    let (from, to) = (tree.fact(parent), tree.fact(child));
    let both_sides = matches!(
        (from.kind, to.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
    );
    from.service != to.service || both_sides
}

fn is_calling(tree: &Tree, node: usize) -> bool {
    matches!(tree.fact(node).kind, SpanKind::Client | SpanKind::Producer)
}

fn edge_kind(called: SpanKind, caller: SpanKind) -> EdgeKind {
    if called == SpanKind::Consumer || caller == SpanKind::Producer {
        EdgeKind::Message
    } else {
        EdgeKind::Call
    }
}

fn call_of(tree: &Tree, node: usize) -> Call {
    let fact = tree.fact(node);
    let (_, timed) = Call::timed(fact.start, fact.end);
    let duration_nano: DurationNanos = tree.assembled.nodes[node].duration;
    let exemplar = Exemplar {
        trace_id: tree.trace_id,
        span_id: fact.span_id,
        start_unix_nano: fact.start,
        duration_nano,
    };
    Call { exemplar, failed: tree.failed(node), timed }
}
