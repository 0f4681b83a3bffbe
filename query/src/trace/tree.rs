//! An assembled trace with the values that every answer needs: bounds, entry, flags.
//!
//! Owns the join of assembly's nodes with their facts. Computes no times of its own beyond the
//! trace's bounds.

use tidings_assembly::{
    Assembled, Clocks, Completion, Problem, SpanFacts, assemble, clocks, completion,
};
use tidings_proto::{
    OffsetNanos, TraceId, UnixNanos,
    api::{ProblemKind, SpanFlags},
};

use super::trace_rows::{RowLocation, TraceFacts};

/// One trace, assembled.
#[derive(Debug)]
pub struct Tree {
    /// Its id.
    pub trace_id: TraceId,
    /// The forest.
    pub(crate) assembled: Assembled,
    /// Earliest plausible start.
    pub start: UnixNanos,
    /// The latest end, or start of a span without an end.
    pub end: UnixNanos,
    /// The node through which the trace was entered.
    pub entry: Option<usize>,
    facts: TraceFacts,
    /// [`SpanFlags`] by node.
    flags: Vec<u32>,
    offsets: Vec<i64>,
}

/// Moves a known time by the offset, but never to before 1970.
pub(crate) fn shift_time(time: UnixNanos, offset: OffsetNanos) -> UnixNanos {
    if time.0 == 0 { time } else { UnixNanos(time.0.saturating_add_signed(offset.0).max(1)) }
}

impl Tree {
    /// Assembles the trace.
    pub(crate) fn new(trace_id: TraceId, facts: TraceFacts) -> Self {
        let mut assembled = assemble(&facts.facts);
        add_repeats(&mut assembled, &facts);
        if facts.is_cut {
            // A parent may be among the spans that were left out.
            assembled.problems.retain(|problem| problem.kind != ProblemKind::MissingParent);
        }
        let mut tree = Self {
            trace_id,
            assembled,
            start: UnixNanos(0),
            end: UnixNanos(0),
            entry: None,
            facts,
            flags: Vec::new(),
            offsets: Vec::new(),
        };
        tree.flags = tree.all_flags();
        (tree.start, tree.end) = tree.assembled.bounds;
        tree.entry = tree.find_entry();
        tree
    }

    /// The indexes of the nodes, depth first.
    pub fn indexes(&self) -> std::ops::Range<usize> {
        0..self.assembled.nodes.len()
    }

    /// Facts about the node's span.
    #[must_use]
    pub fn fact(&self, node: usize) -> &SpanFacts {
        &self.facts.facts[self.assembled.nodes[node].fact as usize]
    }

    /// Returns the position of the node's row, when rows were kept.
    pub(crate) fn place(&self, node: usize) -> RowLocation {
        self.facts.places[self.assembled.nodes[node].fact as usize]
    }

    /// Returns the number of times that the node's span was received.
    pub(crate) fn times_received(&self, node: usize) -> u64 {
        let fact = self.assembled.nodes[node].fact;
        self.facts.repeats.get(&fact).map_or(1, |more| more.saturating_add(1))
    }

    /// The node's [`SpanFlags`].
    pub(crate) fn flags(&self, node: usize) -> u32 {
        self.flags[node]
    }

    /// Reports whether the node's span failed.
    #[must_use]
    pub fn failed(&self, node: usize) -> bool {
        self.flags[node] & SpanFlags::ERROR != 0
    }

    /// Reports whether a span has a parent in another service. Clock offsets can only be estimated
    /// from such calls.
    pub(crate) fn has_calls_between_services(&self) -> bool {
        let service = |node: usize| self.fact(node).service;
        self.indexes().any(|node| {
            let parent = self.assembled.nodes[node].parent;
            parent.is_some_and(|parent| service(parent as usize) != service(node))
        })
    }

    /// Returns the path that the end of the whole transaction waited for.
    pub(crate) fn completion(&self) -> Completion {
        completion(&self.assembled, &self.facts.facts)
    }

