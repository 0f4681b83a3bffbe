//! Rows of a graph's answer: the part of the graph around a node, and peers folded into one node.
//!
//! Runs on the whole graph, after its calls are counted and before edges are left out. Edges that
//! are folded are merged like any others: counts, exemplars and histograms. Owns the choice of the
//! peers that stay single. Does not own the numbers of nodes and edges, and how they are compared.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
};

use tidings_proto::api::{EdgeKind, GraphEdge, GraphNode, NodeKind};
use tidings_storage::Calls;

use super::{
    Edge, Graph, GraphSearch, NodeKey, NodeTotals,
    graph_comparison::{EarlierCalls, fails_more, may_be_slower, may_fail_more, slower_factor},
};
use crate::{QueryError, analysis::window::Window, suggest::closest, trace::summary::ratio};

/// Maximum number of peers of a folded node that are listed.
const LARGEST_MAX: usize = 20;
/// Factor by which databases and hosts must outnumber the destinations to be folded. Each of them
/// is an important part of the graph, and few systems have many.
const OTHERS_FACTOR: u64 = 4;

/// Peers that are folded together: their kind, and their system.
pub(super) type PeerGroup = (NodeKind, Option<String>);

/// The peers that are folded, with their groups.
pub(super) type FoldedPeers = HashMap<NodeKey, PeerGroup>;

/// Key of a row of the answer: single nodes come first, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GraphRowKey {
    Single(NodeKey),
    Folded(PeerGroup),
}

/// Key of an edge of the answer: caller, callee and kind.
pub(super) type EdgeRowKey = (GraphRowKey, GraphRowKey, EdgeKind);

/// A node of the answer.
#[derive(Debug, Default)]
pub(super) struct NodeRow {
    totals: NodeTotals,
    /// The peers that are folded into it, by name.
    folded: Vec<(String, NodeTotals)>,
}

/// An edge of the answer.
#[derive(Debug)]
pub(super) struct EdgeRow {
    edge: Edge,
    /// Number of calls for which a called service sent no span, although it sends others.
    caller_only: u64,
}

/// Nodes and edges of the answer.
#[derive(Debug, Default)]
pub(super) struct GraphRows {
    pub(super) nodes: BTreeMap<GraphRowKey, NodeRow>,
    pub(super) edges: BTreeMap<EdgeRowKey, EdgeRow>,
}

impl Graph<Edge> {
    /// Refuses a centre that begins with a misspelt kind, such as `servise:shop`, when no node has
    /// that name. Other names with a colon are names of peers, which need not be in this graph.
    pub(super) fn check_kind(
        &self,
        (kind, name): &(Option<NodeKind>, String),
    ) -> Result<(), QueryError> {
        let kinds = NodeKind::ALL.map(NodeKind::word);
        let word = name.split_once(':').filter(|_| kind.is_none()).map(|(word, _)| word);
        let Some((word, meant)) = word.and_then(|word| Some((word, closest(word, kinds)?))) else {
            return Ok(());
        };
        if self.nodes.keys().any(|(_, known)| known == name) {
            return Ok(());
        }
        let reason = format!(
            "`around` names no node of this graph, and `{word}` is no kind: did you mean `{meant}`? Kinds are {}",
            kinds.join(", ")
        );
        Err(QueryError::parameter("around", reason))
    }

    /// Returns the nodes at most `depth` calls above or below a node. Without a kind, a service
    /// comes before other nodes of its name.
    pub(super) fn around(
        &self,
        (kind, name): &(Option<NodeKind>, String),
        depth: u32,
    ) -> BTreeSet<NodeKey> {
        let is_centre =
            |(of, other): &&NodeKey| other == name && kind.is_none_or(|kind| kind == *of);
        let centre: BTreeSet<NodeKey> =
            self.nodes.keys().find(is_centre).cloned().into_iter().collect();
        let mut found = centre.clone();
        for is_below in [true, false] {
            let (mut last, mut met) = (centre.clone(), centre.clone());
            for _ in 0..depth {
                let next = self.edges.keys().filter_map(|(from, to, _)| {
                    let (near, far) = if is_below { (from, to) } else { (to, from) };
                    (last.contains(near) && !met.contains(far)).then(|| far.clone())
                });
                last = next.collect();
                met.extend(last.iter().cloned());
            }
            found.append(&mut met);
        }
        found
    }

    /// Keeps these nodes and the edges between them.
    pub(super) fn keep(&mut self, kept: &BTreeSet<NodeKey>) {
        self.nodes.retain(|key, _| kept.contains(key));
        self.edges.retain(|(from, to, _), _| kept.contains(from) && kept.contains(to));
    }

    /// Returns the rows of the answer.
    pub(super) fn into_rows(self, folded: &FoldedPeers) -> GraphRows {
        let row = |key: NodeKey| match folded.get(&key) {
            Some(group) => GraphRowKey::Folded(group.clone()),
            None => GraphRowKey::Single(key),
        };
        let mut rows = GraphRows::default();
        for (key, totals) in self.nodes {
            let name = key.1.clone();
            match row(key) {
                key @ GraphRowKey::Single(_) => {
                    rows.nodes.insert(key, NodeRow { totals, folded: Vec::new() });
                }
                key @ GraphRowKey::Folded(_) => {
                    rows.nodes.entry(key).or_default().fold(name, totals);
                }
            }
        }
        for (key, edge) in self.edges {
            let caller_only = self.caller_only.get(&key).copied().unwrap_or_default();
            let (from, to, kind) = key;
            match rows.edges.entry((row(from), row(to), kind)) {
                Entry::Vacant(place) => {
                    place.insert(EdgeRow { edge, caller_only });
                }
                Entry::Occupied(sum) => sum.into_mut().merge(&edge, caller_only),
            }
        }
        rows
    }

