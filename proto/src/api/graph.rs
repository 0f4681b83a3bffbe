//! Who calls whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Exemplar, LatencyStats, Searched, TimeWindow};

/// Services and what they call, with the calls between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceGraph {
    /// The time it is about: the time of the trace for a single one, and the newest part of what was
    /// asked for when that is too much.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The nodes, by kind and name.
    pub nodes: Vec<GraphNode>,
    /// The edges, most calls first, at most 10,000.
    pub edges: Vec<GraphEdge>,
    /// How many edges there are.
    pub edge_count: u64,
    /// What was read; incomplete when it is of a part of the window, or of the newest 1,000,000
    /// spans.
    pub searched: Searched,
}

/// What a node of the graph is.
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
}

/// A service or something that services call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// Its name; empty when not known.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// `postgresql`, `kafka` and the like, where its callers say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Requests it served and messages it took: its SERVER and CONSUMER spans. Of a node that sends
    /// no spans the calls to it, as its callers saw them.
    pub call_count: u64,
    /// How many of them failed.
    pub error_count: u64,
    /// How many of them nobody in the graph sent: here transactions enter.
    pub entry_count: u64,
    /// How many of its spans were looked at.
    pub span_count: u64,
    /// How long its requests and messages took.
    pub duration: LatencyStats,
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
    /// How many calls.
    pub call_count: u64,
    /// How many failed, as the one or the other side saw it.
    pub error_count: u64,
    /// How many in a second of the window.
    pub rate_per_second: f64,
    /// How long they took, as the called saw it; as the caller did where the called sends no spans.
    pub duration: LatencyStats,
    /// How long they took as the caller saw it, for calls with a CLIENT or PRODUCER span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_duration: Option<LatencyStats>,
    /// The slowest of them, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Exemplar>,
    /// The last of them that failed, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Exemplar>,
}
