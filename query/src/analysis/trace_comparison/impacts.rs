//! The ranking of a comparison's rows: shares of the critical path, the calls with the most impact,
//! the rows that differ, and the deepest failed call of a side.
//!
//! Owns the parts of the whole difference from which a call is listed and is a cause. Does not
//! judge a single row: `place_calls` computes its deviations and its impact.

use std::cmp::Reverse;

use tidings_proto::{
    DurationNanos, OffsetNanos,
    api::{CallImpact, CallStats, ComparedCall, Deviation, DeviationCounts},
};

use super::place_calls::signed_difference;
use crate::trace::summary::ratio;

/// Minimum part of the whole difference at which a call is listed, in per cent.
const LISTED_PERCENT: u128 = 1;
/// Minimum part of the whole difference at which a call is a cause of it, in per cent.
const CAUSE_PERCENT: u128 = 10;
/// Maximum number of listed calls.
const IMPACTS_MAX: usize = 100;
/// Minimum increase of a call's own share of the critical path for a suspect.
const SUSPECT_MIN: f64 = 0.03;

/// Difference of the median durations of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WholeDifference {
    /// The left less the right.
    pub nanos: i64,
    /// True if it is less than 2 % of the right.
    pub is_alike: bool,
}

impl WholeDifference {
    /// Computes the difference of the medians of the left and the right.
    pub(super) fn new([left, right]: [u64; 2]) -> Self {
        const PARTS: u64 = 50;
        let is_alike = left.abs_diff(right).saturating_mul(PARTS) < right.max(1);
        Self { nanos: signed_difference(left, right), is_alike }
    }

    /// Reports whether an impact is at least this part of the difference. Zero never is.
    fn has_part(self, impact: OffsetNanos, percent: u128) -> bool {
        let [impact, whole] = [impact.0, self.nanos].map(|nanos| u128::from(nanos.unsigned_abs()));
        impact * 100 >= whole.max(1) * percent
    }

    fn is_listed(self, impact: OffsetNanos) -> bool {
        self.has_part(impact, LISTED_PERCENT)
    }

    /// Reports whether an impact is a cause of the difference: a longer call does not make the
    /// whole shorter.
    fn is_cause(self, impact: OffsetNanos) -> bool {
        let is_same_way = impact.0.signum() == self.nanos.signum();
        !self.is_alike && is_same_way && self.has_part(impact, CAUSE_PERCENT)
    }
}

/// Fills in the shares of the critical path of both sides, of each row alone and with the rows
/// below it, and the difference of its means over `traces` of each side. Rows stand below their
/// parents.
pub(super) fn path_shares(calls: &mut [ComparedCall], traces: [u64; 2]) {
    let own = calls.iter().map(|call| [call.left.critical_nano.0, call.right.critical_nano.0]);
    let own: Vec<[u64; 2]> = own.collect();
    let add = |[left, right]: [u64; 2], [more_left, more_right]: [u64; 2]| {
        [left.saturating_add(more_left), right.saturating_add(more_right)]
    };
    let total = own.iter().copied().fold([0; 2], add);
    let mut subtrees = own.clone();
    for row in (0..calls.len()).rev() {
        if let Some(above) = calls[row].parent_index {
            subtrees[above as usize] = add(subtrees[above as usize], subtrees[row]);
        }
    }
    let mean = |sums: [u64; 2], side: usize| sums[side].checked_div(traces[side]).unwrap_or(0);
    let whole = mean(total, 1);
    for ((call, own), subtree) in calls.iter_mut().zip(own).zip(subtrees) {
        for (side, stats) in [&mut call.left, &mut call.right].into_iter().enumerate() {
            stats.path_share = ratio(subtree[side], total[side]);
            stats.own_path_share = ratio(own[side], total[side]);
            stats.path_mean_nano = DurationNanos(mean(subtree, side));
        }
        let (left, right) = (mean(subtree, 0), mean(subtree, 1));
        call.path_difference_nano = OffsetNanos(signed_difference(left, right));
        let size = ratio(left.abs_diff(right), whole);
        call.path_difference_share = if left < right { -size } else { size };
    }
}

/// Returns the row whose own share of the critical path is greater on the left by the most.
pub(super) fn path_suspect(calls: &[ComparedCall]) -> Option<u32> {
    let more = |call: &ComparedCall| call.left.own_path_share - call.right.own_path_share;
    let rows = (0_u32..).zip(calls);
    let (row, call) = rows.max_by(|(_, one), (_, other)| more(one).total_cmp(&more(other)))?;
    (more(call) >= SUSPECT_MIN).then_some(row)
}

/// Marks the rows that differ: those with deviations, or those with a part of the difference where
/// no row has a deviation.
pub(super) fn mark_differing(calls: &mut [ComparedCall], whole: WholeDifference) {
    let is_deviating = calls.iter().any(|call| !call.deviations.is_empty());
    for call in calls {
        call.differs = match is_deviating {
            true => !call.deviations.is_empty(),
            false => whole.is_listed(call.impact_nano),
        };
    }
}

