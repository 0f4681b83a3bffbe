//! Calls of services and of their peers in a transaction, with count and latency.
//!
//! A call is a span that serves a request or takes a message, a span of another service than the
//! span above it, or a span without one above it. The caller is the service of the span above. A
//! span that calls a peer without spans is a call of the peer by its own service, and its self time
//! counts for the peer: waiting for a callee counts for the callee. Hops are made of names that
//! senders choose, so only those with most of the time are shown.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use tidings_assembly::Spent;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Hop, NodeKind},
    otlp::SpanKind,
};
use tidings_storage::{Peer, SpanFilter};

use crate::{
    QueryError,
    execution::Reader,
    trace::{
        called_peers::{PeersOfSpans, peers_of_spans},
        summary::{calls_of_peers, plus},
        trace_rows::Names,
        tree::Tree,
    },
};

/// Key of a call: caller, callee, operation and span kind, with names as numbers.
type HopKey<'a> = (Option<u32>, Callee<'a>, u32, i32);

/// Called side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Callee<'a> {
    /// Number of the service's name.
    Service(u32),
    /// Peer without spans; `None` when the calling span names none.
    Peer(Option<&'a Peer>),
}

impl<'a> Callee<'a> {
    /// Returns the called side of a span whose called side sent no span. An external peer with the
    /// name of one of these services is that service, as in the service graph.
    fn of_peer(peer: Option<&'a Peer>, services: &HashMap<&str, u32>) -> Self {
        let external = peer.filter(|peer| peer.kind == NodeKind::External);
        let service = external.and_then(|peer| services.get(peer.name.as_str()));
        service.map_or(Self::Peer(peer), |number| Self::Service(*number))
    }
}

/// Hops of a transaction.
#[derive(Debug)]
pub(crate) struct Hops {
    /// Hops with the most time on the path to completion, in order of their first call.
    pub shown: Vec<Hop>,
    /// Number of all hops.
    pub count: u64,
    /// Peers that the calling spans name.
    pub peers: PeersOfSpans,
}

/// Returns the call types of these traces.
pub(crate) fn hops(reader: &Reader, trees: &[Tree], names: &Names) -> Result<Hops, QueryError> {
    let peer_calls: Vec<Vec<bool>> = trees.iter().map(calls_of_peers).collect();
    let peers = peers(reader, trees, &peer_calls)?;
    let services = services(trees, names);
    let mut hops: BTreeMap<HopKey<'_>, Hop> = BTreeMap::new();
    for (tree, calls_peer) in trees.iter().zip(&peer_calls) {
        let times = completion_times(tree);
        // The call of a service that each span belongs to; a parent comes before its children.
        let mut calls: Vec<HopKey<'_>> = Vec::with_capacity(times.len());
        for (index, node) in tree.assembled.nodes.iter().enumerate() {
            let fact = tree.fact(index);
            let caller = node.parent.map(|parent| tree.fact(parent as usize).service);
            let is_call = fact.kind.serves() || caller != Some(fact.service);
            let (operation, kind) = (fact.operation, i32::from(fact.kind));
            let key = match node.parent {
                Some(parent) if !is_call => calls[parent as usize],
                _ => (caller, Callee::Service(fact.service), operation, kind),
            };
            calls.push(key);
            let mut hop = hops.entry(key).or_insert_with(|| unnamed_hop(fact.kind));
            if is_call {
                count_call(hop, tree, index);
            }
            if calls_peer[index] {
                let callee = Callee::of_peer(peers.get(fact.content_hash), &services);
                let key = (Some(fact.service), callee, operation, kind);
                hop = hops.entry(key).or_insert_with(|| unnamed_hop(fact.kind));
                count_call(hop, tree, index);
            }
            if is_call || calls_peer[index] {
                hop.self_nano = plus(hop.self_nano, node.self_time);
                hop.critical_nano = plus(hop.critical_nano, node.critical_time);
            }
            let CompletionTime { working, waiting } = times[index];
            hop.completion_nano = plus(hop.completion_nano, working);
            hop.waiting_nano = plus(hop.waiting_nano, waiting);
        }
    }
    let count = hops.len() as u64;
    let shown = longest_hops(hops, reader.limits.hops_shown_max, names);
    Ok(Hops { shown, count, peers })
}

