//! Queries that rollups answer: calls, the service graph, root operations, exceptions and counts of
//! log records.
//!
//! `call_query` answers for calls. `repeats` finds spans that are in two files, so that each counts
//! once. `graph` answers for calls between services, and `kinds` for root operations. `splits`
//! finds the traces that are in two files, and `counted_calls` selects their calls to retract.
//! `file_buckets` adds the remaining buckets of a file to the time ranges of the query.
//! `split_corrections` precomputes corrections for split traces in files that are not merged any
//! more. `exception_query` answers for exceptions, and `log_counts` counts log records. `names`
//! lists the names of calls and counts them. `query_failure` has the reasons for no answer.
//!
//! An answer from rollups equals the answer from rows. Rows are read where rollups have no data:
//! parts of a minute, memory, and files without valid rollups. A span in two places is retracted in
//! one of them. Owns no format: `crate::rollup` has the sections and their builders, and
//! `crate::index` opens them.

mod call_query;
mod counted_calls;
mod exception_query;
mod file_buckets;
mod graph;
mod kinds;
mod log_counts;
mod names;
mod query_failure;
mod repeats;
mod split_corrections;
mod splits;

pub use call_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
};
pub use exception_query::{ExceptionBounds, ExceptionGroups, ExceptionSums, LastException};
pub use graph::{GraphAggregate, GraphBounds, GraphChoice, GraphDetail};
pub use kinds::KindAnswer;
pub use log_counts::{CountedForms, CountedLogs};
pub use names::CountVisit;
pub(crate) use split_corrections::build_corrections;

#[cfg(test)]
pub(crate) mod tests;
