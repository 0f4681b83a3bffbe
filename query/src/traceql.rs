//! TraceQL: the answers of queries about stored traces.
//!
//! ```text
//! text ─► `tidings-traceql` (lexer, parser, syntax, compiled)
//!     log records ─► records (logs of spans, for conditions on logs)
//!     rows ─► candidates ─► traces, assembled ─► evaluate ─► search   (Tempo's and the native API)
//!                        └► matched_spans ─► observe ──────► metrics
//!                                         └────────────────► heatmaps, explanations
//! ```
//!
//! Owns the meaning of spansets, pipelines and metrics, and how much of the tables a query reads.
//! The crate `tidings-traceql` owns the language. Some queries that Tempo parses but refuses to run
//! (`parent.`, aggregate against aggregate) run here.

mod candidate_scan;
mod candidates;
pub(crate) mod display;
mod evaluate;
pub(crate) mod filter;
pub(crate) mod matched_spans;
pub(crate) mod metrics_query;
pub(crate) mod native;
pub(crate) mod overlap;
mod read;
pub(crate) mod read_budget;
mod records;
mod relations;
pub(crate) mod spanset_search;
pub(crate) mod tags;
mod trace_extents;

use tidings_traceql::TraceqlError;

use crate::QueryError;

impl From<TraceqlError> for QueryError {
    fn from(error: TraceqlError) -> Self {
        Self::parameter("q", format!("invalid TraceQL query: {error}"))
    }
}

#[cfg(test)]
mod tests;
