//! Numbers over many spans: rates, latencies, graphs, differences.
//!
//! Every answer streams over a snapshot in bounded memory and says what it could not look at.
//! `window` cuts time into steps, `latency` keeps distributions, `calls` counts the calls of a
//! group, `trees` reads whole traces in portions; the other modules are one question each. Owns no
//! rule about single traces: those are assembly's.

pub(crate) mod calls;
pub(crate) mod exceptions;
pub(crate) mod graph;
pub(crate) mod heatmap;
pub(crate) mod latency;
pub(crate) mod red;
mod stack;
pub(crate) mod trees;
pub(crate) mod window;

pub use exceptions::ExceptionSearch;
pub use graph::GraphSearch;
pub use heatmap::HeatmapSearch;
pub use red::{RedKey, RedSearch};
