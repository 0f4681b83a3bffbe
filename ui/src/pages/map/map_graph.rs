//! The map's picture from the API's graph: nodes as cards, edges as curves, and users.

use std::sync::Arc;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        ChangeKind, ChangeSentence, ChangedGroup, EdgeKind, GraphEdge, GraphNode, GroupStats,
        LatencyStats, NodeKind, ServiceGraph, SubjectKind,
    },
};

use super::{call_text, per_minute};
use crate::{
    charts::network::{
        EdgeAlarm, GraphSelection, NetworkEdge, NetworkGraph, NetworkNode, NodeIcon,
    },
    components::change::{CalledChange, change_text, number_text},
    format,
    format::rates,
    number_format,
    url::UrlQuery,
};

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
    /// Returns the name of a node of the API.
    #[must_use]
    pub fn from_node(node: &GraphNode) -> Self {
        let is_folded = node.folded_count.is_some();
        Self { kind: node.kind, is_folded, name: node.name.clone() }
    }

    /// Writes the name for an address: `service:payment`, or `messaging*:kafka` for folded peers.
    #[must_use]
    pub fn write(&self) -> String {
        let folded = if self.is_folded { "*" } else { "" };
        format!("{}{folded}:{}", self.kind.word(), self.name)
    }

    /// Reads a name from an address. A name without a kind is a service's.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let (kind, name) = text.split_once(':').unwrap_or_default();
        let word = kind.trim_end_matches('*');
        match NodeKind::from_word(word) {
            Some(known) => Self { kind: known, is_folded: word != kind, name: name.to_owned() },
            None => Self { kind: NodeKind::Service, is_folded: false, name: text.to_owned() },
        }
    }

    /// Returns the name with its kind among these nodes. Links without a kind name a service.
    #[must_use]
    pub fn resolve_kind(self, nodes: &[GraphNode]) -> Self {
        let names = || nodes.iter().map(Self::from_node);
        if self.kind != NodeKind::Service || names().any(|other| other == self) {
            return self;
        }
        let found = names().find(|other| !other.is_folded && other.name == self.name);
        found.unwrap_or(self)
    }

    /// Reports whether the name stands for several folded peers.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.is_folded
    }

    /// Returns the label for panels and titles. A card truncates it to its width.
    #[must_use]
    pub fn label(&self) -> String {
        let name = match self.kind {
            NodeKind::Service => format::service(&self.name),
            _ => format::peer(&self.name),
        };
        number_format::truncate(name, NAME_LETTERS_MAX)
    }
}

/// Writes the name of the picked node into an address, or those of the picked edge's caller and
/// callee.
pub fn write_pick(query: &mut UrlQuery, names: &[String]) {
    ["node", "caller", "callee"].into_iter().for_each(|key| query.remove(key));
    match names {
        [node] => query.push("node", node),
        [caller, callee] => {
            query.push("caller", caller);
            query.push("callee", callee);
        }
        _ => {}
    }
}

/// Reads the picked node or edge from an address. `index_of` returns the index of a node, and
/// `ends` are the indexes of the edges' callers and callees.
#[must_use]
pub fn read_pick(
    query: &UrlQuery,
    index_of: impl Fn(NodeName) -> Option<u32>,
    ends: impl IntoIterator<Item = (u32, u32)>,
) -> Option<GraphSelection> {
    let node = |key| index_of(NodeName::read(query.get(key)?));
    if let Some(node) = node("node") {
        return Some(GraphSelection::Node(node));
    }
    let picked = (node("caller")?, node("callee")?);
    let edge = ends.into_iter().position(|ends| ends == picked)?;
    u32::try_from(edge).ok().map(GraphSelection::Edge)
}

/// Returns the label of a node; for folded peers their number, system and kind.
#[must_use]
pub fn node_text(node: &GraphNode) -> String {
    let Some(count) = node.folded_count else { return NodeName::from_node(node).label() };
    let kind = match node.kind {
        NodeKind::Messaging => "destination",
        NodeKind::Database => "database",
        _ => "host",
    };
    format::counted(
        count,
        format!("{} {kind}", number_format::truncate(&node.name, 30)).trim_start(),
    )
}

/// Reports whether a node is a single peer with a name.
fn is_peer(node: &GraphNode) -> bool {
    let sends_none = !matches!(node.kind, NodeKind::Service | NodeKind::User);
    sends_none && node.folded_count.is_none() && !node.name.is_empty()
}

