//! Counts and patterns of many log records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CountInStep, Searched, TimeWindow};
use crate::{TraceId, UnixNanos};

/// Log records by step and severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogHistogram {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The steps that have a record.
    pub steps: Vec<LogsInStep>,
    /// Number of records.
    pub count: u64,
    /// True if a record that was sent twice may be counted twice.
    pub repeats_counted: bool,
    /// Rows and files read.
    pub searched: Searched,
}

/// The log records of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsInStep {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Number of records.
    pub count: u64,
    /// Number of records without a severity.
    pub unspecified: u64,
    /// Number of records of severity TRACE.
    pub trace: u64,
    /// Number of records of severity DEBUG.
    pub debug: u64,
    /// Number of records of severity INFO.
    pub info: u64,
    /// Number of records of severity WARN.
    pub warn: u64,
    /// Number of records of severity ERROR.
    pub error: u64,
    /// Number of records of severity FATAL.
    pub fatal: u64,
}

/// Messages that are alike, most frequent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPatternList {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Start of the time that the window is compared with.
    #[schema(value_type = String)]
    pub known_since_unix_nano: UnixNanos,
    /// End of that time.
    #[schema(value_type = String)]
    #[serde(default)]
    pub known_until_unix_nano: UnixNanos,
    /// The patterns.
    pub patterns: Vec<LogPattern>,
    /// Number of patterns.
    pub pattern_count: u64,
    /// Number of records, `otherCount` included.
    pub count: u64,
    /// Records whose messages have a rare form, which are in no pattern: the 20,000 most frequent
    /// forms are kept. Patterns of their services are not compared.
    pub other_count: u64,
    /// The same of the time that the window is compared with.
    #[serde(default)]
    pub base_other_count: u64,
    /// True if all records of the seven days before the window were looked at for `isNew`,
    /// `historyCount` and `firstSeenUnixNano`.
    #[serde(default)]
    pub is_history_complete: bool,
    /// Rows and files read.
    pub searched: Searched,
}

/// Messages of one service that differ only in some words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPattern {
    /// Names the pattern: 16 hex digits, the same wherever service and template are.
    pub id: String,
    /// `service.name`.
    pub service: String,
    /// The words that are the same, `<*>` for those that differ.
    pub template: String,
    /// Number of records.
    pub count: u64,
    /// The highest severity among them: `trace` to `fatal`; empty when none says.
    pub severity: String,
    /// True if no record of the pattern is known of the time that the window is compared with, nor
    /// of the seven days before the window.
    pub is_new: bool,
    /// Number of records in the seven days before the window, as far as they are known.
    #[serde(default)]
    pub history_count: u64,
    /// Number of records in the time that the window is compared with.
    #[serde(default)]
    pub base_count: u64,
    /// Records per second of the window.
    #[serde(default)]
    pub per_second: f64,
    /// Records per second of the time that the window is compared with.
    #[serde(default)]
    pub base_per_second: f64,
    /// The one rate divided by the other; absent when one of them is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The difference between both.
    #[serde(default)]
    pub change: PatternChange,
    /// When the first of the window was, of the time that it is compared with, or of the seven days
    /// before the window. Of a pattern that is gone, the first of the time compared.
    #[schema(value_type = String)]
    pub first_seen_unix_nano: UnixNanos,
    /// When the last of the window was; of a pattern that is gone, the last before it.
    #[schema(value_type = String)]
    pub last_seen_unix_nano: UnixNanos,
    /// By step; steps without one are left out.
    pub steps: Vec<CountInStep>,
    /// The last of them.
    pub example: String,
    /// The trace of the last.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

/// The difference between the rate of a pattern and its rate in the time that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatternChange {
    /// It does not occur in the time that is compared.
    New,
    /// It does not occur in the window.
    Gone,
    /// At least 1.5 times as many, and more than chance explains.
    More,
    /// At most two thirds as many, and fewer than chance explains.
    Fewer,
    /// As usual.
    #[default]
    Same,
}

/// Log records by the values of fields, the most frequent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStats {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The groups.
    pub groups: Vec<LogGroup>,
    /// Number of groups that were counted.
    pub group_count: u64,
    /// Number of records.
    pub count: u64,
    /// Records of groups that are not listed.
    pub other_count: u64,
    /// True if a record that was sent twice may be counted twice.
    pub repeats_counted: bool,
    /// Rows and files read.
    pub searched: Searched,
}

/// Log records that have the same values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogGroup {
    /// The values, in the order of `by`; null for a field that the records lack.
    pub values: Vec<Option<String>>,
    /// Number of records.
    pub count: u64,
    /// Records per second of the window.
    pub per_second: f64,
    /// By step, when `step` is given; steps without one are left out.
    pub steps: Vec<CountInStep>,
    /// The numbers in the field `number`, when it is given and there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberSummary>,
}

/// Numbers of many records. Percentiles are within one percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberSummary {
    /// Number of records with a number.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The average.
    pub mean: f64,
    /// Half of them are not above this.
    pub p50: f64,
    /// 90 of 100 are not above this.
    pub p90: f64,
    /// 95 of 100 are not above this.
    pub p95: f64,
    /// 99 of 100 are not above this.
    pub p99: f64,
}
