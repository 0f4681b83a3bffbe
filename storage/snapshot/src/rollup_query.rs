//! Queries that rollups answer: calls, the service graph, root operations, exceptions and counts of
//! log records.
//!
//! `call_query` answers for calls. `repeats` finds spans that are in two files, so that each counts
//! once. `graph_query` answers for calls between services, and `transaction_type_query` for root
//! operations. `splits` finds the traces that are in two files, and `counted_calls` selects their
//! calls to retract. `file_buckets` adds the remaining buckets of a file to the time ranges of the
//! query. `split_corrections` precomputes corrections for split traces in files that are not merged
//! any more. `exception_query` answers for exceptions, and `log_counts` counts log records. `names`
//! lists the names of calls and counts them. `QueryFailure` is the reason for no answer.
//!
//! An answer from rollups equals the answer from rows. Rows are read where rollups have no data:
//! parts of a minute, memory, and files without valid rollups. A span in two places is retracted in
//! one of them. Owns no format: `tidings_rollup` has the sections and their builders, and
//! `tidings_index` opens them.

mod call_query;
mod counted_calls;
mod exception_query;
mod file_buckets;
mod graph_query;
mod log_counts;
mod names;
mod repeats;
mod split_corrections;
mod splits;
mod transaction_type_query;

use std::{collections::HashSet, ops::ControlFlow, path::PathBuf};

use arrow_schema::ArrowError;
use tidings_files::StorageError;

pub use call_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
};
pub use exception_query::{ExceptionBounds, ExceptionGroups, ExceptionSums, LastException};
pub use graph_query::{GraphAggregate, GraphBounds, GraphChoice, GraphDetail};
pub use log_counts::{CountedForms, CountedLogs};
pub use names::CountVisit;
pub use split_corrections::build_corrections;
pub use transaction_type_query::TransactionTypeAnswer;

/// Reason why there is no answer.
pub(crate) enum QueryFailure {
    /// Rollups have no answer, or the query was cancelled.
    Never,
    /// Too many rows would have to be read.
    TooMuch,
    /// The aggregate of this many groups exceeds the memory bound.
    TooManyGroups(usize),
    /// The rollups of this file cannot be read.
    Damaged(PathBuf),
    /// The pair corrections of these files cannot be used.
    Alone(Vec<PathBuf>),
    Failed(StorageError),
}

/// Files whose indexes a query cannot use, or cannot use completely.
#[derive(Debug, Default)]
pub(crate) struct UnusableFiles {
    /// Files with unreadable rollups.
    pub damaged: HashSet<PathBuf>,
    /// Files whose pair corrections are not used.
    pub alone: HashSet<PathBuf>,
}

impl From<StorageError> for QueryFailure {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

impl From<ArrowError> for QueryFailure {
    fn from(error: ArrowError) -> Self {
        Self::Failed(error.into())
    }
}

/// Callback that is called regularly. It breaks to cancel the query.
pub(crate) type CancellationCheck<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

#[cfg(test)]
mod hours_tests;
#[cfg(test)]
mod tests;
