//! Repeated calls of a trace: the rule that groups them, and the groups of the API.
//!
//! Calls are repeated when the same span makes them and service, operation and kind are the same.
//! The query service and the waterfall of the UI both group calls by [`repeated_calls()`], so that
//! they show the same groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LatencyStats, SpanKindName};
use crate::DurationNanos;

/// Minimum number of equal calls by one span that are repeated. Of fewer, one row in their place
/// saves little and hides their order.
pub const REPEATED_CALLS_MIN: usize = 5;

/// Properties that repeated calls share. The caller numbers services and operations: equal numbers,
/// same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepeatKey {
    /// The row of the span that makes the call.
    pub parent_index: u32,
    /// The number of the called service.
    pub service: u32,
    /// The number of the called operation.
    pub operation: u32,
    /// `otlp::SpanKind` as its number.
    pub kind: i32,
}

/// Returns the groups of repeated calls, in order of their keys, each with its rows in order.
/// `calls` are the rows of a trace that have a parent. Takes O(n log n), because it sorts them.
#[must_use]
pub fn repeated_calls(mut calls: Vec<(RepeatKey, u32)>) -> Vec<(RepeatKey, Vec<u32>)> {
    calls.sort_unstable();
    calls
        .chunk_by(|(left, _), (right, _)| left == right)
        .filter(|group| group.len() >= REPEATED_CALLS_MIN)
        .map(|group| (group[0].0, group.iter().map(|(_, row)| *row).collect()))
        .collect()
}

/// The calls that a trace makes again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepeatList {
    /// The groups, most time first, at most 1,000.
    pub groups: Vec<RepeatedCall>,
    /// Number of groups.
    pub group_count: u64,
}

/// Five or more calls of one operation and kind by one span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepeatedCall {
    /// The row of the span that makes them.
    pub parent_index: u32,
    /// The called service.
    pub service: String,
    /// The called operation.
    pub operation: String,
    /// The part the spans play.
    pub kind: SpanKindName,
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub error_count: u64,
    /// Time during which at least one of the calls was under way.
    #[schema(value_type = String)]
    pub busy_nano: DurationNanos,
    /// Durations of the calls.
    pub duration: LatencyStats,
    /// Number of calls that begin only after the previous one has ended.
    pub sequential_count: u64,
    /// True if this looks like one query for each row of another (N+1): the calls leave the
    /// process, and nine of ten run one after the other.
    pub n_plus_one: bool,
    /// The first rows, at most 100.
    pub span_indexes: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::{REPEATED_CALLS_MIN, RepeatKey, repeated_calls};

    const KEY: RepeatKey = RepeatKey { parent_index: 3, service: 0, operation: 7, kind: 1 };

    /// Returns this many calls in rows of a step of ten, the last first.
    fn calls(key: RepeatKey, first: u32, count: usize) -> Vec<(RepeatKey, u32)> {
        let rows = (first..).step_by(10).take(count);
        let mut calls: Vec<(RepeatKey, u32)> = rows.map(|row| (key, row)).collect();
        calls.reverse();
        calls
    }

    #[test]
    fn equal_calls_are_repeated_from_the_minimum_on() {
        let groups = repeated_calls(calls(KEY, 4, REPEATED_CALLS_MIN));
        assert_eq!(groups, [(KEY, vec![4, 14, 24, 34, 44])]);
        assert!(repeated_calls(calls(KEY, 4, REPEATED_CALLS_MIN - 1)).is_empty());
        assert!(repeated_calls(Vec::new()).is_empty());
    }

    #[test]
    fn calls_that_take_turns_are_a_group_for_each_key() {
        let other = RepeatKey { operation: 6, ..KEY };
        let mut both = calls(KEY, 4, 5);
        both.extend(calls(other, 5, 6));
        let groups = repeated_calls(both);
        assert_eq!(groups, [(other, vec![5, 15, 25, 35, 45, 55]), (KEY, vec![4, 14, 24, 34, 44])]);
    }

    #[test]
    fn calls_that_differ_in_one_thing_are_not_repeated() {
        let others = [
            RepeatKey { parent_index: 2, ..KEY },
            RepeatKey { service: 1, ..KEY },
            RepeatKey { operation: 8, ..KEY },
            RepeatKey { kind: 3, ..KEY },
        ];
        for other in others {
            let mut all = calls(KEY, 4, REPEATED_CALLS_MIN - 1);
            all.push((other, 5));
            assert!(repeated_calls(all).is_empty(), "{other:?}");
        }
    }
}
