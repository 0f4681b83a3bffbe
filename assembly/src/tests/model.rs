//! Reference model of assembly: slow and recursive, with each answer computed from the spans alone.

use std::collections::BTreeMap;

use tidings_proto::{api::ProblemKind, otlp::SpanKind};

use crate::{Assembled, SpanFacts, Spent, completion};

type Open = Option<(u64, u64)>;

struct Model {
    /// In sibling order.
    spans: Vec<SpanFacts>,
    parents: Vec<Option<usize>>,
    /// Spans that name no parent.
    parentless: Vec<usize>,
    /// Problems of the spans, without duplicates, superseded reports and problems of the whole
    /// trace.
    odd: Vec<(usize, ProblemKind)>,
}

/// Returns true if `span` is a report of `other` from before its end.
pub(super) fn supersedes(other: &SpanFacts, span: &SpanFacts) -> bool {
    span.end.0 == 0
        && other.end.0 != 0
        && (other.span_id, other.service, other.operation, other.kind, other.start)
            == (span.span_id, span.service, span.operation, span.kind, span.start)
}

/// Panics where `assembled` differs from the model.
pub(super) fn compare(facts: &[SpanFacts], assembled: &Assembled) {
    let model = Model::new(facts);
    let order = model.depth_first(None);
    let shown: Vec<_> = assembled.nodes.iter().map(|node| facts[node.fact as usize]).collect();
    let wanted: Vec<_> = order.iter().map(|span| model.spans[*span]).collect();
    assert_eq!(shown, wanted);
    for (node, span) in assembled.nodes.iter().zip(&order) {
        let parent = node.parent.map(|parent| order[parent as usize]);
        assert_eq!(parent, model.parents[*span]);
        assert_eq!(node.self_time.0, model.self_time(*span), "self time of {:?}", wanted);
        assert_eq!(node.asynchronous, model.is_asynchronous(*span));
    }
    let mut odd: Vec<_> = model.odd.clone();
    let mut found: Vec<_> = assembled
        .problems
        .iter()
        .filter(|problem| {
            !matches!(problem.kind, ProblemKind::DuplicateSpan | ProblemKind::SupersededSpan)
        })
        .filter_map(|problem| Some((order[problem.node? as usize], problem.kind)))
        .collect();
    odd.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, odd);
    let several =
        assembled.problems.iter().any(|problem| problem.kind == ProblemKind::SeveralRoots);
    assert_eq!(several, model.parentless.len() > 1);
    for moment in 0..30 {
        let on_path = assembled
            .critical_path
            .iter()
            .find(|segment| segment.start.0 <= moment && moment < segment.end.0)
            .map(|segment| order[segment.node as usize]);
        assert_eq!(on_path, model.on_path(moment), "at {moment} of {wanted:?}");
    }
}

/// Panics where the path to completion differs from the model.
pub(super) fn compare_completion(facts: &[SpanFacts], assembled: &Assembled) {
    let model = Model::new(facts);
    let order = model.depth_first(None);
    let found = completion(assembled, facts);
    for moment in 0..30 {
        let on_path = found.path.iter().find(|part| part.start.0 <= moment && moment < part.end.0);
        let on_path = on_path.map(|part| (order[part.node as usize], part.spent));
        assert_eq!(on_path, model.on_way(moment), "at {moment} of {:?}", model.spans);
    }
}

impl Model {
    fn new(facts: &[SpanFacts]) -> Self {
        let mut distinct: BTreeMap<_, Vec<SpanFacts>> = BTreeMap::new();
        for span in facts {
            distinct.entry((span.span_id, span.content_hash)).or_default().push(*span);
        }
        let mut spans: Vec<SpanFacts> = distinct
            .into_values()
            .filter_map(|same| {
                same.into_iter().min_by_key(|span| {
                    let kind = span.kind as i32;
                    (span.parent_span_id, kind, span.start, span.end, span.service, span.operation)
                })
            })
            .collect();
        let all = spans.clone();
        spans.retain(|span| !all.iter().any(|other| supersedes(other, span)));
        spans.sort_by_key(|span| (span.start.0 == 0, span.start, span.span_id, span.content_hash));
        let count = spans.len();
        let mut model = Self { spans, parents: vec![None; count], parentless: vec![], odd: vec![] };
        for span in 0..count {
            model.parents[span] = model.find_parent(span);
        }
        model.cut_cycles();
        for span in 0..count {
            model.find_odd(span);
        }
        model
    }

    fn with_id(&self, id: tidings_proto::SpanId) -> Vec<usize> {
        (0..self.spans.len()).filter(|span| self.spans[*span].span_id == id).collect()
    }

