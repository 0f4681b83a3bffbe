//! The map's picture from the API's graph: cards, curves, those who begin transactions.

use std::{collections::HashMap, sync::Arc};

use tidings_proto::{
    DurationNanos,
    api::{
        ChangeSentence, EdgeKind, GraphEdge, GraphNode, LatencyStats, NodeKind, ServiceGraph,
        SubjectKind, TimeWindow,
    },
};

use super::{call_words, per_minute};
use crate::{
    components::change::{change_words, number_words},
    drawings::network::{NetworkEdge, NetworkGraph, NetworkNode, NodeSign},
    figures, format,
};

/// Fewer calls than this prove nothing.
const CALLS_MIN: u64 = 20;
/// A share of failures that is greater than before by this much is trouble.
const FAILING_FROM: f64 = 0.005;
/// Without a time before, so many failures are trouble.
const FAILING_ALONE: f64 = 0.05;

/// Maximum number of letters of a name.
const NAME_LETTERS_MAX: usize = 255;
/// Maximum number of names that a request keeps single.
const SINGLE_MAX: usize = 32;

/// The name of a node in an address: its kind and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    kind: NodeKind,
    /// Set when it stands for peers of this kind, whose system is the name.
    is_folded: bool,
    name: String,
}

impl NodeName {
    /// That of a node of the API.
    #[must_use]
    pub fn from_node(node: &GraphNode) -> Self {
        let is_folded = node.folded_count.is_some();
        Self { kind: node.kind, is_folded, name: node.name.clone() }
    }

    /// As it stands in an address: `service:payment`, and `messaging*:kafka` when it is folded.
    #[must_use]
    pub fn write(&self) -> String {
        let folded = if self.is_folded { "*" } else { "" };
        format!("{}{folded}:{}", self.kind.word(), self.name)
    }

    /// Reads it from an address; a name without a kind is a service's.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let (kind, name) = text.split_once(':').unwrap_or_default();
        let word = kind.trim_end_matches('*');
        match NodeKind::from_word(word) {
            Some(known) => Self { kind: known, is_folded: word != kind, name: name.to_owned() },
            None => Self { kind: NodeKind::Service, is_folded: false, name: text.to_owned() },
        }
    }

    /// The name with the kind that it has among these nodes: links that know none say *service*.
    #[must_use]
    pub fn among(self, nodes: &[GraphNode]) -> Self {
        let names = || nodes.iter().map(Self::from_node);
        if self.kind != NodeKind::Service || names().any(|other| other == self) {
            return self;
        }
        let found = names().find(|other| !other.is_folded && other.name == self.name);
        found.unwrap_or(self)
    }

    /// Tells whether it stands for several peers.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.is_folded
    }

    /// As it is written in panels and titles. A card cuts it to its room.
    #[must_use]
    pub fn words(&self) -> String {
        if self.name.is_empty() {
            "(unknown)".to_owned()
        } else {
            figures::cut(&self.name, NAME_LETTERS_MAX)
        }
    }
}

/// The name of a node as it is drawn; of folded peers their number, system and kind.
#[must_use]
pub fn node_words(node: &GraphNode) -> String {
    let Some(count) = node.folded_count else { return NodeName::from_node(node).words() };
    let kind = match node.kind {
        NodeKind::Messaging => "destination",
        NodeKind::Database => "database",
        _ => "host",
    };
    format::counted(count, format!("{} {kind}", figures::cut(&node.name, 30)).trim_start())
}

/// Tells whether a node is a single peer that has a name.
fn is_peer(node: &GraphNode) -> bool {
    let sends_none = !matches!(node.kind, NodeKind::Service | NodeKind::User);
    sends_none && node.folded_count.is_none() && !node.name.is_empty()
}

/// The peers that the page is about, which stay single: the subject of its sentence, and those of
/// the trace that lights up.
#[must_use]
pub fn named_peers(headline: Option<&ChangeSentence>, lit: Option<&ServiceGraph>) -> Vec<String> {
    let subject = headline.and_then(|headline| headline.subject.peer.clone());
    let nodes = lit.into_iter().flat_map(|graph| &graph.nodes);
    let of_trace = nodes.filter(|node| is_peer(node)).map(|node| node.name.clone());
    subject.filter(|name| !name.is_empty()).into_iter().chain(of_trace).take(SINGLE_MAX).collect()
}

