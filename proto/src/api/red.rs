//! Rate, errors, duration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CallsInStep, HistogramBucket, LatencyStats, Searched, SpanKindName, StatusName, TimeWindow,
};

/// Calls by group, most calls first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedResult {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The groups.
    pub groups: Vec<RedGroup>,
    /// How many groups there are.
    pub group_count: u64,
    /// Calls of groups beyond 10,000, which are not told apart.
    pub other_count: u64,
    /// Whether a span that was sent twice may have been counted twice: only the first 1,000,000
    /// spans of an answer are compared.
    pub repeats_counted: bool,
    /// What was read.
    pub searched: Searched,
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
    /// The part the spans play.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKindName>,
    /// How they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusName>,
    /// The value of the attribute, as text; absent too where spans do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// How many.
    pub count: u64,
    /// How many of them failed.
    pub error_count: u64,
    /// How many in a second of the window.
    pub rate_per_second: f64,
    /// How long they took.
    pub duration: LatencyStats,
    /// By step; steps without a call are left out.
    pub steps: Vec<CallsInStep>,
    /// All durations, shortest first; only when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<HistogramBucket>,
}
