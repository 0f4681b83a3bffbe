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
//! them while a file is written, and `kind_section` is the index section. `kind_bounds` and
//! `sample_spec` are what a query asks for, `kind_selection` selects its kinds, and `kind_calls` is
//! the answer. `crate::rollup_query` answers queries.

pub(crate) mod build;
pub(crate) mod entry_spans;
mod kind_bounds;
mod kind_calls;
pub(crate) mod kind_section;
pub(crate) mod kind_selection;
pub(crate) mod sample_spec;

pub use entry_spans::{KindKey, Transactions, transaction_place};
pub use kind_bounds::KindBounds;
pub use kind_calls::{KindCalls, ListedKind, OtherKinds};
pub use sample_spec::SampleSpec;

pub(super) use build::COLUMNS;
pub(crate) use build::KindBuilder;
pub(crate) use kind_section::KindSection;