    fn find_parent(&mut self, span: usize) -> Option<usize> {
        let own = self.spans[span];
        let other_side = match own.kind {
            SpanKind::Server => vec![SpanKind::Client, SpanKind::Unspecified],
            SpanKind::Consumer => vec![SpanKind::Producer, SpanKind::Unspecified],
            _ => vec![],
        };
        for kind in other_side {
            let mut callers = self.with_id(own.span_id);
            callers.retain(|caller| self.spans[*caller].kind == kind);
            if let Some(caller) = self.started_last(&callers, span) {
                return Some(caller);
            }
        }
        let Some(parent) = own.parent_span_id else {
            self.parentless.push(span);
            return None;
        };
        if parent == own.span_id {
            self.odd.push((span, ProblemKind::SelfParent));
            return None;
        }
        let all = self.with_id(parent);
        let mut candidates = all.clone();
        if all.len() > 1 {
            candidates.retain(|candidate| self.spans[*candidate].service == own.service);
            if candidates.is_empty() {
                candidates = all;
            }
            let first = candidates.iter().map(|candidate| self.precedence(*candidate)).min();
            candidates.retain(|candidate| Some(self.precedence(*candidate)) == first);
        }
        let found = self.started_last(&candidates, span);
        if found.is_none() {
            self.odd.push((span, ProblemKind::MissingParent));
        }
        found
    }

    fn precedence(&self, span: usize) -> usize {
        let order = [
            SpanKind::Server,
            SpanKind::Consumer,
            SpanKind::Client,
            SpanKind::Producer,
            SpanKind::Unspecified,
            SpanKind::Internal,
        ];
        order.iter().position(|kind| *kind == self.spans[span].kind).unwrap()
    }

    fn started_last(&self, candidates: &[usize], span: usize) -> Option<usize> {
        let start = self.spans[span].start.0;
        let had_started = |candidate: &&usize| {
            let candidate = self.spans[**candidate].start.0;
            candidate != 0 && candidate <= start
        };
        candidates.iter().rfind(had_started).or(candidates.first()).copied()
    }

    fn ancestors(&self, span: usize) -> Vec<usize> {
        std::iter::successors(self.parents[span], |above| self.parents[*above])
            .take(self.spans.len())
            .collect()
    }

    fn cut_cycles(&mut self) {
        for span in 0..self.spans.len() {
            if self.ancestors(span).contains(&span) {
                self.parents[span] = None;
                self.odd.push((span, ProblemKind::Cycle));
            }
        }
    }

    fn find_odd(&mut self, span: usize) {
        let own = self.spans[span];
        let (start, end) = (own.start.0, own.end.0);
        let parent_start = self.parents[span].map_or(0, |parent| self.spans[parent].start.0);
        let same: Vec<SpanKind> =
            self.with_id(own.span_id).into_iter().map(|other| self.spans[other].kind).collect();
        let mut say = |kind, when: bool| self.odd.extend(when.then_some((span, kind)));
        say(ProblemKind::NoStart, start == 0);
        say(ProblemKind::NoEnd, end == 0);
        say(ProblemKind::EndBeforeStart, start != 0 && end != 0 && end < start);
        let early = start != 0 && start < parent_start && own.kind != SpanKind::Consumer;
        say(ProblemKind::StartsBeforeParent, early);
        let count = |kind| same.iter().filter(|other| **other == kind).count();
        let call = |caller, called| {
            count(caller) == 1 && count(called) == same.len() - 1 && count(called) > 0
        };
        let unspecified = same.len() > 1
            && count(SpanKind::Unspecified) == 1
            && count(SpanKind::Server) + count(SpanKind::Consumer) == same.len() - 1;
        let legitimate = same.len() == 1
            || call(SpanKind::Client, SpanKind::Server)
            || call(SpanKind::Producer, SpanKind::Consumer)
            || unspecified;
        say(ProblemKind::SharedSpanId, !legitimate);
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        (0..self.spans.len()).filter(|span| self.parents[*span] == parent).collect()
    }

    fn depth_first(&self, parent: Option<usize>) -> Vec<usize> {
        self.children(parent)
            .into_iter()
            .flat_map(|span| [vec![span], self.depth_first(Some(span))].concat())
            .collect()
    }

    fn is_received(&self, span: usize) -> bool {
        self.spans[span].kind == SpanKind::Consumer
            && self.parents[span]
                .is_some_and(|parent| self.spans[parent].kind == SpanKind::Producer)
    }

    fn open(&self, span: usize) -> Open {
        let waited: Vec<(u64, u64)> = self
            .children(Some(span))
            .into_iter()
            .filter(|child| !self.is_received(*child))
            .filter_map(|child| self.open(child))
            .collect();
        let first = waited.iter().map(|(start, _)| *start).min();
        let last = waited.iter().map(|(_, end)| *end).max();
        match (self.spans[span].start.0, self.spans[span].end.0) {
            (0, 0) => first.zip(last),
            (0, end) => Some((first.map_or(end, |first| first.min(end)), end)),
            (start, 0) => Some((start, last.map_or(start, |last| last.max(start)))),
            (start, end) => Some((start, end.max(start))),
        }
    }

    fn self_time(&self, span: usize) -> u64 {
        let own = self.spans[span];
        if own.start.0 == 0 {
            return 0;
        }
        let children = self.children(Some(span));
        let is_own = |moment: &u64| {
            !children
                .iter()
                .filter_map(|child| self.open(*child))
                .any(|(start, end)| start <= *moment && *moment < end)
        };
        (own.start.0..own.end.0).filter(is_own).count() as u64
    }