/// Reports whether a node stands for calls to endpoints that no span names.
pub(super) fn is_unknown(node: &GraphNode) -> bool {
    !matches!(node.kind, NodeKind::Service | NodeKind::Messaging | NodeKind::User)
        && node.folded_count.is_none()
        && node.name.is_empty()
}

/// Returns the peers that are not folded: the subject of the headline, and the peers of the
/// highlighted trace.
#[must_use]
pub fn unfolded_peers(
    headline: Option<&ChangeSentence>,
    lit: Option<&ServiceGraph>,
) -> Vec<String> {
    let subject = headline.and_then(|headline| headline.subject.peer.clone());
    let nodes = lit.into_iter().flat_map(|graph| &graph.nodes);
    let of_trace = nodes.filter(|node| is_peer(node)).map(|node| node.name.clone());
    subject.filter(|name| !name.is_empty()).into_iter().chain(of_trace).take(SINGLE_MAX).collect()
}

/// Reports whether a folded node of the graph may stand for one of these peers, too.
#[must_use]
pub fn may_fold(graph: &ServiceGraph, peers: &[String]) -> bool {
    let has_folded = graph.nodes.iter().any(|node| node.folded_count.is_some());
    let is_single =
        |name: &String| graph.nodes.iter().any(|node| is_peer(node) && node.name == *name);
    has_folded && !peers.iter().all(is_single)
}

const fn sign_of(kind: NodeKind) -> NodeIcon {
    match kind {
        NodeKind::Service => NodeIcon::Service,
        NodeKind::Database => NodeIcon::Database,
        NodeKind::Messaging => NodeIcon::Queue,
        NodeKind::External | NodeKind::Unknown => NodeIcon::Outside,
        NodeKind::User => NodeIcon::User,
    }
}

/// Maximum number of letters of a time that a card has room for. A time with a date is longer.
const TIME_LETTERS_MAX: usize = 5;
/// Maximum number of letters of a called endpoint that a card has room for.
const CALLED_LETTERS_MAX: usize = 8;

/// The change of a service or an endpoint, as the page Services has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CardChange {
    /// The service or the endpoint.
    name: String,
    /// Set when it sends no spans.
    is_endpoint: bool,
    /// The begin of the change, as `20:33`, and the numbers since then. `None` where the numbers
    /// are of the whole range.
    since: Option<(String, GroupStats)>,
    /// The change of another that this one only feels, as its badge on Services has it.
    felt: Option<String>,
    /// The changed endpoint that it calls, where the sentence of the service is about it.
    called: Option<CalledChange>,
}

impl CardChange {
    /// Returns the change of a group. `felt` has the change of another that it only feels, `called`
    /// has the changed endpoint that it calls, and `moment` writes a time. `None` for a group whose
    /// numbers are of the whole range and that no change elsewhere affects.
    #[must_use]
    pub fn from_group(
        group: &ChangedGroup,
        felt: Option<String>,
        called: Option<CalledChange>,
        moment: impl Fn(UnixNanos) -> String,
    ) -> Option<Self> {
        let since = group.since.map(|since| (moment(since.start_unix_nano), since.stats));
        (since.is_some() || felt.is_some() || called.is_some()).then(|| Self {
            name: group.service.clone(),
            is_endpoint: group.uninstrumented,
            since,
            felt,
            called,
        })
    }

    /// Reports whether this is the change of a node.
    fn matches_node(&self, node: &NodeName) -> bool {
        let is_service = node.kind == NodeKind::Service;
        let is_kind = is_service != self.is_endpoint && node.kind != NodeKind::User;
        is_kind && !node.is_folded && node.name == self.name
    }

    /// Returns the time of the numbers in words: `since 20:33`. `None` for the whole range.
    #[must_use]
    pub fn time_text(&self) -> Option<String> {
        self.since.as_ref().map(|(begin, _)| format!("since {begin}"))
    }

    /// Returns the words of the card: `since 20:33`, `changed` where that has a date, `affected` for
    /// one that only feels the change of another, or `→ northpay` for the caller of a changed
    /// endpoint. The words below the map say which time the numbers are of.
    fn card_text(&self) -> String {
        if let Some(CalledChange { name, .. }) = &self.called {
            let is_long = name.chars().nth(CALLED_LETTERS_MAX).is_some();
            // A cut name ends in an ellipsis.
            let letters = if is_long { CALLED_LETTERS_MAX - 1 } else { CALLED_LETTERS_MAX };
            return format!("→ {}", number_format::truncate(name, letters));
        }
        if self.felt.is_some() {
            return "affected".to_owned();
        }
        let begin = self.since.as_ref().map(|(begin, _)| begin);
        match begin.filter(|begin| begin.chars().count() <= TIME_LETTERS_MAX) {
            Some(begin) => format!("since {begin}"),
            None => "changed".to_owned(),
        }
    }

