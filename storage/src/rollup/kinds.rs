//! Rollups of root operations (*transaction types*), and a summary of each trace, in the index of
//! each data file of spans.
//!
//! A transaction is a trace. Its kind is its root operation: the service and operation of its entry
//! span. A file's rollups count the entry spans of its traces as if the file had the whole traces,
//! as for calls between services ([`super::graph`]). Split traces are assembled from their rows. A
//! query retracts the file's counts for them and adds the whole trace. A summary has a trace's
//! kind, the minute of its start and its histogram bucket. Summaries are ordered like the index's
//! runs of traces, by a hash of the trace id. A sample by that hash, and the traces of some
//! minutes, are therefore found without reading rows.
//!
//! `entry_spans` extracts the transactions of a trace, for rollups and for rows. `build` aggregates
//! them while a file is written, and `kind_section` is the index section. `rolled` is a file that
//! answers from rollups. `kind_query` answers queries, for the kinds that `kind_selection` selects.
//! `sample` picks example traces, and `row_sampler` reads their rows. `pair_entries` computes
//! corrections for a pair of files.

mod build;
mod entry_spans;
mod kind_calls;
mod kind_query;
mod kind_section;
mod kind_selection;
mod pair_entries;
mod rolled;
mod row_sampler;
mod sample;

pub use entry_spans::{KindKey, Transactions, transaction_place};
pub use kind_calls::{KindCalls, ListedKind, OtherKinds};
pub use kind_query::{KindAnswer, KindBounds};
pub use sample::SampleSpec;

pub(super) use build::COLUMNS;
pub(crate) use build::KindBuilder;
pub(crate) use kind_section::KindSection;
pub(super) use pair_entries::entries;

#[cfg(test)]
mod tests;
