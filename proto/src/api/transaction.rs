//! Transactions: everything that belongs to one id, whatever the kind of the id. Links between
//! traces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CallsInStep, LatencyStats, LogView, NodeKind, ProblemView, Searched, ServiceTime, SpanKindName,
    TimeWindow, TotalRelation, TraceSummary, TransactionState,
};
use crate::{DurationNanos, SpanId, TraceId, UnixNanos, otlp::KeyValue};

/// How an id was recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "by")]
pub enum MatchedBy {
    /// It is a trace id.
    TraceId,
    /// It is the id of a span of the trace.
    SpanId,
    /// It is or has the value of a transaction key.
    Attribute {
        /// The attribute.
        key: String,
    },
}

/// A transaction, hop by hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    /// The id that was asked for.
    pub tid: String,
    /// How it was recognised.
    pub matched: MatchedBy,
    /// True if all of it was aggregated. Traces beyond the first 100, and traces that are too large
    /// ([`TraceSummary::complete`]), are not. Counts are lower bounds then; `missing` names the
    /// parts left out.
    pub complete: bool,
    /// Where it stands: the worst of its traces.
    pub state: TransactionState,
    /// Missing parts, in words; empty when the transaction is complete and all of it was
    /// aggregated.
    pub missing: Vec<String>,
    /// The earliest start.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The latest end so far.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// From the one to the other.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
    /// Its traces, oldest first, at most 100.
    pub traces: Vec<TraceSummary>,
    /// Number of its traces.
    pub trace_count: u64,
    /// The calls from one service into another (or into itself) or of a peer without spans, in
    /// order of first call: at most the 1,000 with the most time on the path to completion.
    pub hops: Vec<Hop>,
    /// Number of all hops.
    #[serde(default)]
    pub hop_count: u64,
    /// The hop in `hops` with the most time on the path to completion, the first of several; absent
    /// when no hop has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_hop_index: Option<u32>,
    /// The time of each service over all traces.
    pub services: Vec<ServiceTime>,
    /// The spans that failed, in order of time, at most 100.
    pub errors: Vec<ErrorView>,
    /// Problems of the spans.
    pub problems: Vec<ProblemView>,
    /// The log records, oldest first: at most the newest 1,000.
    pub logs: Vec<LogView>,
    /// Number of log records.
    pub log_count: u64,
    /// `atLeast` when not every record of the time that names no trace was read.
    pub log_count_relation: TotalRelation,
    /// Differs whenever the answer does: send it as `after` to wait for the next.
    #[serde(default)]
    pub version: String,
}

/// Calls of one operation of one service by another service, or calls of a peer without spans. A
/// peer has the numbers of the spans that call it, CLIENT or PRODUCER.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// The caller; absent where the transaction enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_service: Option<String>,
    /// The called service, or the peer by its name in the service graph; empty for a peer that no
    /// calling span names.
    pub service: String,
    /// The kind of the peer, which sends no spans; absent for a service that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_kind: Option<NodeKind>,
    /// The system that runs the peer, such as `postgresql`, if a calling span says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The called operation; where the called side sent no span, the operation that calls it.
    pub operation: String,
    /// The kind of the called span; where the called side sent no span, of the calling span.
    pub kind: SpanKindName,
    /// How often.
    pub call_count: u64,
    /// Number of failed calls.
    pub error_count: u64,
    /// When the first call began.
    #[schema(value_type = String)]
    pub first_start_unix_nano: UnixNanos,
    /// The response times, added up.
    #[schema(value_type = String)]
    pub response_nano: DurationNanos,
    /// The longest response time.
    #[schema(value_type = String)]
    pub response_max_nano: DurationNanos,
    /// The self time of the called spans, without calls of peers.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// The called spans' self time on the critical path, without calls of peers.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// The time of the called spans, and of those of the same service below them, on the path to
    /// completion, which goes on where asynchronous work outlives the root. The time of spans that
    /// call a peer counts for the peer alone.
    #[serde(default)]
    #[schema(value_type = String)]
    pub completion_nano: DurationNanos,
    /// Time on the path to completion between handing over and the start of the called spans.
    #[serde(default)]
    #[schema(value_type = String)]
    pub waiting_nano: DurationNanos,
}

