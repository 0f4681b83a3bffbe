//! The service graph: services, their uninstrumented peers, and the edges between them.
//!
//! The spans of the window are assembled trace by trace, so that both halves of a shared id, late
//! parents and messages count right. Storage defines a call (`graph_calls`). A call counts in the
//! window in which its called span began. Storage has rollups of most calls. Where too many files
//! lack rollups, the answer covers the newest part of the window. Where no rollup exists (a single
//! trace, spans received just now), the newest spans are read here. The answer says when it is
//! partial. Parts of the graph are chosen and peers are folded last, on the whole graph. On
//! request, calls are compared with those of as long a time before, or of a given baseline.

mod graph_comparison;
mod graph_reader;
mod graph_rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{EdgeKind, Exemplar, GraphEdge, GraphNode, NodeKind, ServiceGraph},
    otlp::SpanKind,
};
use tidings_storage::{
    Call, CallCounts, Calls, GraphAggregate, GraphBounds, GraphChoice, GraphDetail, GraphKey,
    GraphPart, GraphSpan, Latency, Peer, ScanStats, SpanFilter, TimeRange, graph_calls,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
};

pub(super) use graph_comparison::{
    EarlierCalls, USUAL_CALLS_MIN, fails_more, may_be_slower, may_fail_more, p50_slower_factor,
    slower_factor,
};
use graph_comparison::{GraphBefore, RowsBefore, weight};
pub use graph_reader::graph_spans;
use graph_reader::{gather, selection};
use graph_rows::{EdgeRow, EdgeRowKey, GraphRowKey, NodeRow};

/// Minimum length of the newest part of a window that is answered when the whole window is too
/// large.
const PART_MIN: DurationNanos = DurationNanos(10 * 60 * 1_000_000_000);
/// Maximum number of traces that a filter chooses, the newest first.
const CHOSEN_MAX: usize = 20_000;
/// Maximum number of spans of these traces, unless the graph may read fewer.
const CHOSEN_SPANS_MAX: u64 = 200_000;
/// Maximum number of edges of an answer.
const EDGES_MAX: usize = 10_000;
/// Number of time ranges from which on parts no longer double in length.
const FEW_RANGES: usize = 16;
/// Maximum time by which the parents of the window's first spans began before it.
const LEAD: DurationNanos = DurationNanos(60_000_000_000);

/// Selection of calls, and of the nodes and edges that they become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphSearch {
    /// Filter that a span of a chosen trace matches, which starts in the window.
    pub filter: SpanFilter,
    /// The only trace of the graph; the filter then does not count.
    pub trace_id: Option<TraceId>,
    /// Only nodes at most `depth` calls above or below this node. The node has a name and,
    /// optionally, a kind.
    pub around: Option<(Option<NodeKind>, String)>,
    /// Maximum number of calls between a node and that node.
    pub depth: u32,
    /// Maximum number of single destinations of a system; more are folded into one node. Other
    /// peers of one kind and system are folded when they are more than four times as many.
    pub fold: Option<u32>,
    /// Names of peers that are not folded.
    pub single: Vec<String>,
    /// Number of peers of a group that stay single. They are the peers with the most failed calls.
    pub failing: u32,
    /// True to compare the calls with those of another time.
    pub compare: bool,
    /// Start and end of that time, the start before the end. Without it, the time is the range of
    /// the same length before the window.
    pub baseline: Option<(UnixNanos, UnixNanos)>,
}

/// A node: its kind and its name.
pub type NodeKey = (NodeKind, String);

/// An edge: caller, callee and kind.
type EdgeKey = (NodeKey, NodeKey, EdgeKind);

/// The nodes and edges while they are collected.
#[derive(Debug)]
struct Graph<K> {
    nodes: BTreeMap<NodeKey, NodeTotals>,
    edges: BTreeMap<EdgeKey, K>,
    /// Number of calls for which a called service sent no span, although it sends others.
    caller_only: BTreeMap<EdgeKey, u64>,
}

/// Accumulator of the single calls of an edge.
trait SingleCallAccumulator: Default {
    /// Adds a call; `waited` is the time its caller waited, when the caller's span is known.
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>);
}

