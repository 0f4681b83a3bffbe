//! How traces differ in the shape of their trees, and what is called again and again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LatencyStats, SpanKindName};
use crate::{DurationNanos, TraceId};

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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Deviation {
    /// Only the right has the call.
    Missing,
    /// Only the left has it.
    Extra,
    /// It fails more often on the left: by over 5 % of the calls.
    NewlyFailing,
    /// The left makes it more than one and a half times as often in a trace.
    MoreCalls,
    /// The left makes it less than two thirds as often.
    FewerCalls,
    /// Its median is longer on the left: than 95 % of ten or more on the right, by over 20 % where
    /// the right has fewer, or over four times as long; and by over 0.1 ms.
    Slower,
    /// Its median is shorter on the left, by the same measure.
    Faster,
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
    /// The start of the first such call of a trace, after the start of the trace: the mean over the
    /// traces that make it.
    #[serde(default)]
    #[schema(value_type = String)]
    pub start_offset_nano: DurationNanos,
    /// The end of the last such call of a trace, by the same measure.
    #[serde(default)]
    #[schema(value_type = String)]
    pub end_offset_nano: DurationNanos,
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
