//! Spans in any order and state to a call tree, its times and a list of problems.
//!
//! Owns the one algorithm that places spans. `query` and the views of `sql` assemble traces with
//! it; `storage` takes only the parents ([`callers`]) and counts the calls between services from
//! them. It is total: any set of facts gives a forest that holds every distinct span exactly once,
//! in O(n log n), without recursion, and the same forest whatever order the facts come in. Does no
//! I/O; knows nothing of Arrow, wire formats or HTTP.
//!
//! # Which spans there are (`distinct`)
//! - **Duplicate**: facts with the same id and content hash are one span; the others are dropped
//!   and reported. The same id with another content is another span; all are kept.
//! - **Superseded**: a span without an end is the report of one that had not finished; where one
//!   with the same id, service, operation, kind and start has an end, only that one is a span. The
//!   other is dropped and reported.
//! - **Order**: siblings and roots by start, then id, then content hash; without a start, last.
//!
//! # Where a span hangs (`index`, `placement`)
//! - **Call**: a SERVER whose id is also a CLIENT's hangs under that client whatever parent it
//!   names, a CONSUMER likewise under a PRODUCER; failing that, under a span with that id that does
//!   not say its kind. So one client may have several servers. Any other sharing of an id is
//!   reported, and the spans hang where they say.
//! - **Child of a shared id**: under a span of its own service before the others, called sides
//!   (SERVER, CONSUMER) before callers; else under a called side; of several, under the one that
//!   had started last when the child started, else the first.
//! - **Root**: a span that names no parent, or one that is missing, or itself; the last two are
//!   reported, as are several of the first.
//! - **Cycle**: its first member in sibling order becomes a root.
//!
//! Each node says which rule placed it ([`Node::rule`]). A parent that is missing is a [`Gap`]: an
//! entry of its own with the roots that name it, not a made-up span.
//!
//! # When it was open (`times`)
//! - **Extent**: from start to end. Without an end: at least to the last moment known of its
//!   children; without a start: at least from their first; a consumer says nothing of its
//!   producer. A span that ends before it starts was open for no time, at its start.
//! - **Duration**: from start to end; zero where either is not known or the end comes first.
//! - **Self time**: the duration less the union of its children's extents within it, however the
//!   children came.
//! - **Asynchronous**: a child open beyond its parent's end, or a CONSUMER under a PRODUCER.
//! - **Queue**: from the end of a PRODUCER (the last moment known of it, when it has no end) to the
//!   start of each CONSUMER under it that began later.
//! - **Implausible**: a time in the year 2200 or later, and an end over 366 days after the start,
//!   counts as not known (`plausible`), so that one broken clock does not stretch a trace.
//! - **Bounds**: from the earliest start to the latest end (start, without an end) of the spans
//!   whose start is known; only where no start is known do the ends alone count.
//!
//! # What the trace waited for (`critical`)
//! - **Within a span**: children are cut to the time it was open; those wholly outside, of no
//!   length, or received by message take no part, nor does what is below them. Going back from the
//!   end: the child that finished last held it up; before that child's start, the last to have
//!   finished by then (exactly then counts); the time between is the span's own. Children that
//!   finish together: the first in sibling order.
//! - **Between roots**: the first parentless root has all its time. The time before and after it
//!   goes to the other roots, back from the last to finish, each until the later one starts. Time
//!   in which no root was open is nobody's.
//! - So the path never leaves its root's time: work that outlives the root is shown as
//!   asynchronous and not as time the caller waited. A span's **critical time** can exceed its
//!   duration only where its end or start is not known.
//!
//! # What the whole transaction waited for (`completion`)
//! - **Root**: the first parentless root with a time above zero between its start and the last end
//!   below it; without one, the first parentless root. The path runs from that start to that end,
//!   without a gap. Other roots take no part: nothing shows what started them.
//! - **Last end**: that of the span with a known start that ended last, asynchronous or not.
//! - **Down**: from the root, while the last end lies beyond a span's own end, to the child that
//!   contains the last end; of several, the first in sibling order.
//! - **Within a span**: as above, until the handover to the next one down: that one's start, or its
//!   parent's end, if that was earlier.
//! - **Waiting**: the time between the parent's end and the start of the next one down, message or
//!   not. Where clocks agree, it is a lower bound of the wait.
//! - **Clocks**: a span that starts before the one above it counts from that one's start. One
//!   without a start counts from the earliest moment it is known to have been open, if that lies
//!   before the start of the next one down. Otherwise it is skipped.
//!
//! The documented cases of Jaeger's UI give the same path. CRISP takes a sibling that overlaps the
//! next a little to have finished before it, and cuts it there (its cases 19 and 21, and the like);
//! here those two ran at once, and the time before the later one is their parent's.

