//! Rollups: calls and log records aggregated by time bucket, stored in the index of each data file.
//!
//! A rollup counts a file's spans by service, operation, kind and status, in buckets of one, five
//! and thirty minutes. Each bucket has counts, errors, a latency histogram and exemplars. `build`
//! aggregates them while the file is written, with `file_aggregate`; `number_cache` caches the
//! latest group numbers. `rollup_encoding` encodes the section and `rollup_bucket` one group of a
//! bucket. `latency` owns the histogram's buckets, and `calls` the state of a group.
//!
//! `graph` does the same for calls between services, and `kinds` for root operations. Both need
//! whole traces. `exceptions` lists exceptions, and `log_counts` counts log records. `builders`
//! makes all rollups of spans in one pass. `split_corrections` is the section of corrections for
//! split traces. `retraction` retracts calls, and `query_totals` adds them up by time range.
//!
//! Queries keep what they found out about files in `hours`, `pair_cache` and `graph::peer_keys`.
//! Rollups are derived data: `crate::index` stores and rebuilds them, and `crate::rollup_query`
//! answers from them. This module reads no file.

pub(crate) mod build;
mod builders;
mod calls;
mod deduplication;
pub(crate) mod exceptions;
pub(crate) mod file_aggregate;
pub(crate) mod graph;
pub(crate) mod hours;
pub(crate) mod kinds;
pub(crate) mod latency;
pub(crate) mod log_counts;
pub(crate) mod number_cache;
pub(crate) mod pair_cache;
pub(crate) mod query_totals;
pub(crate) mod retraction;
pub(crate) mod rollup_bucket;
pub(crate) mod rollup_encoding;
pub(crate) mod split_corrections;

pub use calls::{Call, CallCounts, CallKey, Calls};
pub use deduplication::DeduplicationSet;
pub use exceptions::{ExceptionAttributes, ExceptionKey};
pub use graph::{GraphCall, GraphKey, GraphPart, GraphSpan, Peer, graph_calls, split_at_gaps};
pub use kinds::{
    KindBounds, KindCalls, KindKey, ListedKind, OtherKinds, SampleSpec, Transactions,
    transaction_position,
};
pub use latency::{LATENCY_BOUNDS, Latency};
pub use log_counts::{
    CutServices, FORM_WILDCARD, FormBounds, FormRecords, FormSummary, FormTable, FormWriter,
    KeptForms, LogCountBucket,
};
pub use rollup_bucket::{Durations, RollupBucket};

pub(crate) use builders::RollupBuilders;
pub(crate) use exceptions::{ExceptionBuilder, ExceptionListing, ExceptionSection};
pub(crate) use graph::{GraphBuilder, GraphSection, PeerKeys};
pub(crate) use hours::Hours;
pub(crate) use kinds::{KindBuilder, KindSection};
pub(crate) use log_counts::{
    CountPages, FormPage, LogCountBuilder, LogCountSection, LogFormSection,
};
pub(crate) use pair_cache::{SharedRepeats, SplitTraces};
pub(crate) use rollup_encoding::Directory;
pub(crate) use split_corrections::{CorrectionBytes, CorrectionSection};

use crate::table_file::HOUR_NANOS;

const SECOND: u64 = 1_000_000_000;
/// Length of an hour in nanoseconds.
pub(crate) const HOUR: u64 = HOUR_NANOS;
/// Bucket lengths of each level, shortest first. Each divides the next, and the last divides an
/// hour.
pub(crate) const LEVELS: [u64; 3] = [60 * SECOND, 300 * SECOND, 1_800 * SECOND];
/// Spans of a trace that begin after this long a silence count as another trace. Without this rule,
/// a query would have to search its whole time range for the parts of each trace.
const SILENCE: u64 = 3_600 * SECOND;

/// Returns the limit. A test can lower the limits of its thread.
#[cfg(not(test))]
pub(crate) const fn limit(max: usize) -> usize {
    max
}

/// Returns the part of the limit that holds in this thread.
#[cfg(test)]
pub(crate) fn limit(max: usize) -> usize {
    max / LIMITS_PART.get()
}

#[cfg(test)]
thread_local! {
    /// Part of each limit that holds in this thread: one in this many.
    pub(crate) static LIMITS_PART: std::cell::Cell<usize> = const { std::cell::Cell::new(1) };
}
