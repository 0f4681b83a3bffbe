//! Structural operators, compared with a slow and simple evaluation over assembled traces of random
//! spans, including orphans, several roots, cycles and shared ids.

use std::cell::Cell;

use proptest::{collection::vec, option, prelude::*};
use tidings_assembly::SpanFacts;
use tidings_proto::{SpanId, TraceId, UnixNanos, otlp::SpanKind};
use tidings_traceql::{Relation, Side};

use super::super::{
    read::shape,
    relations::{CheckPacer, ParentKey, TreeShape},
};
use crate::{
    QueryError,
    trace::{trace_rows::TraceFacts, tree::Tree},
};

const RELATIONS: [Relation; 5] = [
    Relation::Child,
    Relation::Parent,
    Relation::Descendant,
    Relation::Ancestor,
    Relation::Sibling,
];

fn id(n: u8) -> SpanId {
    SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, n]).unwrap()
}

/// Assembles a trace of these spans: id, named parent, kind, start.
fn tree(spans: &[(u8, Option<u8>, u8, u64)]) -> Tree {
    let facts = (0..).zip(spans).map(|(n, (own, parent, kind, start))| SpanFacts {
        span_id: id(*own),
        parent_span_id: parent.map(id),
        kind: SpanKind::try_from(i32::from(*kind)).unwrap_or_default(),
        start: UnixNanos(1_000 + *start),
        end: UnixNanos(2_000),
        service: 0,
        operation: 0,
        content_hash: n,
    });
    let facts: Vec<SpanFacts> = facts.collect();
    let marks = vec![0; facts.len()];
    let mut trace = TraceFacts::default();
    (trace.facts, trace.marks) = (facts, marks);
    Tree::new(TraceId::from_bytes([1; 16]).unwrap(), trace)
}

/// Reports whether `b` is a child (parent, …) of `a`, by walking the tree.
fn holds(tree: &Tree, relation: Relation, a: usize, b: usize) -> bool {
    let nodes = &tree.assembled.nodes;
    let parent = |node: usize| nodes[node].parent.map(|parent| parent as usize);
    let is_above = |above: usize, below: usize| {
        let mut at = parent(below);
        while let Some(node) = at {
            if node == above {
                return true;
            }
            at = parent(node);
        }
        false
    };
    match relation {
        Relation::Child => parent(b) == Some(a),
        Relation::Parent => parent(a) == Some(b),
        Relation::Descendant => is_above(a, b),
        Relation::Ancestor => is_above(b, a),
        Relation::Sibling => {
            let named = |node: usize| tree.fact(node).parent_span_id;
            let present = |id: Option<SpanId>| {
                id.is_some_and(|id| tree.indexes().any(|node| tree.fact(node).span_id == id))
            };
            let orphans = parent(a).is_none() && parent(b).is_none();
            let same_missing = orphans && named(a).is_some() && named(a) == named(b);
            let of_one = parent(a).is_some() && parent(a) == parent(b);
            a != b && (of_one || (same_missing && !present(named(a))))
        }
    }
}

fn obvious(
    tree: &Tree,
    relation: Relation,
    side: Side,
    left: &[bool],
    right: &[bool],
) -> Vec<bool> {
    let all = || tree.indexes();
    let to_left = |b: usize| all().any(|a| left[a] && holds(tree, relation, a, b));
    let to_right = |a: usize| all().any(|b| right[b] && holds(tree, relation, a, b));
    all()
        .map(|span| match side {
            Side::Right => right[span] && to_left(span),
            Side::NotRight => right[span] && !to_left(span),
            Side::Both => (right[span] && to_left(span)) || (left[span] && to_right(span)),
        })
        .collect()
}

/// Returns the relation's result, without a check of time.
fn related(shape: &TreeShape, of: (Relation, Side), left: &[u32], right: &[u32]) -> Vec<u32> {
    shape.related(of, left, right, &CheckPacer::new(&|| Ok(()))).unwrap()
}

/// Returns the indexes of the marked elements.
fn numbers(marks: &[bool]) -> Vec<u32> {
    (0..).zip(marks).filter_map(|(span, is)| is.then_some(span)).collect()
}

