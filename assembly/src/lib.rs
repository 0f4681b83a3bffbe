//! Spans in any order and state to a call tree, its times and a list of problems.
//!
//! Owns the one algorithm that places spans: `storage` uses it for the derived columns and
//! `query` for every answer. It is total: any set of facts gives a forest that holds every distinct
//! span exactly once, in O(n log n), without recursion, and the same forest whatever order the
//! facts come in. Does no I/O; knows nothing of Arrow, wire formats or HTTP.

mod critical;
mod distinct;
mod index;
mod order;
mod place;
mod problems;
mod times;

#[cfg(test)]
mod tests;

use place::Place;
use tidings_proto::{DurationNanos, SpanId, UnixNanos, api::ProblemKind, otlp::SpanKind};

/// What assembly needs to know of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanFacts {
    /// Its id; several spans may share one.
    pub span_id: SpanId,
    /// The parent it names.
    pub parent_span_id: Option<SpanId>,
    /// The part it plays.
    pub kind: SpanKind,
    /// When it began; 0 when not known.
    pub start: UnixNanos,
    /// When it ended; 0 when it has not.
    pub end: UnixNanos,
    /// The caller's number for its service: equal numbers, same service.
    pub service: u32,
    /// The caller's number for its operation.
    pub operation: u32,
    /// A hash of everything the span says: equal hashes, same span sent twice.
    pub content_hash: u64,
}

/// The assembled trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assembled {
    /// Every distinct span, depth first: a parent before its children, siblings and roots by
    /// start, then span id, then content hash.
    pub nodes: Vec<Node>,
    /// What the trace waited for, in order of time; segments do not overlap.
    pub critical_path: Vec<Segment>,
    /// What was odd, by node, then kind.
    pub problems: Vec<Problem>,
}

/// One span in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Which of the facts given.
    pub fact: u32,
    /// The node it hangs under.
    pub parent: Option<u32>,
    /// How many nodes are above it.
    pub depth: u32,
    /// How many nodes are below it; they are the ones that follow.
    pub descendants: u32,
    /// From start to end; zero when it has no end or ends before its start.
    pub duration: DurationNanos,
    /// The part of its duration in which no child of it was open.
    pub self_time: DurationNanos,
    /// Its own time on the critical path.
    pub critical_time: DurationNanos,
    /// Its parent did not wait for it: it starts or ends after the parent's end.
    pub asynchronous: bool,
    /// A hash of the services, operations and kinds from the root to here: equal for the same
    /// place in the call tree of another trace. The caller's numbers for services and operations
    /// must then be hashes of their names.
    pub path_hash: u64,
}

/// A stretch of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Whose own time it is.
    pub node: u32,
    /// From.
    pub start: UnixNanos,
    /// To, later than `start`.
    pub end: UnixNanos,
}

/// One oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub kind: ProblemKind,
    /// The node it is about; absent when it is about the whole trace.
    pub node: Option<u32>,
    /// The facts given that it is about: the dropped duplicate, or the node's own.
    pub fact: Option<u32>,
}

/// Places every span.
///
/// Looks at no more than `u32::MAX` facts: nodes are numbered in 32 bits.
#[must_use]
pub fn assemble(facts: &[SpanFacts]) -> Assembled {
    let facts = &facts[..facts.len().min(u32::MAX as usize)];
    let distinct = distinct::distinct(facts);
    let index = index::Index::new(&distinct);
    let places = place::place(&distinct, &index);
    let order::Forest { mut nodes, node_of } = order::depth_first(&distinct.spans, &places);
    let extents = times::extents(&nodes, facts);
    times::fill(&mut nodes, facts, &extents);
    let main_root = places
        .iter()
        .zip(&node_of)
        .find(|(place, node)| **place == Place::NoParent && extents[**node as usize].is_some())
        .map(|(_, node)| *node);
    let critical_path = critical::fill(&mut nodes, facts, &extents, main_root);
    let problems = problems::list(facts, &nodes, &node_of, &distinct, &index, &places);
    Assembled { nodes, critical_path, problems }
}
