//! Rollups: calls and log records aggregated by time bucket, stored in the index of each data file.
//!
//! A rollup counts a file's spans by service, operation, kind and status, in buckets of one, five
//! and thirty minutes. Each bucket has counts, errors, a latency histogram and exemplars. `build`
//! aggregates them while the file is written, with `file_aggregate`; `number_cache` caches the
//! latest group numbers. `rollup_encoding` encodes the section and `rollup_bucket` one group of a
//! bucket. `latency` owns the histogram's buckets, and `calls` the state of a group.
//!
//! `graph` does the same for calls between services, and `transaction_types` for root operations.
//! Both need whole traces. `exceptions` lists exceptions, and `log_counts` counts log records.
//! `builders` makes all rollups of spans in one pass. `split_corrections` is the section of
//! corrections for split traces. `retraction` retracts calls, and `query_totals` adds them up by
//! time range.
//!
//! Queries keep what they found out about files in `hours`, `pair_cache` and `graph::peer_keys`.
//! Rollups are derived data: `tidings_index` stores and rebuilds them, and
//! `tidings_snapshot::rollup_query` answers from them. `index_bytes` reads numbers of an index's
//! sections. This crate reads no file.
//!
//! The feature `samples` lets tests lower limits. Only tests have it.

pub mod build;
mod builders;
mod calls;
mod deduplication;
pub mod exceptions;
pub mod file_aggregate;
pub mod graph;
pub mod hours;
pub mod index_bytes;
pub mod latency;
pub mod log_counts;
pub mod number_cache;
pub mod pair_cache;
pub mod query_totals;
pub mod retraction;
pub mod rollup_bucket;
pub mod rollup_encoding;
pub mod split_corrections;
pub mod transaction_types;

use tidings_files::table_file::HOUR_NANOS;

pub use builders::RollupBuilders;
pub use calls::{Call, CallCounts, CallKey, Calls, RawKey};
pub use deduplication::DeduplicationSet;
pub use exceptions::{
    ExceptionAttributes, ExceptionBuilder, ExceptionKey, ExceptionListing, ExceptionSection,
};
pub(crate) use graph::GraphBuilder;
pub use graph::{
    GraphCall, GraphKey, GraphPart, GraphSection, GraphSpan, Peer, PeerKeys, graph_calls,
    split_at_gaps,
};
pub use hours::Hours;
pub use latency::{LATENCY_BOUNDS, Latency};
pub use log_counts::{
    CountPages, CutServices, FORM_WILDCARD, FormBounds, FormPage, FormRecords, FormSummary,
    FormTable, FormWriter, KeptForms, LogCountBucket, LogCountBuilder, LogCountSection,
    LogFormSection,
};
pub use pair_cache::{SharedLogMinutes, SharedRepeats, SplitTraces};
pub use rollup_bucket::{Durations, RollupBucket};
pub use rollup_encoding::Directory;
pub use split_corrections::{CorrectionBytes, CorrectionSection};
pub(crate) use transaction_types::TransactionTypeBuilder;
pub use transaction_types::{
    ListedTransactionType, OtherTransactionTypes, SampleSpec, TransactionTypeBounds,
    TransactionTypeCalls, TransactionTypeKey, TransactionTypeSection, Transactions,
    transaction_position,
};

const SECOND: u64 = 1_000_000_000;
/// Length of an hour in nanoseconds.
pub const HOUR: u64 = HOUR_NANOS;
/// Bucket lengths of each level, shortest first. Each divides the next, and the last divides an
/// hour.
pub const LEVELS: [u64; 3] = [60 * SECOND, 300 * SECOND, 1_800 * SECOND];
/// Spans of a trace that begin after this long a silence count as another trace. Without this rule,
/// a query would have to search its whole time range for the parts of each trace.
const SILENCE: u64 = 3_600 * SECOND;

/// Returns the limit. A test can lower the limits of its thread.
#[cfg(not(any(test, feature = "samples")))]
#[must_use]
pub const fn limit(max: usize) -> usize {
    max
}

/// Returns the part of the limit that holds in this thread.
#[cfg(any(test, feature = "samples"))]
#[must_use]
pub fn limit(max: usize) -> usize {
    max / LIMITS_PART.get()
}

#[cfg(any(test, feature = "samples"))]
thread_local! {
    /// Part of each limit that holds in this thread: one in this many.
    pub static LIMITS_PART: std::cell::Cell<usize> = const { std::cell::Cell::new(1) };
}
