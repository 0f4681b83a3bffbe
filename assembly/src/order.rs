//! Depth-first order of the nodes.
//!
//! Owns the renumbering from spans to nodes and everything that follows from the shape alone:
//! parent, depth and descendants. Times are filled in later.

use tidings_proto::DurationNanos;

use crate::{Node, distinct::DistinctSpan, placement::Placement};

/// The forest as nodes.
#[derive(Debug)]
pub(crate) struct Forest {
    /// Depth first; times are still zero.
    pub(crate) nodes: Vec<Node>,
    /// Node of each span, by the span's number.
    pub(crate) node_of: Vec<u32>,
}

/// Puts the spans in depth-first order, siblings by their numbers.
pub(crate) fn depth_first(spans: &[DistinctSpan], places: &[Placement]) -> Forest {
    let children = Children::new(places);
    let mut nodes: Vec<Node> = Vec::with_capacity(spans.len());
    let mut node_of = vec![0; spans.len()];
    let mut waiting: Vec<(u32, Option<u32>)> = Vec::new();
    let roots = (0..).zip(places).filter(|(_, place)| !matches!(place, Placement::Under(..)));
    waiting.extend(roots.map(|(number, _)| (number, None)));
    waiting.reverse();
    for node in 0_u32.. {
        let Some((number, parent)) = waiting.pop() else { break };
        let span = &spans[number as usize];
        let above = parent.map(|parent| nodes[parent as usize]);
        node_of[number as usize] = node;
        nodes.push(Node {
            fact: span.fact,
            parent,
            depth: above.map_or(0, |above| above.depth + 1),
            descendants: 0,
            duration: DurationNanos(0),
            self_time: DurationNanos(0),
            critical_time: DurationNanos(0),
            asynchronous: false,
            rule: places[number as usize].rule(),
        });
        let below = children.below(number).iter().rev();
        waiting.extend(below.map(|child| (*child, Some(node))));
    }
    count_descendants(&mut nodes);
    Forest { nodes, node_of }
}

/// Returns the children of a node, in order.
pub(crate) fn children(nodes: &[Node], node: usize) -> impl Iterator<Item = usize> {
    siblings(nodes, node + 1, node + 1 + nodes[node].descendants as usize)
}

/// Returns the roots, in order.
pub(crate) fn roots(nodes: &[Node]) -> impl Iterator<Item = usize> {
    siblings(nodes, 0, nodes.len())
}

fn siblings(nodes: &[Node], first: usize, end: usize) -> impl Iterator<Item = usize> {
    let existing = move |node: usize| (node < end).then_some(node);
    std::iter::successors(existing(first), move |node| {
        existing(node + 1 + nodes[*node].descendants as usize)
    })
}

fn count_descendants(nodes: &mut [Node]) {
    for node in (0..nodes.len()).rev() {
        if let Some(parent) = nodes[node].parent {
            nodes[parent as usize].descendants += nodes[node].descendants + 1;
        }
    }
}

/// Children of each span by number: one list, divided at `ends`.
#[derive(Debug)]
struct Children {
    list: Vec<u32>,
    ends: Vec<usize>,
}

impl Children {
    fn new(places: &[Placement]) -> Self {
        let mut ends = vec![0; places.len()];
        let under = |place: &Placement| match place {
            Placement::Under(parent, _) => Some(*parent as usize),
            _ => None,
        };
        for parent in places.iter().filter_map(under) {
            ends[parent] += 1;
        }
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total - *end;
        }
        let mut list = vec![0; total];
        for (number, place) in (0..).zip(places) {
            if let Some(parent) = under(place) {
                list[ends[parent]] = number;
                ends[parent] += 1;
            }
        }
        Self { list, ends }
    }

    fn below(&self, number: u32) -> &[u32] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.list[start..self.ends[number]]
    }
}