/// Measures that an aggregate has for a key.
#[derive(Debug, Clone, Copy)]
enum Measures<'a> {
    /// The number of a time range, and the calls that began in it.
    Calls(u32, &'a Calls),
    /// The numbers of calls. Their durations are not known.
    Counts(&'a CountsByRange),
}

impl<'a> Measures<'a> {
    /// Returns the keys of an aggregate with their measures, in no order.
    fn by_key(aggregate: &'a GraphAggregate) -> impl Iterator<Item = (GraphKey<&'a str>, Self)> {
        let calls = aggregate.calls().map(|(range, key, calls)| (key, Self::Calls(range, calls)));
        calls.chain(aggregate.counts().map(|(key, counts)| (key, Self::Counts(counts))))
    }

    /// Returns the calls with their durations, or `None` when only their number is known.
    fn calls(self) -> Option<&'a Calls> {
        match self {
            Self::Calls(_, calls) => Some(calls),
            Self::Counts(_) => None,
        }
    }
}

/// Accumulator of the pre-aggregated calls of an edge.
trait RollupAccumulator: Default {
    /// Adds calls, if it is a sum of such measures.
    fn add_calls(&mut self, measures: Measures<'_>);

    /// Adds the latency of calls as caller-side latency, if it is known.
    fn add_waited(&mut self, measures: Measures<'_>);
}

#[derive(Debug, Default)]
struct NodeTotals {
    system: Option<String>,
    served: Calls,
    entries: u64,
    spans: u64,
}

/// The aggregated calls of an edge.
#[derive(Debug, Default)]
pub struct Edge {
    /// Calls from the point of view of the callee.
    pub calls: Calls,
    /// Latency from the point of view of the callers; covers only calls whose caller span is known.
    pub caller: Latency,
}

/// The calls of an edge by time range.
pub type ByRange = BTreeMap<u32, Edge>;
/// The numbers of calls of an edge by time range.
pub type CountsByRange = BTreeMap<u32, CallCounts>;

/// Pre-aggregated calls of an edge by time range.
pub trait AggregatedCalls: Sized {
    /// Content of the aggregate that they are read from.
    const DETAIL: GraphDetail;

    /// Returns the edges of an aggregate.
    fn edges(aggregate: &GraphAggregate) -> Vec<EdgeCalls<Self>>;
}

impl AggregatedCalls for ByRange {
    const DETAIL: GraphDetail = GraphDetail::Calls;

    fn edges(aggregate: &GraphAggregate) -> Vec<EdgeCalls<Self>> {
        Graph::<Self>::from_aggregate(aggregate).into_calls()
    }
}

impl AggregatedCalls for CountsByRange {
    const DETAIL: GraphDetail = GraphDetail::Counts;

    fn edges(aggregate: &GraphAggregate) -> Vec<EdgeCalls<Self>> {
        Graph::<Self>::from_aggregate(aggregate).into_calls()
    }
}

impl SingleCallAccumulator for Edge {
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>) {
        self.calls.add(call);
        if let Some(waited) = waited {
            self.caller.add(waited);
        }
    }
}

impl RollupAccumulator for Edge {
    fn add_calls(&mut self, measures: Measures<'_>) {
        if let Measures::Calls(_, calls) = measures {
            self.calls.merge(calls);
        }
    }

    fn add_waited(&mut self, measures: Measures<'_>) {
        if let Measures::Calls(_, calls) = measures {
            self.caller.merge(&calls.latency);
        }
    }
}

impl RollupAccumulator for ByRange {
    fn add_calls(&mut self, measures: Measures<'_>) {
        if let Measures::Calls(range, calls) = measures {
            self.entry(range).or_default().calls.merge(calls);
        }
    }

    fn add_waited(&mut self, measures: Measures<'_>) {
        if let Measures::Calls(range, calls) = measures {
            self.entry(range).or_default().caller.merge(&calls.latency);
        }
    }
}

impl RollupAccumulator for CountsByRange {
    fn add_calls(&mut self, measures: Measures<'_>) {
        let Measures::Counts(counts) = measures else { return };
        for (range, more) in counts {
            let counts = self.entry(*range).or_default();
            counts.count = counts.count.saturating_add(more.count);
            counts.errors = counts.errors.saturating_add(more.errors);
        }
    }

