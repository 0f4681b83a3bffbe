//! The distinct spans among the facts, in the one order everything else relies on.
//!
//! Owns what a duplicate is and the order of siblings. From here on a span's *number* is its place
//! in [`Distinct::spans`], so lists of ascending numbers are in sibling order and nothing later
//! depends on the order of the facts.

use std::cmp::Ordering;

use crate::{SpanFacts, plausible};

/// One distinct span: the fact that was kept and what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) fact: u32,
    pub(crate) facts: SpanFacts,
}

impl Span {
    /// When it began, with "not known" after every time.
    pub(crate) fn start_or_last(&self) -> u64 {
        if self.facts.start.0 == 0 { u64::MAX } else { self.facts.start.0 }
    }

    /// Siblings and roots: by start, then id, then content.
    fn sibling_order(&self, other: &Self) -> Ordering {
        let key = |span: &Self| {
            (span.facts.start.0 == 0, span.facts.start, span.facts.span_id, span.facts.content_hash)
        };
        key(self).cmp(&key(other))
    }

    /// By id and content, duplicates next to each other. Two facts that are told apart by nothing
    /// but their place in the input are the same to every caller, so that place decides last.
    fn identity_order(&self, other: &Self) -> Ordering {
        let rest = |span: &Self| {
            let facts = span.facts;
            (
                facts.parent_span_id,
                facts.kind as i32,
                facts.start,
                facts.end,
                facts.service,
                facts.operation,
                span.fact,
            )
        };
        (self.facts.span_id, self.facts.content_hash)
            .cmp(&(other.facts.span_id, other.facts.content_hash))
            .then_with(|| rest(self).cmp(&rest(other)))
    }

    fn repeats(&self, other: &Self) -> bool {
        self.facts.span_id == other.facts.span_id
            && self.facts.content_hash == other.facts.content_hash
    }
}

/// The facts without their duplicates.
#[derive(Debug)]
pub(crate) struct Distinct {
    /// In sibling order.
    pub(crate) spans: Vec<Span>,
    /// The spans' numbers by span id.
    pub(crate) by_id: Vec<u32>,
    /// Each fact that was dropped and the number of the span it repeats.
    pub(crate) dropped: Vec<(u32, u32)>,
}

/// Drops duplicates and orders the rest.
pub(crate) fn distinct(facts: &[SpanFacts]) -> Distinct {
    let mut all: Vec<Span> =
        (0..).zip(facts).map(|(fact, facts)| Span { fact, facts: *facts }).collect();
    all.sort_unstable_by(Span::identity_order);

    let mut kept: Vec<Span> = Vec::with_capacity(all.len());
    let mut dropped = Vec::new();
    for span in all {
        match kept.last() {
            Some(last) if span.repeats(last) => dropped.push((span.fact, kept.len() - 1)),
            _ => kept.push(span),
        }
    }

    for span in &mut kept {
        span.facts = plausible::one(span.facts);
    }
    let mut ordered: Vec<(u32, Span)> = (0..).zip(kept).collect();
    ordered.sort_unstable_by(|(_, one), (_, other)| one.sibling_order(other));
    let mut by_id = vec![0; ordered.len()];
    for (number, (place_by_id, _)) in (0..).zip(&ordered) {
        by_id[*place_by_id as usize] = number;
    }
    let dropped = dropped.into_iter().map(|(fact, place)| (fact, by_id[place])).collect();
    Distinct { spans: ordered.into_iter().map(|(_, span)| span).collect(), by_id, dropped }
}
