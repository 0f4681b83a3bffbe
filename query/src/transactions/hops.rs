//! Calls between services in a transaction, with count and latency.
//!
//! A call is a span that serves a request or takes a message, a span of another service than the
//! span above it, or a span without one above it. The caller is the service of the span above.

use std::collections::BTreeMap;

use tidings_assembly::Spent;
use tidings_proto::{DurationNanos, UnixNanos, api::Hop};

use crate::trace::{summary::plus, trace_rows::Names, tree::Tree};

/// Key of a call: calling service, called service, operation and span kind, as numbers of names.
type HopKey = (Option<u32>, u32, u32, i32);

/// Returns every call type, in order of its first call.
pub(crate) fn hops(trees: &[Tree], names: &Names) -> Vec<Hop> {
    let mut hops: BTreeMap<HopKey, Hop> = BTreeMap::new();
    for tree in trees {
        let times = completion_times(tree);
        // The call that each span belongs to; a parent comes before its children.
        let mut calls: Vec<HopKey> = Vec::with_capacity(times.len());
        for (index, node) in tree.assembled.nodes.iter().enumerate() {
            let fact = tree.fact(index);
            let caller = node.parent.map(|parent| tree.fact(parent as usize).service);
            let is_call = fact.kind.serves() || caller != Some(fact.service);
            let key = match node.parent {
                Some(parent) if !is_call => calls[parent as usize],
                _ => (caller, fact.service, fact.operation, i32::from(fact.kind)),
            };
            calls.push(key);
            let hop = hops.entry(key).or_insert_with(|| Hop {
                from_service: caller.map(|service| names.text(service).to_owned()),
                service: names.text(fact.service).to_owned(),
                operation: names.text(fact.operation).to_owned(),
                kind: fact.kind.into(),
                call_count: 0,
                error_count: 0,
                first_start_unix_nano: UnixNanos(u64::MAX),
                response_nano: Default::default(),
                response_max_nano: Default::default(),
                self_nano: Default::default(),
                critical_nano: Default::default(),
                completion_nano: Default::default(),
                waiting_nano: Default::default(),
            });
            let CompletionTime { working, waiting } = times[index];
            hop.completion_nano = plus(hop.completion_nano, working);
            hop.waiting_nano = plus(hop.waiting_nano, waiting);
            if !is_call {
                continue;
            }
            hop.call_count += 1;
            hop.error_count += u64::from(tree.failed(index));
            hop.first_start_unix_nano = hop.first_start_unix_nano.min(fact.start);
            hop.response_nano = plus(hop.response_nano, node.duration);
            hop.response_max_nano = hop.response_max_nano.max(node.duration);
            hop.self_nano = plus(hop.self_nano, node.self_time);
            hop.critical_nano = plus(hop.critical_nano, node.critical_time);
        }
    }
    let mut hops: Vec<Hop> = hops.into_values().collect();
    hops.sort_by(|a, b| order(a).cmp(&order(b)));
    hops
}

/// Time of a node on the path to completion.
#[derive(Debug, Clone, Copy, Default)]
struct CompletionTime {
    working: DurationNanos,
    waiting: DurationNanos,
}

/// Returns the time of each node on the path to completion.
fn completion_times(tree: &Tree) -> Vec<CompletionTime> {
    let mut times = vec![CompletionTime::default(); tree.assembled.nodes.len()];
    for segment in tree.completion().path {
        let of = &mut times[segment.node as usize];
        let time = match segment.spent {
            Spent::Working => &mut of.working,
            Spent::Waiting => &mut of.waiting,
        };
        *time = plus(*time, segment.end.since(segment.start));
    }
    times
}

fn order(hop: &Hop) -> (UnixNanos, &Option<String>, &str, &str, u8) {
    let kind = hop.kind as u8;
    (hop.first_start_unix_nano, &hop.from_service, &hop.service, &hop.operation, kind)
}
