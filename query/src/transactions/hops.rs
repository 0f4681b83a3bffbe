//! Calls of services and of their peers in a transaction, with count and latency.
//!
//! A call is a span that serves a request or takes a message, a span of another service than the
//! span above it, or a span without one above it. The caller is the service of the span above. A
//! span that calls a peer without spans is a call of the peer by its own service, and its own time
//! counts for the peer: waiting for a callee counts for the callee.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
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
    analysis::service_graph::peers_of_spans,
    execution::Reader,
    trace::{
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

/// Returns every call type, in order of its first call.
pub(crate) fn hops(reader: &Reader, trees: &[Tree], names: &Names) -> Result<Vec<Hop>, QueryError> {
    let peer_calls: Vec<Vec<bool>> = trees.iter().map(calls_of_peers).collect();
    let peers = peers(reader, trees, &peer_calls)?;
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
            let mut hop = hops.entry(key).or_insert_with(|| new_hop(key, fact.kind, names));
            if is_call {
                count_call(hop, tree, index);
            }
            if calls_peer[index] {
                let peer = peers.get(&fact.content_hash).map(|peer| &**peer);
                let key = (Some(fact.service), Callee::Peer(peer), operation, kind);
                hop = hops.entry(key).or_insert_with(|| new_hop(key, fact.kind, names));
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
    let mut hops: Vec<Hop> = hops.into_values().collect();
    hops.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(hops)
}

/// Returns the index of the hop with the most time on the path to completion, the last of several;
/// `None` when no hop has any.
pub(crate) fn longest_index(hops: &[Hop]) -> Option<u32> {
    let time = |hop: &Hop| plus(hop.completion_nano, hop.waiting_nano);
    let (index, longest) = (0_u32..).zip(hops).max_by_key(|(_, hop)| time(hop))?;
    (time(longest).0 > 0).then_some(index)
}

/// Returns the peers that the marked nodes call, by content hash of their spans.
fn peers(
    reader: &Reader,
    trees: &[Tree],
    peer_calls: &[Vec<bool>],
) -> Result<HashMap<u64, Arc<Peer>>, QueryError> {
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

fn new_hop((caller, callee, operation, _): HopKey<'_>, kind: SpanKind, names: &Names) -> Hop {
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
