//! The effect of each unit on each transaction type: the additional time and the additional
//! failures of a trace that the unit itself causes.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;
use tidings_proto::otlp::SpanKind;

use super::{
    roles::{Roles, Unit},
    sampled::{SampledSpan, SampledTrace, Sides},
    statistics::{
        COMPARED_CALLS_MIN, count_above, counted, float, quantile, rank_test, share_test,
    },
};
use crate::trace::summary::ratio;

/// Quantiles of the baseline, in percent, beyond which calls of the window are counted. Few stalls
/// of a service are lost among the usual calls beyond the lower one.
const TAILS: [u64; 2] = [95, 99];
/// Number of tests of slower calls: of ranks, and of each tail.
const TESTS: f64 = 3.0;

/// A call of a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    /// Index of the trace among those of its side.
    pub trace: u32,
    pub span: u32,
    pub start: u64,
    /// Self time plus queue time.
    pub own: u64,
    /// The part of that time that the transaction waited for.
    pub cost: u64,
    /// True when the call failed without a failed callee.
    pub failed: bool,
}

/// The calls of a unit in one transaction type.
#[derive(Debug, Default)]
pub(super) struct UnitCalls {
    pub all: Vec<Observation>,
}

/// The calls of units by transaction type.
pub(super) type ByUnit = BTreeMap<(u32, Unit), Sides<UnitCalls>>;

/// The effect of a unit on a transaction type.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitEffect {
    /// Additional nanoseconds of a trace.
    pub slower: f64,
    /// P-value of the slower calls.
    pub slower_p: f64,
    /// Increase of the share of traces in which the unit fails.
    pub failing: f64,
    /// P-value of the increase in failures.
    pub failing_p: f64,
}

/// The calls of both sides.
pub(super) fn observe(traces: Sides<&[SampledTrace]>, roles: &Roles) -> ByUnit {
    let mut units = ByUnit::new();
    for (is_now, side) in [(true, traces.now), (false, traces.before)] {
        for (number, trace) in (0_u32..).zip(side) {
            let children = trace.children();
            for (place, children) in (0_u32..).zip(&children) {
                let unit = roles.unit(trace, place, children);
                let of = units.entry((trace.root, unit)).or_default();
                let of = if is_now { &mut of.now } else { &mut of.before };
                of.all.push(observation(trace, (number, place), children));
            }
        }
    }
    units
}

fn observation(trace: &SampledTrace, (number, place): (u32, u32), children: &[u32]) -> Observation {
    let span = trace.span(place);
    let own = waited(trace, place, children).unwrap_or(span.self_time);
    // The transaction does not wait for an asynchronous span, but its result comes later.
    let late = if span.asynchronous { own / 2 } else { 0 };
    Observation {
        trace: number,
        span: place,
        start: span.start,
        own: own.saturating_add(span.queue_time),
        cost: span.critical_time.min(own).max(late).saturating_add(span.queue_time / 2),
        failed: span.failed && !children.iter().any(|child| trace.span(*child).failed),
    }
}

/// The time that a call waits beyond the span that it enters. When their clocks differ so much that
/// one span does not lie within the other, only the lengths of both count.
fn waited(trace: &SampledTrace, place: u32, children: &[u32]) -> Option<u64> {
    let span = trace.span(place);
    let [child] = children else { return None };
    let entered = trace.span(*child);
    let is_call = span.kind == SpanKind::Client && entered.kind == SpanKind::Server;
    let end = |of: &SampledSpan| of.start.saturating_add(of.duration);
    let is_within = span.start <= entered.start && end(entered) <= end(span);
    (is_call && !is_within).then(|| span.duration.saturating_sub(entered.duration))
}

/// The effect of a unit, given the number of traces on each side.
pub(super) fn effect(calls: &Sides<UnitCalls>, traces: Sides<u64>) -> UnitEffect {
    let failing = calls.as_ref().map(UnitCalls::failing_traces);
    let failing_more = ratio(failing.now, traces.now) - ratio(failing.before, traces.before);
    let (slower, slower_p) = slower(calls, traces);
    UnitEffect {
        slower,
        slower_p,
        failing: failing_more.max(0.0),
        failing_p: share_test((failing.now, traces.now), (failing.before, traces.before)),
    }
}

