//! Properties of assembly for any spans, and agreement with the reference model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidings_proto::{
    SpanId, UnixNanos,
    api::{PlaceRule, ProblemKind},
    otlp::SpanKind,
};

use super::model;
use crate::{Assembled, SpanFacts, Spent, assemble, callers, completion, distinct, plausible};

fn span_id(number: u8) -> SpanId {
    SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, number]).unwrap()
}

fn kind() -> impl Strategy<Value = SpanKind> {
    prop::sample::select(vec![
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ])
}

/// Spans of few ids, services and moments, so that every kind of problem occurs often.
fn span(ids: u8, latest: u64) -> impl Strategy<Value = SpanFacts> {
    let time = move || prop_oneof![1 => Just(0), 12 => 1..=latest];
    (0..ids, prop::option::weighted(0.85, 0..ids), kind(), time(), time(), 0..3_u32, 0..4_u64)
        .prop_map(|(id, parent, kind, start, end, service, content_hash)| SpanFacts {
            span_id: span_id(id),
            parent_span_id: parent.map(span_id),
            kind,
            start: UnixNanos(start),
            end: UnixNanos(end),
            service,
            operation: service,
            content_hash,
        })
}

fn spans() -> impl Strategy<Value = Vec<SpanFacts>> {
    with_reports(prop_oneof![
        prop::collection::vec(span(4, 12), 0..8),
        prop::collection::vec(span(12, 40), 0..24),
        prop::collection::vec(span(60, u64::MAX), 0..60),
    ])
}

/// Spans of which some were also reported before their end.
fn with_reports(
    spans: impl Strategy<Value = Vec<SpanFacts>>,
) -> impl Strategy<Value = Vec<SpanFacts>> {
    let reports = prop::collection::vec((any::<prop::sample::Index>(), 4..7_u64), 0..3);
    (spans, reports).prop_map(|(mut spans, reports)| {
        let reported = reports.iter().filter(|_| !spans.is_empty()).map(|(index, content_hash)| {
            let span = spans[index.index(spans.len())];
            SpanFacts { end: UnixNanos(0), content_hash: *content_hash, ..span }
        });
        let reported: Vec<SpanFacts> = reported.collect();
        spans.extend(reported);
        spans
    })
}

fn root_of(assembled: &Assembled, node: u32) -> u32 {
    let parent = |node: &u32| assembled.nodes[*node as usize].parent;
    std::iter::successors(Some(node), parent).last().unwrap()
}

