//! Counts and durations of many spans, which the analysis resources share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DurationNanos, SpanId, TraceId, UnixNanos};

/// The time that an answer is about, cut into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeWindow {
    /// From, included.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// To, not included.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// The length of a step; steps begin at multiples of it since 1970.
    #[schema(value_type = String)]
    pub step_nano: DurationNanos,
}

/// Durations of a group. Quantiles are nearest-rank: the smallest duration that at least that share
/// of all durations does not exceed. Up to 512 durations they are exact. Above that they are the
/// upper bound of a histogram bucket, at most 1/64 (1.6 %) too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyStats {
    /// The sum.
    #[schema(value_type = String)]
    pub sum_nano: DurationNanos,
    /// The shortest.
    #[schema(value_type = String)]
    pub min_nano: DurationNanos,
    /// Half are no longer.
    #[schema(value_type = String)]
    pub p50_nano: DurationNanos,
    /// 90 % are no longer.
    #[schema(value_type = String)]
    pub p90_nano: DurationNanos,
    /// 95 % are no longer.
    #[schema(value_type = String)]
    pub p95_nano: DurationNanos,
    /// 99 % are no longer.
    #[schema(value_type = String)]
    pub p99_nano: DurationNanos,
    /// The longest.
    #[schema(value_type = String)]
    pub max_nano: DurationNanos,
}

/// A bucket of a histogram of durations. Buckets divide every power of two from 64 ns on into 64
/// equal parts; below 64 ns each nanosecond is one. Histograms are thus added bucket by bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistogramBucket {
    /// The longest duration in it.
    #[schema(value_type = String)]
    pub up_to_nano: DurationNanos,
    /// Number of durations in the bucket.
    pub count: u64,
}

/// A span that stands for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exemplar {
    /// Its trace.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Duration in nanoseconds.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
}

/// The calls of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallsInStep {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Number of calls that began in the step.
    pub count: u64,
    /// Number of those calls that failed.
    pub error_count: u64,
    /// Durations of the calls.
    pub duration: LatencyStats,
    /// The slowest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Exemplar>,
    /// The last of them that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Exemplar>,
}