    fn add_waited(&mut self, _: Measures<'_>) {}
}

/// A call of one node by another.
#[derive(Debug, Clone, Copy)]
pub struct EdgeCall {
    /// Start of the called span.
    pub start: UnixNanos,
    /// True when the call failed.
    pub failed: bool,
    /// Duration of the called span; `None` until it has ended.
    pub called: Option<DurationNanos>,
    /// Time that the caller waited; `None` when the caller's span is not known.
    pub calling: Option<DurationNanos>,
}

impl SingleCallAccumulator for Vec<EdgeCall> {
    fn keep(&mut self, call: &Call, waited: Option<DurationNanos>) {
        let Exemplar { start_unix_nano: start, duration_nano, .. } = call.exemplar;
        let called = call.timed.then_some(duration_nano);
        self.push(EdgeCall { start, failed: call.failed, called, calling: waited });
    }
}

/// The calls of one node by another.
#[derive(Debug)]
pub struct EdgeCalls<K> {
    /// Calling node.
    pub from: NodeKey,
    /// Called node.
    pub to: NodeKey,
    /// Kind of the calls.
    pub kind: EdgeKind,
    /// The calls.
    pub calls: K,
}

/// Individual calls of an edge.
pub type SingleCalls = EdgeCalls<Vec<EdgeCall>>;
/// Aggregated calls of an edge.
pub type EdgeSums = EdgeCalls<ByRange>;
/// Numbers of calls of an edge.
pub type EdgeCounts = EdgeCalls<CountsByRange>;

/// A span that called a peer without spans, or that took a message whose sender is not known.
#[derive(Debug)]
struct OpenSpan {
    service: String,
    kind: SpanKind,
    has_parent: bool,
    call: Call,
}

/// The graph.
///
/// # Errors
/// `Parameter` when the node has another kind; also the errors of [`Reader::spans`].
pub fn graph(reader: &Reader, search: &GraphSearch) -> Result<ServiceGraph, QueryError> {
    let window = match search.trace_id {
        Some(_) => None,
        None => Some(Window::new(reader, search.filter.start, None)?),
    };
    let both = match window.filter(|_| search.compare) {
        Some(window) => GraphBefore::read_with_window(reader, search, window)?,
        None => None,
    };
    let ((mut graph, window, mut stats), before) = match (both, window) {
        (Some((graph, before, stats)), Some(window)) => ((graph, window, stats), Some(before)),
        _ => (read(reader, search, window)?, None),
    };
    graph.count_uninstrumented();
    if let Some(centre) = &search.around {
        graph.check_kind(centre)?;
        graph.keep(&graph.around(centre, search.depth));
    }
    let before = match before {
        Some(before) => before,
        None if search.compare => GraphBefore::read(reader, search, window, &mut stats)?,
        None => None,
    };
    Ok(graph.view(reader, search, window, before, stats))
}

/// Reads the graph of a window, or of the trace when there is no window. Returns the graph, the
/// window that it covers, and the scan statistics.
fn read(
    reader: &Reader,
    search: &GraphSearch,
    window: Option<Window>,
) -> Result<(Graph<Edge>, Window, ScanStats), QueryError> {
    if let Some(window) = window.filter(|_| is_of_all(search))
        && let Some((part, aggregate)) = added_up(reader, window)?
    {
        return Ok((Graph::from_aggregate(&aggregate), part, aggregate.scan));
    }
    if let Some(window) = window.filter(|_| !is_of_all(search)) {
        let bounds = bounds(reader, &window.times());
        let bounds = GraphBounds { rows_max: bounds.rows_max.min(CHOSEN_SPANS_MAX), ..bounds };
        let aggregate = reader.aggregate_graph_of(&bounds, &choice(reader, search, window))?;
        return Ok((Graph::from_aggregate(&aggregate), window, aggregate.scan));
    }
    let filter = selection(search, window);
    let (graph, bounds, stats) = gather::<Edge>(reader, &filter, window)?;
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
    Ok((graph, window, stats))
}

/// Reports whether the query covers every trace of its window, so that rollups can answer it.
fn is_of_all(search: &GraphSearch) -> bool {
    let unbounded = SpanFilter { start: TimeRange::default(), ..search.filter.clone() };
    search.trace_id.is_none() && unbounded == SpanFilter::default()
}

/// The traces of the window that the filter chooses.
fn choice(reader: &Reader, search: &GraphSearch, window: Window) -> GraphChoice {
    GraphChoice {
        filter: SpanFilter { start: window.range(), ..search.filter.clone() },
        looked_at_max: reader.settings.search_rows_max,
        traces_max: CHOSEN_MAX,
    }
}

fn bounds(reader: &Reader, between: &[UnixNanos]) -> GraphBounds {
    let (rows_max, bytes_max) = (reader.limits.graph_spans_max, reader.limits.graph_bytes_max);
    GraphBounds {
        between: between.to_vec(),
        lead: LEAD,
        trail: DurationNanos(0),
        detail: GraphDetail::Calls,
        without_rollups: false,
        rows_max,
        bytes_max,
    }
}

/// Returns the rollup of the window, and the part of the window that it covers. When too much of a
/// part lacks rollups, its newest quarter is tried. Returns `None` when even the shortest part
/// lacks too many.
fn added_up(
    reader: &Reader,
    window: Window,
) -> Result<Option<(Window, GraphAggregate)>, QueryError> {
    let mut part = window;
    loop {
        if let Some(mut aggregate) = reader.aggregate_graph(&bounds(reader, &part.times()))? {
            aggregate.scan.complete &= part == window;
            // A part without data says nothing of the window. Its newest rows do.
            let says_nothing = part != window && aggregate.calls().next().is_none();
            return Ok((!says_nothing).then_some((part, aggregate)));
        }
        let [start, end] = part.times();
        let length = DurationNanos(end.since(start).0 / 4);
        if length < PART_MIN {
            return Ok(None);
        }
        part = part.newest(length);
    }
}

/// Aggregated calls by the number of their time range: the called span began between one of these
/// times and the next. `None` when the calls are not known without reading spans.
pub(crate) fn sums(
    reader: &Reader,
    between: &[UnixNanos],
) -> Result<Option<Vec<EdgeSums>>, QueryError> {
    sums_of(reader, bounds(reader, between))
}

/// Passes the calls of peers that send no spans to `visit`, each with the number of its time range
/// as in [`sums`]. The ranges before `border` and those from it on are two times. A host is a
/// service where it sends spans in the same time. Returns false when the calls are not known
/// without reading spans.
pub(crate) fn peer_sums(
    reader: &Reader,
    between: &[UnixNanos],
    border: u32,
    mut visit: impl FnMut(u32, (NodeKind, &str), &Calls),
) -> Result<bool, QueryError> {
    let bounds = GraphBounds { detail: GraphDetail::Peers, ..bounds(reader, between) };
    let aggregate = reader.aggregate_graph(&bounds)?;
    let Some(aggregate) = aggregate.filter(|aggregate| aggregate.scan.complete) else {
        return Ok(false);
    };
    let mut services: HashSet<(bool, &str)> = HashSet::new();
    for (range, key, _) in aggregate.calls() {
        match key {
            GraphKey::Spans(name) => {
                services.insert((range < border, name));
            }
            // The caller may have begun before the range.
            GraphKey::Called { from, to, .. } => {
                services.extend([from, to].map(|name| (range < border, name)));
            }
            _ => {}
        }
    }
    for (range, key, calls) in aggregate.calls() {
        let GraphKey::Open { kind, peer, peer_kind, .. } = key else { continue };
        let is_service =
            peer_kind == NodeKind::External && services.contains(&(range < border, peer));
        if kind != SpanKind::Consumer && !is_service {
            visit(range, (peer_kind, peer), calls);
        }
    }
    Ok(true)
}

fn sums_of<K: AggregatedCalls>(
    reader: &Reader,
    bounds: GraphBounds,
) -> Result<Option<Vec<EdgeCalls<K>>>, QueryError> {
    let bounds = GraphBounds { detail: K::DETAIL, ..bounds };
    let aggregate = reader.aggregate_graph(&bounds)?.filter(|aggregate| aggregate.scan.complete);
    Ok(aggregate.map(|aggregate| K::edges(&aggregate)))
}

/// Passes the aggregated calls, or only their counts, to `visit` in parts, for ranges whose calls
/// cannot all be held at once. `visit` gets the index of the part's first time, and its calls.
/// Returns the index of the time from which on the calls are not known. A call across the border of
/// two parts is seen whole when the called span began within a minute.
///
/// # Errors
/// The errors of [`Reader::aggregate_graph`].
pub fn sums_in_parts<K: AggregatedCalls>(
    reader: &Reader,
    between: &[UnixNanos],
    mut visit: impl FnMut(usize, Vec<EdgeCalls<K>>),
) -> Result<usize, QueryError> {
    let (mut first, last) = (0, between.len().saturating_sub(1));
    let mut length = if reader.may_miss_spans() { 0 } else { last };
    while first < last && length > 0 {
        let end = last.min(first + length);
        let trail = if end < last { LEAD } else { DurationNanos(0) };
        // The rest is otherwise read call by call. That costs more, but it has exact durations.
        let without_rollups = end == last && K::DETAIL == GraphDetail::Counts;
        let part = bounds(reader, &between[first..=end]);
        // A row that is only counted takes less than half of the memory of one in `calls`.
        let rows_max = if without_rollups { 2 * part.rows_max } else { part.rows_max };
        match sums_of(reader, GraphBounds { trail, without_rollups, rows_max, ..part })? {
            Some(sums) => {
                visit(first, sums);
                first = end;
                // The later part may need less memory, so a longer part is tried.
                length = if length < FEW_RANGES { 2 * length } else { length };
            }
            None => length = (end - first) / 2,
        }
    }
    Ok(first)
}

/// Every call whose called span began in this range, and whether the whole range was read.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn calls(reader: &Reader, range: TimeRange) -> Result<(Vec<SingleCalls>, bool), QueryError> {
    let filter = SpanFilter { start: range, ..SpanFilter::default() };
    let search = GraphSearch { filter, ..GraphSearch::default() };
    let window = Some(Window::new(reader, range, None)?);
    let (graph, _, stats) = gather::<Vec<EdgeCall>>(reader, &selection(&search, window), window)?;
    Ok((graph.into_calls(), stats.complete))
}

fn service(name: &str) -> NodeKey {
    (NodeKind::Service, name.to_owned())
}

/// The node of the users, under the name that Tempo and the Collector use.
fn user() -> NodeKey {
    (NodeKind::User, "user".to_owned())
}

impl<K: SingleCallAccumulator> Graph<K> {
    /// Adds the nodes and edges of these spans, which are of one trace, to the graph. Returns the
    /// number of spans.
    fn add<'n>(
        &mut self,
        trace_id: TraceId,
        spans: &[GraphSpan],
        name: impl Fn(u32) -> &'n str,
        window: Option<Window>,
        open: &mut HashMap<u64, OpenSpan>,
    ) -> u64 {
        let mut rows = 0;
        for of in graph_calls(trace_id, spans) {
            rows += u64::from(of.part == GraphPart::Span);
            let (call, facts) = (of.call, &spans[of.span].facts);
            if window.is_some_and(|window| !window.contains(call.exemplar.start_unix_nano)) {
                continue;
            }
            let own = service(name(facts.service));
            match of.part {
                GraphPart::Span => self.node(own).spans += 1,
                GraphPart::Served => self.node(own).served.add(&call),
                GraphPart::Entry => self.node(own).entries += 1,
                GraphPart::Called { caller, kind, waited } => {
                    let from = service(name(spans[caller].facts.service));
                    self.edge(from, own, kind).keep(&call, waited);
                }
                GraphPart::UserRequest => self.edge(user(), own, EdgeKind::Call).keep(&call, None),
                GraphPart::Open => {
                    let has_parent = facts.parent_span_id.is_some();
                    let open_span = OpenSpan { service: own.1, kind: facts.kind, has_parent, call };
                    open.insert(facts.content_hash, open_span);
                }
            }
        }
        rows
    }