/// Describes the result with facts in place of their numbers.
fn unnumbered(facts: &[SpanFacts], assembled: &Assembled) -> String {
    let fact = |number: u32| facts[number as usize];
    let nodes: Vec<_> = assembled
        .nodes
        .iter()
        .map(|node| (fact(node.fact), crate::Node { fact: 0, ..*node }))
        .collect();
    let mut problems: Vec<_> = assembled
        .problems
        .iter()
        .map(|problem| {
            format!("{:?} {:?} {:?}", problem.node, problem.kind, problem.fact.map(fact))
        })
        .collect();
    problems.sort();
    let Assembled { critical_path, gaps, queues, bounds, .. } = assembled;
    format!("{nodes:?} {critical_path:?} {problems:?} {gaps:?} {queues:?} {bounds:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn callers_and_durations_are_those_of_the_assembled_trace(facts in spans()) {
        let nodes = assemble(&facts).nodes;
        let fact = |node: u32| nodes[node as usize].fact;
        let assembled: BTreeSet<_> =
            nodes.iter().map(|node| (node.fact, node.parent.map(fact), node.duration)).collect();
        let called = callers(&facts);
        prop_assert_eq!(called.len(), nodes.len());
        let fact = |place: u32| called[place as usize].fact;
        let alone: BTreeSet<_> =
            called.iter().map(|of| (of.fact, of.parent.map(fact), of.duration)).collect();
        prop_assert_eq!(alone, assembled);
    }

    #[test]
    fn spans_of_different_ids_are_ordered_as_if_some_could_be_the_same(
        facts in prop::collection::btree_map(0..60_u8, span(60, 9), 0..60), turn in 0..60_usize,
    ) {
        let of_id = |(id, facts)| SpanFacts { span_id: span_id(id), ..facts };
        let mut facts: Vec<SpanFacts> = facts.into_iter().map(of_id).collect();
        let turn = turn % facts.len().max(1);
        facts.rotate_left(turn);
        let by_id = distinct::by_id(&facts);
        prop_assert_eq!(distinct::distinct(&facts), distinct::without_repeats(&facts, &by_id));
    }

    #[test]
    fn every_distinct_span_is_shown_once_and_every_other_is_reported(facts in spans()) {
        let assembled = assemble(&facts);
        // Equal ids and hashes with other times occur only in this test.
        let kept = |span: &SpanFacts| facts.iter()
            .filter(|other| (other.span_id, other.content_hash) == (span.span_id, span.content_hash))
            .min_by_key(|one| (
                one.parent_span_id, one.kind as i32, one.start, one.end, one.service, one.operation,
            ))
            .copied();
        let first: Vec<SpanFacts> = facts.iter().filter_map(kept).collect();
        let is_superseded =
            |span: &SpanFacts| first.iter().any(|other| model::supersedes(other, span));
        let distinct: BTreeSet<_> = first.iter()
            .filter(|span| !is_superseded(span))
            .map(|span| (span.span_id, span.content_hash))
            .collect();
        let shown: BTreeSet<_> = assembled.nodes.iter()
            .map(|node| &facts[node.fact as usize])
            .map(|span| (span.span_id, span.content_hash))
            .collect();
        prop_assert_eq!(assembled.nodes.len(), distinct.len());
        prop_assert_eq!(shown, distinct);
        let dropped = assembled.problems.iter()
            .filter(|problem| matches!(
                problem.kind,
                ProblemKind::DuplicateSpan | ProblemKind::SupersededSpan
            ))
            .filter_map(|problem| problem.fact);
        let accounted: BTreeSet<u32> = dropped.chain(assembled.nodes.iter().map(|node| node.fact)).collect();
        prop_assert_eq!(accounted.len(), facts.len());
    }

    #[test]
    fn the_order_of_the_facts_changes_nothing(
        (facts, shuffled) in spans().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle()))
    ) {
        prop_assert_eq!(
            unnumbered(&facts, &assemble(&facts)),
            unnumbered(&shuffled, &assemble(&shuffled))
        );
    }

    /// A trace that grows ends equal to the same trace sent at once: nothing is remembered in
    /// between.
    #[test]
    fn a_trace_that_arrives_in_parts_and_repeated_is_the_same_in_the_end(
        facts in spans(), again in prop::collection::vec(any::<prop::sample::Index>(), 0..5)
    ) {
        let resent: Vec<SpanFacts> = match facts.len() {
            0 => Vec::new(),
            len => again.iter().map(|index| facts[index.index(len)]).collect(),
        };
        let grown = [resent, facts.clone()].concat();
        let whole = assemble(&facts);
        let told = assemble(&grown);
        prop_assert_eq!(&told.critical_path, &whole.critical_path);
        prop_assert_eq!((&told.gaps, &told.queues, told.bounds), (&whole.gaps, &whole.queues, whole.bounds));
        let without_fact = |assembled: &Assembled| -> Vec<crate::Node> {
            assembled.nodes.iter().map(|node| crate::Node { fact: 0, ..*node }).collect()
        };
        prop_assert_eq!(without_fact(&told), without_fact(&whole));
    }

    #[test]
    fn nodes_are_depth_first_and_count_their_descendants(facts in spans()) {
        let nodes = assemble(&facts).nodes;
        for (at, node) in nodes.iter().enumerate() {
            let below = at + 1..at + 1 + node.descendants as usize;
            prop_assert!(below.end <= nodes.len());
            prop_assert!(nodes[below.clone()].iter().all(|inner| inner.depth > node.depth));
            prop_assert!(nodes.get(below.end).is_none_or(|next| next.depth <= node.depth));
            match node.parent {
                None => prop_assert_eq!(node.depth, 0),
                Some(parent) => {
                    prop_assert!((parent as usize) < at);
                    prop_assert_eq!(node.depth, nodes[parent as usize].depth + 1);
                }
            }
        }
    }

    #[test]
    fn self_times_and_segments_stay_within_their_spans(facts in spans()) {
        let assembled = assemble(&facts);
        let facts = plausible::all(&facts);
        for node in &assembled.nodes {
            let span = &facts[node.fact as usize];
            prop_assert!(node.self_time <= node.duration);
            if span.start.0 != 0 && span.end.0 != 0 {
                prop_assert!(node.critical_time <= node.duration);
            }
        }
        let mut before = UnixNanos(0);
        for segment in &assembled.critical_path {
            let span = &facts[assembled.nodes[segment.node as usize].fact as usize];
            prop_assert!(before <= segment.start && segment.start < segment.end);
            prop_assert!(span.start <= segment.start);
            prop_assert!(span.end.0 == 0 || segment.end <= span.end);
            before = segment.end;
        }
        for pair in assembled.critical_path.windows(2) {
            prop_assert!(pair[0].node != pair[1].node || pair[0].end < pair[1].start);
        }
    }

    #[test]
    fn the_path_covers_all_the_time_a_finished_root_was_open(facts in spans()) {
        let assembled = assemble(&facts);
        let covered: u64 = assembled.critical_path.iter().map(|segment| segment.end.since(segment.start).0).sum();
        for node in assembled.nodes.iter().filter(|node| node.parent.is_none()) {
            prop_assert!(covered >= node.duration.0);
        }
    }

    #[test]
    fn the_path_to_completion_leaves_no_gap_from_the_root_to_the_last_end(facts in spans()) {
        let assembled = assemble(&facts);
        let found = completion(&assembled, &facts);
        for pair in found.path.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start);
            let (one, next) = ((pair[0].node, pair[0].spent), (pair[1].node, pair[1].spent));
            prop_assert_ne!(one, next);
        }
        prop_assert!(found.path.iter().all(|segment| segment.start < segment.end));
        let Some(first) = found.path.first() else { return Ok(()) };
        let root = root_of(&assembled, first.node);
        prop_assert!(found.path.iter().all(|segment| root_of(&assembled, segment.node) == root));
        let known = plausible::all(&facts);
        let of = |node: u32| known[assembled.nodes[node as usize].fact as usize];
        if of(root).start.0 != 0 {
            prop_assert_eq!(first.start, of(root).start);
        }
        let below = root..=root + assembled.nodes[root as usize].descendants;
        let started = below.map(of).filter(|span| span.start.0 != 0);
        let last = started.map(|span| span.end.max(span.start)).max().unwrap_or_default();
        let end = found.path.last().map(|segment| segment.end).unwrap_or_default();
        // An end without a start may keep an unfinished span above it open for longer.
        prop_assert!(end == last || (end > last && !found.outlives));
    }

    #[test]
    fn the_path_to_completion_is_the_critical_path_where_nothing_outlives_the_root(
        facts in spans()
    ) {
        let assembled = assemble(&facts);
        let found = completion(&assembled, &facts);
        let Some(first) = found.path.first() else { return Ok(()) };
        if found.outlives {
            return Ok(());
        }
        let root = root_of(&assembled, first.node);
        let main = (0..).zip(&assembled.nodes).filter(|(_, node)| node.parent.is_none());
        let parentless = main.filter(|(_, node)| node.rule == PlaceRule::NamesNoParent);
        prop_assert!(found.path.iter().all(|segment| segment.spent == Spent::Working));
        // Roots that all miss their parents share the critical path, and this one's part is cut.
        if parentless.map(|(at, _)| at).any(|at| at == root) {
            let of_root: Vec<_> = assembled.critical_path.iter()
                .filter(|segment| root_of(&assembled, segment.node) == root)
                .map(|segment| (segment.node, segment.start, segment.end))
                .collect();
            let path: Vec<_> =
                found.path.iter().map(|one| (one.node, one.start, one.end)).collect();
            prop_assert_eq!(path, of_root);
        }
    }

    #[test]
    fn the_order_of_the_facts_does_not_change_the_path_to_completion(
        (facts, shuffled) in spans().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle()))
    ) {
        let told = |facts: &[SpanFacts]| {
            let assembled = assemble(facts);
            let found = completion(&assembled, facts);
            let path: Vec<_> = found.path.iter().map(|segment| {
                let span = &facts[assembled.nodes[segment.node as usize].fact as usize];
                (span.span_id, span.content_hash, segment.spent, segment.start, segment.end)
            }).collect();
            (path, found.outlives)
        };
        prop_assert_eq!(told(&facts), told(&shuffled));
    }

    #[test]
    fn a_message_waits_on_the_path_to_completion_as_long_as_in_its_queue(facts in spans()) {
        let assembled = assemble(&facts);
        for wait in completion(&assembled, &facts).path {
            let queue = assembled.queues.iter().find(|queue| queue.consumer == wait.node);
            if let (Spent::Waiting, Some(queue)) = (wait.spent, queue) {
                // A producer that ended before the span above it began handed over when that began,
                // at the earliest.
                prop_assert!(queue.start <= wait.start && queue.end <= wait.end);
                prop_assert!(queue.start == wait.start || wait.start < queue.end);
            }
        }
    }

    #[test]
    fn the_path_to_completion_is_that_of_the_reference_model(
        facts in with_reports(prop_oneof![
            prop::collection::vec(span(4, 12), 0..8),
            prop::collection::vec(span(9, 25), 0..16),
        ])
    ) {
        model::compare_completion(&facts, &assemble(&facts));
    }

    #[test]
    fn the_result_is_that_of_the_reference_model(
        facts in with_reports(prop_oneof![
            prop::collection::vec(span(4, 12), 0..8),
            prop::collection::vec(span(9, 25), 0..16),
        ])
    ) {
        model::compare(&facts, &assemble(&facts));
    }
}
