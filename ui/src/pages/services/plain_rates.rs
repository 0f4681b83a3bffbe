//! Rows from plain rates, for servers that cannot report changes.

use tidings_proto::api::{CallsInStep, ChangeStep, ChangedGroup, GroupStats, RedGroup, RedResult};

use crate::figures;

/// Returns the services of a window with their baseline, most calls first.
pub(super) fn groups_of_rates(now: &RedResult, before: Option<&RedResult>) -> Vec<ChangedGroup> {
    let group = |group: &RedGroup| {
        let earlier =
            before.and_then(|before| served(before).find(|other| other.service == group.service));
        ChangedGroup {
            service: group.service.clone().unwrap_or_default(),
            operation: None,
            uninstrumented: false,
            now: stats(group),
            since: None,
            before: earlier.map(stats).unwrap_or_default(),
            steps: group.steps.iter().map(step).collect(),
            baseline_steps: earlier
                .map(|earlier| earlier.steps.iter().map(step).collect())
                .unwrap_or_default(),
            changes: Vec::new(),
            failures: Vec::new(),
            sentence: None,
            score: 0.0,
            only_feels: false,
        }
    };
    served(now).map(group).collect()
}

/// Returns the groups of spans that serve calls.
fn served(rates: &RedResult) -> impl Iterator<Item = &RedGroup> {
    rates.groups.iter().filter(|group| group.served == Some(true))
}

fn stats(group: &RedGroup) -> GroupStats {
    GroupStats {
        count: group.count,
        rate_per_second: group.rate_per_second,
        error_count: group.error_count,
        error_share: figures::ratio(group.error_count, group.count),
        p50_nano: group.duration.p50_nano,
        p95_nano: group.duration.p95_nano,
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
        api::{LatencyStats, RedGroup, RedResult, Searched, TimeWindow},
    };

    use super::groups_of_rates;

    fn rates(services: &[(&str, u64, u64)]) -> RedResult {
        let group = |(service, count, errors): &(&str, u64, u64)| RedGroup {
            service: Some((*service).to_owned()),
            operation: None,
            kind: None,
            status: None,
            served: Some(true),
            attribute: None,
            count: *count,
            error_count: *errors,
            rate_per_second: 1.0,
            duration: LatencyStats { p95_nano: DurationNanos(*count), ..LatencyStats::default() },
            steps: Vec::new(),
            histogram: Vec::new(),
        };
        RedResult {
            window: TimeWindow {
                start_unix_nano: UnixNanos(10),
                end_unix_nano: UnixNanos(20),
                step_nano: DurationNanos(1),
            },
            groups: services.iter().map(group).collect(),
            group_count: services.len() as u64,
            other_count: 0,
            repeats_counted: false,
            searched: Searched::default(),
        }
    }

    #[test]
    fn a_service_stands_beside_its_own_past() {
        let (now, before) =
            (rates(&[("a", 10, 5), ("b", 0, 0)]), rates(&[("b", 7, 0), ("a", 4, 1)]));
        let groups = groups_of_rates(&now, Some(&before));
        assert_eq!((groups[0].now.error_share, groups[0].before.error_share), (0.5, 0.25));
        assert_eq!((groups[1].now.error_share, groups[1].before.count), (0.0, 7));
        assert_eq!(groups_of_rates(&now, None)[0].before.count, 0);
    }
}
