//! The distinct spans among the facts, in the order that all later steps rely on.
//!
//! Owns the definition of a duplicate, the choice of the finished span that supersedes an
//! unfinished one, and the order of siblings. A span's *number* is its position in
//! [`Distinct::spans`], so lists of ascending numbers are in sibling order. No later step depends
//! on the order of the facts.

use std::cmp::Ordering;

use tidings_proto::SpanId;

use crate::{SpanFacts, plausible};

/// Sort key of siblings: start, id and content hash. Keys are sorted instead of spans, which are
/// several times as large.
type Siblings = (u64, SpanId, u64);

/// A distinct span: the number of the fact that was kept, and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DistinctSpan {
    pub(crate) fact: u32,
    pub(crate) facts: SpanFacts,
}

impl DistinctSpan {
    /// Returns the start; an unknown start sorts after all times.
    pub(crate) fn start_or_last(&self) -> u64 {
        if self.facts.start.0 == 0 { u64::MAX } else { self.facts.start.0 }
    }

    /// Returns the sort key of siblings and roots.
    fn siblings(&self) -> Siblings {
        (self.start_or_last(), self.facts.span_id, self.facts.content_hash)
    }

    /// Orders by id and content, so that duplicates are adjacent. Two facts that differ only in
    /// their input position are the same to every caller, so that position decides last.
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

    /// Returns the fields that the reports of one span share, before and after its end.
    fn report(&self) -> (u32, u32, i32, u64) {
        let facts = self.facts;
        (facts.service, facts.operation, facts.kind as i32, facts.start.0)
    }

    fn repeats(&self, other: &Self) -> bool {
        self.facts.span_id == other.facts.span_id
            && self.facts.content_hash == other.facts.content_hash
    }
}

/// The facts without their duplicates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Distinct {
    /// In sibling order.
    pub(crate) spans: Vec<DistinctSpan>,
    /// Numbers of the spans, sorted by span id.
    pub(crate) by_id: Vec<u32>,
    /// Ids of the spans, in the order of `by_id`.
    pub(crate) ids: Vec<SpanId>,
    /// Each fact that was dropped and the number of the span it repeats.
    pub(crate) dropped: Vec<(u32, u32)>,
    /// Each fact without an end that was dropped and the number of the span that has the end.
    pub(crate) superseded: Vec<(u32, u32)>,
}

/// Drops duplicates and what was superseded, and orders the rest.
pub(crate) fn distinct(facts: &[SpanFacts]) -> Distinct {
    let by_id = by_id(facts);
    if by_id.windows(2).all(|pair| pair[0].0 != pair[1].0) {
        all_of(facts, &by_id)
    } else {
        without_repeats(facts, &by_id)
    }
}

/// Returns the ids of the facts with their positions, sorted.
pub(crate) fn by_id(facts: &[SpanFacts]) -> Vec<(SpanId, u32)> {
    let mut by_id: Vec<(SpanId, u32)> = facts.iter().map(|facts| facts.span_id).zip(0..).collect();
    by_id.sort_unstable();
    by_id
}

/// Returns all facts as distinct spans; no two of them may share an id. `by_id` is the result of
/// [`by_id`] for the same facts.
fn all_of(facts: &[SpanFacts], by_id: &[(SpanId, u32)]) -> Distinct {
    let span = |fact: u32| DistinctSpan { fact, facts: plausible::one(facts[fact as usize]) };
    let mut order: Vec<(Siblings, u32)> =
        (0..).zip(facts).map(|(fact, _)| (span(fact).siblings(), fact)).collect();
    order.sort_unstable();
    let mut number_of = vec![0; facts.len()];
    for (number, (_, fact)) in (0..).zip(&order) {
        number_of[*fact as usize] = number;
    }
    Distinct {
        spans: order.iter().map(|(_, fact)| span(*fact)).collect(),
        by_id: by_id.iter().map(|(_, fact)| number_of[*fact as usize]).collect(),
        ids: by_id.iter().map(|(id, _)| *id).collect(),
        dropped: Vec::new(),
        superseded: Vec::new(),
    }
}