/// Returns the calls with a part of the difference, and those whose deviation matters without
/// time, by absolute impact, the greatest first.
pub(super) fn ranked(calls: &[ComparedCall], whole: WholeDifference) -> Vec<CallImpact> {
    const LISTED: [Deviation; 3] = [Deviation::Missing, Deviation::Extra, Deviation::NewlyFailing];
    let is_listed = |call: &ComparedCall| {
        whole.is_listed(call.impact_nano)
            || call.deviations.iter().any(|deviation| LISTED.contains(deviation))
    };
    let rows = (0_u32..).zip(calls).filter(|(_, call)| is_listed(call));
    let impacts = rows.map(|(call_index, call)| CallImpact {
        call_index,
        impact_nano: call.impact_nano,
        deviation: call.deviations.first().copied(),
        is_cause: whole.is_cause(call.impact_nano),
    });
    let mut impacts: Vec<CallImpact> = impacts.collect();
    impacts.sort_by_key(|impact| Reverse(impact.impact_nano.0.unsigned_abs()));
    impacts.truncate(IMPACTS_MAX);
    impacts
}

/// Counts the rows by deviation.
pub(super) fn count_deviations(calls: &[ComparedCall]) -> DeviationCounts {
    let mut counts = DeviationCounts::default();
    for call in calls {
        counts.any += u64::from(!call.deviations.is_empty());
        for deviation in &call.deviations {
            let count = match deviation {
                Deviation::Missing => &mut counts.missing,
                Deviation::Extra => &mut counts.extra,
                Deviation::NewlyFailing => &mut counts.newly_failing,
                Deviation::MoreCalls => &mut counts.more_calls,
                Deviation::FewerCalls => &mut counts.fewer_calls,
                Deviation::Slower => &mut counts.slower,
                Deviation::Faster => &mut counts.faster,
                Deviation::Rare => &mut counts.rare,
            };
            *count += 1;
        }
    }
    counts
}