/// The single peers of folded kinds and systems. The time before has them single too, so that each
/// node is compared with itself.
#[must_use]
pub fn beside_folded(graph: &ServiceGraph) -> Vec<String> {
    let group = |node: &GraphNode| (node.kind, node.system.clone());
    let folded = graph.nodes.iter().filter(|node| node.folded_count.is_some());
    let folded: Vec<_> = folded.map(group).collect();
    let single = graph.nodes.iter().filter(|node| is_peer(node) && folded.contains(&group(node)));
    single.map(|node| node.name.clone()).take(SINGLE_MAX).collect()
}

const fn sign_of(kind: NodeKind) -> NodeSign {
    match kind {
        NodeKind::Service => NodeSign::Service,
        NodeKind::Database => NodeSign::Database,
        NodeKind::Messaging => NodeSign::Queue,
        NodeKind::External | NodeKind::Unknown => NodeSign::Outside,
        NodeKind::User => NodeSign::User,
    }
}

/// Numbers of a node or an edge, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallNumbers {
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub errors: u64,
    /// Calls in a second.
    pub rate: f64,
    /// Durations of the calls.
    pub duration: LatencyStats,
}

impl CallNumbers {
    /// Numbers of a node.
    #[must_use]
    pub fn of_node(node: &GraphNode, window: &TimeWindow) -> Self {
        let rate = node.call_count as f64 / seconds(window);
        let (count, errors) = (node.call_count, node.error_count);
        Self { count, errors, rate, duration: node.duration }
    }

    const fn of_edge(edge: &GraphEdge) -> Self {
        let (count, errors) = (edge.call_count, edge.error_count);
        Self { count, errors, rate: edge.rate_per_second, duration: edge.duration }
    }

    /// Share of failed calls.
    #[must_use]
    pub fn failed(&self) -> f64 {
        figures::ratio(self.errors, self.count)
    }

    /// Tells whether more fail than before, or many where nothing is known of before.
    #[must_use]
    pub fn fails_more_than(&self, before: Option<&Self>) -> bool {
        let known = before.filter(|before| before.count >= CALLS_MIN);
        match known {
            Some(before) => {
                self.count >= CALLS_MIN && self.failed() - before.failed() >= FAILING_FROM
            }
            None => self.failed() >= FAILING_ALONE,
        }
    }

    /// Returns how many times as long as before the slowest twentieth takes, where that is longer.
    #[must_use]
    pub fn slower_than(&self, before: Option<&Self>) -> Option<f64> {
        let before = before.filter(|before| before.count >= CALLS_MIN)?;
        let (now, was) = (self.duration.p95_nano.0, before.duration.p95_nano.0);
        let times = now as f64 / was.max(1) as f64;
        (self.count >= CALLS_MIN && was > 0 && times >= 1.5).then_some(times)
    }
}

fn seconds(window: &TimeWindow) -> f64 {
    let nanos = window.end_unix_nano.since(window.start_unix_nano).0;
    (nanos as f64 / 1e9).max(1e-9)
}

/// The map: the picture and the numbers behind it, in the picture's order.
#[derive(Debug, Clone, PartialEq)]
pub struct MapGraph {
    /// The picture.
    pub network: Arc<NetworkGraph>,
    /// The name of each node.
    pub names: Vec<NodeName>,
    /// The API's nodes.
    pub nodes: Vec<GraphNode>,
    /// The API's edges.
    pub edges: Vec<GraphEdge>,
    /// Numbers of the nodes, now and before.
    pub node_numbers: Vec<(CallNumbers, Option<CallNumbers>)>,
    /// Numbers of the edges, now and before.
    pub edge_numbers: Vec<(CallNumbers, Option<CallNumbers>)>,
}

