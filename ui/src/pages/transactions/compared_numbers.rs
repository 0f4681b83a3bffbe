//! The numbers of a transaction type, and the earlier ones beside them under *was*.
//!
//! Owns the one rule that the list of types and the page of a type follow. A changed type has both
//! numbers from the report of changes: those since its change, and those of the whole baseline, by
//! which the change was judged. Any other type has those of the window and of the window before.
//! The list has the calls of the window in every row, so that its column sorts.
//! The numbers themselves are the API's.

use tidings_proto::api::{ChangedGroup, GroupStats, TransactionType};

use crate::{components::group_cells::shown_stats, number_format};

/// Numbers of a type in two times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ComparedNumbers {
    pub(crate) now: GroupStats,
    /// The numbers of the time before; `None` without calls in it, and while they are not known.
    pub(crate) was: Option<GroupStats>,
}

impl ComparedNumbers {
    /// Returns the numbers of a report; `None` for a type that did not change.
    pub(crate) fn of_report(group: &ChangedGroup) -> Option<Self> {
        let was = Some(group.before).filter(|before| before.count > 0);
        (!group.changes.is_empty()).then(|| Self { now: *shown_stats(group), was })
    }

    /// Returns the numbers of a type in the window and in the window before.
    pub(crate) fn of_windows(now: &TransactionType, before: Option<&TransactionType>) -> Self {
        Self { now: stats(now), was: before.map(stats) }
    }
}

fn stats(transaction_type: &TransactionType) -> GroupStats {
    GroupStats {
        count: transaction_type.count,
        rate_per_second: transaction_type.rate_per_second,
        error_count: transaction_type.error_count,
        error_share: number_format::ratio(transaction_type.error_count, transaction_type.count),
        p50_nano: transaction_type.duration.p50_nano,
        p95_nano: transaction_type.duration.p95_nano,
        p99_nano: transaction_type.duration.p99_nano,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_proto::{DurationNanos, UnixNanos, api::StatsSince};

    use super::{ChangedGroup, ComparedNumbers, GroupStats};

    fn numbers(count: u64, p95: u64) -> GroupStats {
        GroupStats { count, p95_nano: DurationNanos(p95), ..GroupStats::default() }
    }

    fn group(changes: &Value) -> ChangedGroup {
        serde_json::from_value(json!({
            "service": "web", "operation": "a", "now": numbers(90, 5), "before": numbers(80, 1),
            "steps": [], "baselineSteps": [], "changes": changes, "score": 1.0,
        }))
        .unwrap()
    }

    fn changed() -> ChangedGroup {
        group(&json!([{
            "kind": "latency", "isWorse": true, "before": 1.0, "now": 9.0, "difference": 8.0,
            "pValue": 0.0,
        }]))
    }

    #[test]
    fn a_changed_type_has_the_numbers_since_its_change_and_of_the_baseline() {
        let mut group = changed();
        let whole = ComparedNumbers { now: group.now, was: Some(group.before) };
        assert_eq!(ComparedNumbers::of_report(&group), Some(whole), "it began before the window");
        let stats = numbers(30, 9);
        group.since = Some(StatsSince { start_unix_nano: UnixNanos(7), stats });
        let since = ComparedNumbers { now: stats, was: Some(numbers(80, 1)) };
        assert_eq!(ComparedNumbers::of_report(&group), Some(since));
    }

    #[test]
    fn a_type_without_calls_in_the_baseline_was_nothing() {
        let group = ChangedGroup { before: GroupStats::default(), ..changed() };
        assert_eq!(ComparedNumbers::of_report(&group).map(|numbers| numbers.was), Some(None));
    }

    #[test]
    fn a_type_that_did_not_change_is_not_of_the_report() {
        assert_eq!(ComparedNumbers::of_report(&group(&json!([]))), None);
    }
}
