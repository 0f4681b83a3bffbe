//! Differences between traces in the shape of their trees, and repeated calls.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LatencyStats, SpanKindName};
use crate::{DurationNanos, OffsetNanos, TraceId};

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
    /// The difference of the median durations less `impactNano` of all calls: medians of parts need
    /// not add up to the median of the whole.
    #[schema(value_type = String)]
    pub unattributed_nano: OffsetNanos,
    /// True if rows beyond the first 20,000 are left out.
    pub truncated: bool,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Durations of the traces.
    pub duration: LatencyStats,
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
    /// Additional own time of a trace on the left, in nanoseconds. Against `typical`, it is the
    /// part of the difference of median self times that lies on the critical path; a side that
    /// makes the call in fewer than half of its traces has no time. Against named traces, it is the
    /// difference of the mean times on the critical path.
    #[schema(value_type = String)]
    pub impact_nano: OffsetNanos,
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

/// The calls that a trace makes again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepeatList {
    /// The groups, most time first, at most 1,000.
    pub groups: Vec<RepeatedCall>,
    /// Number of groups.
    pub group_count: u64,
}

/// Calls of one operation by one span.
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
    /// True if this looks like one query for each row of another (N+1): at least five calls leave
    /// the process, and nine of ten run one after the other.
    pub n_plus_one: bool,
    /// The first rows, at most 100.
    pub span_indexes: Vec<u32>,
}
