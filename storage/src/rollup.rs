//! Rollups: calls and log records aggregated by time bucket, stored in the index of each data file.
//!
//! A rollup counts a file's spans by service, operation, kind and status, in buckets of one, five
//! and thirty minutes. Each bucket has counts, errors, a latency histogram and exemplars. `build`
//! aggregates them while the file is written, with `file_aggregate`; `number_cache` caches the
//! latest group numbers. `cells` encodes the section and `cell` one group of a bucket. `call_query`
//! answers queries. `repeats` finds spans that are in two files, so that each counts once. `hours`
//! caches the rollups of all files of an hour as one aggregate. `latency` owns the histogram's
//! buckets, and `calls` the state of a group.
//!
//! `graph` does the same for calls between services, and `kinds` for root operations. Both need
//! whole traces. `graph` keeps the counts of levels that are too large. `splits` finds the traces
//! that are in two files. `retraction` retracts calls, and `counted_calls` selects them.
//! `file_buckets` adds the remaining buckets of a file to the time ranges of `query_totals`.
//! `builders` makes all rollups in one pass, including those of `exceptions`. `split_corrections`
//! precomputes corrections for split traces in files that are not merged any more. `names` lists
//! the names of calls and counts them. `log_counts` counts log records.
//!
//! An answer from rollups equals the answer from rows. Rows are read where rollups have no data:
//! parts of a minute, memory, and files without valid rollups. A span in two places is retracted in
//! one of them. Rollups are derived data: `crate::index` rebuilds them.

mod build;
mod builders;
mod call_query;
mod calls;
mod cell;
mod cells;
mod counted_calls;
mod deduplication;
mod exceptions;
mod file_aggregate;
mod file_buckets;
mod graph;
mod hours;
mod kinds;
mod latency;
mod log_counts;
mod names;
mod number_cache;
mod query_failure;
mod query_totals;
mod repeats;
mod retraction;
mod split_corrections;
mod splits;

pub use call_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
};
pub use calls::{Call, CallCounts, CallKey, Calls};
pub use cell::{Cell, Durations};
pub use deduplication::DeduplicationSet;
pub use exceptions::{
    ExceptionAttributes, ExceptionBounds, ExceptionGroups, ExceptionKey, ExceptionSums,
    LastException,
};
pub use graph::{
    GraphAggregate, GraphBounds, GraphCall, GraphChoice, GraphDetail, GraphKey, GraphPart,
    GraphSpan, Peer, graph_calls, split_at_gaps,
};
pub use kinds::{
    KindAnswer, KindBounds, KindCalls, KindKey, ListedKind, OtherKinds, SampleSpec, Transactions,
    transaction_place,
};
pub use latency::{LATENCY_BOUNDS, Latency};
pub use log_counts::{
    CountedForms, CountedLogs, CutServices, FORM_WILDCARD, FormBounds, FormRecords, FormSummary,
    FormTable, FormWriter, KeptForms, LogCountCell,
};
pub use names::CountVisit;

pub(crate) use builders::RollupBuilders;
pub(crate) use cells::Directory;
pub(crate) use exceptions::{ExceptionBuilder, ExceptionListing, ExceptionSection};
pub(crate) use graph::{GraphBuilder, GraphSection, PeerKeys};
pub(crate) use hours::Hours;
pub(crate) use kinds::{KindBuilder, KindSection};
pub(crate) use log_counts::{
    CountPages, FormPage, LogCountBuilder, LogCountSection, LogFormSection,
};
pub(crate) use repeats::SharedRepeats;
pub(crate) use split_corrections::{CorrectionBytes, CorrectionSection, build_corrections};
pub(crate) use splits::SplitTraces;

const SECOND: u64 = 1_000_000_000;
/// Bucket lengths of each level, shortest first. Each divides the next, and the last divides an
/// hour.
const LEVELS: [u64; 3] = [60 * SECOND, 300 * SECOND, 1_800 * SECOND];
/// Spans of a trace that begin after this long a silence count as another trace. Without this rule,
/// a query would have to search its whole time range for the parts of each trace.
const SILENCE: u64 = 3_600 * SECOND;

#[cfg(test)]
mod tests;
