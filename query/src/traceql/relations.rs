//! Relations between the spans of a trace (children, ancestors, siblings), computed for whole sets.
//!
//! Owns the structural operators over sets of spans. Each takes time in proportion to the size of
//! the sets (and a logarithm), whatever the trace's shape. Each checks for cancellation every few
//! thousand spans. Spans are numbered depth first, so the descendants of a span have the numbers
//! that follow its own.

use std::{cell::Cell, collections::HashMap};

use tidings_proto::SpanId;
use tidings_traceql::{Relation, Side};

use crate::QueryError;

/// Shape of the tree of a trace's spans.
#[derive(Debug, Clone, Default)]
pub(crate) struct TreeShape {
    /// The parent of each span, which has a smaller number.
    pub(crate) parents: Vec<Option<u32>>,
    /// End of each span's subtree, exclusive; its own index plus one for a leaf.
    pub(crate) ends: Vec<u32>,
    /// Family of each span; `None` for spans without a parent id, which have no siblings.
    pub(crate) families: Vec<Option<ParentKey>>,
}

/// Key that siblings share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ParentKey {
    /// The number of their parent.
    Of(u32),
    /// The id of their parent, which is not in the trace.
    Missing(SpanId),
}

impl TreeShape {
    fn parent(&self, span: u32) -> Option<u32> {
        self.parents[span as usize]
    }

    fn family(&self, span: u32) -> Option<ParentKey> {
        self.families[span as usize]
    }

    /// Returns the spans of the relation's result, in order. Both operands must be in order.
    ///
    /// The error that the pace check returns.
    pub(crate) fn related(
        &self,
        (relation, side): (Relation, Side),
        left: &[u32],
        right: &[u32],
        pace: &CheckPacer<'_>,
    ) -> Result<Vec<u32>, QueryError> {
        let on_right = self.have_marked_relative(relation, left, right, pace)?;
        match side {
            Side::Right => pace.picked(right, |at| on_right[at]),
            Side::NotRight => pace.picked(right, |at| !on_right[at]),
            Side::Both => {
                let on_left = self.have_marked_relative(opposite(relation), right, left, pace)?;
                let left = pace.picked(left, |at| on_left[at])?;
                pace.united(&left, &pace.picked(right, |at| on_right[at])?)
            }
        }
    }

    /// Reports for each of these spans whether it has a marked span as its parent (ancestor, …).
    /// Both lists are in order.
    fn have_marked_relative(
        &self,
        relation: Relation,
        marked: &[u32],
        of: &[u32],
        pace: &CheckPacer<'_>,
    ) -> Result<Vec<bool>, QueryError> {
        let mut ahead = marked.iter().copied().peekable();
        match relation {
            Relation::Child => {
                let marks = self.marks(marked, Some, pace)?;
                pace.each(of, |span| self.parent(span).is_some_and(|of| marks.have(of)))
            }
            Relation::Parent => {
                let marks = self.marks(marked, |span| self.parent(span), pace)?;
                pace.each(of, |span| marks.have(span))
            }
            Relation::Descendant => {
                // The end of the subtrees of the marked spans so far.
                let mut end = 0;
                let is_below = |span| {
                    while let Some(marked) = ahead.next_if(|marked| *marked < span) {
                        pace.step()?;
                        end = self.ends[marked as usize].max(end);
                    }
                    pace.step()?;
                    Ok(span < end)
                };
                of.iter().copied().map(is_below).collect()
            }
            Relation::Ancestor => {
                let is_above = |span| {
                    while ahead.next_if(|marked| *marked <= span).is_some() {
                        pace.step()?;
                    }
                    pace.step()?;
                    Ok(ahead.peek().is_some_and(|next| *next < self.ends[span as usize]))
                };
                of.iter().copied().map(is_above).collect()
            }
            Relation::Sibling => {
                let marks = self.marks(marked, Some, pace)?;
                let mut counts: HashMap<ParentKey, u32> = HashMap::new();
                for span in marked {
                    pace.step()?;
                    if let Some(family) = self.family(*span) {
                        *counts.entry(family).or_default() += 1;
                    }
                }
                pace.each(of, |span| {
                    let count = self.family(span).and_then(|family| counts.get(&family));
                    count.copied().unwrap_or_default() > u32::from(marks.have(span))
                })
            }
        }
    }

