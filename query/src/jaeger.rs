//! Jaeger's queries, answered as Jaeger answers them on the same data, whatever protocol it came
//! by.
//!
//! ```text
//! search (which traces) ─► trace::complete ─► adjust (as Jaeger's query service) ─► proto::jaeger
//! names, dependencies ──► rows
//! metrics ──► crate::prometheus
//! ```
//!
//! Owns Jaeger's rules of what matches and what is adjusted. Not here: parameters and JSON
//! (`http/jaeger`), the translation of spans (`proto::jaeger`).

pub(crate) mod adjust;
pub(crate) mod dependencies;
pub(crate) mod metrics;
pub(crate) mod names;
pub(crate) mod search;
mod skew;
pub(crate) mod traces;

#[cfg(test)]
mod tests;