/// A span that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorView {
    /// Its trace.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// Its service.
    pub service: String,
    /// Its operation.
    pub operation: String,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The status message.
    pub message: String,
    /// `exception.type` of its exception event; empty without one.
    pub exception_type: String,
    /// `exception.message` of its exception event; empty without one.
    pub exception_message: String,
}

/// Ids recognised in a pasted text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolveResult {
    /// Best first; empty when nothing stored matches.
    pub matches: Vec<Resolved>,
    /// Interpretations of the text that were looked up, in words.
    pub tried: Vec<String>,
}

/// One thing a pasted text may mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The trace.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span, when the text named one.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// Why, as `traceparent header` or `attribute order.id`.
    pub reason: String,
    /// The summary of the trace, to choose by: where there are several matches, of the first
    /// 20, unless only log records of it are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<TraceSummary>,
}

/// Transaction types, most frequent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionTypeList {
    /// The time it is about: transactions are counted when they begin in it.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The types.
    pub transaction_types: Vec<TransactionType>,
    /// Number of types that are listed separately.
    pub transaction_type_count: u64,
    /// Number of transactions of types that are not listed separately. All types are while their
    /// state fits into 128 MiB (some 100,000 types); beyond that only the most frequent.
    pub other_count: u64,
    /// Upper bound of the transactions of any type that is not listed separately. Types with more
    /// transactions than this are all in the list.
    pub other_transaction_type_count_max: u64,
    /// Counts are of one transaction in so many, times that number: 1 is exact. When more than
    /// 500,000 traces would have to be put together from spans, they are sampled by their ids.
    pub sampled_one_in: u64,
    /// Rows and files read.
    pub searched: Searched,
}

/// The transactions that enter at one operation of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionType {
    /// The service they enter.
    pub service: String,
    /// The operation they enter at.
    pub operation: String,
    /// Number of transactions.
    pub count: u64,
    /// Number of failed transactions.
    pub error_count: u64,
    /// Transactions per second of the window.
    pub rate_per_second: f64,
    /// Response times: the durations of the entry spans that have ended.
    pub duration: LatencyStats,
    /// Share of the transactions that have ended which took less than `than`, 0 to 1; only when it is
    /// given. Where durations are in the buckets of histograms, those of the bucket that holds `than`
    /// are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shorter_share: Option<f64>,
    /// By step; steps without a transaction are left out.
    pub steps: Vec<CallsInStep>,
    /// Services and operations on the critical path, most time first.
    pub where_time_goes: Vec<TimeShare>,
    /// Over how many transactions that is added up.
    pub analysed_count: u64,
}

/// The part of an operation in the time that transactions took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeShare {
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// Its part of the critical paths, 0 to 1.
    pub critical_share: f64,
    /// Its self time on the critical paths.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// Its self time, on the critical path or not.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// Number of transactions it takes part in.
    pub transaction_count: u64,
    /// Number of its spans in them.
    pub span_count: u64,
}

/// Links of the trace's spans, and links of other spans to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceLinks {
    /// The links of the trace's spans, by start of the span, at most 1,000.
    pub outgoing: Vec<LinkView>,
    /// The links of other spans to the trace's spans, by start of the linking span, at most 1,000.
    /// They are looked for from a minute before the trace to a day after it.
    pub incoming: Vec<LinkView>,
    /// Rows and files read to find the incoming links; incomplete when not every span with links
    /// was read.
    pub searched: Searched,
}

/// A link between two spans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// The trace of the span that has the link.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span that has the link.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// Its service.
    pub service: String,
    /// Its operation.
    pub operation: String,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The trace it links to.
    #[schema(value_type = String)]
    pub linked_trace_id: TraceId,
    /// The span it links to.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_span_id: Option<SpanId>,
    /// True if a span of the linked trace is stored.
    pub linked_is_stored: bool,
    /// Attributes of the link.
    pub attributes: Vec<KeyValue>,
}
