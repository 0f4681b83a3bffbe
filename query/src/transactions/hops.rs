//! Who called whom in a transaction, how often and how long it took.
//!
//! A call is a span that serves a request or takes a message, a span of another service than the
//! span above it, or a span without one above it. The caller is the service of the span above.

use std::collections::BTreeMap;

use tidings_proto::{UnixNanos, api::Hop, otlp::SpanKind};

use crate::trace::{gather::Names, kind_name, summary::plus, tree::Tree};

/// Every kind of call, in order of its first call.
pub(crate) fn hops(trees: &[Tree], names: &Names) -> Vec<Hop> {
    let mut hops: BTreeMap<(Option<u32>, u32, u32, i32), Hop> = BTreeMap::new();
    for tree in trees {
        for (index, node) in tree.assembled.nodes.iter().enumerate() {
            let fact = tree.fact(index);
            let caller = node.parent.map(|parent| tree.fact(parent as usize).service);
            let serves = matches!(fact.kind, SpanKind::Server | SpanKind::Consumer);
            if !serves && caller == Some(fact.service) {
                continue;
            }
            let key = (caller, fact.service, fact.operation, i32::from(fact.kind));
            let hop = hops.entry(key).or_insert_with(|| Hop {
                from_service: caller.map(|service| names.text(service).to_owned()),
                service: names.text(fact.service).to_owned(),
                operation: names.text(fact.operation).to_owned(),
                kind: kind_name(fact.kind),
                call_count: 0,
                error_count: 0,
                first_start_unix_nano: UnixNanos(u64::MAX),
                response_nano: Default::default(),
                response_max_nano: Default::default(),
                self_nano: Default::default(),
                critical_nano: Default::default(),
            });
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

fn order(hop: &Hop) -> (UnixNanos, &Option<String>, &str, &str, u8) {
    let kind = hop.kind as u8;
    (hop.first_start_unix_nano, &hop.from_service, &hop.service, &hop.operation, kind)
}