/// Returns the hops with the most time on the path to completion, with their names, in order of
/// their first call.
fn longest_hops(hops: BTreeMap<HopKey<'_>, Hop>, shown_max: usize, names: &Names) -> Vec<Hop> {
    let mut hops: Vec<(HopKey<'_>, Hop)> = hops.into_iter().collect();
    hops.sort_by_key(|(_, hop)| (Reverse(path_time(hop)), hop.first_start_unix_nano));
    hops.truncate(shown_max);
    let mut shown: Vec<Hop> = hops.into_iter().map(|(key, hop)| named(key, hop, names)).collect();
    shown.sort_by(|a, b| order(a).cmp(&order(b)));
    shown
}

/// Returns the time of a hop on the path to completion.
fn path_time(hop: &Hop) -> DurationNanos {
    plus(hop.completion_nano, hop.waiting_nano)
}

/// Returns the index of the hop with the most time on the path to completion, the first of several;
/// `None` when no hop has any.
pub(crate) fn longest_index(hops: &[Hop]) -> Option<u32> {
    let (index, longest) = (0_u32..).zip(hops).min_by_key(|(_, hop)| Reverse(path_time(hop)))?;
    (path_time(longest).0 > 0).then_some(index)
}

/// Returns the services that sent spans of these traces, by name.
fn services<'a>(trees: &[Tree], names: &'a Names) -> HashMap<&'a str, u32> {
    let services = |tree: &Tree| -> HashSet<u32> {
        tree.indexes().map(|index| tree.fact(index).service).collect()
    };
    let numbers: HashSet<u32> = trees.iter().flat_map(services).collect();
    numbers.into_iter().map(|number| (names.text(number), number)).collect()
}

/// Returns the peers that the marked nodes call, by content hash of their spans.
fn peers(
    reader: &Reader,
    trees: &[Tree],
    peer_calls: &[Vec<bool>],
) -> Result<PeersOfSpans, QueryError> {
    let mut open: HashMap<u64, SpanKind> = HashMap::new();
    for (tree, calls_peer) in trees.iter().zip(peer_calls) {
        let calling = tree.indexes().filter(|index| calls_peer[*index]);
        open.extend(calling.map(|index| {
            let fact = tree.fact(index);
            (fact.content_hash, fact.kind)
        }));
    }
    let trace_ids = Some(trees.iter().map(|tree| tree.trace_id).collect());
    let filter = SpanFilter { trace_ids, ..SpanFilter::default() };
    peers_of_spans(reader, &filter, reader.limits.page_rows_max, &open, |kind| *kind)
}

/// Returns a hop without calls. Its names are added when it is shown.
fn unnamed_hop(kind: SpanKind) -> Hop {
    Hop {
        from_service: None,
        service: String::new(),
        peer_kind: None,
        system: None,
        operation: String::new(),
        kind: kind.into(),
        call_count: 0,
        error_count: 0,
        first_start_unix_nano: UnixNanos(u64::MAX),
        response_nano: Default::default(),
        response_max_nano: Default::default(),
        self_nano: Default::default(),
        critical_nano: Default::default(),
        completion_nano: Default::default(),
        waiting_nano: Default::default(),
    }
}

/// Returns the hop with the names of its key.
fn named((caller, callee, operation, _): HopKey<'_>, hop: Hop, names: &Names) -> Hop {
    let (service, peer_kind, system) = match callee {
        Callee::Service(service) => (names.text(service).to_owned(), None, None),
        Callee::Peer(None) => (String::new(), Some(NodeKind::Unknown), None),
        Callee::Peer(Some(peer)) => (peer.name.clone(), Some(peer.kind), peer.system.clone()),
    };
    Hop {
        from_service: caller.map(|service| names.text(service).to_owned()),
        service,
        peer_kind,
        system,
        operation: names.text(operation).to_owned(),
        ..hop
    }
}

fn count_call(hop: &mut Hop, tree: &Tree, index: usize) {
    let duration = tree.assembled.nodes[index].duration;
    hop.call_count += 1;
    hop.error_count += u64::from(tree.failed(index));
    hop.first_start_unix_nano = hop.first_start_unix_nano.min(tree.fact(index).start);
    hop.response_nano = plus(hop.response_nano, duration);
    hop.response_max_nano = hop.response_max_nano.max(duration);
}

/// Time of a node on the path to completion.
#[derive(Debug, Clone, Copy, Default)]
struct CompletionTime {
    working: DurationNanos,
    waiting: DurationNanos,
}

/// Returns the time of each node on the path to completion.
fn completion_times(tree: &Tree) -> Vec<CompletionTime> {
    let mut times = vec![CompletionTime::default(); tree.assembled.nodes.len()];
    for segment in tree.completion().path {
        let of = &mut times[segment.node as usize];
        let time = match segment.spent {
            Spent::Working => &mut of.working,
            Spent::Waiting => &mut of.waiting,
        };
        *time = plus(*time, segment.end.since(segment.start));
    }
    times
}

/// The order of hops: the first call, then all that distinguishes one hop from another.
fn order(hop: &Hop) -> impl Ord {
    let of_peer = (hop.peer_kind, &hop.system);
    let called = (&hop.from_service, &hop.service, &hop.operation, hop.kind as u8);
    (hop.first_start_unix_nano, called, of_peer)
}
