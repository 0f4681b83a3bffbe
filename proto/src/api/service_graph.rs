//! Service graph: calls between services.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Exemplar, LatencyStats, Searched, TimeWindow};
use crate::{DurationNanos, UnixNanos};

/// Services and what they call, with the calls between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceGraph {
    /// The time it is about: the time of the trace for a single one, and the newest part of what
    /// was asked for when that is too much.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Start of the time that the calls are compared with: the given baseline, or else the time that
    /// ends where the window begins and is as long. It is later where that is too much to read.
    /// Absent without `compare`, and where nothing is stored of that time.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since_unix_nano: Option<UnixNanos>,
    /// The nodes, by kind and name; folded ones last.
    pub nodes: Vec<GraphNode>,
    /// Number of services that send spans.
    pub service_count: u64,
    /// Number of databases, hosts and other endpoints that send no spans, also of folded ones.
    /// Queues, the users and nodes without a name are none.
    pub endpoint_count: u64,
    /// The edges, at most 10,000: with `compare` those that became slower or fail more first, the
    /// most changed before others; then those with most calls.
    pub edges: Vec<GraphEdge>,
    /// Number of edges.
    pub edge_count: u64,
    /// Rows and files read; incomplete when the graph covers a part of the window, or only the
    /// newest 1,000,000 spans. With `compare` also those of the time before.
    pub searched: Searched,
}

/// Kind of a node in the graph.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum NodeKind {
    /// A service that sends spans.
    Service,
    /// A database that sends none.
    Database,
    /// A queue or topic that sends none.
    Messaging,
    /// Something else that is called and sends no spans.
    External,
    /// Something that is called, of which nothing is known.
    Unknown,
    /// The users: all that send requests and messages without a parent span. There is one, `user`.
    User,
}

impl NodeKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Database, Self::Messaging, Self::External, Self::Unknown, Self::User];

    /// Returns a kind as the API spells it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Messaging => "messaging",
            Self::External => "external",
            Self::Unknown => "unknown",
            Self::User => "user",
        }
    }

    /// Finds a kind by its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}

/// A service or something that services call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// Its name; empty when not known. A folded node has the name of its system, if it has one.
    pub name: String,
    /// Kind of the node.
    pub kind: NodeKind,
    /// `postgresql`, `kafka` and the like, where its callers say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Requests it served and messages it took: its SERVER and CONSUMER spans. For a node that
    /// sends no spans, these are the calls that its callers saw; for a queue without a known
    /// sender, the messages that are taken from it.
    pub call_count: u64,
    /// Number of failed requests and messages.
    pub error_count: u64,
    /// Requests and messages per second of the window.
    pub rate_per_second: f64,
    /// Share of failed ones, 0 to 1.
    pub error_share: f64,
    /// Number of requests and messages without a caller in the graph: transactions enter here.
    pub entry_count: u64,
    /// Number of the node's spans that were read.
    pub span_count: u64,
    /// Durations of its requests and messages.
    pub duration: LatencyStats,
    /// Its requests and messages of the time before; absent without `compare`, where it had none,
    /// and in `largest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CallsBefore>,
    /// Factor from the 95th percentile of before to that of now; absent unless it is slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_factor: Option<f64>,
    /// True if more of them fail than before; where fewer than 20 of then are known, if 5 % fail.
    pub fails_more: bool,
    /// Number of peers of one kind and system that a folded node stands for; absent for any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded_count: Option<u64>,
    /// The peers with most calls, at most 20 of them, most calls first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub largest: Vec<GraphNode>,
}

/// The calls of a node or an edge in the time before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallsBefore {
    /// Number of calls.
    pub call_count: u64,
    /// Calls per second of that time.
    pub rate_per_second: f64,
    /// Share of failed calls, 0 to 1.
    pub error_share: f64,
    /// Half took no longer.
    #[schema(value_type = String)]
    pub p50_nano: DurationNanos,
    /// 95 % took no longer.
    #[schema(value_type = String)]
    pub p95_nano: DurationNanos,
    /// 99 % took no longer.
    #[schema(value_type = String)]
    pub p99_nano: DurationNanos,
}

/// How one node calls another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum EdgeKind {
    /// By requests.
    Call,
    /// By messages.
    Message,
}

/// The calls of one node by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphEdge {
    /// The row of the caller in [`ServiceGraph::nodes`].
    pub from: u32,
    /// The row of the called.
    pub to: u32,
    /// How.
    pub kind: EdgeKind,
    /// Number of calls.
    pub call_count: u64,
    /// Number of calls for which only the caller sent a span, although the called node sends spans
    /// of other calls. `callCount` of the called node leaves them out.
    pub caller_only_count: u64,
    /// Number of calls that failed according to either side.
    pub error_count: u64,
    /// Share of failed calls, 0 to 1.
    pub error_share: f64,
    /// Calls per second of the window.
    pub rate_per_second: f64,
    /// Durations as measured by the called side; by the caller where the called side sends no
    /// spans.
    pub duration: LatencyStats,
    /// Durations as measured by the caller, for calls with a CLIENT or PRODUCER span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_duration: Option<LatencyStats>,
    /// Its calls of the time before; absent without `compare`, and where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CallsBefore>,
    /// Factor from the 95th percentile of before to that of `duration`; absent unless the calls are
    /// slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_factor: Option<f64>,
    /// True if it is not slower by that rule, but its 95th percentile is as much longer, and chance
    /// may explain it. Absent means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_slower: bool,
    /// True if more calls fail than before; where fewer than 20 of then are known, if 5 % fail.
    pub fails_more: bool,
    /// True if `failsMore` is not, but the share of failures is as much greater, and chance may
    /// explain it. Absent means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_fail_more: bool,
    /// The slowest call, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Exemplar>,
    /// The last failed call, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Exemplar>,
}
