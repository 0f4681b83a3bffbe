//! The critical path: at each moment, the span that held up the trace.
//!
//! Owns the walk. Within a span it goes back from the end. The last child to finish held the span
//! up while that child ran. Before that, the last child that had finished when that one started
//! held it up. The time in between is the span's own. Each span is walked at most once per window,
//! without recursion, so the total is O(n log n).

use std::cmp::Reverse;

use tidings_proto::{DurationNanos, UnixNanos};

use crate::{
    Node, Segment, SpanFacts, order,
    times::{self, Extent},
};

/// Finds the path and adds up each node's time on it.
pub(crate) fn fill(
    nodes: &mut [Node],
    facts: &[SpanFacts],
    extents: &[Option<Extent>],
    main_root: Option<u32>,
) -> Vec<Segment> {
    let mut walk = PathWalk::new(Timed { nodes, facts, extents });
    walk.waiting = roots(nodes, extents, main_root);
    walk.run();
    let mut path = walk.path;
    path.sort_unstable_by_key(|segment| segment.start);
    for segment in &path {
        let DurationNanos(time) = segment.end.since(segment.start);
        nodes[segment.node as usize].critical_time.0 += time;
    }
    path
}

/// A node that was open in a window.
#[derive(Debug, Clone, Copy)]
struct OpenNode {
    node: usize,
    /// The part in the window.
    part: Extent,
    /// Its end, which may lie beyond the window.
    end: u64,
}

impl OpenNode {
    fn new(node: usize, extents: &[Option<Extent>], window: Extent) -> Option<Self> {
        let extent = extents[node]?;
        Some(Self { node, part: extent.within(window)?, end: extent.end })
    }

    /// Returns the sort key: the last to finish comes first; of equal ends, the first in sibling
    /// order.
    fn last_first(&self) -> (Reverse<u64>, usize) {
        (Reverse(self.end), self.node)
    }
}

/// Nodes with their facts and the times in which they were open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) facts: &'a [SpanFacts],
    pub(crate) extents: &'a [Option<Extent>],
}

/// A walk under way.
#[derive(Debug)]
pub(crate) struct PathWalk<'a> {
    /// Segments found so far, in no order.
    pub(crate) path: Vec<Segment>,
    timed: Timed<'a>,
    /// Nodes with their windows that are not divided yet.
    waiting: Vec<(usize, Extent)>,
    /// Candidates of the last node; kept to reuse the allocation.
    candidates: Vec<OpenNode>,
}

impl<'a> PathWalk<'a> {
    pub(crate) fn new(timed: Timed<'a>) -> Self {
        Self { path: Vec::new(), timed, waiting: Vec::new(), candidates: Vec::new() }
    }

    /// Divides all windows that are left.
    pub(crate) fn run(&mut self) {
        while let Some((node, window)) = self.waiting.pop() {
            self.divide(node, window, window.end);
        }
    }

    /// Divides the part before `until` of a window of `node` between the node and the children that
    /// held it up. A child that is open beyond `until` did not hold it up.
    pub(crate) fn divide(&mut self, node: usize, window: Extent, until: u64) {
        let Timed { nodes, facts, extents } = self.timed;
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        candidates.extend(
            order::children(nodes, node)
                .filter(|child| !times::is_received(nodes, facts, *child))
                .filter_map(|child| OpenNode::new(child, extents, window)),
        );
        candidates.sort_unstable_by_key(OpenNode::last_first);
        let mut back_to = until;
        for child in candidates.iter().map(|child| (child.node, child.part)) {
            let (_, part) = child;
            if part.end <= back_to {
                self.own_time(node, part.end, back_to);
                self.waiting.push(child);
                back_to = part.start;
            }
        }
        self.own_time(node, window.start, back_to);
        self.candidates = candidates;
    }

    fn own_time(&mut self, node: usize, start: u64, end: u64) {
        if let (true, Ok(node)) = (start < end, u32::try_from(node)) {
            self.path.push(Segment { node, start: UnixNanos(start), end: UnixNanos(end) });
        }
    }
}

/// Divides the trace's time among its roots. The main root gets all of its own time. The others get
/// the rest, going back from the last to finish. Time in which no root was open belongs to none.
fn roots(
    nodes: &[Node],
    extents: &[Option<Extent>],
    main_root: Option<u32>,
) -> Vec<(usize, Extent)> {
    let all = order::roots(nodes).filter_map(|root| extents[root]);
    let Some(whole) = all.reduce(Extent::hull) else { return Vec::new() };
    let mut candidates: Vec<OpenNode> =
        order::roots(nodes).filter_map(|root| OpenNode::new(root, extents, whole)).collect();
    candidates.sort_unstable_by_key(OpenNode::last_first);

    let mut windows = Vec::new();
    let main = main_root.map(|root| root as usize);
    match main.and_then(|root| Some((root, extents[root]?))) {
        Some((root, extent)) => {
            windows.push((root, extent));
            let before = Extent { start: whole.start, end: extent.start };
            let after = Extent { start: extent.end, end: whole.end };
            share(before, &candidates, &mut windows);
            share(after, &candidates, &mut windows);
        }
        None => share(whole, &candidates, &mut windows),
    }
    windows
}

/// Divides a range of time among the roots that were open in it. No span is known to have started
/// them, so an earlier root gets the time until the later one started.
fn share(stretch: Extent, last_first: &[OpenNode], windows: &mut Vec<(usize, Extent)>) {
    let mut left = stretch;
    for root in last_first {
        if let Some(part) = root.part.within(left) {
            windows.push((root.node, part));
            left.end = part.start;
        }
    }
}