mod between;
mod clock;
mod completion;
mod critical;
mod distinct;
mod index;
mod order;
mod placement;
mod plausible;
mod problems;
mod times;

#[cfg(test)]
mod tests;

use tidings_proto::{
    DurationNanos, SpanId, UnixNanos,
    api::{PlaceRule, ProblemKind},
    otlp::SpanKind,
};

pub use clock::{Clocks, HostOffset, clocks};
pub use completion::completion;

/// Facts of one span that assembly needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanFacts {
    /// Its id; several spans may share one.
    pub span_id: SpanId,
    /// The id of the parent that it names.
    pub parent_span_id: Option<SpanId>,
    /// Its kind.
    pub kind: SpanKind,
    /// Its start; 0 when not known.
    pub start: UnixNanos,
    /// Its end; 0 when it has not ended.
    pub end: UnixNanos,
    /// The caller's number for its service: equal numbers, same service.
    pub service: u32,
    /// The caller's number for its operation.
    pub operation: u32,
    /// Hash of its content: two facts with the same id and hash are one span that was sent twice.
    pub content_hash: u64,
}

/// The assembled trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assembled {
    /// Every distinct span, depth first: a parent before its children, siblings and roots by
    /// start, then span id, then content hash.
    pub nodes: Vec<Node>,
    /// Critical path of the trace, in order of time; segments do not overlap.
    pub critical_path: Vec<Segment>,
    /// Problems of the spans, by node, then kind.
    pub problems: Vec<Problem>,
    /// The missing parents, by their first child.
    pub gaps: Vec<Gap>,
    /// The waits of messages, by consumer.
    pub queues: Vec<Queue>,
    /// From the earliest start to the latest end; both 0 where no time is known.
    pub bounds: (UnixNanos, UnixNanos),
}

/// A parent that spans name and that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its id.
    pub span_id: SpanId,
    /// The nodes that name it, in order.
    pub children: Vec<u32>,
    /// Earliest and latest known moment of these nodes; both 0 where none is known.
    pub bounds: (UnixNanos, UnixNanos),
}

/// Time that a message waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Node that sent the message.
    pub producer: u32,
    /// Node that received the message.
    pub consumer: u32,
    /// Moment of the handover.
    pub start: UnixNanos,
    /// Start of the consumer, later than `start`.
    pub end: UnixNanos,
}

/// A span as placed in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Index of its fact in the input.
    pub fact: u32,
    /// Its parent; `None` at a root.
    pub parent: Option<u32>,
    /// Number of nodes above it.
    pub depth: u32,
    /// Number of nodes below it; they follow it in the list.
    pub descendants: u32,
    /// From start to end; zero when it has no end or ends before its start.
    pub duration: DurationNanos,
    /// The part of its duration in which no child of it was open.
    pub self_time: DurationNanos,
    /// Its self time on the critical path.
    pub critical_time: DurationNanos,
    /// True if its parent did not wait for it: it starts or ends after the parent's end.
    pub asynchronous: bool,
    /// The rule that placed it.
    pub rule: PlaceRule,
}

