//! Calls between services, added up by minute beside every data file of spans.
//!
//! Calls are known only from whole traces, and a trace can be in several files and in memory. A
//! file's rollups count the calls of its traces as if the file had all of them. A query assembles
//! split traces, and traces cut by its range, from their rows. It retracts the file's counts for
//! them and adds the counts of the whole trace. Nearly all traces need no correction.
//!
//! `trace_calls` extracts the calls of a trace, for rollups and for rows. `key` is their group key,
//! and `peers` names uninstrumented peers. `build` aggregates while a file is written, and
//! `graph_section` is the index section. `rows` reads spans, `pool` assembles traces, `graph_query`
//! answers queries, and `graph_correction` computes corrections for a pair of files. A query that
//! would read too many rows has no answer from rollups. `chosen_traces` answers for selected
//! traces, all from rows.

mod build;
mod chosen_traces;
mod graph_correction;
mod graph_query;
mod graph_section;
mod key;
mod peers;
mod pool;
mod rolled;
mod rows;
mod trace_calls;

pub use chosen_traces::GraphChoice;
pub use graph_query::{GraphAggregate, GraphBounds, GraphDetail};
pub use key::GraphKey;
pub use peers::Peer;
pub use trace_calls::{GraphCall, GraphPart, GraphSpan, graph_calls, split_at_gaps};

pub(super) use build::COLUMNS;
pub(crate) use build::GraphBuilder;
pub(super) use graph_correction::change;
pub(crate) use graph_section::GraphSection;
pub(super) use key::{LIMITS, NameTable};
pub(crate) use rows::PeerKeys;

#[cfg(test)]
mod tests;
