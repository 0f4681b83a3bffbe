//! Changes of transactions and services against an earlier time, and their causes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttributeName, CulpritRanking, Deployment, RefusalStatus, Searched, TimeWindow};
use crate::{DurationNanos, OffsetNanos, UnixNanos};

/// Transactions and services ranked by how much they changed, and the culprits behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeReport {
    /// The time that is compared.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The time it is compared with.
    pub baseline: Baseline,
    /// End of all traffic, which the page says first; absent while spans arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_end: Option<TrafficEnd>,
    /// The sentence of the page: the first culprit, or the change of most weight where no culprit
    /// is found; absent when nothing changed. With `trafficEnd` it is of the time up to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headline: Option<ChangeSentence>,
    /// Transaction types (root operations), the most changed first, then those with most calls.
    pub transactions: Vec<ChangedGroup>,
    /// Number of transaction types in the window or the baseline.
    pub transaction_count: u64,
    /// Services, and endpoints that send no spans, the most changed first.
    pub services: Vec<ChangedGroup>,
    /// Number of services in the window or the baseline.
    pub service_count: u64,
    /// Services, operations and reasons that explain the changes, the best first.
    pub culprits: CulpritRanking,
    /// Versions that were first seen in the window, newest first.
    pub deployments: Vec<Deployment>,
    /// Services whose clock differs from that of their callers since the baseline, the worst first.
    pub clocks: Vec<ServiceClock>,
    /// Incomplete parts of the answer with the reason of each; empty when nothing is missing. Parts
    /// that a shorter range completes come last.
    pub partial: Vec<PartialReason>,
    /// Rows and files that were read.
    pub searched: Searched,
}

/// The end of all traffic: no span of any service began after it.
///
/// Traffic has ended when the silence is at least a minute and a whole step, twice as long as any
/// silence before it, and ten transactions would have come in it at the rate before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficEnd {
    /// Start of the last span. It may lie in the baseline.
    #[schema(value_type = String)]
    pub since_unix_nano: UnixNanos,
    /// Transactions in a second before the end.
    pub rate_per_second: f64,
    /// Number of services that sent spans before.
    pub service_count: u64,
    /// The services that sent spans before, the first to stop first, at most 50.
    pub services: Vec<ServiceEnd>,
    /// Time of the newest log record, where log records still arrive; else absent.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_log_unix_nano: Option<UnixNanos>,
    /// Refusals by receivers since then, the latest first; empty when no request was refused.
    pub refusals: Vec<ReceiverRefusal>,
}

/// A service that sends no spans any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEnd {
    /// The service.
    pub service: String,
    /// End of the last step with a span of it.
    #[schema(value_type = String)]
    pub last_seen_unix_nano: UnixNanos,
}

/// The refusals of a receiver for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverRefusal {
    /// The receiver, as in `/api/v1/status`.
    pub receiver: String,
    /// The refusals since the start of the server.
    #[serde(flatten)]
    pub refusal: RefusalStatus,
}

/// The time that a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// From, included.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// To, not included.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// Number of spans in it.
    pub span_count: u64,
    /// Fitness of it for a comparison.
    pub state: BaselineState,
}

/// Fitness of a baseline for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BaselineState {
    /// It has traffic in at least half of its length.
    Full,
    /// It has traffic in less than half of its length, or few calls: small changes are not found.
    Short,
    /// It has no traffic: nothing can be compared, and `transactions` are in order of calls.
    Empty,
}

/// A part of the answer that is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartialReason {
    /// The part.
    pub part: ReportPart,
    /// The reason, as a short sentence.
    pub reason: String,
    /// Set when a shorter window with a baseline as short completes the part. Not set for types
    /// beyond a limit and for samples of traces: a shorter window has them as well.
    pub shorter_range_helps: bool,
}

/// A part of a [`ChangeReport`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ReportPart {
    /// The window's spans.
    Window,
    /// The baseline's spans.
    Baseline,
    /// Groups beyond the group limit, which are counted together.
    Groups,
    /// Self times and own failures, which are of a sample of traces.
    Culprits,
    /// Versions, hosts and attribute values.
    Reasons,
    /// Exceptions.
    Exceptions,
    /// Patterns of log records.
    LogPatterns,
}

