//! Which spans of a trace are children, ancestors or siblings of which others, for all at once.
//!
//! Owns the structural operators over sets of spans; each takes time in proportion to the size of
//! the sets (and a logarithm), whatever the trace's shape, and asks every few thousand spans whether
//! to go on. Spans are numbered depth first, so those below one have the numbers that follow its own.

use std::{cell::Cell, collections::HashMap};

use tidings_proto::SpanId;

use super::syntax::{Relation, Side};
use crate::QueryError;

/// Shape of the tree of a trace's spans.
#[derive(Debug, Clone, Default)]
pub(crate) struct TreeShape {
    /// The parent of each span; a smaller number.
    pub(crate) parents: Vec<Option<u32>>,
    /// End of each span's subtree, exclusive; its own index plus one for a leaf.
    pub(crate) ends: Vec<u32>,
    /// Family of each span; `None` for spans without a parent id, which have no siblings.
    pub(crate) families: Vec<Option<ParentKey>>,
}

/// Key that siblings share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ParentKey {
    /// Their parent.
    Of(u32),
    /// The id of their parent, which is not here.
    Missing(SpanId),
}

impl TreeShape {
    fn parent(&self, span: u32) -> Option<u32> {
        self.parents[span as usize]
    }

    fn family(&self, span: u32) -> Option<ParentKey> {
        self.families[span as usize]
    }

    /// The spans of the relation's result, given both operands in order: in order.
    ///
    /// The error that the pace check returns.
    pub(crate) fn related(
        &self,
        (relation, side): (Relation, Side),
        left: &[u32],
        right: &[u32],
        pace: &Pace<'_>,
    ) -> Result<Vec<u32>, QueryError> {
        let on_right = self.having(relation, left, right, pace)?;
        match side {
            Side::Right => pace.picked(right, |at| on_right[at]),
            Side::NotRight => pace.picked(right, |at| !on_right[at]),
            Side::Both => {
                let on_left = self.having(opposite(relation), right, left, pace)?;
                let left = pace.picked(left, |at| on_left[at])?;
                pace.united(&left, &pace.picked(right, |at| on_right[at])?)
            }
        }
    }

    /// Returns these spans that are a child (parent, …) of a marked one. Both are in order.
    fn having(
        &self,
        relation: Relation,
        marked: &[u32],
        of: &[u32],
        pace: &Pace<'_>,
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
                // End of the last span that is below one of the marked before.
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

    /// Marks what `mark` gives for each of these spans.
    fn marks(
        &self,
        spans: &[u32],
        mark: impl Fn(u32) -> Option<u32>,
        pace: &Pace<'_>,
    ) -> Result<Marks, QueryError> {
        if spans.len() < self.parents.len() / SPARSE {
            let mut few = Vec::with_capacity(spans.len());
            for span in spans {
                pace.step()?;
                few.extend(mark(*span));
            }
            few.sort_unstable();
            return Ok(Marks::Few(few));
        }
        let mut all = vec![false; self.parents.len()];
        for span in spans {
            pace.step()?;
            if let Some(span) = mark(*span) {
                all[span as usize] = true;
            }
        }
        Ok(Marks::Many(all))
    }
}

/// Fails when an evaluation has to end.
pub(crate) type Check<'a> = &'a dyn Fn() -> Result<(), QueryError>;

/// Steps of a join before whether to go on is asked again: each takes some nanoseconds, or a look
/// into a table.
const STEPS_MAX: u32 = 4_096;

/// The pace of joins, which asks every now and then whether to go on.
pub(crate) struct Pace<'a> {
    check: Check<'a>,
    steps: Cell<u32>,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(check: Check<'a>) -> Self {
        Self { check, steps: Cell::new(0) }
    }

    /// Counts one step more.
    fn step(&self) -> Result<(), QueryError> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps % STEPS_MAX);
        if steps < STEPS_MAX { Ok(()) } else { (self.check)() }
    }

    /// Tells of each span if it is one.
    fn each(&self, of: &[u32], is_one: impl Fn(u32) -> bool) -> Result<Vec<bool>, QueryError> {
        of.iter().map(|span| self.step().map(|()| is_one(*span))).collect()
    }

    /// The spans at the places that are picked.
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

    /// The spans of both, which are in order and have each once: so, too.
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

/// Spans are looked for among others, not marked in the whole trace, when they are fewer than one
/// of so many.
const SPARSE: usize = 32;

/// Marked spans of a trace.
enum Marks {
    /// A few spans in order; some may be there more than once.
    Few(Vec<u32>),
    /// Membership flag of each span of the trace.
    Many(Vec<bool>),
}

impl Marks {
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