type EdgeName = (NodeName, NodeName, EdgeKind);

fn edge_name(graph: &ServiceGraph, edge: &GraphEdge) -> Option<EdgeName> {
    let name = |at: u32| graph.nodes.get(at as usize).map(NodeName::from_node);
    Some((name(edge.from)?, name(edge.to)?, edge.kind))
}

impl MapGraph {
    /// The map of a graph, measured by that of the time before; `lit` is the graph of a trace, and
    /// `headline` the sentence of the page, whose subject is marked.
    #[must_use]
    pub fn new(
        now: &ServiceGraph,
        before: Option<&ServiceGraph>,
        lit: Option<&ServiceGraph>,
        headline: Option<&ChangeSentence>,
    ) -> Self {
        let nodes_before: HashMap<NodeName, CallNumbers> = before
            .map(|graph| {
                let numbers =
                    |node| (NodeName::from_node(node), CallNumbers::of_node(node, &graph.window));
                graph.nodes.iter().map(numbers).collect()
            })
            .unwrap_or_default();
        let edges_before: HashMap<EdgeName, CallNumbers> = before
            .map(|graph| {
                let numbers = |edge| Some((edge_name(graph, edge)?, CallNumbers::of_edge(edge)));
                graph.edges.iter().filter_map(numbers).collect()
            })
            .unwrap_or_default();
        let lit_edges: Vec<EdgeName> = lit
            .map(|graph| graph.edges.iter().filter_map(|edge| edge_name(graph, edge)).collect())
            .unwrap_or_default();
        let lit_nodes: Vec<NodeName> = lit
            .map(|graph| graph.nodes.iter().map(NodeName::from_node).collect())
            .unwrap_or_default();

        let mut map = MapBuilder::default();
        for node in &now.nodes {
            let name = NodeName::from_node(node);
            let numbers = CallNumbers::of_node(node, &now.window);
            let was = nodes_before.get(&name).copied();
            map.cards.push(card(node, &numbers, was.as_ref(), lit_nodes.contains(&name)));
            map.names.push(name);
            map.nodes.push(node.clone());
            map.node_numbers.push((numbers, was));
        }
        let most = now.edges.iter().map(|edge| edge.call_count).max().unwrap_or(1).max(1);
        for edge in &now.edges {
            let Some(name) = edge_name(now, edge) else { continue };
            let numbers = CallNumbers::of_edge(edge);
            let was = edges_before.get(&name).copied();
            let ends = (edge.from, edge.to);
            let weight = ((edge.call_count as f64).ln_1p() / (most as f64).ln_1p()).powi(2);
            let words = |at: u32| now.nodes.get(at as usize).map(node_words).unwrap_or_default();
            let words = (words(edge.from), words(edge.to));
            let is_lit = lit_edges.contains(&name);
            map.curves.push(curve(edge, ends, words, (&numbers, was.as_ref()), weight, is_lit));
            map.edges.push(edge.clone());
            map.edge_numbers.push((numbers, was));
        }
        if let Some(headline) = headline.filter(|headline| headline.change.is_worse) {
            map.mark(headline);
        }
        map.finish()
    }

    /// The name of the node at a place, as it is drawn.
    #[must_use]
    pub fn words(&self, at: u32) -> String {
        self.nodes.get(at as usize).map(node_words).unwrap_or_default()
    }

    /// The place of a node by its name.
    #[must_use]
    pub fn place(&self, name: &NodeName) -> Option<u32> {
        let place = self.names.iter().position(|other| other == name)?;
        u32::try_from(place).ok()
    }
}

/// A map as it grows.
#[derive(Debug, Default)]
struct MapBuilder {
    names: Vec<NodeName>,
    nodes: Vec<GraphNode>,
    node_numbers: Vec<(CallNumbers, Option<CallNumbers>)>,
    cards: Vec<NetworkNode>,
    edges: Vec<GraphEdge>,
    edge_numbers: Vec<(CallNumbers, Option<CallNumbers>)>,
    curves: Vec<NetworkEdge>,
}