    /// Marks the spans that `mark` returns for these spans.
    fn marks(
        &self,
        spans: &[u32],
        mark: impl Fn(u32) -> Option<u32>,
        pace: &CheckPacer<'_>,
    ) -> Result<MarkedSpans, QueryError> {
        if spans.len() < self.parents.len() / SPARSE {
            let mut few = Vec::with_capacity(spans.len());
            for span in spans {
                pace.step()?;
                few.extend(mark(*span));
            }
            few.sort_unstable();
            return Ok(MarkedSpans::Few(few));
        }
        let mut all = vec![false; self.parents.len()];
        for span in spans {
            pace.step()?;
            if let Some(span) = mark(*span) {
                all[span as usize] = true;
            }
        }
        Ok(MarkedSpans::Many(all))
    }
}

/// Check that fails when an evaluation must end.
pub(crate) type Check<'a> = &'a dyn Fn() -> Result<(), QueryError>;

/// Number of steps of a join between two checks. A step takes some nanoseconds, or a table lookup.
const STEPS_MAX: u32 = 4_096;

/// Pacer of joins, which calls the check at intervals.
pub(crate) struct CheckPacer<'a> {
    check: Check<'a>,
    steps: Cell<u32>,
}

impl<'a> CheckPacer<'a> {
    pub(crate) fn new(check: Check<'a>) -> Self {
        Self { check, steps: Cell::new(0) }
    }

    /// Counts one step, and calls the check when it is due.
    fn step(&self) -> Result<(), QueryError> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps % STEPS_MAX);
        if steps < STEPS_MAX { Ok(()) } else { (self.check)() }
    }

    /// Computes `is_one` for each span.
    fn each(&self, of: &[u32], is_one: impl Fn(u32) -> bool) -> Result<Vec<bool>, QueryError> {
        of.iter().map(|span| self.step().map(|()| is_one(*span))).collect()
    }

    /// Returns the spans at the indexes for which `is_picked` is true.
    fn picked(
        &self,
        spans: &[u32],
        is_picked: impl Fn(usize) -> bool,
    ) -> Result<Vec<u32>, QueryError> {
        let mut picked = Vec::new();
        for (at, span) in spans.iter().enumerate() {
            self.step()?;
            if is_picked(at) {
                picked.push(*span);
            }
        }
        Ok(picked)
    }

    /// Returns the union of both lists. They and the result are in order, without duplicates.
    ///
    /// The error that the check returns.
    pub(crate) fn united(&self, left: &[u32], right: &[u32]) -> Result<Vec<u32>, QueryError> {
        let mut united = Vec::with_capacity(left.len().max(right.len()));
        let (mut left, mut right) =
            (left.iter().copied().peekable(), right.iter().copied().peekable());
        loop {
            self.step()?;
            let next = match (left.peek(), right.peek()) {
                (Some(one), Some(other)) => *one.min(other),
                (Some(only), None) | (None, Some(only)) => *only,
                (None, None) => return Ok(united),
            };
            left.next_if_eq(&next);
            right.next_if_eq(&next);
            united.push(next);
        }
    }
}

/// Divisor of the trace's number of spans. A smaller set is searched as a list, and not marked in
/// the whole trace.
const SPARSE: usize = 32;

/// Marked spans of a trace.
enum MarkedSpans {
    /// A few spans in order, possibly with duplicates.
    Few(Vec<u32>),
    /// Membership flag of each span of the trace.
    Many(Vec<bool>),
}

impl MarkedSpans {
    fn have(&self, span: u32) -> bool {
        match self {
            Self::Few(spans) => spans.binary_search(&span).is_ok(),
            Self::Many(all) => all[span as usize],
        }
    }
}

fn opposite(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}
