//! Peers without spans that the calls of traces name.
//!
//! Only the attributes of the calling span name a peer. They are read for the calls in question and
//! for no others, and not again if the rows of the trace were kept with them. Owns the rule for the
//! peer that a service is said to wait for on the critical path: it has more than half of that time.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    slice,
    sync::Arc,
};

use tidings_proto::{DurationNanos, UnixNanos, api::ServiceTime, otlp::SpanKind};
use tidings_storage::{Peer, Projection, Scan, SpanFilter, SpanRows, TimeRange};

use super::{
    of_trace,
    summary::{calls_of_peers, plus},
    trace_rows::{GatheredTraces, Names},
    tree::Tree,
};
use crate::{QueryError, execution::Reader};

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

/// Distinct peers, which many spans share.
#[derive(Debug, Default)]
struct DistinctPeers {
    peers: HashSet<Arc<Peer>>,
    /// Approximate memory of the peers.
    bytes: u64,
}

impl DistinctPeers {
    /// Returns this peer as the set has it, and adds it first if the set lacks it.
    fn shared(&mut self, peer: Peer) -> Arc<Peer> {
        if let Some(known) = self.peers.get(&peer) {
            return Arc::clone(known);
        }
        let texts = peer.name.len() + peer.system.as_ref().map_or(0, String::len);
        self.bytes += (size_of::<Peer>() + texts) as u64;
        let peer = Arc::new(peer);
        self.peers.insert(Arc::clone(&peer));
        peer
    }
}

/// Reads the peers that these spans name, which are given by content hash. At most `rows_max` rows
/// of each kind of span are read, and no more after the peers exceed
/// [`QueryLimits::view_bytes_max`](crate::QueryLimits::view_bytes_max).
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
    let bytes_max = reader.limits.view_bytes_max;
    let mut distinct = DistinctPeers::default();
    for (kind, mut unread) in counts {
        let filter = SpanFilter { kind: Some(kind), ..filter.clone() };
        let scan = Scan { detail: Projection::Attributes, rows_max };
        let stats = reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if distinct.bytes > bytes_max {
                    return Ok(ControlFlow::Break(()));
                }
                let content_hash = rows.content_hash(row);
                if !open.contains_key(&content_hash) || found.peers.contains_key(&content_hash) {
                    continue;
                }
                let peer = peer_of(rows, row, kind);
                found.peers.insert(content_hash, peer.map(|peer| distinct.shared(peer)));
                unread = unread.saturating_sub(1);
            }
            Ok(if unread == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        found.complete &= unread == 0 || stats.complete && distinct.bytes <= bytes_max;
    }
    Ok(found)
}

/// Returns the peer that the span in this row names, which is of this kind.
fn peer_of(rows: &SpanRows, row: usize, kind: SpanKind) -> Option<Peer> {
    Peer::from_attributes(kind, |key| rows.attribute_text(row, key).map(Cow::into_owned))
}

/// Adds the names and the times of the peers that services wait for on the critical path of this
/// trace, which was gathered. Reads the calls again unless rows were kept.
pub(crate) fn read_waiting_peers(
    reader: &Reader,
    tree: &Tree,
    gathered: &GatheredTraces,
    times: &mut [ServiceTime],
) -> Result<(), QueryError> {
    let calls = critical_calls(tree);
    let peers = if gathered.portions().is_empty() {
        let open = calls.iter().map(|node| (tree.fact(*node).content_hash, tree.fact(*node).kind));
        let open: HashMap<u64, SpanKind> = open.collect();
        let filter = SpanFilter { start: starts(tree, &calls), ..of_trace(tree.trace_id) };
        let rows_max = reader.limits.page_rows_max;
        peers_of_spans(reader, &filter, rows_max, &open, |kind| *kind)?
    } else {
        let peers = calls.iter().map(|node| {
            let (fact, (rows, row)) = (tree.fact(*node), gathered.row(tree.place(*node)));
            (fact.content_hash, peer_of(rows, row, fact.kind).map(Arc::new))
        });
        PeersOfSpans { peers: peers.collect(), complete: true }
    };
    name_waiting_peers(times, slice::from_ref(tree), &gathered.names, &peers);
    Ok(())
}

/// Returns the range in which the spans of these nodes start as they were sent. It has no bounds
/// when the tree's times are adjusted.
fn starts(tree: &Tree, nodes: &[usize]) -> TimeRange {
    if !tree.offsets().is_empty() {
        return TimeRange::default();
    }
    let all = || nodes.iter().map(|node| tree.fact(*node).start);
    let end = all().max().and_then(|last| last.0.checked_add(1)).map(UnixNanos);
    TimeRange { start: all().min(), end }
}

/// Adds to the times of services in these traces the name of the peer that each waits for on the
/// critical path, and how long it does.
pub(crate) fn name_waiting_peers(
    times: &mut [ServiceTime],
    trees: &[Tree],
    names: &Names,
    peers: &PeersOfSpans,
) {
    let mut waits: BTreeMap<(&str, &str), DurationNanos> = BTreeMap::new();
    for tree in trees {
        for node in critical_calls(tree) {
            let fact = tree.fact(node);
            let Some(peer) = peers.get(fact.content_hash) else { continue };
            let wait = waits.entry((names.text(fact.service), peer.name.as_str())).or_default();
            *wait = plus(*wait, tree.assembled.nodes[node].critical_time);
        }
    }
    let mut longest: BTreeMap<&str, (DurationNanos, &str)> = BTreeMap::new();
    for ((service, peer), wait) in waits {
        let most = longest.entry(service).or_default();
        if wait > most.0 {
            *most = (wait, peer);
        }
    }
    for time in times {
        let Some((wait, peer)) = longest.get(time.service.as_str()) else { continue };
        if wait.0 > time.critical_waiting_nano.0 / 2 {
            time.critical_waiting_peer = Some((*peer).to_owned());
            time.critical_waiting_peer_nano = Some(*wait);
        }
    }
}

/// Returns the nodes that call a peer without spans and have time on the critical path.
fn critical_calls(tree: &Tree) -> Vec<usize> {
    let calls_peer = calls_of_peers(tree);
    let nodes = &tree.assembled.nodes;
    let is_critical = |node: &usize| calls_peer[*node] && nodes[*node].critical_time.0 > 0;
    tree.indexes().filter(is_critical).collect()
}