    /// Returns the change of another that this one only feels, as its badge on Services has it
    /// after `affected by`: `northpay since 20:33`.
    #[must_use]
    pub fn felt(&self) -> Option<&str> {
        self.felt.as_deref()
    }

    /// Returns the changed endpoint that it calls, where its sentence is about that.
    #[must_use]
    pub fn called(&self) -> Option<&CalledChange> {
        self.called.as_ref()
    }

    /// Reports whether a change elsewhere affects it.
    #[must_use]
    pub fn is_affected(&self) -> bool {
        self.felt.is_some() || self.called.is_some()
    }

    /// Reports whether no call came since the change.
    fn has_no_calls(&self) -> bool {
        self.since.as_ref().is_some_and(|(_, stats)| stats.count == 0)
    }
}

/// The map: the picture with its nodes and edges, in the picture's order.
#[derive(Debug, Clone, PartialEq)]
pub struct MapGraph {
    /// The picture.
    pub network: Arc<NetworkGraph>,
    /// The name of each node.
    pub names: Vec<NodeName>,
    /// The API's nodes. Those of `changes` with a time have the numbers since then.
    pub nodes: Vec<GraphNode>,
    /// The API's edges.
    pub edges: Vec<GraphEdge>,
    /// The change of each node; `None` where it has none.
    pub changes: Vec<Option<CardChange>>,
}

type EdgeName = (NodeName, NodeName, EdgeKind);

fn edge_name(graph: &ServiceGraph, edge: &GraphEdge) -> Option<EdgeName> {
    let name = |at: u32| graph.nodes.get(at as usize).map(NodeName::from_node);
    Some((name(edge.from)?, name(edge.to)?, edge.kind))
}

impl MapGraph {
    /// Makes the map of a graph. `lit` is the graph of a trace, whose nodes are highlighted.
    /// `headline` is the sentence of the page, whose subject is marked. `changes` has the changed
    /// services and endpoints.
    #[must_use]
    pub fn new(
        now: &ServiceGraph,
        lit: Option<&ServiceGraph>,
        headline: Option<&ChangeSentence>,
        changes: &[CardChange],
    ) -> Self {
        let lit_edges: Vec<EdgeName> = lit
            .map(|graph| graph.edges.iter().filter_map(|edge| edge_name(graph, edge)).collect())
            .unwrap_or_default();
        let lit_nodes: Vec<NodeName> = lit
            .map(|graph| graph.nodes.iter().map(NodeName::from_node).collect())
            .unwrap_or_default();

        let mut map = MapBuilder::default();
        for node in &now.nodes {
            let name = NodeName::from_node(node);
            let changed = changes.iter().find(|change| change.matches_node(&name));
            let since = changed.and_then(|change| change.since.as_ref());
            let node = since.map_or_else(|| node.clone(), |(_, stats)| node_since(node, stats));
            map.cards.push(card(&node, changed, lit_nodes.contains(&name)));
            map.names.push(name);
            map.nodes.push(node);
            map.changes.push(changed.cloned());
        }
        let most = now.edges.iter().map(|edge| edge.call_count).max().unwrap_or(1).max(1);
        for edge in &now.edges {
            let Some(name) = edge_name(now, edge) else { continue };
            let weight = ((edge.call_count as f64).ln_1p() / (most as f64).ln_1p()).powi(2);
            let words = |at: u32| now.nodes.get(at as usize).map(node_text).unwrap_or_default();
            let words = (words(edge.from), words(edge.to));
            let is_highlighted = lit_edges.contains(&name);
            map.curves.push(curve(edge, words, weight, is_highlighted));
            map.edges.push(edge.clone());
        }
        if let Some(headline) = headline.filter(|headline| headline.change.is_worse) {
            map.mark(headline);
        }
        map.finish()
    }

    /// Returns the label of the node at an index.
    #[must_use]
    pub fn label(&self, at: u32) -> String {
        self.nodes.get(at as usize).map(node_text).unwrap_or_default()
    }

