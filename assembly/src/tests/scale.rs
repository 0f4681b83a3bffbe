//! Traces of hostile size and shape, and the stored hash.

use std::time::Duration;

use tidings_proto::{SpanId, UnixNanos, otlp::SpanKind};

use crate::{Assembled, Completion, SpanFacts, Spent, assemble, completion};

const MANY: u64 = 100_000;
/// Time limit: far above the time without optimisation on a busy machine (about 1 s), far below
/// that of a quadratic algorithm.
const PATIENCE: Duration = Duration::from_secs(20);

fn span(number: u64, parent: Option<u64>, start: u64, end: u64) -> SpanFacts {
    let id = |number: u64| SpanId::from_bytes((number + 1).to_be_bytes());
    SpanFacts {
        span_id: id(number).unwrap(),
        parent_span_id: parent.and_then(id),
        kind: SpanKind::Internal,
        start: UnixNanos(start),
        end: UnixNanos(end),
        service: 0,
        operation: 0,
        content_hash: number,
    }
}

fn assemble_in_time(spans: impl Iterator<Item = SpanFacts>) -> Assembled {
    complete_in_time(spans).0
}

fn complete_in_time(spans: impl Iterator<Item = SpanFacts>) -> (Assembled, Completion) {
    let facts: Vec<SpanFacts> = spans.collect();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        let assembled = assemble(&facts);
        let completed = completion(&assembled, &facts);
        sender.send(Box::new((assembled, completed)))
    };
    std::thread::spawn(work);
    *receiver.recv_timeout(PATIENCE).expect("assembled in time, on an ordinary stack")
}

#[test]
fn a_chain_of_any_depth_is_one_branch() {
    let chain = (0..MANY).map(|at| span(at, at.checked_sub(1), 1 + at, 1 + 2 * MANY - at));
    let assembled = assemble_in_time(chain);
    assert_eq!(assembled.nodes.len() as u64, MANY);
    assert!((0..).zip(&assembled.nodes).all(|(at, node)| node.depth == at && node.fact == at));
    assert_eq!(assembled.critical_path.len() as u64, 2 * MANY - 1);
    assert_eq!(assembled.nodes[0].self_time.0, 2);
    assert_eq!(assembled.problems, []);
}

#[test]
fn a_span_may_have_any_number_of_children() {
    let fan = (0..MANY).map(|at| match at {
        0 => span(0, None, 1, 1 + 2 * MANY),
        _ => span(at, Some(0), 2 * at, 2 * at + 1),
    });
    let assembled = assemble_in_time(fan);
    assert_eq!(assembled.nodes[0].descendants as u64, MANY - 1);
    assert_eq!(assembled.nodes[0].self_time.0, MANY + 1);
    assert_eq!(assembled.nodes[0].critical_time.0, MANY + 1);
    assert_eq!(assembled.critical_path.len() as u64, 2 * MANY - 1);
}

#[test]
fn any_number_of_roots_overlap() {
    let roots = (0..MANY).map(|at| span(at, Some(MANY + at), 1 + at, 10 + 3 * at));
    let assembled = assemble_in_time(roots);
    let on_path: u64 = assembled.nodes.iter().map(|node| node.critical_time.0).sum();
    assert_eq!(on_path, 10 + 3 * (MANY - 1) - 1);
    assert_eq!(assembled.problems.len() as u64, MANY);
}

#[test]
fn any_number_of_spans_share_an_id_that_as_many_name() {
    let shared = (0..MANY / 2).map(|at| SpanFacts {
        kind: if at == 0 { SpanKind::Client } else { SpanKind::Server },
        span_id: span(0, None, 0, 0).span_id,
        ..span(at, None, 1 + at, MANY)
    });
    let children = (MANY / 2..MANY).map(|at| span(at, Some(0), 2 + at - MANY / 2, MANY));
    let assembled = assemble_in_time(shared.chain(children));
    assert_eq!(assembled.nodes[0].descendants as u64, MANY - 1);
    assert!(assembled.nodes.iter().all(|node| node.depth <= 2));
    assert_eq!(assembled.problems, []);
}

#[test]
fn a_cycle_of_any_length_is_cut_once() {
    let cycle = (0..MANY).map(|at| span(at, Some((at + 1) % MANY), 1 + at, 2 * MANY));
    let assembled = assemble_in_time(cycle);
    assert_eq!(assembled.nodes.iter().filter(|node| node.parent.is_none()).count(), 1);
    assert_eq!(u64::from(assembled.nodes.last().unwrap().depth), MANY - 1);
}

#[test]
fn messages_may_be_handed_on_any_number_of_times() {
    let kind = |at: u64| if at.is_multiple_of(2) { SpanKind::Producer } else { SpanKind::Consumer };
    let handed_on = (0..MANY).map(|at| SpanFacts {
        kind: kind(at),
        ..span(at, at.checked_sub(1), 10 * at + 1, 10 * at + 4)
    });
    let (_, completed) = complete_in_time(handed_on);
    assert!(completed.outlives);
    let waits = completed.path.iter().filter(|segment| segment.spent == Spent::Waiting);
    assert_eq!(waits.count() as u64, MANY - 1);
    let total: u64 = completed.path.iter().map(|part| part.end.since(part.start).0).sum();
    assert_eq!(total, 10 * (MANY - 1) + 4 - 1);
}

#[test]
fn a_message_may_have_any_number_of_readers() {
    let fan = (0..MANY).map(|at| match at {
        0 => SpanFacts { kind: SpanKind::Producer, ..span(0, None, 1, 2) },
        _ => SpanFacts { kind: SpanKind::Consumer, ..span(at, Some(0), 10 + at, 20 + at) },
    });
    let (assembled, completed) = complete_in_time(fan);
    assert_eq!(completed.path.len(), 3);
    assert_eq!(completed.path[2].node as usize, assembled.nodes.len() - 1);
}

#[test]
fn no_facts_give_nothing() {
    assert_eq!(assemble(&[]), Assembled::default());
    assert_eq!(completion(&Assembled::default(), &[]), Completion::default());
}
