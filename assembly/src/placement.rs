//! Placement of each span in the tree.
//!
//! Owns the choice of a parent and the cutting of cycles. Every span gets exactly one place, so
//! the result is a forest whatever the spans say.

use tidings_proto::api::PlaceRule;

use crate::{
    distinct::{Distinct, DistinctSpan},
    index::Index,
};

/// Position of a span in the tree, or the reason why it is a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Under the span with this number, by this rule.
    Under(u32, PlaceRule),
    /// It names no parent.
    NoParent,
    /// The parent it names is missing.
    MissingParent,
    /// It names itself.
    SelfParent,
    /// Its ancestors lead back to it; the cycle is cut here.
    CutCycle,
}

impl Placement {
    /// Returns the rule that placed the span.
    pub(crate) fn rule(self) -> PlaceRule {
        match self {
            Self::Under(_, rule) => rule,
            Self::NoParent => PlaceRule::NamesNoParent,
            Self::MissingParent => PlaceRule::MissingParent,
            Self::SelfParent => PlaceRule::SelfParent,
            Self::CutCycle => PlaceRule::CutCycle,
        }
    }

    /// Returns the number of its parent; `None` for a root.
    pub(crate) fn parent(self) -> Option<u32> {
        match self {
            Self::Under(parent, _) => Some(parent),
            _ => None,
        }
    }
}

/// Places each span. The result is in the order of the spans' numbers.
pub(crate) fn place(distinct: &Distinct, index: &Index<'_>) -> Vec<Placement> {
    let mut places: Vec<Placement> =
        distinct.spans.iter().map(|span| place_one(span, index)).collect();
    cut_cycles(&mut places);
    places
}

fn place_one(span: &DistinctSpan, index: &Index<'_>) -> Placement {
    if let Some(caller) = index.caller_of(span) {
        return Placement::Under(caller, PlaceRule::CalledSide);
    }
    match span.facts.parent_span_id {
        None => Placement::NoParent,
        Some(parent) if parent == span.facts.span_id => Placement::SelfParent,
        Some(parent) => match index.parent_of(span, parent) {
            Some((parent, rule)) => Placement::Under(parent, rule),
            None => Placement::MissingParent,
        },
    }
}

/// Makes the first member of each cycle, in sibling order, a root.
fn cut_cycles(places: &mut [Placement]) {
    const UNSEEN: usize = usize::MAX;
    // Without a parent that began later than its child there is no cycle. Most traces have none.
    let is_later = |(number, place): (u32, &Placement)| place.parent().is_none_or(|of| of < number);
    if (0..).zip(&*places).all(is_later) {
        return;
    }
    let mut seen_from = vec![UNSEEN; places.len()];
    for start in 0..places.len() {
        let mut at = start;
        while seen_from[at] == UNSEEN {
            seen_from[at] = start;
            match places[at] {
                Placement::Under(parent, _) => at = parent as usize,
                _ => break,
            }
        }
        if seen_from[at] == start && matches!(places[at], Placement::Under(..)) {
            let first = first_of_cycle(places, at);
            places[first] = Placement::CutCycle;
        }
    }
}

/// Returns the lowest number on the cycle through `entry`.
fn first_of_cycle(places: &[Placement], entry: usize) -> usize {
    let (mut at, mut first) = (entry, entry);
    while let Placement::Under(parent, _) = places[at] {
        at = parent as usize;
        first = first.min(at);
        if at == entry {
            break;
        }
    }
    first
}

/// Returns the nodes of the spans that name no parent, in sibling order.
pub(crate) fn parentless(places: &[Placement], node_of: &[u32]) -> impl Iterator<Item = u32> {
    let nodes = places.iter().zip(node_of);
    nodes.filter(|(place, _)| **place == Placement::NoParent).map(|(_, node)| *node)
}
