//! Numbers over many spans: rates, latencies, graphs, differences.
//!
//! Every answer streams over a snapshot in bounded memory and says what it could not look at.
//! `window` cuts time into steps, `calls` counts the calls of a
//! group, `trees` reads whole traces in portions; the other modules are one question each. Owns no
//! rule about single traces: those are assembly's.

pub(crate) mod calls;
pub(crate) mod changes;
pub(crate) mod compare;
pub(crate) mod edges;
pub(crate) mod exceptions;
pub(crate) mod explain;
pub(crate) mod graph;
pub(crate) mod heatmap;
pub(crate) mod log_histogram;
pub(crate) mod patterns;
pub(crate) mod red;
pub(crate) mod repeats;
pub(crate) mod trees;
pub(crate) mod window;

pub use changes::{BaselineChoice, ChangeSearch};
pub use compare::{CompareSearch, ComparedWith};
pub use edges::{Bounded, StretchEdge, StretchEdges, edges_between};
pub use exceptions::ExceptionSearch;
pub use explain::{ExplainSearch, Selection};
pub use graph::GraphSearch;
pub use heatmap::HeatmapSearch;
pub use log_histogram::LogHistogramSearch;
pub use patterns::PatternSearch;
pub use red::{RedKey, RedKeys, RedSearch};
