//! Queries for calls between services.
//!
//! `rows` reads spans, `pool` assembles traces, `rolled` is a file that answers from rollups, and
//! `graph_query` answers queries. `graph_correction` computes corrections for a pair of files. A
//! query that would read too many rows has no answer from rollups. `chosen_traces` answers for
//! selected traces, all from rows.

mod chosen_traces;
mod graph_correction;
mod graph_query;
mod pool;
mod rolled;
mod rows;

pub use chosen_traces::GraphChoice;
pub use graph_query::{GraphAggregate, GraphBounds, GraphDetail};

pub(super) use graph_correction::change;

#[cfg(test)]
mod tests;