    fn is_asynchronous(&self, span: usize) -> bool {
        let Some(parent) = self.parents[span].map(|parent| self.spans[parent]) else {
            return false;
        };
        let outlives = |(start, end): (u64, u64)| {
            let parent_end = parent.end.max(parent.start).0;
            end > parent_end || (self.spans[span].end.0 == 0 && start >= parent_end)
        };
        self.is_received(span) || (parent.end.0 != 0 && self.open(span).is_some_and(outlives))
    }

    /// Returns the span whose time a moment is on the critical path.
    fn on_path(&self, moment: u64) -> Option<usize> {
        let roots = self.children(None);
        let lasting = |root: &usize| self.open(*root).filter(|(start, end)| start < end);
        let main = self.parentless.iter().find_map(|root| Some((*root, lasting(root)?)));
        let window = match main {
            Some((root, (start, end))) if start <= moment && moment < end => {
                return Some(self.within(root, (start, end), moment));
            }
            Some((_, (start, _))) if moment < start => (0, start),
            Some((_, (_, end))) => (end, u64::MAX),
            None => (0, u64::MAX),
        };
        let mut left = window;
        while let Some((root, part)) = self.last_to_finish(&roots, left) {
            if part.1 <= moment {
                return None;
            }
            if part.0 <= moment {
                return Some(self.within(root, part, moment));
            }
            left.1 = part.0;
        }
        None
    }

    /// Returns the span that the last end waited for at a moment.
    fn on_way(&self, moment: u64) -> Option<(usize, Spent)> {
        let roots = self.parentless.iter().copied().chain(self.children(None));
        let (root, start, last) = { roots }.find_map(|root| {
            let (start, end) = self.open(root)?;
            let last = self.last_end(root).max(end);
            (start < last).then_some((root, start, last))
        })?;
        self.way(root, start, last, moment).2
    }

    fn last_end(&self, span: usize) -> u64 {
        let own = self.spans[span];
        let own_end = if own.start.0 == 0 { 0 } else { own.end.max(own.start).0 };
        let below = self.children(Some(span)).into_iter().map(|child| self.last_end(child));
        below.max().unwrap_or_default().max(own_end)
    }

    /// Returns the first span of the chain at or below `span` whose times are known, the time from
    /// which it has the path, and the use of `moment` if that is later.
    fn way(
        &self,
        span: usize,
        above: u64,
        last: u64,
        moment: u64,
    ) -> (usize, u64, Option<(usize, Spent)>) {
        let next = || {
            let mut children = self.children(Some(span)).into_iter();
            children.find(|child| self.last_end(*child) == last).unwrap()
        };
        let below = |above: u64| self.way(next(), above, last, moment);
        let is_started = self.parents[span].is_none() || self.spans[span].start.0 != 0;
        let Some((start, end)) = self.open(span) else { return below(above) };
        let begun = start.max(above);
        if !is_started && below(above).1 <= begun {
            return below(above);
        }
        let working = |until: u64| {
            let window = (begun, end.clamp(begun, last));
            let is_own = begun <= moment && moment < until;
            is_own.then(|| (self.within_until(span, window, until, moment), Spent::Working))
        };
        if is_started && end >= last {
            return (span, begun, working(last));
        }
        let (next, next_begun, later) = below(if is_started { begun } else { above });
        let handed_over = end.clamp(begun, next_begun);
        let waits = handed_over <= moment && moment < next_begun;
        let waiting = waits.then_some((next, Spent::Waiting));
        (span, begun, later.or(waiting).or_else(|| working(handed_over)))
    }

    /// Returns the span whose time `moment` is, where `span` has the path during `window`.
    fn within(&self, span: usize, window: (u64, u64), moment: u64) -> usize {
        self.within_until(span, window, window.1, moment)
    }

    fn within_until(&self, span: usize, window: (u64, u64), until: u64, moment: u64) -> usize {
        let mut children = self.children(Some(span));
        children.retain(|child| !self.is_received(*child));
        let mut back_to = until;
        loop {
            children.retain(|child| {
                cut(self.open(*child), window).is_some_and(|(_, end)| end <= back_to)
            });
            match self.last_to_finish(&children, window) {
                Some((_, (_, end))) if end <= moment => return span,
                Some((child, part)) if part.0 <= moment => return self.within(child, part, moment),
                Some((_, (start, _))) => back_to = start,
                None => return span,
            }
        }
    }

    fn last_to_finish(&self, among: &[usize], window: (u64, u64)) -> Option<(usize, (u64, u64))> {
        among
            .iter()
            .rev()
            .filter_map(|span| Some((*span, cut(self.open(*span), window)?)))
            .max_by_key(|(span, _)| {
                (self.open(*span).map(|(_, end)| end), std::cmp::Reverse(*span))
            })
    }
}

fn cut(open: Open, window: (u64, u64)) -> Open {
    let (start, end) = open?;
    let part = (start.max(window.0), end.min(window.1));
    (part.0 < part.1).then_some(part)
}
