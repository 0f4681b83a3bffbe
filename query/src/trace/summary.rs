//! Summary of a trace in a list: bounds, entry, state and time by service.
//!
//! Owns the rule of [`TransactionState`] and the sums per service. Self time and critical time
//! come from assembly.

use std::{collections::BTreeMap, time::Duration};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{ServiceTime, SpanFlags, TraceSummary, TransactionState},
    otlp::SpanKind,
};

use super::{trace_rows::Names, tree::Tree};

/// Time of the query, and the times after which an ended trace counts as settled and a silent one
/// as over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceStateClock {
    /// Time of the query.
    pub now: UnixNanos,
    /// Time after the end of a trace during which further spans are expected.
    pub settled_after: Duration,
    /// Time without received spans of a trace after which its open spans are not expected to end.
    pub silent_after: Duration,
}

impl TraceStateClock {
    /// Reports whether the time is less than `length` away from now, before or after. A time far
    /// ahead comes from a wrong clock and never counts as recent.
    fn is_within(self, time: UnixNanos, length: Duration) -> bool {
        u128::from(self.now.0.abs_diff(time.0)) < length.as_nanos()
    }
}

/// Returns the summary of the trace.
pub(crate) fn summary(tree: &Tree, names: &Names, moment: TraceStateClock) -> TraceSummary {
    let mut clock = ServiceClock::default();
    clock.add(tree);
    let entry = tree.entry.map(|node| tree.fact(node));
    let text = |number: Option<u32>| number.map_or("", |number| names.text(number)).to_owned();
    TraceSummary {
        trace_id: tree.trace_id,
        complete: tree.is_complete(),
        state: state(tree, moment),
        start_unix_nano: tree.start,
        end_unix_nano: tree.end,
        duration_nano: tree.end.since(tree.start),
        root_service: text(entry.map(|fact| fact.service)),
        root_operation: text(entry.map(|fact| fact.operation)),
        has_root: tree.has_root(),
        span_count: tree.assembled.nodes.len() as u64,
        error_count: tree.indexes().filter(|node| tree.failed(*node)).count() as u64,
        problem_count: tree.assembled.problems.len() as u64,
        services: clock.times(names),
    }
}

/// Returns the state of a trace. A failed entry settles it, whatever else is still missing. A span
/// without an end counts as running while the trace received spans recently, by the server's clock,
/// because its sender may have died. A trace with gaps counts as running while its last span is so
/// recent that the rest may be on its way.
pub(crate) fn state(tree: &Tree, moment: TraceStateClock) -> TransactionState {
    let entry_failed = tree.has_root() && tree.entry.is_some_and(|node| tree.failed(node));
    let unfinished = |node| tree.flags(node) & SpanFlags::UNFINISHED != 0;
    let may_go_on = if entry_failed {
        return TransactionState::Failed;
    } else if tree.indexes().any(unfinished) {
        moment.is_within(tree.received(), moment.silent_after)
    } else if tree.has_root() && !tree.misses_parents() {
        return TransactionState::Completed;
    } else {
        moment.is_within(tree.end, moment.settled_after)
    };
    if may_go_on { TransactionState::Running } else { TransactionState::Incomplete }
}

/// Aggregates the time of services over any number of traces.
#[derive(Debug, Default)]
pub(crate) struct ServiceClock {
    sums: BTreeMap<u32, ServiceTotals>,
    /// Times in which spans of a service were open: service, start, end.
    open: Vec<(u32, UnixNanos, UnixNanos)>,
}

#[derive(Debug, Default)]
struct ServiceTotals {
    spans: u64,
    errors: u64,
    own: DurationNanos,
    waiting: DurationNanos,
    critical: DurationNanos,
    critical_waiting: DurationNanos,
    busy: DurationNanos,
}

impl ServiceClock {
    /// Adds the spans of a trace.
    pub(crate) fn add(&mut self, tree: &Tree) {
        let calls_peer = calls_of_peers(tree);
        for (index, node) in tree.assembled.nodes.iter().enumerate() {
            let fact = tree.fact(index);
            let sum = self.sums.entry(fact.service).or_default();
            sum.spans += 1;
            sum.errors += u64::from(tree.failed(index));
            sum.own = plus(sum.own, node.self_time);
            if calls_peer[index] {
                sum.waiting = plus(sum.waiting, node.self_time);
                sum.critical_waiting = plus(sum.critical_waiting, node.critical_time);
            }
            sum.critical = plus(sum.critical, node.critical_time);
            if node.duration.0 > 0 {
                self.open.push((fact.service, fact.start, fact.end));
            }
        }
    }

    /// Returns the times, ordered by time on the critical path, then by self time, both descending,
    /// then by name. Peers that services wait for have no names yet.
    pub(crate) fn times(mut self, names: &Names) -> Vec<ServiceTime> {
        self.measure_busy();
        let all = self.sums.values().fold(DurationNanos(0), |all, sum| plus(all, sum.critical));
        let mut times: Vec<ServiceTime> = self
            .sums
            .into_iter()
            .map(|(service, sum)| ServiceTime {
                service: names.text(service).to_owned(),
                span_count: sum.spans,
                error_count: sum.errors,
                busy_nano: sum.busy,
                self_nano: sum.own,
                waiting_nano: sum.waiting,
                critical_nano: sum.critical,
                critical_share: ratio(sum.critical.0, all.0),
                critical_waiting_nano: sum.critical_waiting,
                critical_waiting_peer: None,
                critical_waiting_peer_nano: None,
            })
            .collect();
        times.sort_by(|a, b| {
            let most = |time: &ServiceTime| (time.critical_nano, time.self_nano);
            most(b).cmp(&most(a)).then_with(|| a.service.cmp(&b.service))
        });
        times
    }

    /// Measures the length of the union of each service's open times.
    fn measure_busy(&mut self) {
        self.open.sort_unstable();
        let mut covered: Option<(u32, UnixNanos)> = None;
        for (service, start, end) in &self.open {
            let from = match covered {
                Some((last, until)) if last == *service => until.max(*start),
                _ => *start,
            };
            if let Some(sum) = self.sums.get_mut(service) {
                sum.busy = plus(sum.busy, end.since(from));
            }
            covered = Some((*service, from.max(*end)));
        }
    }
}

/// Marks the nodes that call a peer without spans: CLIENT and PRODUCER spans whose called side sent
/// no span. A child of another service, or a child that serves a call, is a span of the called
/// side.
pub(crate) fn calls_of_peers(tree: &Tree) -> Vec<bool> {
    let is_calling =
        |node: usize| matches!(tree.fact(node).kind, SpanKind::Client | SpanKind::Producer);
    let mut calls_peer: Vec<bool> = tree.indexes().map(is_calling).collect();
    for (index, node) in tree.assembled.nodes.iter().enumerate() {
        let Some(parent) = node.parent.map(|parent| parent as usize) else { continue };
        let fact = tree.fact(index);
        let is_called = fact.kind.serves() || fact.service != tree.fact(parent).service;
        calls_peer[parent] &= !is_called;
    }
    calls_peer
}

/// The sum of two durations.
pub(crate) fn plus(a: DurationNanos, b: DurationNanos) -> DurationNanos {
    DurationNanos(a.0.saturating_add(b.0))
}

/// The ratio of a part to a whole; 0 when the whole is 0.
#[expect(clippy::cast_precision_loss, reason = "a share or a rate is read by people")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
