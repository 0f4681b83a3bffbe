//! Exceptions, in groups of equal ones.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Searched, TimeWindow};
use crate::{SpanId, TraceId, UnixNanos};

/// Exceptions in groups, most frequent first; with `sources`, a group that follows from another one
/// comes after that one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionList {
    /// The time it is about: that of the span or log record.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Start of the time that the groups are compared with: it is as long as the window and ends
    /// where that begins. Absent without `compare`, and where nothing is stored of that time.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since_unix_nano: Option<UnixNanos>,
    /// The groups.
    pub groups: Vec<ExceptionGroup>,
    /// Number of groups.
    pub group_count: u64,
    /// Number of exceptions in all groups.
    #[serde(default)]
    pub count: u64,
    /// Number of exceptions in listed groups that follow from no other one. Absent without
    /// `sources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_count: Option<u64>,
    /// Number of exceptions in listed groups that follow from another one. Absent without
    /// `sources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_count: Option<u64>,
    /// Number of exceptions in groups that are not listed separately. Groups are limited to
    /// 100,000, to 64 MiB of names, and to 2,000 with log records.
    pub other_count: u64,
    /// Rows and files read.
    pub searched: Searched,
}

/// Exceptions of one type that come from one place: service, operation, and stack without what
/// differs from call to call (numbers, addresses, messages).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionGroup {
    /// Names the group: 16 hex digits, the same at every read.
    pub id: String,
    /// `service.name`.
    pub service: String,
    /// The operation of the span; empty for log records.
    pub operation: String,
    /// `exception.type`.
    pub exception_type: String,
    /// How often.
    pub count: u64,
    /// How often in the time before; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_count: Option<u64>,
    /// Factor from `beforeCount` to `count`; absent while the former is not known, and where it is
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// True if `beforeCount` is 0: the exception came in the window and not before.
    #[serde(default)]
    pub is_new: bool,
    /// True if it came at least ten times, and `factor` is at least 3.
    #[serde(default)]
    pub is_multiplied: bool,
    /// The `id` of the listed group that it follows from: the deepest one that is thrown below it in
    /// at least nine tenths of its sampled traces. Absent without `sources`, and where it is not
    /// known to follow from any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows_id: Option<String>,
    /// The service of that group, which may be its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows_service: Option<String>,
    /// Number of listed groups that follow from it, and are listed after it; 0 without `sources`.
    #[serde(default)]
    pub follower_count: u64,
    /// Number of exceptions recorded as log records.
    pub log_count: u64,
    /// When the first of the window was.
    #[schema(value_type = String)]
    pub first_seen_unix_nano: UnixNanos,
    /// When the last was: the start of its span, or the time of its log record.
    #[schema(value_type = String)]
    pub last_seen_unix_nano: UnixNanos,
    /// When the last was recorded: the time of its event, or of its log record.
    #[schema(value_type = String)]
    pub time_unix_nano: UnixNanos,
    /// By step; steps without one are left out.
    pub steps: Vec<CountInStep>,
    /// `exception.message` of the last.
    pub message: String,
    /// `exception.stacktrace` of the last.
    pub stack_trace: String,
    /// Stack trace without the parts that differ between the exceptions.
    pub normalised_stack: String,
    /// The trace of the last.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span of the last.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
}

/// Transactions with an exception, by type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionTransactions {
    /// The time it is about: that of the spans with the exception.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Number of transactions with it.
    pub transaction_count: u64,
    /// Number of transactions whose type was looked up, at most 1,000: no matter which, but the
    /// same ones every time. `transactionTypes` count these.
    pub analysed_count: u64,
    /// The types, most transactions first.
    pub transaction_types: Vec<AffectedTransactionType>,
    /// Number of types, listed or not.
    pub transaction_type_count: u64,
    /// Rows and files read to find the exceptions.
    pub searched: Searched,
}

/// A transaction type with an exception in some of its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffectedTransactionType {
    /// The service that its transactions enter.
    pub service: String,
    /// The operation at which they do.
    pub operation: String,
    /// False when the beginning of these transactions is not stored: service and operation are then
    /// those of their earliest span.
    pub has_root: bool,
    /// Number of transactions with the exception.
    pub transaction_count: u64,
}

/// Number of exceptions in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountInStep {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Number of exceptions.
    pub count: u64,
}
