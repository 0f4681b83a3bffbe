//! Rollups of root operations (*transaction types*), and a summary of each trace, in the index of
//! each data file of spans.
//!
//! A transaction is a trace. Its transaction type is its root operation: the service and operation
//! of its entry span. A file's rollups count the entry spans of its traces as if the file had the
//! whole traces, as for calls between services ([`super::graph`]). Split traces are assembled from
//! their rows. A query retracts the file's counts for them and adds the whole trace. A summary has
//! a trace's transaction type, the minute of its start and its histogram bucket. Summaries are
//! ordered like the index's runs of traces, by a hash of the trace id. A sample by that hash, and
//! the traces of some minutes, are therefore found without reading rows.
//!
//! `entry_spans` extracts the transactions of a trace, for rollups and for rows. `build` aggregates
//! them while a file is written, and `transaction_type_section` is the index section.
//! [`TransactionTypeBounds`] and [`SampleSpec`] are what a query asks for,
//! `transaction_type_selection` selects its transaction types, and `transaction_type_calls` is the
//! answer. `tidings_snapshot::rollup_query` answers queries.

pub mod build;
pub mod entry_spans;
mod transaction_type_calls;
pub mod transaction_type_section;
pub mod transaction_type_selection;

use std::{cmp::Ordering, ops::Range};

use tidings_proto::{DurationNanos, UnixNanos};

use super::{HOUR, latency::bucket};

pub(super) use build::COLUMNS;
pub(crate) use build::TransactionTypeBuilder;
pub use entry_spans::{TransactionTypeKey, Transactions, transaction_position};
pub use transaction_type_calls::{
    ListedTransactionType, OtherTransactionTypes, TransactionTypeCalls,
};
pub use transaction_type_section::TransactionTypeSection;

/// Parameters of a query for root operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionTypeBounds {
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
    /// Maximum memory of the aggregate in bytes. Beyond it, the most frequent transaction types are
    /// listed, and all others are only counted.
    pub bytes_max: usize,
}

impl TransactionTypeBounds {
    /// Returns the range of the spans that determine the transactions of this range. A trace with a
    /// silence of an hour is two transactions.
    #[must_use]
    pub fn visible(range: Range<UnixNanos>) -> Range<UnixNanos> {
        let (start, end) = (range.start.0.saturating_sub(HOUR), range.end.0.saturating_add(HOUR));
        UnixNanos(start)..UnixNanos(end)
    }

    /// Returns true if the query includes this transaction type.
    pub fn includes(&self, key: TransactionTypeKey<'_>) -> bool {
        let is_it = |wanted: &Option<String>, name| wanted.as_ref().is_none_or(|of| of == name);
        is_it(&self.service, key.service) && is_it(&self.operation, key.operation)
    }

    /// Returns the bounds in nanoseconds.
    pub fn times(&self) -> Vec<u64> {
        self.between.iter().map(|bound| bound.0).collect()
    }
}

/// Specification of the sample of a transaction type.
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
    /// Returns true if the sample is of this transaction type.
    pub fn matches(&self, key: TransactionTypeKey<'_>) -> bool {
        self.key() == key
    }

    /// Returns the transaction type that the sample is of.
    pub fn key(&self) -> TransactionTypeKey<'_> {
        TransactionTypeKey { service: &self.service, operation: &self.operation }
    }

    /// Returns whether all, some or no durations of a histogram bucket reach the minimum.
    pub fn match_bucket(&self, of: u16) -> BucketMatch {
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
pub enum BucketMatch {
    /// No duration.
    None,
    /// Some durations, but perhaps not all.
    Some,
    /// All durations.
    All,
}
