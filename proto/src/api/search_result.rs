//! Lists: traces, names that complete filters, and names that words find.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{NodeKind, TraceSummary};
use crate::{DurationNanos, SpanId, TraceId, UnixNanos, otlp::KeyValue};

/// A page of traces, newest first by the earliest span that matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceSearchResult {
    /// The traces that have a span matching every filter.
    pub traces: Vec<TraceSummary>,
    /// Matches of the TraceQL query in each trace, in the same order. Absent without a query, and
    /// when no trace is found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TraceMatch>,
    /// Value of `cursor` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Number of traces that match.
    pub total: Total,
    /// Rows and files read to find them.
    pub searched: Searched,
}

/// Matches of a query in a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceMatch {
    /// The trace's id.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// Number of spansets that match in the trace.
    pub spanset_count: u64,
    /// The first of them: one, or one for each group of `by(…)`.
    pub spansets: Vec<SpansetView>,
}

/// Spans of a trace that a query found together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpansetView {
    /// Number of spans in the spanset.
    pub span_count: u64,
    /// Results of the query for the spanset: the value of `by(…)`, and the aggregates it compared,
    /// each named as in the query.
    pub attributes: Vec<KeyValue>,
    /// The first of them, in the order of the trace.
    pub spans: Vec<MatchedSpan>,
}

/// A span that a query found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchedSpan {
    /// Its id.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// `service.name`.
    pub service: String,
    /// Name of the span.
    pub name: String,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Duration in nanoseconds.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
    /// The values that the query read or selected, under the names that queries have for them;
    /// those that it does not have are left out, as are those that stand above or in the summary
    /// of the trace.
    pub attributes: Vec<KeyValue>,
}

/// The spans of one trace that a text or a query finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanMatches {
    /// Their rows in the skeleton, ascending, at most 100,000.
    pub rows: Vec<u32>,
    /// Number of matches.
    pub match_count: u64,
    /// Number of spans of the trace.
    pub span_count: u64,
}

/// Number of matches, exact or a lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// The number.
    pub value: u64,
    /// Tells if the value is exact or a lower bound.
    pub relation: TotalRelation,
}

/// Meaning of [`Total::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TotalRelation {
    /// Exactly so many.
    Exact,
    /// At least so many: the search stopped at its row budget.
    AtLeast,
}

/// Work done by a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Searched {
    /// Rows looked at.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// Duration of the search in nanoseconds.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
    /// True if everything in the time range was read.
    pub complete: bool,
}

/// Progress of a search that is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchProgress {
    /// Rows looked at.
    pub rows: u64,
    /// Data files that were read or turned out not to be needed.
    pub files: u64,
    /// Data files that are to be looked at; may grow as the search goes on.
    pub file_count: u64,
    /// Matches so far.
    pub found: u64,
    /// From when on everything was looked at; absent before anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub since_unix_nano: Option<UnixNanos>,
    /// Time since the search began, in nanoseconds.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
}

/// Traces found by a search that is still running: the next ones of its page. Their positions are
/// final.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundTraces {
    /// The traces, newest first by the earliest span that matches.
    pub traces: Vec<TraceSummary>,
}

/// Names with how often each was seen, most frequent first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameList {
    /// The names.
    pub names: Vec<NameCount>,
    /// True if the list was cut by `limit` or the row budget.
    pub truncated: bool,
}

/// A name and how many rows have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameCount {
    /// The name.
    pub name: String,
    /// Number of rows with the name.
    pub count: u64,
}

/// Names that have all words of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundNameList {
    /// The names: first those that are the text, then those that begin with it; of these by kind,
    /// the most frequent first.
    pub names: Vec<FoundName>,
    /// True if there may be more, or counts are of a sample.
    pub truncated: bool,
}

/// Kind of a found name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum FoundNameKind {
    /// An operation of a service.
    Operation,
    /// A version of a service.
    Version,
    /// A type of exceptions of a service.
    Exception,
    /// A database, queue or other peer that sends no spans.
    Peer,
}

/// A found name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundName {
    /// Its kind.
    pub kind: FoundNameKind,
    /// The name.
    pub name: String,
    /// The service that has it; absent for a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Kind of the node in the service graph; absent unless it is a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_kind: Option<NodeKind>,
    /// `postgresql`, `kafka` and the like, where callers of a peer say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Number of its spans; of exceptions, or of calls of a peer.
    pub count: u64,
}

/// Attribute keys, most frequent first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributeKeyList {
    /// The keys.
    pub keys: Vec<AttributeKey>,
    /// True if the list was cut by `limit` or the row budget.
    pub truncated: bool,
}

/// An attribute key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributeKey {
    /// The key.
    pub key: String,
    /// `span` or `resource`.
    pub scope: String,
    /// Number of rows with the key.
    pub count: u64,
}
