//! An assembled trace with what every answer about it starts from: bounds, entry, flags.
//!
//! Owns the join of assembly's nodes with the facts they were made from. Computes no times of its
//! own beyond the trace's bounds.

use tidings_assembly::{Assembled, SpanFacts, assemble};
use tidings_proto::{
    TraceId, UnixNanos,
    api::{ProblemKind, SpanFlags},
};

use super::gather::{Place, TraceFacts};

/// One trace, assembled.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its id.
    pub trace_id: TraceId,
    /// The forest.
    pub assembled: Assembled,
    /// The earliest known start.
    pub start: UnixNanos,
    /// The latest known end, or start of a span without an end.
    pub end: UnixNanos,
    /// The node through which the trace was entered.
    pub entry: Option<usize>,
    facts: TraceFacts,
    /// [`SpanFlags`] by node.
    flags: Vec<u32>,
}

impl Tree {
    /// Assembles the trace.
    pub(crate) fn new(trace_id: TraceId, facts: TraceFacts) -> Self {
        let assembled = assemble(&facts.facts);
        let mut tree = Self {
            trace_id,
            assembled,
            start: UnixNanos(0),
            end: UnixNanos(0),
            entry: None,
            facts,
            flags: Vec::new(),
        };
        tree.flags = tree.all_flags();
        tree.start = tree.known_starts().min().unwrap_or_default();
        tree.end = tree.indexes().map(|node| tree.node_end(node)).max().unwrap_or_default();
        tree.entry = tree.find_entry();
        tree
    }

    /// The nodes' indexes, depth first.
    pub(crate) fn indexes(&self) -> std::ops::Range<usize> {
        0..self.assembled.nodes.len()
    }

    /// What the node's span says.
    pub(crate) fn fact(&self, node: usize) -> &SpanFacts {
        &self.facts.facts[self.assembled.nodes[node].fact as usize]
    }

    /// Where the node's row is, when rows were kept.
    pub(crate) fn place(&self, node: usize) -> Place {
        self.facts.places[self.assembled.nodes[node].fact as usize]
    }

    /// The node's [`SpanFlags`].
    pub(crate) fn flags(&self, node: usize) -> u32 {
        self.flags[node]
    }

    /// Whether the node's span failed.
    pub(crate) fn failed(&self, node: usize) -> bool {
        self.flags[node] & SpanFlags::ERROR != 0
    }

    /// When the node ended as far as is known, never before its start.
    pub(crate) fn node_end(&self, node: usize) -> UnixNanos {
        let fact = self.fact(node);
        fact.end.max(fact.start)
    }

    /// Whether the entry is a real root: a span that names no parent.
    pub(crate) fn has_root(&self) -> bool {
        self.entry.is_some_and(|node| self.fact(node).parent_span_id.is_none())
    }

    /// Whether a span names a parent that is not here.
    pub(crate) fn misses_parents(&self) -> bool {
        self.assembled.problems.iter().any(|problem| problem.kind == ProblemKind::MissingParent)
    }

    fn known_starts(&self) -> impl Iterator<Item = UnixNanos> {
        self.indexes().map(|node| self.fact(node).start).filter(|start| start.0 > 0)
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