/// A segment of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Node whose self time this is.
    pub node: u32,
    /// Its start.
    pub start: UnixNanos,
    /// Its end, later than `start`.
    pub end: UnixNanos,
}

/// The path to completion: the spans that the end of the whole transaction waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Segments from the start of the root to the last end below it, in order of time. Each segment
    /// begins where the one before ends.
    pub path: Vec<CompletionSegment>,
    /// True if anything below the root continued after the root ended. When false, the path is the
    /// root's part of [`Assembled::critical_path`].
    pub outlives: bool,
}

/// A segment of the path to completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionSegment {
    /// Node whose time this is.
    pub node: u32,
    /// Use of the time.
    pub spent: Spent,
    /// Its start.
    pub start: UnixNanos,
    /// Its end, later than `start`.
    pub end: UnixNanos,
}

/// How time on the path to completion was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spent {
    /// The span's self time.
    Working,
    /// The wait between the handover by the span above it and its own start.
    Waiting,
}

/// A problem of a span or of the whole trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The node that it concerns; `None` when it concerns the whole trace.
    pub node: Option<u32>,
    /// Index of the fact that it concerns: the dropped duplicate or report, or the node's own.
    pub fact: Option<u32>,
}

/// A distinct span and its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Called {
    /// Index of its fact in the input.
    pub fact: u32,
    /// Position of its parent in the list; `None` at a root.
    pub parent: Option<u32>,
    /// As [`Node::duration`].
    pub duration: DurationNanos,
}

/// Returns the parent of every distinct span, siblings in their order. Computes nothing else of
/// [`assemble`], at a fraction of its cost.
///
/// Reads no more than `u32::MAX` facts.
#[must_use]
pub fn callers(facts: &[SpanFacts]) -> Vec<Called> {
    let facts = &facts[..facts.len().min(u32::MAX as usize)];
    let distinct = distinct::distinct(facts);
    let places = placement::place(&distinct, &index::Index::new(&distinct));
    let called = |(span, place): (&distinct::DistinctSpan, &placement::Placement)| Called {
        fact: span.fact,
        parent: place.parent(),
        duration: times::duration(&span.facts),
    };
    distinct.spans.iter().zip(&places).map(called).collect()
}

/// Assembles the trace: places every span and computes its times.
///
/// Reads no more than `u32::MAX` facts: nodes are numbered in 32 bits.
#[must_use]
pub fn assemble(facts: &[SpanFacts]) -> Assembled {
    let facts = &facts[..facts.len().min(u32::MAX as usize)];
    let distinct = distinct::distinct(facts);
    let said = facts;
    let facts = &*plausible::all(said);
    let index = index::Index::new(&distinct);
    let places = placement::place(&distinct, &index);
    let Timed { forest, extents, critical_path } = timed(facts, &distinct, &places);
    let order::Forest { nodes, node_of } = forest;
    let problems = problems::list(said, &nodes, &node_of, &distinct, &index, &places);
    Assembled {
        critical_path,
        problems,
        gaps: between::gaps(&nodes, facts, &extents),
        queues: between::queues(&nodes, facts, &extents),
        bounds: times::bounds(&nodes, facts),
        nodes,
    }
}

/// The placed nodes with their extents, and the critical path.
struct Timed {
    forest: order::Forest,
    extents: Vec<Option<times::Extent>>,
    critical_path: Vec<Segment>,
}

/// Turns the placed spans into nodes with times; `facts` are plausible.
fn timed(
    facts: &[SpanFacts],
    distinct: &distinct::Distinct,
    places: &[placement::Placement],
) -> Timed {
    let mut forest = order::depth_first(&distinct.spans, places);
    let order::Forest { nodes, node_of } = &mut forest;
    let extents = times::extents(nodes, facts);
    times::fill(nodes, facts, &extents);
    let main_root =
        placement::parentless(places, node_of).find(|root| times::lasts(&extents, *root));
    let critical_path = critical::fill(nodes, facts, &extents, main_root);
    Timed { forest, extents, critical_path }
}
