//! Differences between traces in the shape of their trees.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LatencyStats, SpanKindName, TraceSummary};
use crate::{DurationNanos, OffsetNanos, TraceId, UnixNanos};

/// Two traces, or two sets of traces, laid over each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The traces on the left.
    pub left: ComparedSet,
    /// The traces on the right.
    pub right: ComparedSet,
    /// The calls, depth first: calls of one operation at one place of the tree are one row.
    pub calls: Vec<ComparedCall>,
    /// The median duration of the left less that of the right.
    #[schema(value_type = String)]
    pub difference_nano: OffsetNanos,
    /// True if the median durations differ by less than 2 % of that of the right.
    pub is_alike: bool,
    /// Calls whose time makes up at least 1 % of the difference, and calls that are missing, extra
    /// or newly failing. The greatest impact comes first, at most 100.
    pub impacts: Vec<CallImpact>,
    /// Number of rows by deviation.
    pub deviation_counts: DeviationCounts,
    /// The row whose own share of the critical path on the left exceeds that on the right by the
    /// most; absent where none exceeds it by 3 points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_suspect_index: Option<u32>,
    /// The difference of the median durations less `impactNano` of all calls: medians of parts need
    /// not add up to the median of the whole.
    #[schema(value_type = String)]
    pub unattributed_nano: OffsetNanos,
    /// True if rows beyond the first 20,000 are left out.
    pub truncated: bool,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedSet {
    /// Number of traces compared.
    pub trace_count: u64,
    /// Some of them.
    #[schema(value_type = Vec<String>)]
    pub trace_ids: Vec<TraceId>,
    /// Requested traces that are not compared: no span of them is stored, or they exceed the limit
    /// of the comparison.
    #[schema(value_type = Vec<String>)]
    pub missing_trace_ids: Vec<TraceId>,
    /// Summary of the trace, as in lists; absent where the side has several traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<TraceSummary>,
    /// The earliest start of the traces compared; 0 where it is not known.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Their latest end.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// Durations of the traces.
    pub duration: LatencyStats,
    /// The row of the deepest call that failed on this side, the first of several; absent where
    /// none failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deepest_failed_index: Option<u32>,
}

/// A call that differs, by its impact on the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallImpact {
    /// Its row.
    pub call_index: u32,
    /// `impactNano` of the row.
    #[schema(value_type = String)]
    pub impact_nano: OffsetNanos,
    /// The most severe of the row's deviations; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Deviation>,
    /// True if the impact has the direction of the whole difference and is at least 10 % of it.
    /// Never true where `isAlike` is.
    pub is_cause: bool,
}

/// Number of rows with each deviation. A row with several deviations counts for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviationCounts {
    /// Rows with any deviation.
    pub any: u64,
    /// Rows that are missing.
    pub missing: u64,
    /// Rows that are extra.
    pub extra: u64,
    /// Rows that newly fail.
    pub newly_failing: u64,
    /// Rows with more calls.
    pub more_calls: u64,
    /// Rows with fewer calls.
    pub fewer_calls: u64,
    /// Rows that are slower.
    pub slower: u64,
    /// Rows that are faster.
    pub faster: u64,
    /// Rows that are rare.
    pub rare: u64,
}

/// How the left differs from the right at one place of the tree.
///
/// Against `typical`, a count or a time is compared with the traces on the right that make the
/// call. It is out of the ordinary when it exceeds their 95th percentile by more than that exceeds
/// their median, or when it is below their 5th percentile by a greater factor than that is below
/// their median. Of fewer than 20 traces, it is above twice the greatest or below half of the
/// least.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Deviation {
    /// At least half of the traces on the right have the call, and none on the left.
    Missing,
    /// Only the left has it.
    Extra,
    /// It fails more often on the left: by over 5 % of the calls.
    NewlyFailing,
    /// A trace on the left makes it more than one and a half times as often. Against `typical`, the
    /// count is out of the ordinary as well.
    MoreCalls,
    /// A trace on the left makes it less than two thirds as often. Against `typical`, the count is
    /// out of the ordinary as well.
    FewerCalls,
    /// It takes longer on the left. The time of all calls of a trace is longer by at least 0.1 ms,
    /// by a hundredth of the whole trace, and by a tenth of the difference of the whole traces.
    ///
    /// Against `typical`, the mean time of a trace's calls is out of the ordinary as well.
    ///
    /// Against named traces, the median call exceeds 95 % of ten or more calls on the right, or one
    /// and a half times the median of fewer, or it is over four times as long.
    Slower,
    /// It takes a shorter time on the left, by the same measure.
    Faster,
    /// At least half of the traces on the left have it, and fewer than half of those on the right.
    Rare,
}

/// The calls of one operation at one place of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedCall {
    /// The row of the caller; absent at a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_index: Option<u32>,
    /// Number of rows above it.
    pub depth: u32,
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// The part its spans play.
    pub kind: SpanKindName,
    /// Differences between the two sides, the most severe first; empty when there are none.
    pub deviations: Vec<Deviation>,
    /// True if the row has deviations. Where no row has one: if `impactNano` is at least 1 % of the
    /// whole difference.
    pub differs: bool,
    /// Additional self time of a trace on the left, in nanoseconds. Against `typical`, it is the
    /// part of the difference of median self times that lies on the critical path; a side that
    /// makes the call in fewer than half of its traces has no time. Against named traces, it is the
    /// difference of the mean times on the critical path.
    #[schema(value_type = String)]
    pub impact_nano: OffsetNanos,
    /// `pathMeanNano` of the left less that of the right.
    #[schema(value_type = String)]
    pub path_difference_nano: OffsetNanos,
    /// `pathDifferenceNano` as a part of the mean critical path of a trace on the right. Above 1
    /// where it is longer than that path, and 0 where that has no time.
    pub path_difference_share: f64,
    /// On the left.
    pub left: CallStats,
    /// On the right.
    pub right: CallStats,
}

/// Statistics of a call in the traces of one side.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStats {
    /// Number of traces that make the call.
    pub trace_count: u64,
    /// How often.
    pub call_count: u64,
    /// How often it fails.
    pub error_count: u64,
    /// Durations of the call.
    pub duration: LatencyStats,
    /// Its self time, added up.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// Its time on the critical path, added up.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// Share of the critical path of the side's traces that the call and all calls below it take, 0
    /// to 1.
    pub path_share: f64,
    /// Share of the critical path that is the call's own, 0 to 1.
    pub own_path_share: f64,
    /// Time on the critical path that the call and all calls below it take in a trace of the side,
    /// in the mean over all its traces.
    #[schema(value_type = String)]
    pub path_mean_nano: DurationNanos,
    /// True if at least half of the traces of the side make the call.
    pub is_usual: bool,
    /// Medians over the traces that make the call.
    pub median: CallMedians,
}

/// Medians of a call, each over the traces of a side that make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallMedians {
    /// Number of calls of a trace.
    pub call_count: u64,
    /// Sum of the durations of a trace's calls.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
    /// Mean of the durations of a trace's calls.
    #[schema(value_type = String)]
    pub each_nano: DurationNanos,
    /// Sum of their self times.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// Sum of their times on the critical path.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// The start of a trace's first such call after the start of the trace.
    #[schema(value_type = String)]
    pub start_offset_nano: DurationNanos,
    /// From the start of a trace's first such call to the end of its last.
    #[schema(value_type = String)]
    pub extent_nano: DurationNanos,
}
