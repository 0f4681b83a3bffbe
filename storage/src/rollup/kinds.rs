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
//! them while a file is written, and `kind_section` is the index section. [`KindBounds`] and
//! [`SampleSpec`] are what a query asks for, `kind_selection` selects its kinds, and `kind_calls`
//! is the answer. `crate::rollup_query` answers queries.

pub(crate) mod build;
pub(crate) mod entry_spans;
mod kind_calls;
pub(crate) mod kind_section;
pub(crate) mod kind_selection;

use std::{cmp::Ordering, ops::Range};

use tidings_proto::{DurationNanos, UnixNanos};

use super::{HOUR, latency::bucket};

pub use entry_spans::{KindKey, Transactions, transaction_position};
pub use kind_calls::{KindCalls, ListedKind, OtherKinds};

pub(super) use build::COLUMNS;
pub(crate) use build::KindBuilder;
pub(crate) use kind_section::KindSection;

/// Parameters of a query for root operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindBounds {
    /// Bounds of time ranges, ascending. Transactions are counted in each range between two bounds.
    pub between: Vec<UnixNanos>,
    /// Service of the entry spans. `None` selects all.
    pub service: Option<String>,
    /// Operation of the entry spans. `None` selects all.
    pub operation: Option<String>,
    /// Maximum number of rows to read.
    pub rows_max: u64,
    /// Maximum number of traces to assemble from rows.
    pub traces_max: usize,
    /// Maximum memory of the aggregate in bytes. Beyond it, the most frequent kinds are listed, and
    /// all others are only counted.
    pub bytes_max: usize,
}

impl KindBounds {
    /// Returns the range of the spans that determine the transactions of this range. A trace with a
    /// silence of an hour is two transactions.
    #[must_use]
    pub fn visible(range: Range<UnixNanos>) -> Range<UnixNanos> {
        let (start, end) = (range.start.0.saturating_sub(HOUR), range.end.0.saturating_add(HOUR));
        UnixNanos(start)..UnixNanos(end)
    }

    /// Returns true if the query includes this kind.
    pub(crate) fn includes(&self, key: KindKey<'_>) -> bool {
        let is_it = |wanted: &Option<String>, name| wanted.as_ref().is_none_or(|of| of == name);
        is_it(&self.service, key.service) && is_it(&self.operation, key.operation)
    }

    /// Returns the bounds in nanoseconds.
    pub(crate) fn times(&self) -> Vec<u64> {
        self.between.iter().map(|bound| bound.0).collect()
    }
}

/// Specification of the sample of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSpec {
    /// Service of the entry span.
    pub service: String,
    /// Operation of the entry span.
    pub operation: String,
    /// Minimum duration.
    pub least: DurationNanos,
    /// Maximum number of traces, the first by [`transaction_position`].
    pub traces_max: usize,
}

impl SampleSpec {
    pub(crate) fn matches(&self, key: KindKey<'_>) -> bool {
        self.key() == key
    }

    /// Returns the kind that the sample is of.
    pub(crate) fn key(&self) -> KindKey<'_> {
        KindKey { service: &self.service, operation: &self.operation }
    }

    /// Returns whether all, some or no durations of a histogram bucket reach the minimum.
    pub(crate) fn match_bucket(&self, of: u16) -> BucketMatch {
        let DurationNanos(least) = self.least;
        let own = bucket(least);
        let begins_with_it = least == 0 || bucket(least - 1) < own;
        match of.cmp(&own) {
            Ordering::Less => BucketMatch::None,
            Ordering::Equal if !begins_with_it => BucketMatch::Some,
            _ => BucketMatch::All,
        }
    }
}

/// Durations of a histogram bucket that reach a minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketMatch {
    None,
    Some,
    All,
}
