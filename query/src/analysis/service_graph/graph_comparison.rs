//! Calls of a graph compared with those of a baseline: a given time, or else the range of the same
//! length before its window.
//!
//! Owns the rule by which calls are slower or fail more. Minimum effects keep out differences that
//! are too small to matter, and tests of significance those that chance explains. Rows of both
//! times are paired by key, before edges are left out: what is folded in the window is folded in
//! the time before. Data comes from the reading of the parent, and goes to `graph_rows`. Groups of
//! rates (`red`) are judged by the same rule, except their medians: these are judged as those of
//! transaction types (`changes`), which a reader sees beside them.

use std::collections::HashSet;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CallsBefore, GraphEdge},
};
use tidings_storage::{Calls, Latency, ScanStats, TimeRange};

use super::{
    Edge, Graph, GraphSearch, Window, bounds,
    graph_rows::{EdgeRowKey, FoldedPeers, GraphRowKey, GraphRows, PeerGroup},
    is_of_all, read,
};
use crate::{
    QueryError,
    analysis::changes::statistics::{COMPARED_CALLS_MIN, ComparedQuantile, share_test},
    execution::Reader,
    trace::summary::ratio,
};

/// Minimum number of calls from which the usual share of failures is known.
pub(crate) const USUAL_CALLS_MIN: u64 = 20;
/// Maximum p-value of a difference.
const P_VALUE_MAX: f64 = 0.01;
/// Maximum p-value of a difference that chance may explain.
const UNCERTAIN_P_MAX: f64 = 0.1;
/// Minimum factor between two 95th percentiles, and minimum difference.
const SLOWER_FACTOR_MIN: f64 = 1.5;
const SLOWER_DIFFERENCE_MIN: DurationNanos = DurationNanos(100_000);
/// Minimum difference of two shares of failures, and minimum factor.
const FAILING_DIFFERENCE_MIN: f64 = 0.005;
const FAILING_FACTOR_MIN: f64 = 1.5;
/// Minimum share of failures where too few calls of the time before are known.
const FAILING_ALONE_MIN: f64 = 0.05;
/// Weight of a share of failures against a doubled duration.
const FAILING_WEIGHT: f64 = 5.0;

/// The graph of the time before a window.
#[derive(Debug)]
pub(super) struct GraphBefore {
    graph: Graph<Edge>,
    window: Window,
}

/// Rows of the time before, with the keys of the window's rows.
#[derive(Debug)]
pub(super) struct RowsBefore {
    rows: GraphRows,
    window: Window,
}

/// Calls of a node, an edge or a group in the time before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EarlierCalls<'a> {
    pub(crate) calls: &'a Calls,
    window: Window,
}

/// The graph of a window, that of the time before where it has spans, and the scan statistics.
type GraphOfBoth = (Graph<Edge>, Option<GraphBefore>, ScanStats);

impl GraphBefore {
    /// Reads the graph of the baseline of the search, or else of the range of the same length before
    /// the window. `None` when no span of it is stored.
    pub(super) fn read(
        reader: &Reader,
        search: &GraphSearch,
        window: Window,
        stats: &mut ScanStats,
    ) -> Result<Option<Self>, QueryError> {
        let before = match search.baseline {
            Some((start, end)) => {
                let range = TimeRange { start: Some(start), end: Some(end) };
                Some(Window::new(reader, range, None)?)
            }
            None => window.previous(),
        };
        let Some(before) = before else { return Ok(None) };
        let (graph, window, scanned) = read(reader, search, Some(before))?;
        *stats += scanned;
        Self { graph, window }.known(reader, before)
    }

    /// Reads the graph of a window and that of the range of the same length before it at once, so
    /// that traces at their border are read once. Returns the window's graph, that of before as
    /// [`Self::read`] does, and the scan statistics. `None` when the search has another baseline,
    /// or when rollups cannot answer for both ranges.
    pub(super) fn read_with_window(
        reader: &Reader,
        search: &GraphSearch,
        window: Window,
    ) -> Result<Option<GraphOfBoth>, QueryError> {
        let before = window.previous().filter(|_| is_of_all(search) && search.baseline.is_none());
        let Some(before) = before else { return Ok(None) };
        let ([start, end], [begin, _]) = (window.times(), before.times());
        let Some(aggregate) = reader.aggregate_graph(&bounds(reader, &[begin, start, end]))? else {
            return Ok(None);
        };
        let graph = Graph::from_ranges(&aggregate, &(1..2));
        let earlier = Self { graph: Graph::from_ranges(&aggregate, &(0..1)), window: before };
        Ok(Some((graph, earlier.known(reader, before)?, aggregate.scan)))
    }

