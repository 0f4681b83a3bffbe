//! The time in which each span was open, and its self time.
//!
//! Owns durations, self times, the rule for asynchronous spans, and the *extent* of a span: the
//! range of time in which it is known to have been open. Every subtraction is checked, because
//! clocks lie.

use tidings_proto::{DurationNanos, UnixNanos, otlp::SpanKind};

use crate::{Node, SpanFacts, order};

/// A range of time; `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Extent {
    /// Returns the part inside `window`; `None` when that has no length.
    pub(crate) fn within(self, window: Self) -> Option<Self> {
        let start = self.start.max(window.start);
        let end = self.end.min(window.end);
        (start < end).then_some(Self { start, end })
    }

    /// Returns the smallest extent that contains both.
    pub(crate) fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Returns true if the node is a CONSUMER under a PRODUCER. The parent did not wait for it, even
/// where the two overlap.
pub(crate) fn is_received(nodes: &[Node], facts: &[SpanFacts], node: usize) -> bool {
    let kind = |node: usize| facts[nodes[node].fact as usize].kind;
    nodes[node].parent.is_some_and(|parent| {
        kind(node) == SpanKind::Consumer && kind(parent as usize) == SpanKind::Producer
    })
}

/// Returns the time in which each node is known to have been open; `None` where no time is known.
///
/// A span without an end was open at least until the last moment known of its children. A span
/// without a start was open at least from their first. A child that came by message does not count.
pub(crate) fn extents(nodes: &[Node], facts: &[SpanFacts]) -> Vec<Option<Extent>> {
    let mut extents: Vec<Option<Extent>> = vec![None; nodes.len()];
    let mut below: Vec<Option<Extent>> = vec![None; nodes.len()];
    for node in (0..nodes.len()).rev() {
        let facts_of_node = &facts[nodes[node].fact as usize];
        let extent = extent(facts_of_node, below[node]);
        extents[node] = extent;
        if let (Some(extent), Some(parent)) = (extent, nodes[node].parent)
            && !is_received(nodes, facts, node)
        {
            let below = &mut below[parent as usize];
            *below = Some(below.map_or(extent, |below| below.hull(extent)));
        }
    }
    extents
}

fn extent(facts: &SpanFacts, below: Option<Extent>) -> Option<Extent> {
    match (facts.start.0, facts.end.0) {
        (0, 0) => below,
        (0, end) => Some(Extent { start: below.map_or(end, |below| below.start.min(end)), end }),
        (start, 0) => {
            Some(Extent { start, end: below.map_or(start, |below| below.end.max(start)) })
        }
        (start, end) => Some(Extent { start, end: end.max(start) }),
    }
}

/// Fills in the values that follow from the times of a node, its parent and its children.
pub(crate) fn fill(nodes: &mut [Node], facts: &[SpanFacts], extents: &[Option<Extent>]) {
    let mut open = Vec::new();
    for node in 0..nodes.len() {
        let own = &facts[nodes[node].fact as usize];
        nodes[node].asynchronous = is_asynchronous(nodes, facts, extents, node);
        if own.start.0 == 0 {
            continue;
        }
        let whole = Extent { start: own.start.0, end: own.end.0.max(own.start.0) };
        nodes[node].duration = duration(own);
        open.clear();
        open.extend(
            order::children(nodes, node)
                .filter_map(|child| extents[child].and_then(|child| child.within(whole))),
        );
        nodes[node].self_time = DurationNanos(nodes[node].duration.0 - covered(&mut open));
    }
}

/// Returns the time from start to end; zero where either is not known or the end comes first.
pub(crate) fn duration(facts: &SpanFacts) -> DurationNanos {
    let is_known = facts.start.0 != 0;
    DurationNanos(if is_known { facts.end.0.saturating_sub(facts.start.0) } else { 0 })
}

fn is_asynchronous(
    nodes: &[Node],
    facts: &[SpanFacts],
    extents: &[Option<Extent>],
    node: usize,
) -> bool {
    let Some(parent) = nodes[node].parent else { return false };
    if is_received(nodes, facts, node) {
        return true;
    }
    let parent = &facts[nodes[parent as usize].fact as usize];
    let Some(own) = extents[node].filter(|_| parent.end.0 != 0) else { return false };
    let parent_end = parent.end.max(parent.start).0;
    let unfinished = facts[nodes[node].fact as usize].end.0 == 0;
    own.end > parent_end || (unfinished && own.start == parent_end)
}

/// Returns the length of the union of the extents, in nanoseconds.
fn covered(stretches: &mut [Extent]) -> u64 {
    stretches.sort_unstable_by_key(|stretch| stretch.start);
    let mut total = 0;
    let mut reached = 0;
    for stretch in stretches {
        let start = stretch.start.max(reached);
        if stretch.end > start {
            total += stretch.end - start;
            reached = stretch.end;
        }
    }
    total
}

/// Returns true if the node was open for a known time above zero.
pub(crate) fn lasts(extents: &[Option<Extent>], node: u32) -> bool {
    extents[node as usize].is_some_and(|extent| extent.start < extent.end)
}

/// Returns the bounds of the trace: from the earliest start to the latest end of the spans whose
/// start is known. A span without a start does not move them: its end does not show where it
/// belongs.
pub(crate) fn bounds(nodes: &[Node], facts: &[SpanFacts]) -> (UnixNanos, UnixNanos) {
    let of = |node: &Node| &facts[node.fact as usize];
    let started = nodes.iter().map(of).filter(|span| span.start.0 != 0);
    let ends = nodes.iter().map(of).map(|span| span.end).filter(|end| end.0 != 0);
    match started.clone().map(|span| span.start).min() {
        Some(start) => (start, started.map(|span| span.end.max(span.start)).max().unwrap_or(start)),
        None => (ends.clone().min().unwrap_or_default(), ends.max().unwrap_or_default()),
    }
}
