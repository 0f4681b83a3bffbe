//! Index of spans by id, which also chooses among spans that share an id.
//!
//! Owns the rules for ids that several spans share. A lookup costs O(log n), whatever the number of
//! spans that share the id.

use std::ops::Range;

use tidings_proto::{SpanId, api::PlaceRule, otlp::SpanKind};

use crate::distinct::{Distinct, DistinctSpan};

/// Rank of a span among those with the same id, when a child names that id; 0 is first. The called
/// side works for the caller, so its rank is before the caller's.
fn rank(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Server => 0,
        SpanKind::Consumer => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Unspecified => 4,
        SpanKind::Internal => 5,
    }
}

/// Returns the kind of the calling side of a call or message.
fn calling_side(kind: SpanKind) -> Option<SpanKind> {
    match kind {
        SpanKind::Server => Some(SpanKind::Client),
        SpanKind::Consumer => Some(SpanKind::Producer),
        _ => None,
    }
}

/// Spans by id.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    spans: &'a [DistinctSpan],
    /// Numbers of all spans, sorted by span id.
    by_id: &'a [u32],
    /// Ids of the spans, in the order of `by_id`.
    ids: &'a [SpanId],
    /// Spans that share an id, by id, service and rank, then in sibling order.
    by_service: Vec<u32>,
    /// Spans that share an id, by id and rank, then in sibling order.
    by_rank: Vec<u32>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(distinct: &'a Distinct) -> Self {
        let spans = distinct.spans.as_slice();
        let facts = |number: u32| &spans[number as usize].facts;
        let ids = distinct.ids.as_slice();
        let mut by_rank = Vec::new();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            let groups =
                distinct.by_id.chunk_by(|one, other| facts(*one).span_id == facts(*other).span_id);
            by_rank.extend(groups.filter(|group| group.len() > 1).flatten());
        }
        let mut by_service = by_rank.clone();
        by_rank.sort_unstable_by_key(|number| {
            (facts(*number).span_id, rank(facts(*number).kind), *number)
        });
        by_service.sort_unstable_by_key(|number| {
            let facts = facts(*number);
            (facts.span_id, facts.service, rank(facts.kind), *number)
        });
        Self { spans, by_id: &distinct.by_id, ids, by_service, by_rank }
    }

    /// Returns the span that `child` names as its parent.
    ///
    /// Where several spans have that id, those of the child's own service come first (called sides
    /// before others), then called sides of other services, then the rest. Of equal candidates the
    /// one that had started last when the child started is chosen.
    pub(crate) fn parent_of(
        &self,
        child: &DistinctSpan,
        parent: SpanId,
    ) -> Option<(u32, PlaceRule)> {
        let first = self.ids.partition_point(|id| *id < parent);
        match &self.ids[first..] {
            [id, other, ..] if *id == parent && *other == parent => {}
            [id, ..] if *id == parent => {
                return Some((self.by_id[first], PlaceRule::NamedParent));
            }
            _ => return None,
        }
        let wanted = (parent, child.facts.service);
        let own = equal(&self.by_service, |number| {
            (self.id(number), self.spans[number as usize].facts.service).cmp(&wanted)
        });
        let (candidates, own) = match self.by_service[own].as_ref() {
            [] => {
                let all = equal(&self.by_rank, |number| self.id(number).cmp(&parent));
                (&self.by_rank[all], false)
            }
            own => (own, true),
        };
        let best = self.rank(*candidates.first()?);
        let same_rank = candidates.partition_point(|number| self.rank(*number) == best);
        let rule = match own {
            true => PlaceRule::SharedIdOwnService,
            false if best <= rank(SpanKind::Consumer) => PlaceRule::SharedIdCalledSide,
            false => PlaceRule::SharedIdOther,
        };
        Some((self.started_last(&candidates[..same_rank], child)?, rule))
    }

    /// Returns the calling side that shares the id of `called`: a CLIENT for a SERVER, a PRODUCER
    /// for a CONSUMER, else a span of unspecified kind.
    pub(crate) fn caller_of(&self, called: &DistinctSpan) -> Option<u32> {
        let kinds = [calling_side(called.facts.kind)?, SpanKind::Unspecified];
        kinds.into_iter().find_map(|kind| {
            let wanted = (called.facts.span_id, rank(kind));
            let callers =
                equal(&self.by_rank, |number| (self.id(number), self.rank(number)).cmp(&wanted));
            self.started_last(&self.by_rank[callers], called)
        })
    }

    /// Returns the spans that share their id with unrelated spans. One calling side and its called
    /// sides are related.
    pub(crate) fn shared_ids(&self) -> Vec<u32> {
        self.by_rank
            .chunk_by(|one, other| self.id(*one) == self.id(*other))
            .filter(|group| !self.is_call(group))
            .flatten()
            .copied()
            .collect()
    }

    fn is_call(&self, group: &[u32]) -> bool {
        let kind = |number: &u32| self.spans[*number as usize].facts.kind;
        let Some((caller, called)) = group.split_last() else { return false };
        called.iter().all(|number| match calling_side(kind(number)) {
            Some(wanted) => kind(caller) == wanted || kind(caller) == SpanKind::Unspecified,
            None => false,
        })
    }

    /// Returns, of candidates in sibling order, the last that had started when `span` did, else the
    /// first.
    fn started_last(&self, candidates: &[u32], span: &DistinctSpan) -> Option<u32> {
        let started = if span.facts.start.0 == 0 {
            0
        } else {
            candidates.partition_point(|number| {
                self.spans[*number as usize].start_or_last() <= span.facts.start.0
            })
        };
        candidates.get(started.saturating_sub(1)).copied()
    }

    fn id(&self, number: u32) -> SpanId {
        self.spans[number as usize].facts.span_id
    }

    fn rank(&self, number: u32) -> u8 {
        rank(self.spans[number as usize].facts.kind)
    }
}

/// Returns the range of a sorted list whose entries compare equal.
fn equal(sorted: &[u32], compare: impl Fn(u32) -> std::cmp::Ordering) -> Range<usize> {
    let start = sorted.partition_point(|number| compare(*number).is_lt());
    let length = sorted[start..].partition_point(|number| compare(*number).is_eq());
    start..start + length
}