/// Returns the first of the deepest rows with a failed call on a side.
pub(super) fn deepest_failure(
    calls: &[ComparedCall],
    side: fn(&ComparedCall) -> &CallStats,
) -> Option<u32> {
    let failed = (0_u32..).zip(calls).filter(|(_, call)| side(call).error_count > 0);
    failed.min_by_key(|(_, call)| Reverse(call.depth)).map(|(row, _)| row)
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos,
        api::{CallImpact, CallStats, ComparedCall, Deviation, DeviationCounts, SpanKindName},
    };

    use super::{
        WholeDifference, count_deviations, deepest_failure, mark_differing, path_shares,
        path_suspect, ranked,
    };

    const MILLI: i64 = 1_000_000;

    /// A row with these times on the critical path of the left and the right.
    fn call(parent_index: Option<u32>, path: [u64; 2]) -> ComparedCall {
        let [left, right] = path
            .map(|nanos| CallStats { critical_nano: DurationNanos(nanos), ..CallStats::default() });
        ComparedCall {
            parent_index,
            depth: 0,
            service: "pay".to_owned(),
            operation: "charge".to_owned(),
            kind: SpanKindName::Client,
            deviations: Vec::new(),
            differs: false,
            impact_nano: OffsetNanos(0),
            path_difference_nano: OffsetNanos(0),
            path_difference_share: 0.0,
            left,
            right,
        }
    }

    fn row(impact_ms: i64, deviations: &[Deviation]) -> ComparedCall {
        ComparedCall {
            impact_nano: OffsetNanos(impact_ms * MILLI),
            deviations: deviations.to_vec(),
            ..call(None, [0, 0])
        }
    }

    fn whole(left_ms: u64, right_ms: u64) -> WholeDifference {
        WholeDifference::new([left_ms, right_ms].map(|ms| ms * 1_000_000))
    }

    /// Rows, impacts in milliseconds and causes.
    fn listed(calls: &[ComparedCall], whole: WholeDifference) -> Vec<(u32, i64, bool)> {
        let listed = ranked(calls, whole).into_iter();
        listed.map(|one| (one.call_index, one.impact_nano.0 / MILLI, one.is_cause)).collect()
    }

    #[test]
    fn a_row_has_its_own_share_of_the_path_and_the_share_of_all_below_it() {
        let mut calls = [call(None, [10, 50]), call(Some(0), [60, 30]), call(Some(1), [30, 20])];
        path_shares(&mut calls, [1, 1]);
        let shares = calls.each_ref().map(|call| {
            [&call.left, &call.right].map(|side| (side.path_share, side.own_path_share))
        });
        assert_eq!(shares[0], [(1.0, 0.1), (1.0, 0.5)]);
        assert_eq!(shares[1], [(0.9, 0.6), (0.5, 0.3)]);
        assert_eq!(shares[2], [(0.3, 0.3), (0.2, 0.2)]);
        assert_eq!(path_suspect(&calls), Some(1), "by its own share");
        let mut nothing = [call(None, [0, 0])];
        path_shares(&mut nothing, [1, 0]);
        let shares = (nothing[0].left.path_share, nothing[0].path_difference_share);
        assert_eq!((shares, path_suspect(&nothing)), ((0.0, 0.0), None));
    }

    #[test]
    fn a_call_that_takes_the_same_time_differs_by_nothing_where_another_became_slower() {
        // Two traces on the left, four on the right: 300 and 100 ns of a trace.
        let mut calls = [call(None, [20, 40]), call(Some(0), [500, 200]), call(Some(0), [80, 160])];
        path_shares(&mut calls, [2, 4]);
        let means = calls
            .each_ref()
            .map(|call| [&call.left, &call.right].map(|side| side.path_mean_nano.0));
        assert_eq!(means, [[300, 100], [250, 50], [40, 40]]);
        let differences =
            calls.each_ref().map(|call| (call.path_difference_nano.0, call.path_difference_share));
        assert_eq!(differences, [(200, 2.0), (200, 2.0), (0, 0.0)]);
        assert!(calls[2].left.path_share < calls[2].right.path_share, "its share is less");
        let mut faster = [call(None, [30, 40])];
        path_shares(&mut faster, [1, 1]);
        let difference = (faster[0].path_difference_nano.0, faster[0].path_difference_share);
        assert_eq!(difference, (-10, -0.25));
    }

    #[test]
    fn a_share_of_less_than_three_points_more_is_no_suspect() {
        for (left, suspect) in [([50, 50], None), ([52, 48], None), ([53, 47], Some(0))] {
            let mut calls = [call(None, [left[0], 50]), call(Some(0), [left[1], 50])];
            path_shares(&mut calls, [1, 1]);
            assert_eq!(path_suspect(&calls), suspect, "{left:?}");
        }
        assert_eq!(path_suspect(&[]), None);
    }

    #[test]
    fn calls_are_ranked_by_impact_and_those_without_impact_are_left_out() {
        let calls = [
            row(2, &[]),
            row(0, &[Deviation::Missing]),
            row(1_103, &[Deviation::MoreCalls, Deviation::Slower]),
            row(0, &[Deviation::Slower]),
        ];
        let impact = |call_index, impact_ms: i64, deviation, is_cause| CallImpact {
            call_index,
            impact_nano: OffsetNanos(impact_ms * MILLI),
            deviation: Some(deviation),
            is_cause,
        };
        assert_eq!(
            ranked(&calls, whole(1_840, 450)),
            [impact(2, 1_103, Deviation::MoreCalls, true), impact(1, 0, Deviation::Missing, false)]
        );
        let counts = DeviationCounts {
            any: 3,
            missing: 1,
            more_calls: 1,
            slower: 2,
            ..DeviationCounts::default()
        };
        assert_eq!(count_deviations(&calls), counts);
    }

    #[test]
    fn a_shorter_trace_is_caused_by_what_is_shorter() {
        let calls = [row(660, &[Deviation::Slower]), row(-3_000, &[Deviation::Faster])];
        assert_eq!(listed(&calls, whole(2_000, 5_500)), [(1, -3_000, true), (0, 660, false)]);
    }

    #[test]
    fn a_cause_is_a_tenth_of_the_difference_and_traces_alike_have_none() {
        let calls = [row(4, &[]), row(5, &[]), row(-40, &[]), row(0, &[])];
        assert_eq!(listed(&calls, whole(260, 210)), [(2, -40, false), (1, 5, true), (0, 4, false)]);
        assert!(!whole(102, 100).is_alike, "2 %");
        assert_eq!(
            listed(&calls, whole(101, 100)),
            [(2, -40, false), (1, 5, false), (0, 4, false)]
        );
        assert_eq!(listed(&[], whole(0, 0)), []);
        assert!(whole(0, 0).is_alike);
    }

    #[test]
    fn calls_with_a_part_of_the_time_differ_only_where_none_deviates() {
        let mut calls = [row(15, &[]), row(-1, &[]), row(0, &[])];
        let marked = |calls: &mut [ComparedCall]| {
            mark_differing(calls, whole(260, 210));
            calls.iter().map(|call| call.differs).collect::<Vec<bool>>()
        };
        assert_eq!(marked(&mut calls), [true, true, false]);
        calls[2].deviations.push(Deviation::Rare);
        assert_eq!(marked(&mut calls), [false, false, true]);
    }

    #[test]
    fn the_deepest_failed_call_is_the_first_of_several() {
        let failed = |depth, errors: [u64; 2]| {
            let mut call = ComparedCall { depth, ..call(None, [0, 0]) };
            [call.left.error_count, call.right.error_count] = errors;
            call
        };
        let calls = [failed(0, [1, 0]), failed(1, [2, 0]), failed(1, [3, 0]), failed(2, [0, 1])];
        assert_eq!(deepest_failure(&calls, |call| &call.left), Some(1));
        assert_eq!(deepest_failure(&calls, |call| &call.right), Some(3));
        assert_eq!(deepest_failure(&calls[..1], |call| &call.right), None);
    }
}
