//! Which spans of a trace are children, ancestors or siblings of which others, for all at once.
//!
//! Owns the structural operators over sets of spans; each takes time in proportion to the size of
//! the sets (and a logarithm), whatever the trace's shape. Spans are numbered depth first, so those
//! below one have the numbers that follow its own.

use std::collections::HashMap;

use tidings_proto::SpanId;

use super::syntax::{Relation, Side};

/// Where the spans of a trace hang.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// The parent of each span; a smaller number.
    pub(crate) parents: Vec<Option<u32>>,
    /// The number after the last span below each; its own and one when there is none.
    pub(crate) ends: Vec<u32>,
    /// Whose child each span is. Spans that name no parent have no family, and no siblings.
    pub(crate) families: Vec<Option<Family>>,
}

/// What siblings have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// Their parent.
    Of(u32),
    /// The id of their parent, which is not here.
    Missing(SpanId),
}

impl Shape {
    fn parent(&self, span: u32) -> Option<u32> {
        self.parents[span as usize]
    }

    fn family(&self, span: u32) -> Option<Family> {
        self.families[span as usize]
    }

    /// The spans of the relation's result, given both operands in order: in order.
    pub(crate) fn related(
        &self,
        relation: Relation,
        side: Side,
        left: &[u32],
        right: &[u32],
    ) -> Vec<u32> {
        let picked = |spans: &[u32], having: Vec<bool>| -> Vec<u32> {
            spans.iter().zip(having).filter_map(|(span, has)| has.then_some(*span)).collect()
        };
        let mut on_right = self.having(relation, left, right);
        match side {
            Side::Right => picked(right, on_right),
            Side::NotRight => {
                on_right.iter_mut().for_each(|has| *has = !*has);
                picked(right, on_right)
            }
            Side::Both => {
                let mut both = picked(left, self.having(opposite(relation), right, left));
                both.extend(picked(right, on_right));
                both.sort_unstable();
                both.dedup();
                both
            }
        }
    }

    /// Which of these spans are a child (parent, …) of a marked one. Both are in order.
    fn having(&self, relation: Relation, marked: &[u32], of: &[u32]) -> Vec<bool> {
        let spans = of.iter().copied();
        let mut ahead = marked.iter().copied().peekable();
        match relation {
            Relation::Child => {
                let marks = self.marks(marked);
                spans.map(|span| self.parent(span).is_some_and(|of| marks.have(of))).collect()
            }
            Relation::Parent => {
                let mut parents: Vec<u32> = ahead.filter_map(|span| self.parent(span)).collect();
                parents.sort_unstable();
                parents.dedup();
                let marks = self.marks(&parents);
                spans.map(|span| marks.have(span)).collect()
            }
            Relation::Descendant => {
                // Where the last span ends that is below one of the marked before.
                let mut end = 0;
                let is_below = |span| {
                    while let Some(marked) = ahead.next_if(|marked| *marked < span) {
                        end = self.ends[marked as usize].max(end);
                    }
                    span < end
                };
                spans.map(is_below).collect()
            }
            Relation::Ancestor => {
                let is_above = |span| {
                    while ahead.next_if(|marked| *marked <= span).is_some() {}
                    ahead.peek().is_some_and(|next| *next < self.ends[span as usize])
                };
                spans.map(is_above).collect()
            }
            Relation::Sibling => {
                let marks = self.marks(marked);
                let mut counts: HashMap<Family, u32> = HashMap::new();
                for family in ahead.filter_map(|span| self.family(span)) {
                    *counts.entry(family).or_default() += 1;
                }
                let has_others = |span| {
                    let count = self.family(span).and_then(|family| counts.get(&family));
                    count.copied().unwrap_or_default() > u32::from(marks.have(span))
                };
                spans.map(has_others).collect()
            }
        }
    }

    fn marks<'a>(&self, marked: &'a [u32]) -> Marks<'a> {
        if marked.len() < self.parents.len() / SPARSE {
            return Marks::Few(marked);
        }
        let mut all = vec![false; self.parents.len()];
        marked.iter().for_each(|span| all[*span as usize] = true);
        Marks::Many(all)
    }
}

/// Spans are looked for among others, not marked in the whole trace, when they are fewer than one
/// of so many.
const SPARSE: usize = 32;

/// Some spans of a trace.
enum Marks<'a> {
    /// In order.
    Few(&'a [u32]),
    /// Whether each of the trace is one.
    Many(Vec<bool>),
}

impl Marks<'_> {
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