/// A transaction type or a service, now and before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedGroup {
    /// `service.name`; of an endpoint that sends no spans its name.
    pub service: String,
    /// The root operation; absent for services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Set for an endpoint that sends no spans: the numbers are those of its callers.
    #[serde(default)]
    pub uninstrumented: bool,
    /// Numbers of the window.
    pub now: GroupStats,
    /// Numbers of the window from the change on: from the begin of the heaviest of its changes of
    /// duration, failures and rate. Absent where that begin is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<StatsSince>,
    /// Numbers of the baseline.
    pub before: GroupStats,
    /// The window by step; steps without a call are left out.
    pub steps: Vec<ChangeStep>,
    /// The baseline by step; steps without a call are left out.
    pub baseline_steps: Vec<ChangeStep>,
    /// Its changes that chance does not explain and that are large enough to matter, the heaviest
    /// first; empty when it is as usual.
    pub changes: Vec<Change>,
    /// Kinds of failures among its sampled failed calls, the most frequent first, at most three.
    /// Empty unless the group is among the first five transaction types or services that fail more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureShare>,
    /// The heaviest change as a sentence with its cause; absent when it is as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<ChangeSentence>,
    /// The weight of its changes, by which groups are ranked; 0 when it is as usual.
    pub score: f64,
    /// Set when it only feels the change of another: the cause names another service.
    #[serde(default)]
    pub only_feels: bool,
    /// Set when it has no `changes`, but calls that are slower or fail more by enough to matter, and
    /// chance may explain it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_uncertain: bool,
    /// Values of `service.version` in the sampled traces of the window, at most 10, the newest
    /// first: those that the baseline's traces lack, the last to come first, then the others, the
    /// greatest number first. Empty where the traces have none, and for transaction types and
    /// endpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Number of instances (`service.instance.id`, else pod, else host) in the sampled traces of
    /// the window: the service has at least as many. Absent where these name none, and for
    /// transaction types and endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_count: Option<u64>,
    /// Number of groups of exceptions that the baseline does not have, also those too rare for
    /// `changes`. Absent without a baseline, for transaction types and endpoints, where time was
    /// short, and where not every exception was read. With more groups than are compared it is a
    /// minimum, and absent in place of 0. Where the baseline does not end at the window and has
    /// more groups, it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_exception_count: Option<u64>,
}

/// Numbers of a group in one period.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupStats {
    /// Number of calls.
    pub count: u64,
    /// Calls in a second of their time. Where all traffic ended in the window, that time ends there,
    /// too, so that rates are greater than those of the graph, which are of the whole window.
    pub rate_per_second: f64,
    /// Number of failed calls.
    pub error_count: u64,
    /// Failed calls as a share of all, 0 to 1.
    pub error_share: f64,
    /// Half of the calls took no longer.
    #[schema(value_type = String)]
    pub p50_nano: DurationNanos,
    /// 95 % of the calls took no longer.
    #[schema(value_type = String)]
    pub p95_nano: DurationNanos,
    /// 99 % of the calls took no longer.
    #[serde(default)]
    #[schema(value_type = String)]
    pub p99_nano: DurationNanos,
}

/// Numbers of a group from a moment in the window on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsSince {
    /// Start of the first step that is counted.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The numbers. Where services changed at more than four moments, or time is short, quantiles
    /// of further services are those of a part of the calls: the longest compared part of the
    /// window that begins at the start or later, else the step with most calls.
    #[serde(flatten)]
    pub stats: GroupStats,
}

/// A kind of failure among the sampled failed calls of a group.
///
/// Each failed call is followed down to its deepest failed span. The deepest of its failed spans
/// that has an exception or a status message names the failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureShare {
    /// The service whose spans name the failure.
    pub service: String,
    /// `exception.type`; absent where the spans have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception_type: Option<String>,
    /// `exception.message` or the status message of one of them, at most 200 characters.
    pub message: String,
    /// Share of the sampled failed calls that failed like this, 0 to 1.
    pub share: f64,
}

/// Calls of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeStep {
    /// Begin of the step.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub error_count: u64,
    /// Half of the calls took no longer.
    #[schema(value_type = String)]
    pub p50_nano: DurationNanos,
    /// 95 % of the calls took no longer.
    #[schema(value_type = String)]
    pub p95_nano: DurationNanos,
}

/// The aspect that changed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// Duration.
    Latency,
    /// Share of failed calls.
    Errors,
    /// Calls in a second.
    Throughput,
    /// An exception that the baseline does not have.
    NewException,
    /// A pattern of log records of severity *warn* or above that the baseline does not have.
    NewLogPattern,
    /// Calls of the baseline that the window does not have. Of a culprit: the share of calls to it
    /// that have no span of it, which used to have one.
    Missing,
    /// Calls of the window that the baseline does not have.
    New,
    /// Spans that call others than before: calls they used to make are lost, or new ones came.
    Callees,
    /// The clock of a service against that of its callers.
    ClockSkew,
    /// Calls of the same operation by one span: more than ever before (N+1, retries).
    Repeats,
}

