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
    components::change::change_words,
    drawings::{
        layers,
        network::{NetworkEdge, NetworkGraph, NetworkNode, NodeSign},
    },
    figures, format,
};

/// Fewer calls than this prove nothing.
const CALLS_MIN: u64 = 20;
/// A share of failures that is greater than before by this much is trouble.
const FAILING_FROM: f64 = 0.005;
/// Without a time before, so many failures are trouble.
const FAILING_ALONE: f64 = 0.05;

/// The name of a node in an address: its kind and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    kind: &'static str,
    name: String,
}

impl NodeName {
    /// That of a node of the API.
    #[must_use]
    pub fn from_node(node: &GraphNode) -> Self {
        Self { kind: kind_name(node.kind), name: node.name.clone() }
    }

    /// As it stands in an address: `service:payment`.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{}:{}", self.kind, self.name)
    }

    /// Reads it from an address; a name without a kind is a service's.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let kinds = ["service", "database", "messaging", "external", "unknown", "user"];
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) if kinds.contains(&kind) => (kind, name),
            _ => ("service", text),
        };
        let kind = kinds.into_iter().find(|known| *known == kind)?;
        Some(Self { kind, name: name.to_owned() })
    }

    /// The name with the kind that it has among these nodes: links that know none say *service*.
    #[must_use]
    pub fn among(self, nodes: &[GraphNode]) -> Self {
        let names = || nodes.iter().map(Self::from_node);
        if self.kind != "service" || names().any(|other| other == self) {
            return self;
        }
        let found = names().find(|other| other.name == self.name);
        found.unwrap_or(self)
    }

    /// As it is drawn.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.kind, self.name.as_str()) {
            (_, "") => "(unknown)".to_owned(),
            (_, name) => figures::cut(name, 60),
        }
    }
}

const fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Service => "service",
        NodeKind::Database => "database",
        NodeKind::Messaging => "messaging",
        NodeKind::External => "external",
        NodeKind::Unknown => "unknown",
        NodeKind::User => "user",
    }
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
    fn of_node(node: &GraphNode, window: &TimeWindow) -> Self {
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
            let words = (name.0.words(), name.1.words());
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

    /// Only what is at most `depth` calls above or below a node.
    #[must_use]
    pub fn around(&self, name: &NodeName, depth: u32) -> Self {
        let Some(focus) = self.place(name) else { return MapBuilder::default().finish() };
        let pairs: Vec<(u32, u32)> =
            self.network.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let kept = layers::around(self.names.len(), &pairs, focus, depth);
        let mut places = vec![None; self.names.len()];
        let mut parts = MapBuilder::default();
        for (at, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            places[at] = u32::try_from(parts.names.len()).ok();
            parts.names.push(self.names[at].clone());
            parts.nodes.push(self.nodes[at].clone());
            parts.node_numbers.push(self.node_numbers[at]);
            parts.cards.push(self.network.nodes[at].clone());
        }
        for (at, edge) in self.network.edges.iter().enumerate() {
            let place = |node: u32| places.get(node as usize).copied().flatten();
            let (Some(from), Some(to)) = (place(edge.from), place(edge.to)) else { continue };
            parts.curves.push(NetworkEdge { from, to, ..edge.clone() });
            parts.edges.push(self.edges[at].clone());
            parts.edge_numbers.push(self.edge_numbers[at]);
        }
        parts.finish()
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
    /// Marks the subject of a sentence with the words of its change; of a peer also the calls that
    /// the sentence is about.
    fn mark(&mut self, ChangeSentence { subject, change, .. }: &ChangeSentence) {
        let peer = subject.peer.as_deref().filter(|_| subject.kind == SubjectKind::Peer);
        let is_service = |name: &NodeName| name.kind == "service" && name.name == subject.service;
        let is_subject = |name: &NodeName| match peer {
            Some(peer) => name.kind != "service" && name.name == peer,
            None => is_service(name),
        };
        let words = change_words(change);
        for (card, _) in self.cards.iter_mut().zip(&self.names).filter(|(_, name)| is_subject(name))
        {
            card.is_culprit = true;
            card.title = format!("{}, {words}", card.title);
            card.alarm = Some(words.clone());
        }
        for curve in self.curves.iter_mut().filter(|_| peer.is_some()) {
            let name = |at: u32| self.names.get(at as usize);
            if name(curve.from).is_some_and(is_service) && name(curve.to).is_some_and(is_subject) {
                curve.has_failed = true;
                curve.title = format!("{}, {words}", curve.title);
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
    let name = NodeName::from_node(node).words();
    let system = node.system.as_ref().map(|system| format!(" ({})", figures::cut(system, 30)));
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
