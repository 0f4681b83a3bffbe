//! Rows from plain rates, for servers that cannot report changes.

use tidings_proto::api::{
    CallsBefore, CallsInStep, ChangeStep, ChangedGroup, GroupStats, RedGroup, RedResult,
};

use crate::number_format;

/// Returns the services of a window with their baseline, most calls first.
pub(super) fn groups_of_rates(rates: &RedResult) -> Vec<ChangedGroup> {
    let group = |group: &RedGroup| ChangedGroup {
        service: group.service.clone().unwrap_or_default(),
        operation: None,
        uninstrumented: false,
        now: stats(group),
        since: None,
        before: group.before.map(|before| stats_before(before, group)).unwrap_or_default(),
        steps: group.steps.iter().map(step).collect(),
        baseline_steps: group.before_steps.iter().map(step).collect(),
        changes: Vec::new(),
        failures: Vec::new(),
        sentence: None,
        score: 0.0,
        only_feels: false,
        is_uncertain: false,
        versions: Vec::new(),
        instance_count: None,
        new_exception_count: None,
    };
    // The groups of spans that serve calls.
    rates.groups.iter().filter(|group| group.served == Some(true)).map(group).collect()
}

fn stats(group: &RedGroup) -> GroupStats {
    GroupStats {
        count: group.count,
        rate_per_second: group.rate_per_second,
        error_count: group.error_count,
        error_share: number_format::ratio(group.error_count, group.count),
        p50_nano: group.duration.p50_nano,
        p95_nano: group.duration.p95_nano,
        p99_nano: group.duration.p99_nano,
    }
}

fn stats_before(before: CallsBefore, group: &RedGroup) -> GroupStats {
    GroupStats {
        count: before.call_count,
        rate_per_second: before.rate_per_second,
        error_count: group.before_steps.iter().map(|step| step.error_count).sum(),
        error_share: before.error_share,
        p50_nano: before.p50_nano,
        p95_nano: before.p95_nano,
        p99_nano: before.p99_nano,
    }
}

fn step(step: &CallsInStep) -> ChangeStep {
    ChangeStep {
        start_unix_nano: step.start_unix_nano,
        count: step.count,
        error_count: step.error_count,
        p50_nano: step.duration.p50_nano,
        p95_nano: step.duration.p95_nano,
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{CallsBefore, CallsInStep, LatencyStats, RedGroup, RedResult, Searched, TimeWindow},
    };

    use super::groups_of_rates;

    fn step(start: u64, error_count: u64) -> CallsInStep {
        CallsInStep {
            start_unix_nano: UnixNanos(start),
            count: 4,
            error_count,
            duration: LatencyStats::default(),
            slowest: None,
            failed: None,
        }
    }

    fn group(service: &str, served: bool, before: Option<CallsBefore>) -> RedGroup {
        RedGroup {
            service: Some(service.to_owned()),
            operation: None,
            operation_pattern: None,
            kind: None,
            status: None,
            served: Some(served),
            attribute: None,
            count: 10,
            error_count: 5,
            rate_per_second: 1.0,
            duration: LatencyStats { p95_nano: DurationNanos(9), ..LatencyStats::default() },
            before,
            slower_factor: None,
            p50_slower_factor: None,
            may_be_slower: false,
            fails_more: None,
            may_fail_more: false,
            before_steps: before.iter().map(|_| step(3, 1)).collect(),
            slower_than_others_factor: None,
            fails_more_than_others: None,
            steps: vec![step(10, 5)],
            histogram: Vec::new(),
        }
    }

    #[test]
    fn a_service_stands_beside_its_own_past() {
        let before = CallsBefore {
            call_count: 4,
            rate_per_second: 0.4,
            error_share: 0.25,
            p50_nano: DurationNanos(2),
            p95_nano: DurationNanos(7),
            p99_nano: DurationNanos(8),
        };
        let groups = vec![group("a", true, Some(before)), group("b", true, None)];
        let rates = RedResult {
            window: TimeWindow {
                start_unix_nano: UnixNanos(10),
                end_unix_nano: UnixNanos(20),
                step_nano: DurationNanos(1),
            },
            known_since_unix_nano: Some(UnixNanos(0)),
            group_count: 3,
            pattern_count: None,
            groups: [vec![group("a", false, Some(before))], groups].concat(),
            other_count: 0,
            repeats_counted: false,
            searched: Searched::default(),
        };
        let groups = groups_of_rates(&rates);
        assert_eq!(groups.len(), 2, "only served calls");
        assert_eq!((groups[0].now.error_share, groups[0].before.error_share), (0.5, 0.25));
        assert_eq!((groups[0].now.count, groups[0].before.count), (10, 4));
        assert_eq!((groups[0].before.error_count, groups[0].before.p95_nano.0), (1, 7));
        assert_eq!(groups[0].before.p99_nano.0, 8);
        assert_eq!(groups[0].baseline_steps[0].start_unix_nano, UnixNanos(3));
        assert_eq!((groups[1].before.count, groups[1].baseline_steps.len()), (0, 0));
    }
}