    /// Counts the calls of nodes that send no spans. `None` when no span of this time is stored.
    fn known(mut self, reader: &Reader, time: Window) -> Result<Option<Self>, QueryError> {
        if self.graph.nodes.is_empty() && !time.has_spans(reader)? {
            return Ok(None);
        }
        self.graph.count_uninstrumented();
        Ok(Some(self))
    }

    /// Returns the rows, with peers folded as in the graph of the window. Peers that only this time
    /// has are folded with others of their kind and system. Around a node, those count that were
    /// around it.
    pub(super) fn into_rows(
        mut self,
        now: &Graph<Edge>,
        folded: &FoldedPeers,
        search: &GraphSearch,
    ) -> RowsBefore {
        if let Some(centre) = &search.around {
            let mut kept = self.graph.around(centre, search.depth);
            kept.extend(now.nodes.keys().cloned());
            self.graph.keep(&kept);
        }
        let groups: HashSet<&PeerGroup> = folded.values().collect();
        let mut folded_before = FoldedPeers::new();
        for (key, totals) in &self.graph.nodes {
            let own = (key.0, totals.system.clone());
            let group = match now.nodes.contains_key(key) {
                true => folded.get(key).cloned(),
                false => groups.contains(&own).then_some(own),
            };
            folded_before.extend(group.map(|group| (key.clone(), group)));
        }
        RowsBefore { rows: self.graph.into_rows(&folded_before), window: self.window }
    }
}

impl RowsBefore {
    /// Start of the time before.
    pub(super) fn start(&self) -> UnixNanos {
        self.window.times()[0]
    }

    /// Calls of a node; `None` when it had none.
    pub(super) fn node(&self, key: &GraphRowKey) -> Option<EarlierCalls<'_>> {
        self.earlier(self.rows.calls_of_node(key))
    }

    /// Calls of an edge; `None` when it had none.
    pub(super) fn edge(&self, key: &EdgeRowKey) -> Option<EarlierCalls<'_>> {
        self.earlier(self.rows.calls_of_edge(key))
    }

    fn earlier<'a>(&self, calls: Option<&'a Calls>) -> Option<EarlierCalls<'a>> {
        let calls = calls.filter(|calls| calls.count > 0)?;
        Some(EarlierCalls::new(calls, self.window))
    }
}

impl<'a> EarlierCalls<'a> {
    /// Calls of a window of the time before.
    pub(crate) fn new(calls: &'a Calls, window: Window) -> Self {
        Self { calls, window }
    }

    /// API view of the calls.
    pub(crate) fn view(self) -> CallsBefore {
        let duration = self.calls.latency.stats();
        CallsBefore {
            call_count: self.calls.count,
            rate_per_second: self.window.rate(self.calls.count),
            error_share: ratio(self.calls.errors, self.calls.count),
            p50_nano: duration.p50_nano,
            p95_nano: duration.p95_nano,
            p99_nano: duration.p99_nano,
        }
    }
}

/// Factor from the 95th percentile of before to that of now; `None` unless the calls are slower:
/// more of them than before take longer than that of before.
pub(crate) fn slower_factor(now: &Calls, before: &Calls) -> Option<f64> {
    if now.latency.count().min(before.latency.count()) < COMPARED_CALLS_MIN {
        return None;
    }
    let (factor, p_value) = longer(&now.latency, &before.latency)?;
    (p_value < P_VALUE_MAX).then_some(factor)
}

/// Factor from the median of before to that of now; `None` unless it became longer by the rule of
/// reports of changes.
pub(crate) fn p50_slower_factor(now: &Calls, before: &Calls) -> Option<f64> {
    let (now, before) = (&now.latency, &before.latency);
    let (is, was) = (now.quantile(50), before.quantile(50));
    if now.count().min(before.count()) < COMPARED_CALLS_MIN || is <= was {
        return None;
    }
    let [durations, durations_before] = [now, before].map(|of| {
        let buckets = of.histogram().into_iter();
        buckets.map(|bucket| (bucket.up_to_nano.0, bucket.count)).collect::<Vec<_>>()
    });
    let compared = ComparedQuantile::new(&durations, &durations_before, 50);
    let is_slower = compared.is_large() && compared.p_value < P_VALUE_MAX;
    is_slower.then(|| ratio(is.0, was.0))
}