    fn add_open(&mut self, open: &OpenSpan, peer: Option<&Peer>) {
        let (kind, name) = match peer {
            Some(peer) => (peer.kind, peer.name.as_str()),
            // A consumer whose queue has no name is an ordinary entry.
            None if open.kind == SpanKind::Consumer => {
                if !open.has_parent {
                    let edge = self.edge(user(), service(&open.service), EdgeKind::Message);
                    edge.keep(&open.call, None);
                }
                return;
            }
            None => (NodeKind::Unknown, ""),
        };
        let there = self.peer(kind, name);
        if let Some(system) = peer.and_then(|peer| peer.system.as_deref()) {
            self.run_by(there.clone(), system);
        }
        let is_taken = open.kind == SpanKind::Consumer;
        let waited = !is_taken && open.call.timed;
        let edge = self.open_edge(&open.service, open.kind, there, 1);
        edge.keep(&open.call, waited.then_some(open.call.exemplar.duration_nano));
    }
}

impl<K: Default> Graph<K> {
    fn new() -> Self {
        Self { nodes: BTreeMap::new(), edges: BTreeMap::new(), caller_only: BTreeMap::new() }
    }

    fn node(&mut self, key: NodeKey) -> &mut NodeTotals {
        self.nodes.entry(key).or_default()
    }

