//! Aggregates over many spans: rates, latencies, graphs, differences.
//!
//! Every answer streams over a snapshot in bounded memory and says which part it could not read.
//! `window` cuts time into steps, `calls` aggregates the calls of a group, and `trees` reads whole
//! traces in portions. Each of the other modules answers one query. Rules about single traces are
//! assembly's.

pub(crate) mod calls;
pub(crate) mod changes;
pub(crate) mod compare;
pub(crate) mod deployments;
pub(crate) mod edges;
pub(crate) mod exceptions;
pub(crate) mod explain;
pub(crate) mod graph;
pub(crate) mod heatmap;
pub(crate) mod log_histogram;
pub(crate) mod log_stats;
pub(crate) mod patterns;
pub(crate) mod red;
pub(crate) mod repeats;
pub(crate) mod trees;
pub(crate) mod window;

pub use changes::{BaselineChoice, ChangeSearch};
pub use compare::{CompareSearch, ComparedWith};
pub use deployments::DeploymentSearch;
pub use edges::{Bounded, StretchEdge, StretchEdges, edges_between};
pub use exceptions::ExceptionSearch;
pub use explain::{ExplainSearch, Selection};
pub use graph::GraphSearch;
pub use heatmap::HeatmapSearch;
pub use log_histogram::LogHistogramSearch;
pub use log_stats::LogStatsSearch;
pub use patterns::PatternSearch;
pub use red::{RedKey, RedKeys, RedSearch};