fn check(spans: &[(u8, Option<u8>, u8, u64)], left: &[bool], right: &[bool]) {
    let tree = tree(spans);
    let marks = |marks: &[bool]| -> Vec<bool> {
        tree.indexes().map(|node| marks.get(node).copied().unwrap_or(false)).collect()
    };
    let (left, right) = (marks(left), marks(right));
    let shape: TreeShape = shape(&tree);
    for relation in RELATIONS {
        for side in [Side::Right, Side::NotRight, Side::Both] {
            let found = related(&shape, (relation, side), &numbers(&left), &numbers(&right));
            let expected = numbers(&obvious(&tree, relation, side, &left, &right));
            assert_eq!(found, expected, "{relation:?} {side:?} {left:?} {right:?} of {spans:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn relations_are_those_that_a_walk_finds(
        spans in vec((0..12_u8, option::weighted(0.85, 0..14_u8), 0..6_u8, 0..5_u64), 0..14),
        left in vec(any::<bool>(), 14),
        right in vec(any::<bool>(), 14),
    ) {
        check(&spans, &left, &right);
    }
}

#[test]
fn cycles_orphans_and_several_roots_have_relations() {
    let marked = [true; 6];
    // 1 and 2 name each other; 3 names itself; 4 and 5 name a parent that is missing; 6 is a root.
    let spans = [
        (1, Some(2), 1, 0),
        (2, Some(1), 1, 1),
        (3, Some(3), 1, 2),
        (4, Some(99), 1, 3),
        (5, Some(99), 1, 4),
        (6, None, 1, 0),
    ];
    check(&spans, &marked, &marked);
    let tree = tree(&spans);
    let all = numbers(&marked);
    let siblings = related(&shape(&tree), (Relation::Sibling, Side::Right), &all, &all);
    let found: Vec<SpanId> =
        siblings.into_iter().map(|node| tree.fact(node as usize).span_id).collect();
    assert_eq!(found, [id(4), id(5)], "only the orphans of one parent are siblings");
}

const LENGTH: u32 = 100_000;

fn chain() -> TreeShape {
    TreeShape {
        parents: (0..LENGTH).map(|span| span.checked_sub(1)).collect(),
        ends: vec![LENGTH; LENGTH as usize],
        families: (0..LENGTH).map(|span| span.checked_sub(1).map(ParentKey::Of)).collect(),
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_takes_no_longer_than_its_length() {
    let all: Vec<u32> = (0..LENGTH).collect();
    for relation in RELATIONS {
        let related = related(&chain(), (relation, Side::Both), &all, &all);
        let expected = if relation == Relation::Sibling { 0 } else { LENGTH as usize };
        assert_eq!(related.len(), expected, "{relation:?}");
    }
}

#[test]
fn a_join_ends_where_it_is_stopped() {
    let all: Vec<u32> = (0..LENGTH).collect();
    let shape = chain();
    for relation in RELATIONS {
        for side in [Side::Right, Side::NotRight, Side::Both] {
            let asked = Cell::new(0);
            let count = || {
                asked.set(asked.get() + 1);
                Ok(())
            };
            shape.related((relation, side), &all, &all, &CheckPacer::new(&count)).unwrap();
            let in_all = asked.get();
            assert!(in_all >= LENGTH / 4_096, "{relation:?} asks {in_all} times");
            for last in (1..=in_all).step_by(7) {
                let left = Cell::new(last);
                let stop = || {
                    left.set(left.get() - 1);
                    if left.get() > 0 { Ok(()) } else { Err(QueryError::Cancelled) }
                };
                let ended = shape.related((relation, side), &all, &all, &CheckPacer::new(&stop));
                assert!(matches!(ended, Err(QueryError::Cancelled)), "{relation:?} goes on");
                assert_eq!(left.get(), 0, "{relation:?}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_pairs_of_spans_take_no_longer_than_one_spanset_of_them() {
    let shape = chain();
    for relation in RELATIONS {
        let pairs = (1..LENGTH).map(|span| ([span - 1, span], span));
        let related: Vec<u32> = pairs
            .flat_map(|(pair, span)| related(&shape, (relation, Side::Right), &pair, &[span]))
            .collect();
        let is_one = matches!(relation, Relation::Child | Relation::Descendant);
        let expected = if is_one { LENGTH as usize - 1 } else { 0 };
        assert_eq!(related.len(), expected, "{relation:?}");
    }
}