    /// Returns the index of the node with a name.
    #[must_use]
    pub fn index_of(&self, name: &NodeName) -> Option<u32> {
        let index = self.names.iter().position(|other| other == name)?;
        u32::try_from(index).ok()
    }
}

/// Builder of a map.
#[derive(Debug, Default)]
struct MapBuilder {
    names: Vec<NodeName>,
    nodes: Vec<GraphNode>,
    cards: Vec<NetworkNode>,
    edges: Vec<GraphEdge>,
    curves: Vec<NetworkEdge>,
    changes: Vec<Option<CardChange>>,
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
        let (words, numbers) = (change_text(change), number_text(change));
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
            card.fails_more |= change.kind == ChangeKind::Errors;
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
            changes: self.changes,
        }
    }
}

/// Returns a node with its numbers since its change.
fn node_since(node: &GraphNode, stats: &GroupStats) -> GraphNode {
    let duration = LatencyStats {
        p50_nano: stats.p50_nano,
        p95_nano: stats.p95_nano,
        p99_nano: stats.p99_nano,
        ..node.duration
    };
    GraphNode {
        rate_per_second: stats.rate_per_second,
        error_share: stats.error_share,
        duration,
        ..node.clone()
    }
}

/// Returns the card of a node, whose numbers are those since its change if it has one.
fn card(node: &GraphNode, change: Option<&CardChange>, is_highlighted: bool) -> NetworkNode {
    let has_none = change.is_some_and(CardChange::has_no_calls);
    let p95 = if has_none || node.duration.max_nano == DurationNanos(0) {
        String::new()
    } else {
        format::duration(node.duration.p95_nano)
    };
    let is_user = node.kind == NodeKind::User;
    let left = if is_user {
        "begins transactions".to_owned()
    } else if node.call_count == 0 {
        node.system.clone().unwrap_or_default()
    } else if let Some(change) = change {
        change.card_text()
    } else {
        per_minute(node.rate_per_second)
    };
    let words = if is_user {
        "transactions begin here".to_owned()
    } else if node.call_count == 0 {
        "nothing is known of its own calls".to_owned()
    } else {
        format!("{}, p95 {p95}", call_text(node.rate_per_second, node.error_share))
    };
    let time = change.and_then(CardChange::time_text).map(|time| format!(" {time}"));
    let felt = change.and_then(CardChange::felt).map(|felt| format!(", affected by {felt}"));
    let called = change.and_then(CardChange::called).map(|called| format!(", {}", called.badge));
    let name = node_text(node);
    let system = node.system.as_ref().filter(|_| node.folded_count.is_none());
    let system = system.map(|system| format!(" ({})", number_format::truncate(system, 30)));
    let [system, time, felt, called] = [system, time, felt, called].map(Option::unwrap_or_default);
    let share = number_format::share(node.error_share);
    NetworkNode {
        sign: sign_of(node.kind),
        left,
        right: p95,
        alarm: None,
        share: if node.error_share > 0.0 { share } else { String::new() },
        is_culprit: false,
        is_affected: change.is_some_and(CardChange::is_affected),
        bar: node.error_share,
        fails_more: node.fails_more,
        title: format!("{name}{system}: {words}{time}{felt}{called}"),
        name,
        is_highlighted,
    }
}

fn curve(
    edge: &GraphEdge,
    (caller, called): (String, String),
    weight: f64,
    is_highlighted: bool,
) -> NetworkEdge {
    let p95 = format::duration(edge.duration.p95_nano);
    NetworkEdge {
        from: edge.from,
        to: edge.to,
        label: format!("{} · {p95}", per_minute(edge.rate_per_second)),
        alarm: edge_alarm(edge),
        title: format!(
            "{caller} calls {called}: {}, p95 {p95}",
            call_text(edge.rate_per_second, edge.error_share)
        ),
        has_failed: edge.fails_more || edge.slower_factor.is_some(),
        is_message: edge.kind == EdgeKind::Message,
        is_critical: false,
        weight,
        is_highlighted,
    }
}

/// Returns the number by which an edge is worse than before: the share that fails, or the factor of
/// its durations.
fn edge_alarm(edge: &GraphEdge) -> Option<EdgeAlarm> {
    if edge.fails_more {
        return Some(EdgeAlarm { number: number_format::share(edge.error_share), word: "fail" });
    }
    let number = rates::factor(edge.slower_factor?);
    Some(EdgeAlarm { number, word: "slower" })
}

#[cfg(test)]
mod tests;