/// Reports whether calls that are not slower take so much longer that they would be slower, with
/// chance as a possible reason.
pub(crate) fn may_be_slower(now: &Calls, before: &Calls) -> bool {
    longer(&now.latency, &before.latency).is_some_and(|(_, p_value)| p_value < UNCERTAIN_P_MAX)
        && slower_factor(now, before).is_none()
}

/// Factor from the 95th percentile of before to that of now, and the p-value of that difference;
/// `None` where it is too small to matter.
fn longer(now: &Latency, before: &Latency) -> Option<(f64, f64)> {
    if now.count().min(before.count()) == 0 {
        return None;
    }
    let (is, was) = (now.quantile(95), before.quantile(95));
    let factor = ratio(is.0, was.0);
    if factor < SLOWER_FACTOR_MIN || is.0.saturating_sub(was.0) < SLOWER_DIFFERENCE_MIN.0 {
        return None;
    }
    // The bucket that contains the earlier quantile has calls that are as long.
    let bounds = before.histogram().into_iter().map(|bucket| bucket.up_to_nano);
    let bound = bounds.filter(|bound| *bound >= was).min().unwrap_or(was);
    let above = |of: &Latency| {
        let longer = of.histogram().into_iter().filter(|bucket| bucket.up_to_nano > bound);
        (longer.map(|bucket| bucket.count).sum::<u64>(), of.count())
    };
    Some((factor, share_test(above(now), above(before))))
}

/// Reports whether more calls fail than before. Where too few calls of before are known, reports
/// whether many fail.
pub(crate) fn fails_more(now: &Calls, before: Option<&Calls>) -> bool {
    let Some(before) = before.filter(|before| before.count >= USUAL_CALLS_MIN) else {
        return ratio(now.errors, now.count) >= FAILING_ALONE_MIN;
    };
    now.count >= COMPARED_CALLS_MIN
        && failing_p_value(now, before).is_some_and(|p_value| p_value < P_VALUE_MAX)
}

/// Reports whether the share of failures of calls that do not fail more is so much greater that
/// they would, with chance as a possible reason.
pub(crate) fn may_fail_more(now: &Calls, before: &Calls) -> bool {
    failing_p_value(now, before).is_some_and(|p_value| p_value < UNCERTAIN_P_MAX)
        && !fails_more(now, Some(before))
}

/// P-value of a greater share of failures; `None` where the difference is too small to matter.
fn failing_p_value(now: &Calls, before: &Calls) -> Option<f64> {
    let (is, was) = (ratio(now.errors, now.count), ratio(before.errors, before.count));
    let rises = is - was >= FAILING_DIFFERENCE_MIN && is >= was * FAILING_FACTOR_MIN;
    rises.then(|| share_test((now.errors, now.count), (before.errors, before.count)))
}

