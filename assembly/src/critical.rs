//! The critical path: who held the trace up, at each moment.
//!
//! Owns the walk. Within a span it goes back from the end: the last child to finish held it up
//! while that child ran; before that, the last child to have finished by the time that one
//! started; whatever lies between is the span's own time. Each span is walked at most once per
//! window, without recursion, so the whole is O(n log n).

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
    /// When it ended, window or not.
    end: u64,
}

impl OpenNode {
    fn new(node: usize, extents: &[Option<Extent>], window: Extent) -> Option<Self> {
        let extent = extents[node]?;
        Some(Self { node, part: extent.within(window)?, end: extent.end })
    }

    /// The last to finish comes first; of those, the first in sibling order.
    fn last_first(&self) -> (Reverse<u64>, usize) {
        (Reverse(self.end), self.node)
    }
}

/// The nodes and when they were open.
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
    /// Nodes with the windows of theirs that are still to be divided.
    waiting: Vec<(usize, Extent)>,
    /// Candidates of the last node; kept to reuse the allocation.
    candidates: Vec<OpenNode>,
}

impl<'a> PathWalk<'a> {
    pub(crate) fn new(timed: Timed<'a>) -> Self {
        Self { path: Vec::new(), timed, waiting: Vec::new(), candidates: Vec::new() }
    }

    /// Divides all the windows that are left.
    pub(crate) fn run(&mut self) {
        while let Some((node, window)) = self.waiting.pop() {
            self.divide(node, window, window.end);
        }
    }

    /// Divides what is before `until` of a window of `node` among it and the children that held it
    /// up. A child that is open beyond `until` did not.
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

/// Divides the trace's time among its roots: all of its own to the main root, the rest to the
/// others, going back from the last to finish. Time in which no root was open is nobody's.
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

/// Gives a stretch to the roots open in it: nobody is known to have started them, so an earlier
/// root has its time until the later one started.
fn share(stretch: Extent, last_first: &[OpenNode], windows: &mut Vec<(usize, Extent)>) {
    let mut left = stretch;
    for root in last_first {
        if let Some(part) = root.part.within(left) {
            windows.push((root.node, part));
            left.end = part.start;
        }
    }
}