/// One change of one thing.
///
/// The unit of `before` and `now` follows from `kind`: nanoseconds for `latency` (that of
/// `quantile`) and `clockSkew` (ahead of its callers), a share from 0 to 1 for `errors` and
/// `callees`, calls in a second for `throughput`, `missing` and `new`, calls by one span for
/// `repeats`, and a number of occurrences for the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The aspect.
    pub kind: ChangeKind,
    /// Set when more of it is bad (slower, more failures, fewer calls).
    pub is_worse: bool,
    /// The value in the baseline.
    pub before: f64,
    /// The value in the window. With `testedSinceUnixNano`, it is that of the time since then. Of
    /// `latency` and `errors` with the begin of its group's `since`, it is the quantile or the share
    /// since then.
    pub now: f64,
    /// `now / before`; absent where `before` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `now - before`.
    pub difference: f64,
    /// The quantile that `before` and `now` are of, in percent: 50, 95 or 99; `latency` only. 0 is
    /// the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<u8>,
    /// The quantiles that became worse, in percent: those of 50, 95 and 99 with a large difference
    /// that chance does not explain. Empty for other kinds and for changes of culprits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worse_quantiles: Vec<u8>,
    /// Begin of the change: the moment that divides the series best. Absent when it lies before the
    /// window or no moment stands out.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_nano: Option<UnixNanos>,
    /// Begin of the last part of the window in which the change was found, where its own begin is
    /// not known. Absent with `sinceUnixNano`, and where it was found in the whole window.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_since_unix_nano: Option<UnixNanos>,
    /// Probability that chance gives such a difference, corrected for the number of tests
    /// (Benjamini-Hochberg); below 0.01 for everything that is listed.
    pub p_value: f64,
    /// The exception's type or the pattern of the log record; other kinds have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The id of the exception group or the log pattern; other kinds have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A sentence in parts: *subject* changed so *since* then, *with* that.
///
/// "northpay 3.9× slower since 14:01, with payment 2.14.0": the subject is the peer northpay, the
/// change a latency of factor 3.9, and `with` names the version of the service payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSentence {
    /// The thing that changed by itself.
    pub subject: Subject,
    /// Its change.
    pub change: Change,
    /// Causes found for the change, the strongest first, at most three; empty when no attribute
    /// distinguishes the changed calls.
    pub with: Vec<Cause>,
    /// Part of the change of the group (of all changed transactions, for the headline) that the
    /// subject explains, 0 to 1; absent where the group is its own subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_share: Option<f64>,
}

/// A thing that can change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Kind of the thing.
    pub kind: SubjectKind,
    /// The service; of a peer the service that calls it.
    pub service: String,
    /// The operation of the service; absent for a whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The endpoint without spans that is called: a database, a queue, an external host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Kind of a [`Subject`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum SubjectKind {
    /// A service.
    Service,
    /// An operation of a service.
    Operation,
    /// An endpoint that sends no spans, as its callers see it.
    Peer,
}

/// Something that came with a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Kind of the cause.
    pub kind: CauseKind,
    /// The service whose spans have it.
    pub service: String,
    /// The attribute (`resource`/`service.version`, `resource`/`host.name`, `span`/`order.id`);
    /// absent for an exception and a log pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeName>,
    /// The value of the attribute, the exception's type, or the log pattern; absent where the
    /// changed calls are those that do not have the attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Share of the changed (slow or failed) calls that have it, 0 to 1.
    pub changed_share: f64,
    /// Share of the other calls of the same operation in the window that have it.
    pub rest_share: f64,
    /// Share of the calls of the baseline that have it: 0 for a new version.
    pub before_share: f64,
    /// The first span that has it, where the baseline has none; absent where that is not known.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen_unix_nano: Option<UnixNanos>,
}

/// Kind of a [`Cause`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// A version of the service.
    Version,
    /// A host, node, pod, container or instance.
    Host,
    /// Another attribute's value.
    Attribute,
    /// An exception that the baseline does not have.
    Exception,
    /// A log pattern that the baseline does not have.
    LogPattern,
    /// More calls than before: of a caller, of a retry, of one request.
    MoreCalls,
}

/// A transaction type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionName {
    /// The root service.
    pub service: String,
    /// The root operation.
    pub operation: String,
}

/// A service whose clock differs from that of a caller, by calls whose spans do not lie within the
/// call that they answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceClock {
    /// The service.
    pub service: String,
    /// The service that calls it.
    pub compared_with: String,
    /// Nanoseconds by which its clock is ahead (below 0: behind): the median of the calls.
    #[schema(value_type = String)]
    pub offset_nano: OffsetNanos,
    /// The same in the baseline; 0 where it did not differ.
    #[schema(value_type = String)]
    pub before_nano: OffsetNanos,
    /// Number of calls looked at.
    pub call_count: u64,
    /// Number of those that do not lie within their call.
    pub outside_count: u64,
}
