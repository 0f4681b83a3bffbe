//! Gaps between spans: missing parents, and the time messages wait in queues.

use tidings_proto::{UnixNanos, api::PlaceRule};

use crate::{
    Gap, Node, Queue, SpanFacts,
    times::{self, Extent},
};

/// Returns one gap for each missing parent, ordered by first child.
pub(crate) fn gaps(nodes: &[Node], facts: &[SpanFacts], extents: &[Option<Extent>]) -> Vec<Gap> {
    let orphans = (0_u32..).zip(nodes).filter(|(_, node)| node.rule == PlaceRule::MissingParent);
    let mut named: Vec<_> = orphans
        .filter_map(|(at, node)| Some((facts[node.fact as usize].parent_span_id?, at)))
        .collect();
    named.sort_unstable();
    let mut gaps: Vec<Gap> = named
        .chunk_by(|(one, _), (other, _)| one == other)
        .map(|group| {
            let children: Vec<u32> = group.iter().map(|(_, node)| *node).collect();
            let known = children.iter().filter_map(|node| extents[*node as usize]);
            let hull = known.reduce(Extent::hull).unwrap_or(Extent { start: 0, end: 0 });
            let bounds = (UnixNanos(hull.start), UnixNanos(hull.end));
            Gap { span_id: group[0].0, children, bounds }
        })
        .collect();
    gaps.sort_unstable_by_key(|gap| gap.children[0]);
    gaps
}

/// Returns the time that each message waited: from the end of its producer to the start of its
/// consumer. A producer without an end counts until the last moment known of it. A message whose
/// consumer started no later did not wait and is left out.
pub(crate) fn queues(
    nodes: &[Node],
    facts: &[SpanFacts],
    extents: &[Option<Extent>],
) -> Vec<Queue> {
    (0_u32..)
        .zip(nodes)
        .filter(|(at, _)| times::is_received(nodes, facts, *at as usize))
        .filter_map(|(consumer, node)| {
            let producer = node.parent?;
            let start = UnixNanos(extents[producer as usize]?.end);
            let end = facts[node.fact as usize].start;
            (start < end).then_some(Queue { producer, consumer, start, end })
        })
        .collect()
}
