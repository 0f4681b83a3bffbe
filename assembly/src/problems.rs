//! List of problems in the spans.
//!
//! Owns the list: one entry per problem, by node, then kind. `distinct`, `placement` and `times`
//! decide how each problem is handled.

use tidings_proto::{api::ProblemKind, otlp::SpanKind};

use crate::{
    Node, Problem, SpanFacts, distinct::Distinct, index::Index, placement::Placement, plausible,
};

/// Lists the problems. `node_of` and `places` are by span number.
pub(crate) fn list(
    facts: &[SpanFacts],
    nodes: &[Node],
    node_of: &[u32],
    distinct: &Distinct,
    index: &Index<'_>,
    places: &[Placement],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let parentless = places.iter().filter(|place| **place == Placement::NoParent).count();
    if parentless > 1 {
        problems.push(Problem { kind: ProblemKind::SeveralRoots, node: None, fact: None });
    }
    let left_out = [
        (ProblemKind::DuplicateSpan, &distinct.dropped),
        (ProblemKind::SupersededSpan, &distinct.superseded),
    ];
    for (kind, list) in left_out {
        problems.extend(list.iter().map(|(fact, number)| Problem {
            kind,
            node: Some(node_of[*number as usize]),
            fact: Some(*fact),
        }));
    }
    let mut about = |kind, node: u32| {
        let fact = Some(nodes[node as usize].fact);
        problems.push(Problem { kind, node: Some(node), fact });
    };
    for number in index.shared_ids() {
        about(ProblemKind::SharedSpanId, node_of[number as usize]);
    }
    for (place, node) in places.iter().zip(node_of) {
        match place {
            Placement::Under(..) | Placement::NoParent => {}
            Placement::MissingParent => about(ProblemKind::MissingParent, *node),
            Placement::SelfParent => about(ProblemKind::SelfParent, *node),
            Placement::CutCycle => about(ProblemKind::Cycle, *node),
        }
    }
    for (number, node) in (0..).zip(nodes) {
        let said = |node: &Node| facts[node.fact as usize];
        let parent = node.parent.map(|parent| plausible::one(said(&nodes[parent as usize])));
        for kind in time_problems(said(node), parent).into_iter().flatten() {
            about(kind, number);
        }
    }
    problems.sort_unstable_by_key(|problem| (problem.node, problem.kind, problem.fact));
    problems
}

fn time_problems(said: SpanFacts, parent: Option<SpanFacts>) -> [Option<ProblemKind>; 5] {
    let started = said.start.0 != 0;
    let ended = said.end.0 != 0;
    let own = plausible::one(said);
    let implausible = own != said;
    let early = parent.is_some_and(|parent| own.start < parent.start);
    [
        (!started).then_some(ProblemKind::NoStart),
        (!ended).then_some(ProblemKind::NoEnd),
        (started && ended && !implausible && own.end < own.start)
            .then_some(ProblemKind::EndBeforeStart),
        implausible.then_some(ProblemKind::ImplausibleTime),
        (own.start.0 != 0 && early && own.kind != SpanKind::Consumer)
            .then_some(ProblemKind::StartsBeforeParent),
    ]
}
