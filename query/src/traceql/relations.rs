//! Which spans of a trace are children, ancestors or siblings of which others, for all at once.
//!
//! Owns the structural operators over sets of spans; each takes time in proportion to the size of
//! the trace, whatever its shape. Spans are numbered depth first, so a parent's number is smaller
//! than its children's.

use std::collections::HashMap;

use tidings_proto::SpanId;

use super::syntax::{Relation, Side};

/// Where the spans of a trace hang.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// The parent of each span; a smaller number.
    pub(crate) parents: Vec<Option<u32>>,
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
    fn parent(&self, span: usize) -> Option<usize> {
        self.parents[span].map(|parent| parent as usize)
    }

    /// The spans of the relation's result, given both operands as marks.
    pub(crate) fn related(
        &self,
        relation: Relation,
        side: Side,
        left: &[bool],
        right: &[bool],
    ) -> Vec<bool> {
        let on_right = self.having(relation, left);
        let and = |one: &[bool], other: &[bool]| -> Vec<bool> {
            one.iter().zip(other).map(|(one, other)| *one && *other).collect()
        };
        match side {
            Side::Right => and(right, &on_right),
            Side::NotRight => right.iter().zip(&on_right).map(|(is, has)| *is && !has).collect(),
            Side::Both => {
                let on_left = self.having(opposite(relation), right);
                let (on_right, on_left) = (and(right, &on_right), and(left, &on_left));
                on_right.iter().zip(&on_left).map(|(one, other)| *one || *other).collect()
            }
        }
    }

    /// The spans that are a child (parent, …) of a marked one.
    fn having(&self, relation: Relation, marked: &[bool]) -> Vec<bool> {
        let spans = 0..marked.len();
        match relation {
            Relation::Child => {
                spans.map(|span| self.parent(span).is_some_and(|parent| marked[parent])).collect()
            }
            Relation::Parent => {
                let mut having = vec![false; marked.len()];
                for span in spans.filter(|span| marked[*span]) {
                    if let Some(parent) = self.parent(span) {
                        having[parent] = true;
                    }
                }
                having
            }
            Relation::Descendant => {
                let mut having = vec![false; marked.len()];
                for span in spans {
                    // The parent was decided before: its number is smaller.
                    if let Some(parent) = self.parent(span) {
                        having[span] = marked[parent] || having[parent];
                    }
                }
                having
            }
            Relation::Ancestor => {
                let mut having = vec![false; marked.len()];
                for span in spans.rev() {
                    // All below it were decided before: their numbers are greater.
                    if let Some(parent) = self.parent(span)
                        && (marked[span] || having[span])
                    {
                        having[parent] = true;
                    }
                }
                having
            }
            Relation::Sibling => {
                let mut counts: HashMap<Family, u32> = HashMap::new();
                for span in spans.clone().filter(|span| marked[*span]) {
                    if let Some(family) = self.families[span] {
                        *counts.entry(family).or_default() += 1;
                    }
                }
                let others = |span: usize| {
                    let count = self.families[span].and_then(|family| counts.get(&family));
                    count.copied().unwrap_or_default() > u32::from(marked[span])
                };
                spans.map(others).collect()
            }
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