    /// The clock offset of each node's host; `None` unless the hosts of all spans are known.
    pub(crate) fn clocks(&self) -> Option<Clocks> {
        let TraceFacts { facts, hosts, .. } = &self.facts;
        (hosts.len() == facts.len()).then(|| clocks(&self.assembled, facts, hosts))
    }

    /// Returns the trace with these offsets added to its nodes' times.
    pub(crate) fn with_offsets(mut self, offsets: &[OffsetNanos]) -> Self {
        let mut of_facts = vec![0; self.facts.facts.len()];
        for (node, offset) in self.assembled.nodes.iter().zip(offsets) {
            let fact = &mut self.facts.facts[node.fact as usize];
            fact.start = shift_time(fact.start, *offset);
            fact.end = shift_time(fact.end, *offset);
            of_facts[node.fact as usize] = offset.0;
        }
        // A partial report of a running span must still be recognised by its start.
        for problem in &self.assembled.problems {
            if let (ProblemKind::SupersededSpan, Some(fact), Some(node)) =
                (problem.kind, problem.fact, problem.node)
                && let Some(offset) = offsets.get(node as usize)
            {
                let fact = &mut self.facts.facts[fact as usize];
                fact.start = shift_time(fact.start, *offset);
            }
        }
        let mut tree = Self::new(self.trace_id, self.facts);
        tree.offsets =
            tree.assembled.nodes.iter().map(|node| of_facts[node.fact as usize]).collect();
        tree
    }

    /// Offset in nanoseconds added to each node's times; empty in a trace as sent.
    pub(crate) fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// Returns the time at which the last of its spans was received.
    pub(crate) fn received(&self) -> UnixNanos {
        self.facts.received
    }

    /// Reports whether every stored span of the trace is present.
    pub(crate) fn is_complete(&self) -> bool {
        !self.facts.is_cut
    }

    /// Reports whether the entry is a real root, which means a span without a parent id.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.entry.is_some_and(|node| self.fact(node).parent_span_id.is_none())
    }

    /// Reports whether a span names a parent that is not present.
    pub(crate) fn misses_parents(&self) -> bool {
        self.assembled.problems.iter().any(|problem| problem.kind == ProblemKind::MissingParent)
    }

    /// The earliest span without a parent, or else the earliest span of all.
    fn find_entry(&self) -> Option<usize> {
        let earliest = |nodes: &mut dyn Iterator<Item = usize>| {
            nodes.min_by_key(|node| {
                let start = self.fact(*node).start;
                (start.0 == 0, start, *node)
            })
        };
        let is_root = |node: &usize| {
            self.assembled.nodes[*node].parent.is_none()
                && self.fact(*node).parent_span_id.is_none()
        };
        earliest(&mut self.indexes().filter(is_root)).or_else(|| earliest(&mut self.indexes()))
    }

    fn all_flags(&self) -> Vec<u32> {
        let nodes = self.assembled.nodes.iter();
        let mut flags: Vec<u32> = nodes
            .map(|node| {
                let waited = if node.asynchronous { SpanFlags::ASYNCHRONOUS } else { 0 };
                self.facts.marks[node.fact as usize] | waited
            })
            .collect();
        for node in self.assembled.problems.iter().filter_map(|problem| problem.node) {
            flags[node as usize] |= SpanFlags::PROBLEM;
        }
        flags
    }
}

/// Adds a problem for each span that was received more than once, at its position in the list.
/// Repetitions are dropped before assembly.
fn add_repeats(assembled: &mut Assembled, facts: &TraceFacts) {
    if facts.repeats.is_empty() {
        return;
    }
    let kind = ProblemKind::DuplicateSpan;
    let repeated = (0..).zip(&assembled.nodes).filter_map(|(node, of)| {
        let is_repeated = facts.repeats.contains_key(&of.fact);
        is_repeated.then_some(Problem { kind, node: Some(node), fact: Some(of.fact) })
    });
    assembled.problems.extend(repeated);
    assembled.problems.sort_by_key(|problem| (problem.node, problem.kind));
}