impl UnitCalls {
    fn failing_traces(&self) -> u64 {
        let mut last = None;
        let failed = self.all.iter().filter(|call| call.failed);
        let new = failed.filter(|call| last.replace(call.trace) != Some(call.trace));
        new.fold(0, |count, _| count + 1)
    }
}

/// The mean over some calls; each value is capped at twice the 99th percentile.
pub(super) fn mean(calls: &[Observation], of: impl Fn(&Observation) -> u64) -> f64 {
    if calls.is_empty() {
        return 0.0;
    }
    let bound = quantile(&counted(calls.iter().map(&of).collect()), 99).saturating_mul(2);
    let sum: f64 = calls.iter().map(|call| float(of(call).min(bound))).sum();
    sum / float(calls.len() as u64)
}

fn slower(calls: &Sides<UnitCalls>, traces: Sides<u64>) -> (f64, f64) {
    let Sides { now, before } = calls;
    if now.all.is_empty() || traces.now == 0 {
        return (0.0, 1.0);
    }
    let calls_per_trace = float(now.all.len() as u64) / float(traces.now);
    let cost_now = mean(&now.all, |call| call.cost);
    if before.all.is_empty() && traces.before >= COMPARED_CALLS_MIN {
        // All time of a new call is additional.
        let new = distinct_traces(&now.all);
        return (
            calls_per_trace * cost_now / 2.0,
            share_test((new, traces.now), (0, traces.before)),
        );
    }
    let values = calls.as_ref().map(|calls| by_trace(&calls.all));
    let fewest = values.now.len().min(values.before.len()) as u64;
    if fewest < COMPARED_CALLS_MIN {
        return (0.0, 1.0);
    }
    let more = (cost_now - mean(&before.all, |call| call.cost)).max(0.0);
    // The part of its own time that is new: a small slowdown explains little.
    let own = calls.as_ref().map(|calls| mean(&calls.all, |call| call.own));
    let new_part = (1.0 - own.before / own.now.max(1.0)).clamp(0.0, 1.0);
    let means = values.as_ref().map(|of| counted(of.iter().map(|(mean, _)| *mean).collect()));
    let most = values.as_ref().map(|of| counted(of.iter().map(|(_, most)| *most).collect()));
    let rank = rank_test(&means.now, &means.before);
    let rank_p = if rank.superiority > 0.5 { rank.p_value } else { 1.0 };
    let p_value = TAILS.iter().map(|percent| tail_p(&most, *percent)).fold(rank_p, f64::min);
    (calls_per_trace * more * new_part, (TESTS * p_value).min(1.0))
}

/// P-value of more values of the window beyond a quantile of the baseline, in percent.
fn tail_p(values: &Sides<Vec<(u64, u64)>>, percent: u64) -> f64 {
    let bound = quantile(&values.before, percent);
    let above = values.as_ref().map(|values| (count_above(values, bound), total(values)));
    let is_more = above.now.0 * above.before.1 > above.before.0 * above.now.1;
    if is_more { share_test(above.now, above.before) } else { 1.0 }
}

/// Mean and maximum of own times in each trace: calls of one trace are not independent.
fn by_trace(calls: &[Observation]) -> Vec<(u64, u64)> {
    let of_trace = calls.chunk_by(|a, b| a.trace == b.trace);
    let value = |calls: &[Observation]| {
        let sum: u64 = calls.iter().fold(0, |sum, call| sum.saturating_add(call.own));
        (sum / (calls.len() as u64), calls.iter().map(|call| call.own).max().unwrap_or(0))
    };
    of_trace.map(value).collect()
}

fn total(values: &[(u64, u64)]) -> u64 {
    values.iter().map(|(_, count)| count).sum()
}

fn distinct_traces(calls: &[Observation]) -> u64 {
    let traces: HashMap<u32, (), RandomState> = calls.iter().map(|call| (call.trace, ())).collect();
    traces.len() as u64
}