/// Weight of an edge's change for the worse; 0 without one, and where it is not compared.
pub(super) fn weight(edge: &GraphEdge) -> f64 {
    let slower = edge.slower_factor.map_or(0.0, f64::log2);
    let risen = edge.before.map_or(0.0, |before| edge.error_share - before.error_share);
    slower + if edge.fails_more { FAILING_WEIGHT * risen.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos, api::Exemplar};
    use tidings_storage::{Call, Calls};

    use super::{fails_more, may_be_slower, may_fail_more, p50_slower_factor, slower_factor};

    /// Calls of which the first `errors` fail. `slow` of them take the second duration.
    fn calls(count: u64, errors: u64, [usual, long]: [u64; 2], slow: u64) -> Calls {
        let mut calls = Calls::default();
        for number in 0..count {
            let micros = if number < slow { long } else { usual };
            let exemplar = Exemplar {
                trace_id: TraceId::default(),
                span_id: SpanId::default(),
                start_unix_nano: UnixNanos(number + 1),
                duration_nano: DurationNanos(micros * 1_000),
            };
            calls.add(&Call { exemplar, failed: number < errors, timed: true });
        }
        calls
    }

    #[test]
    fn calls_are_slower_by_factor_and_difference_and_not_by_chance() {
        let before = calls(100, 0, [10_000, 10_000], 0);
        for (now, expected) in [
            (calls(100, 0, [10_000, 20_000], 100), Some(2.0)),
            (calls(100, 0, [10_000, 20_000], 30), Some(2.0)),
            (calls(100, 0, [10_000, 20_000], 6), None),
            (calls(100, 0, [10_000, 14_000], 100), None),
            (calls(4, 0, [10_000, 20_000], 4), Some(2.0)),
            (calls(3, 0, [10_000, 20_000], 3), None),
        ] {
            assert_eq!(slower_factor(&now, &before), expected, "{now:?}");
        }
        let fast = calls(100, 0, [50, 50], 0);
        assert_eq!(slower_factor(&calls(100, 0, [140, 140], 0), &fast), None, "below 0.1 ms");
        assert_eq!(slower_factor(&before, &calls(3, 0, [1_000, 1_000], 0)), None, "too few");
    }

    #[test]
    fn calls_are_slower_by_their_median_where_half_of_them_are() {
        let before = calls(100, 0, [10_000, 10_000], 0);
        for (slow, expected) in [(100, Some(2.0)), (60, Some(2.0)), (30, None)] {
            let now = calls(100, 0, [10_000, 20_000], slow);
            assert_eq!(p50_slower_factor(&now, &before), expected, "{slow} of 100");
        }
        let few = calls(3, 0, [10_000, 20_000], 3);
        assert_eq!(p50_slower_factor(&few, &before), None, "too few");
    }

    #[test]
    fn a_median_is_judged_by_the_rule_of_transaction_types() {
        let of = |micros: u64| calls(100, 0, [micros, micros], 0);
        for (before, now, expected) in [
            (10_000, 13_000, Some(1.3)),
            (10_000, 11_000, None),
            (13_000, 10_000, None),
            (200, 290, None),
        ] {
            let (before, now) = (of(before), of(now));
            assert_eq!(p50_slower_factor(&now, &before), expected, "{now:?}");
        }
        assert_eq!(slower_factor(&of(13_000), &of(10_000)), None, "the p95 has another rule");
    }

    #[test]
    fn few_calls_are_slower_where_chance_is_no_reason() {
        let of = |slow| calls(10, 0, [10_000, 37_000], slow);
        for (slow, expected) in [(10, Some(3.7)), (2, None)] {
            assert_eq!(slower_factor(&of(slow), &of(0)), expected, "{slow} of 10");
        }
    }

    #[test]
    fn calls_fail_more_by_difference_and_factor_and_not_by_chance() {
        let of = |count, errors| calls(count, errors, [1, 1], 0);
        for (now, before, expected) in [
            (of(100, 10), Some(of(100, 0)), true),
            (of(100, 3), Some(of(100, 0)), false),
            (of(1_000, 115), Some(of(1_000, 107)), false),
            (of(1_000, 200), Some(of(1_000, 100)), true),
            (of(100, 30), Some(of(100, 30)), false),
            (of(4, 4), Some(of(100, 0)), true),
            (of(3, 3), Some(of(100, 0)), false),
            (of(10, 1), Some(of(19, 0)), true),
            (of(100, 4), None, false),
            (of(1, 1), None, true),
            (of(0, 0), None, false),
        ] {
            assert_eq!(fails_more(&now, before.as_ref()), expected, "{now:?} after {before:?}");
        }
    }

    #[test]
    fn worse_calls_that_are_too_few_to_judge_may_be_chance() {
        let of = |count, errors, slow| calls(count, errors, [10_000, 37_000], slow);
        let before = of(20, 1, 0);
        for (now, before, expected) in [
            (of(3, 3, 3), before.clone(), (true, true)),
            (of(3, 3, 3), of(9, 0, 0), (true, false)),
            (of(9, 4, 9), before.clone(), (false, true)),
            (of(9, 0, 1), before.clone(), (false, false)),
            (of(9, 0, 0), before.clone(), (false, false)),
            (of(100, 50, 100), of(100, 0, 0), (false, false)),
            (of(0, 0, 0), before, (false, false)),
        ] {
            let judged = (may_be_slower(&now, &before), may_fail_more(&now, &before));
            assert_eq!(judged, expected, "{now:?} after {before:?}");
        }
    }
}