    /// Returns the peers that the search folds. A group of more than it says is folded, except the
    /// peers that it names and those with most failed calls.
    pub(super) fn folded(&self, search: &GraphSearch) -> FoldedPeers {
        let Some(above) = search.fold else { return FoldedPeers::new() };
        let mut groups: BTreeMap<PeerGroup, Vec<&NodeKey>> = BTreeMap::new();
        for (key, totals) in &self.nodes {
            if matches!(key.0, NodeKind::Database | NodeKind::Messaging | NodeKind::External) {
                groups.entry((key.0, totals.system.clone())).or_default().push(key);
            }
        }
        let mut failed: HashMap<&NodeKey, u64> = HashMap::new();
        for ((from, to, _), edge) in &self.edges {
            for end in [from, to] {
                *failed.entry(end).or_default() += edge.calls.errors;
            }
        }
        let failed = |key: &NodeKey| failed.get(key).copied().unwrap_or_default();
        let is_named = |name: &String| {
            search.single.contains(name)
                || search.around.as_ref().is_some_and(|(_, centre)| centre == name)
        };
        let mut folded = FoldedPeers::new();
        for (group, mut peers) in groups {
            let factor = if group.0 == NodeKind::Messaging { 1 } else { OTHERS_FACTOR };
            if peers.len() as u64 <= factor * u64::from(above) {
                continue;
            }
            // The sort is stable: among peers with equally many failed calls, the first by name
            // comes first.
            peers.sort_by_key(|key| Reverse(failed(key)));
            let failing = peers.iter().take_while(|key| failed(key) > 0).count();
            let single = failing.min(search.failing as usize);
            let rest: Vec<&NodeKey> =
                peers.into_iter().skip(single).filter(|(_, name)| !is_named(name)).collect();
            if rest.len() > 1 {
                folded.extend(rest.into_iter().map(|key| (key.clone(), group.clone())));
            }
        }
        folded
    }
}

impl GraphRows {
    /// Returns the calls of a node.
    pub(super) fn calls_of_node(&self, key: &GraphRowKey) -> Option<&Calls> {
        self.nodes.get(key).map(|row| &row.totals.served)
    }

    /// Returns the calls of an edge.
    pub(super) fn calls_of_edge(&self, key: &EdgeRowKey) -> Option<&Calls> {
        self.edges.get(key).map(|row| &row.edge.calls)
    }
}

impl EdgeRow {
    /// Builds the API view of the edge: places of the caller and the callee, and the kind.
    pub(super) fn view(
        &self,
        (from, to, kind): (u32, u32, EdgeKind),
        window: Window,
        was: Option<EarlierCalls<'_>>,
    ) -> GraphEdge {
        let Edge { calls, caller } = &self.edge;
        GraphEdge {
            from,
            to,
            kind,
            call_count: calls.count,
            caller_only_count: self.caller_only,
            error_count: calls.errors,
            error_share: ratio(calls.errors, calls.count),
            rate_per_second: window.rate(calls.count),
            duration: calls.latency.stats(),
            caller_duration: (caller.count() > 0).then(|| caller.stats()),
            before: was.map(EarlierCalls::view),
            slower_factor: was.and_then(|was| slower_factor(calls, was.calls)),
            may_be_slower: was.is_some_and(|was| may_be_slower(calls, was.calls)),
            fails_more: fails_more(calls, was.map(|was| was.calls)),
            may_fail_more: was.is_some_and(|was| may_fail_more(calls, was.calls)),
            slowest: calls.slowest(),
            failed: calls.failed(),
        }
    }

    fn merge(&mut self, edge: &Edge, caller_only: u64) {
        self.edge.calls.merge(&edge.calls);
        self.edge.caller.merge(&edge.caller);
        self.caller_only += caller_only;
    }
}

impl NodeRow {
    fn fold(&mut self, name: String, totals: NodeTotals) {
        self.totals.served.merge(&totals.served);
        self.folded.push((name, totals));
    }

    /// Builds the API view of the node.
    pub(super) fn view(
        mut self,
        key: GraphRowKey,
        window: Window,
        was: Option<EarlierCalls<'_>>,
    ) -> GraphNode {
        match key {
            GraphRowKey::Single((kind, name)) => view(kind, name, self.totals, window, was),
            GraphRowKey::Folded((kind, system)) => {
                let folded_count = Some(self.folded.len() as u64);
                self.folded.sort_by_key(|(_, totals)| Reverse(totals.served.count));
                self.folded.truncate(LARGEST_MAX);
                let single = |(name, totals)| view(kind, name, totals, window, None);
                let largest = self.folded.into_iter().map(single).collect();
                let totals = NodeTotals { system: system.clone(), ..self.totals };
                let name = system.unwrap_or_default();
                GraphNode { folded_count, largest, ..view(kind, name, totals, window, was) }
            }
        }
    }
}

fn view(
    kind: NodeKind,
    name: String,
    totals: NodeTotals,
    window: Window,
    was: Option<EarlierCalls<'_>>,
) -> GraphNode {
    let NodeTotals { system, served, entries, spans } = totals;
    GraphNode {
        name,
        kind,
        system,
        call_count: served.count,
        error_count: served.errors,
        rate_per_second: window.rate(served.count),
        error_share: ratio(served.errors, served.count),
        entry_count: entries,
        span_count: spans,
        duration: served.latency.stats(),
        before: was.map(EarlierCalls::view),
        slower_factor: was.and_then(|was| slower_factor(&served, was.calls)),
        fails_more: fails_more(&served, was.map(|was| was.calls)),
        folded_count: None,
        largest: Vec::new(),
    }
}