impl MapBuilder {
    /// Marks the subject of a sentence with the words and the numbers of its change; of a peer also
    /// the calls that the sentence is about.
    fn mark(&mut self, ChangeSentence { subject, change, .. }: &ChangeSentence) {
        let peer = subject.peer.as_deref().filter(|_| subject.kind == SubjectKind::Peer);
        let is_service =
            |name: &NodeName| name.kind == NodeKind::Service && name.name == subject.service;
        let is_subject = |name: &NodeName| match peer {
            Some(peer) => name.kind != NodeKind::Service && !name.is_folded && name.name == peer,
            None => is_service(name),
        };
        let (words, numbers) = (change_words(change), number_words(change));
        let measured = match &numbers {
            Some(numbers) => format!("{words}, {numbers}"),
            None => words.clone(),
        };
        for (card, _) in self.cards.iter_mut().zip(&self.names).filter(|(_, name)| is_subject(name))
        {
            card.is_culprit = true;
            card.title = format!("{}, {measured}", card.title);
            card.alarm = Some(words.clone());
            card.right = numbers.clone().unwrap_or_default();
        }
        for curve in self.curves.iter_mut().filter(|_| peer.is_some()) {
            let name = |at: u32| self.names.get(at as usize);
            if name(curve.from).is_some_and(is_service) && name(curve.to).is_some_and(is_subject) {
                curve.has_failed = true;
                curve.title = format!("{}, {measured}", curve.title);
            }
        }
    }

    fn finish(self) -> MapGraph {
        MapGraph {
            network: Arc::new(NetworkGraph::new(self.cards, self.curves)),
            names: self.names,
            nodes: self.nodes,
            edges: self.edges,
            node_numbers: self.node_numbers,
            edge_numbers: self.edge_numbers,
        }
    }
}

fn card(
    node: &GraphNode,
    numbers: &CallNumbers,
    was: Option<&CallNumbers>,
    is_lit: bool,
) -> NetworkNode {
    let failing = numbers.fails_more_than(was);
    let p95 = if numbers.duration.max_nano == DurationNanos(0) {
        String::new()
    } else {
        format::duration(numbers.duration.p95_nano)
    };
    let is_user = node.kind == NodeKind::User;
    let left = if is_user {
        "begins transactions".to_owned()
    } else if numbers.count == 0 {
        node.system.clone().unwrap_or_default()
    } else {
        per_minute(numbers.rate)
    };
    let words = if is_user {
        "here transactions begin".to_owned()
    } else if numbers.count == 0 {
        "calls nothing of its own is known of".to_owned()
    } else {
        format!("{}, p95 {p95}", call_words(numbers.rate, numbers.failed()))
    };
    let name = node_words(node);
    let system = node.system.as_ref().filter(|_| node.folded_count.is_none());
    let system = system.map(|system| format!(" ({})", figures::cut(system, 30)));
    NetworkNode {
        sign: sign_of(node.kind),
        left,
        right: p95,
        alarm: failing.then(|| figures::share(numbers.failed())),
        is_culprit: false,
        bar: numbers.failed(),
        bar_is_failures: true,
        title: format!("{name}{}: {words}", system.unwrap_or_default()),
        name,
        is_lit,
    }
}

fn curve(
    edge: &GraphEdge,
    (from, to): (u32, u32),
    (caller, called): (String, String),
    (numbers, was): (&CallNumbers, Option<&CallNumbers>),
    weight: f64,
    is_lit: bool,
) -> NetworkEdge {
    let p95 = format::duration(numbers.duration.p95_nano);
    NetworkEdge {
        from,
        to,
        label: format!("{} · {p95}", per_minute(numbers.rate)),
        title: format!(
            "{caller} calls {called}: {}, p95 {p95}",
            call_words(numbers.rate, numbers.failed())
        ),
        has_failed: numbers.fails_more_than(was)
            || numbers.slower_than(was).is_some_and(|times| times >= 2.0),
        is_message: edge.kind == EdgeKind::Message,
        is_critical: false,
        weight,
        is_lit,
    }
}

#[cfg(test)]
mod tests;
