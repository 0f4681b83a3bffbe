//! Rate, errors, duration: by group, and as a heatmap of durations over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CallsBefore, CallsInStep, HistogramBucket, LatencyStats, Searched, SpanKindName, StatusName,
    TimeWindow,
};
use crate::{DurationNanos, UnixNanos};

/// Calls by group, most calls first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedResult {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Start of the time that the groups are compared with: it ends where the window begins, and is
    /// as long. Absent without `compare`, where nothing is stored of that time, and where not all
    /// of it could be read.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since_unix_nano: Option<UnixNanos>,
    /// The groups.
    pub groups: Vec<RedGroup>,
    /// Number of groups.
    pub group_count: u64,
    /// Number of groups that there are by `operationPattern` in place of `operation`. Absent unless
    /// grouped by operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern_count: Option<u64>,
    /// Number of calls in groups beyond the first 10,000, which are counted together.
    pub other_count: u64,
    /// True if a span that was sent twice may be counted twice: only the first 1,000,000 spans of
    /// an answer are deduplicated.
    pub repeats_counted: bool,
    /// Rows and files read; with `compare` also those of the time before.
    pub searched: Searched,
}

/// The pattern of operations whose names differ only in ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationPattern {
    /// The name with `<*>` for each number, hexadecimal number and UUID: `GET /user/<*>/orders`.
    pub text: String,
    /// Number of operations that have the pattern and calls in the group. Those beyond the first
    /// 10,000 operations and patterns of the answer are not in it; their calls are counted.
    pub operation_count: u64,
    /// The operation with the most calls of them.
    pub example: String,
}

/// The calls of one group. Names that are not asked for are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedGroup {
    /// `service.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The pattern of the operations; only by `operationPattern`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_pattern: Option<OperationPattern>,
    /// The part the spans play.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKindName>,
    /// True if the spans serve a call: they are of kind `server` or `consumer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
    /// How they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusName>,
    /// The value of the attribute, as text; absent too where spans do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub error_count: u64,
    /// Calls per second of the window.
    pub rate_per_second: f64,
    /// Durations of the calls.
    pub duration: LatencyStats,
    /// Its calls of the time before; absent without `compare`, and where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CallsBefore>,
    /// Factor from the 95th percentile of before to that of now; absent unless the calls are
    /// slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_factor: Option<f64>,
    /// Factor from the median of before to that of now; absent unless it became longer by the rule
    /// of `/api/v1/changes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_slower_factor: Option<f64>,
    /// True if it is not slower by the rule of `slowerFactor`, but its 95th percentile is as much
    /// longer, and chance may explain it. Absent means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_slower: bool,
    /// True if more calls fail than before; where fewer than 20 of then are known, if 5 % fail.
    /// Absent where the answer has no `knownSinceUnixNano`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_more: Option<bool>,
    /// True if `failsMore` is not, but the share of failures is as much greater, and chance may
    /// explain it. Absent means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_fail_more: bool,
    /// Its calls of the time before by step; absent without `beforeSteps`. Steps without a call are
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_steps: Vec<CallsInStep>,
    /// Factor from the 95th percentile of the attribute's other values, all together, to its own;
    /// absent unless its calls are slower than theirs, and unless grouped by an attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than_others_factor: Option<f64>,
    /// True if more of its calls fail than of those of the attribute's other values. Absent unless
    /// grouped by an attribute, and where fewer than 20 calls of the others are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_more_than_others: Option<bool>,
    /// By step; steps without a call are left out.
    pub steps: Vec<CallsInStep>,
    /// All durations, shortest first; only when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<HistogramBucket>,
}

/// Spans by the step they began in and by how long they took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heatmap {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The durations that [`HeatmapBucket::row`] counts into, shortest first: four for each power
    /// of two of nanoseconds, from the first that has a span to the last.
    pub rows: Vec<HeatmapRow>,
    /// The cells that are not empty, by step, then row.
    pub cells: Vec<HeatmapBucket>,
    /// The steps that have spans. Spans without an end count, too.
    pub steps: Vec<HeatmapStep>,
    /// Number of spans in the cells.
    pub count: u64,
    /// Number of unfinished spans, which are in no cell.
    pub unfinished_count: u64,
    /// True if a span that was sent twice may be counted twice.
    pub repeats_counted: bool,
    /// Rows and files read.
    pub searched: Searched,
}

/// A range of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapRow {
    /// The shortest.
    #[schema(value_type = String)]
    pub from_nano: DurationNanos,
    /// The longest.
    #[schema(value_type = String)]
    pub up_to_nano: DurationNanos,
}

/// The spans of one step and one range of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapBucket {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The row in [`Heatmap::rows`].
    pub row: u32,
    /// Number of spans.
    pub count: u64,
    /// Number of failed spans.
    pub error_count: u64,
}

/// Spans of one step, of any duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapStep {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Number of spans.
    pub count: u64,
    /// Number of failed spans.
    pub error_count: u64,
}
