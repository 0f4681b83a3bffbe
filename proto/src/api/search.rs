//! Lists: traces, and the names that filters are completed from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TraceSummary;
use crate::{DurationNanos, UnixNanos};

/// A page of traces, newest first by the earliest span that matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceSearchResult {
    /// The traces that have a span matching every filter.
    pub traces: Vec<TraceSummary>,
    /// What to send as `cursor` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many traces match.
    pub total: Total,
    /// What was read to find them.
    pub searched: Searched,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// The number.
    pub value: u64,
    /// Whether it is the number or a lower bound.
    pub relation: TotalRelation,
}

/// What [`Total::value`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TotalRelation {
    /// Exactly so many.
    Exact,
    /// At least so many: the search stopped at its row budget.
    AtLeast,
}

/// What a search read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Searched {
    /// Rows looked at.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// How long it took.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
    /// Whether everything in the time range was looked at.
    pub complete: bool,
}

/// How far a search is that goes on.
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
    /// How long it has taken.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
}

/// What a search that goes on has found: the next traces of its page, which stay where they are.
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
    /// Whether the list ends because of `limit` or the row budget.
    pub truncated: bool,
}

/// A name and how many rows have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameCount {
    /// The name.
    pub name: String,
    /// How many rows have it.
    pub count: u64,
}

/// Attribute keys, most frequent first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributeKeyList {
    /// The keys.
    pub keys: Vec<AttributeKey>,
    /// Whether the list ends because of `limit` or the row budget.
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
    /// How many rows have it.
    pub count: u64,
}