/// Builds the distinct spans of the facts. `by_id` is the result of [`by_id`] for the same facts.
pub(crate) fn without_repeats(facts: &[SpanFacts], by_id: &[(SpanId, u32)]) -> Distinct {
    let span =
        |(_, fact): &(SpanId, u32)| DistinctSpan { fact: *fact, facts: facts[*fact as usize] };
    let mut all: Vec<DistinctSpan> = by_id.iter().map(span).collect();
    // Few spans share their id.
    for group in all.chunk_by_mut(|one, other| one.facts.span_id == other.facts.span_id) {
        if group.len() > 1 {
            group.sort_unstable_by(DistinctSpan::identity_order);
        }
    }

    let mut kept: Vec<DistinctSpan> = Vec::with_capacity(all.len());
    let mut dropped = Vec::new();
    for span in all {
        match kept.last() {
            Some(last) if span.repeats(last) => dropped.push((span.fact, kept.len() - 1)),
            _ => kept.push(span),
        }
    }

    let finished = finished_of(&kept);
    let mut places: Vec<usize> = Vec::with_capacity(kept.len());
    let mut count = 0;
    for finished in &finished {
        places.push(count);
        count += usize::from(finished.is_none());
    }
    let shown = |place: usize| places[finished[place].unwrap_or(place)];
    let (repeated, mut superseded): (Vec<_>, Vec<_>) =
        dropped.into_iter().partition(|(_, place)| finished[*place].is_none());
    superseded.extend(
        { kept.iter().zip(&finished).enumerate() }.filter_map(|(place, (span, finished))| {
            finished.is_some().then_some((span.fact, place))
        }),
    );
    let of_shown = |(fact, place): (u32, usize)| (fact, shown(place));
    let repeated: Vec<_> = repeated.into_iter().map(of_shown).collect();
    let superseded: Vec<_> = superseded.into_iter().map(of_shown).collect();
    let kept = kept.into_iter().zip(&finished).filter(|(_, finished)| finished.is_none());

    let kept: Vec<DistinctSpan> =
        kept.map(|(span, _)| DistinctSpan { facts: plausible::one(span.facts), ..span }).collect();
    let mut order: Vec<(Siblings, u32)> =
        kept.iter().map(DistinctSpan::siblings).zip(0..).collect();
    order.sort_unstable();
    let mut by_id = vec![0; kept.len()];
    for (number, (_, place_by_id)) in (0..).zip(&order) {
        by_id[*place_by_id as usize] = number;
    }
    let numbered = |list: Vec<(u32, usize)>| {
        list.into_iter().map(|(fact, place)| (fact, by_id[place])).collect()
    };
    let (dropped, superseded) = (numbered(repeated), numbered(superseded));
    let spans = order.into_iter().map(|(_, place_by_id)| kept[place_by_id as usize]).collect();
    let ids = kept.iter().map(|span| span.facts.span_id).collect();
    Distinct { spans, by_id, ids, dropped, superseded }
}

/// Returns for each span without an end the position of the first span with an end that has the
/// same id, service, operation, kind and start. `spans` are in the order of their identity.
fn finished_of(spans: &[DistinctSpan]) -> Vec<Option<usize>> {
    let mut finished_of = vec![None; spans.len()];
    let mut begin = 0;
    for group in spans.chunk_by(|one, other| one.facts.span_id == other.facts.span_id) {
        let places = begin..begin + group.len();
        begin = places.end;
        let has_end = |place: &usize| spans[*place].facts.end.0 != 0;
        let mut ended: Vec<usize> = places.clone().filter(has_end).collect();
        if ended.is_empty() || ended.len() == group.len() {
            continue;
        }
        ended.sort_unstable_by_key(|place| (spans[*place].report(), *place));
        for place in places.filter(|place| !has_end(place)) {
            let report = spans[place].report();
            let first = ended.partition_point(|ended| spans[*ended].report() < report);
            let found = ended.get(first).filter(|ended| spans[**ended].report() == report);
            finished_of[place] = found.copied();
        }
    }
    finished_of
}