    /// The calls of an edge. Adds both nodes.
    fn edge(&mut self, from: NodeKey, to: NodeKey, kind: EdgeKind) -> &mut K {
        self.node(from.clone());
        self.node(to.clone());
        self.edges.entry((from, to, kind)).or_default()
    }

    /// The node of a peer's name. All services have to be known before.
    fn peer(&self, kind: NodeKind, name: &str) -> NodeKey {
        let instrumented = service(name);
        let is_known = kind == NodeKind::External && self.nodes.contains_key(&instrumented);
        if is_known { instrumented } else { (kind, name.to_owned()) }
    }

    fn run_by(&mut self, there: NodeKey, system: &str) {
        let node = self.node(there);
        node.system = node.system.take().max(Some(system.to_owned()));
    }

    /// Returns the edge of an open span: its calls of the peer or, for a consumer, its messages
    /// from there. Corrects the node's entries by this number of calls.
    fn open_edge(&mut self, of: &str, kind: SpanKind, there: NodeKey, calls: u64) -> &mut K {
        let here = service(of);
        if kind == SpanKind::Consumer {
            let node = self.node(here.clone());
            node.entries = node.entries.saturating_sub(calls);
            return self.edge(there, here, EdgeKind::Message);
        }
        let is_message = kind == SpanKind::Producer;
        let how = if is_message { EdgeKind::Message } else { EdgeKind::Call };
        if there.0 == NodeKind::Service {
            let key = (here.clone(), there.clone(), how);
            *self.caller_only.entry(key).or_default() += calls;
        }
        self.edge(here, there, how)
    }

