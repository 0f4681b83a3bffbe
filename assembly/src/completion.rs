//! The path to completion: at each moment, the span that the last end was waiting for.
//!
//! Owns the chain of spans from the root to the span that ended last, and the waits between them.
//! The rule of the critical path divides the own time of each span. One loop goes down the chain
//! and one comes back up. Each span is visited once, as part of the chain or below it, so the total
//! is O(n log n).

use tidings_proto::{UnixNanos, api::PlaceRule};

use crate::{
    Assembled, Completion, CompletionSegment, Node, SpanFacts, Spent,
    critical::{PathWalk, Timed},
    order, plausible,
    times::{self, Extent},
};

/// Returns the path to completion: from the start of the first root to the last end below it. The
/// path is empty where no time passes.
///
/// `facts` are those that were assembled.
///
/// # Panics
/// When `facts` has fewer entries than were assembled.
#[must_use]
pub fn completion(assembled: &Assembled, facts: &[SpanFacts]) -> Completion {
    let nodes = &assembled.nodes;
    let facts = &*plausible::all(facts);
    let extents = times::extents(nodes, facts);
    let timed = Timed { nodes, facts, extents: &extents };
    let ends = last_ends(nodes, facts);
    let Some((root, whole)) = first_root(timed, &ends) else { return Completion::default() };
    let way = down(timed, &ends, root, whole);
    let mut path = up(timed, &way, whole.end);
    path.sort_unstable_by_key(|segment| segment.start);
    let outlives = extents[root].is_some_and(|extent| extent.end < whole.end);
    Completion { path, outlives }
}

/// Returns the last end at or below each node; 0 where none is known. A span without a start does
/// not count: its end does not show where it belongs.
fn last_ends(nodes: &[Node], facts: &[SpanFacts]) -> Vec<u64> {
    let mut ends = vec![0; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        let own = &facts[node.fact as usize];
        if own.start.0 != 0 {
            ends[at] = ends[at].max(own.end.max(own.start).0);
        }
        if let Some(parent) = node.parent {
            ends[parent as usize] = ends[parent as usize].max(ends[at]);
        }
    }
    ends
}

/// Returns the first root that lasts, parentless roots first, and the time that its path covers.
fn first_root(timed: Timed<'_>, ends: &[u64]) -> Option<(usize, Extent)> {
    let lasting = |root: usize| {
        let extent = timed.extents[root]?;
        let whole = Extent { end: extent.end.max(ends[root]), ..extent };
        (whole.start < whole.end).then_some((root, whole))
    };
    let names_no_parent = |root: &usize| timed.nodes[*root].rule == PlaceRule::NamesNoParent;
    let mut parentless = order::roots(timed.nodes).filter(names_no_parent);
    parentless.find_map(lasting).or_else(|| order::roots(timed.nodes).find_map(lasting))
}

/// A span between the root and the last end.
#[derive(Debug, Clone, Copy)]
struct Stage {
    node: usize,
    /// Time the span was open, cut to the time of the stage above it.
    open: Extent,
    /// True if the span has a start time.
    is_started: bool,
}

/// Returns the chain from the root down to the span that was open until the last end. Spans of
/// which no time before that end is known are left out.
fn down(timed: Timed<'_>, ends: &[u64], root: usize, whole: Extent) -> Vec<Stage> {
    let mut way = Vec::new();
    let mut begun = whole.start;
    let mut next = Some(root);
    while let Some(node) = next {
        let is_started = node == root || timed.facts[timed.nodes[node].fact as usize].start.0 != 0;
        let extent = timed.extents[node];
        if let Some(extent) = extent {
            let start = begun.max(extent.start);
            if is_started {
                begun = start;
            }
            if start <= whole.end {
                let open = Extent { start, end: extent.end.clamp(start, whole.end) };
                way.push(Stage { node, open, is_started });
            }
        }
        let is_last = is_started && extent.is_some_and(|extent| extent.end >= whole.end);
        let mut children = order::children(timed.nodes, node);
        next = if is_last { None } else { children.find(|child| ends[*child] == whole.end) };
    }
    way
}

/// Walks the chain back from the last end. Adds each span's part up to the handover to the next
/// one, and the wait of the next one.
fn up(timed: Timed<'_>, way: &[Stage], end: u64) -> Vec<CompletionSegment> {
    let mut walk = PathWalk::new(timed);
    let mut path = Vec::new();
    let mut back_to = end;
    let mut waiting = None;
    for Stage { node, open, is_started } in way.iter().rev() {
        if !is_started && open.start >= back_to {
            continue;
        }
        let handed_over = open.end.min(back_to);
        if let (Some(node), true) = (waiting, handed_over < back_to) {
            let (start, end) = (UnixNanos(handed_over), UnixNanos(back_to));
            path.push(CompletionSegment { node, spent: Spent::Waiting, start, end });
        }
        walk.divide(*node, *open, handed_over);
        back_to = open.start;
        waiting = u32::try_from(*node).ok();
    }
    walk.run();
    path.extend(walk.path.iter().map(|segment| CompletionSegment {
        node: segment.node,
        spent: Spent::Working,
        start: segment.start,
        end: segment.end,
    }));
    path
}