    fn into_calls(self) -> Vec<EdgeCalls<K>> {
        let calls = |((from, to, kind), calls)| EdgeCalls { from, to, kind, calls };
        self.edges.into_iter().map(calls).collect()
    }
}

impl<K: RollupAccumulator> Graph<K> {
    /// Returns the graph of an aggregate. Nodes have numbers when the aggregate has calls.
    fn from_aggregate(aggregate: &GraphAggregate) -> Self {
        let measures: Vec<_> = Measures::by_key(aggregate).collect();
        Self::from_measures(&measures)
    }

    /// Returns the graph of the calls in these time ranges of an aggregate.
    fn from_ranges(aggregate: &GraphAggregate, ranges: &Range<u32>) -> Self {
        let is_in = |measures: Measures<'_>| match measures {
            Measures::Calls(range, _) => ranges.contains(&range),
            Measures::Counts(_) => false,
        };
        let measures = Measures::by_key(aggregate).filter(|(_, measures)| is_in(*measures));
        Self::from_measures(&measures.collect::<Vec<_>>())
    }

    fn from_measures(measures: &[(GraphKey<&str>, Measures<'_>)]) -> Self {
        let mut graph = Self::new();
        for (key, measures) in measures.iter().copied() {
            let calls = measures.calls();
            match (key, calls) {
                (GraphKey::Spans(name), _) => {
                    graph.node(service(name)).spans += calls.map_or(0, |calls| calls.count);
                }
                (GraphKey::Entries(name), Some(calls)) => {
                    graph.node(service(name)).entries += calls.count;
                }
                (GraphKey::Served(name), Some(calls)) => {
                    graph.node(service(name)).served.merge(calls);
                }
                (GraphKey::User { to, kind }, _) => {
                    graph.edge(user(), service(to), kind).add_calls(measures);
                }
                (GraphKey::Called { from, to, kind }, _) => {
                    graph.edge(service(from), service(to), kind).add_calls(measures);
                }
                (GraphKey::Waited { from, to, kind }, Some(_)) => {
                    graph.edge(service(from), service(to), kind).add_waited(measures);
                }
                _ => {}
            }
        }
        // All services are known now.
        for (key, measures) in measures.iter().copied() {
            let calls = measures.calls();
            match (key, calls) {
                (GraphKey::Open { service, kind, peer, peer_kind }, _) => {
                    let there = graph.peer(peer_kind, peer);
                    let count = calls.map_or(0, |calls| calls.count);
                    let edge = graph.open_edge(service, kind, there, count);
                    edge.add_calls(measures);
                    if kind != SpanKind::Consumer {
                        edge.add_waited(measures);
                    }
                }
                (GraphKey::System { peer, peer_kind, system }, Some(_)) => {
                    graph.run_by((peer_kind, peer.to_owned()), system);
                }
                _ => {}
            }
        }
        graph
    }
}

impl Graph<Edge> {
    /// Counts the calls of nodes that send no spans by the calls that others make to them. Queues
    /// without a known sender count the messages that are taken from them.
    fn count_uninstrumented(&mut self) {
        for ((_, to, _), edge) in &self.edges {
            if to.0 != NodeKind::Service
                && let Some(node) = self.nodes.get_mut(to)
            {
                node.served.merge(&edge.calls);
            }
        }
        let queues = self.nodes.iter().filter(|(key, _)| key.0 == NodeKind::Messaging);
        let only_taken = queues.filter(|(_, node)| node.served.count == 0);
        let only_taken: BTreeSet<NodeKey> = only_taken.map(|(key, _)| key.clone()).collect();
        for ((from, _, _), edge) in &self.edges {
            if only_taken.contains(from)
                && let Some(node) = self.nodes.get_mut(from)
            {
                node.served.merge(&edge.calls);
            }
        }
    }

    fn view(
        self,
        reader: &Reader,
        search: &GraphSearch,
        window: Window,
        before: Option<GraphBefore>,
        stats: ScanStats,
    ) -> ServiceGraph {
        let folded = self.folded(search);
        let before = before.map(|before| before.into_rows(&self, &folded, search));
        let rows = self.into_rows(&folded);
        let places: BTreeMap<&GraphRowKey, u32> = rows.nodes.keys().zip(0..).collect();
        let edge_count = rows.edges.len() as u64;
        let edge = |(key, row): (&EdgeRowKey, &EdgeRow)| {
            let was = before.as_ref().and_then(|before| before.edge(key));
            row.view((places[&key.0], places[&key.1], key.2), window, was)
        };
        let mut edges: Vec<GraphEdge> = rows.edges.iter().map(edge).collect();
        edges.sort_by(|one, other| {
            let changed = weight(other).total_cmp(&weight(one));
            changed.then_with(|| other.call_count.cmp(&one.call_count))
        });
        edges.truncate(EDGES_MAX);
        let node = |(key, row): (GraphRowKey, NodeRow)| {
            let was = before.as_ref().and_then(|before| before.node(&key));
            row.view(key, window, was)
        };
        let nodes: Vec<GraphNode> = rows.nodes.into_iter().map(node).collect();
        ServiceGraph {
            window: window.view(),
            known_since_unix_nano: before.as_ref().map(RowsBefore::start),
            service_count: nodes.iter().filter(|node| node.span_count > 0).count() as u64,
            endpoint_count: nodes.iter().map(endpoints).sum(),
            nodes,
            edges,
            edge_count,
            searched: search_stats(reader, stats),
        }
    }
}

/// Number of endpoints without spans that a node stands for. Queues, the users and nodes without a
/// name are none.
fn endpoints(node: &GraphNode) -> u64 {
    match node.kind {
        NodeKind::Service | NodeKind::Messaging | NodeKind::User => 0,
        _ => node.folded_count.unwrap_or_else(|| u64::from(!node.name.is_empty())),
    }
}
