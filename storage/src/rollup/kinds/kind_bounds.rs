//! Parameters of a query for root operations.

use std::ops::Range;

use tidings_proto::UnixNanos;

use super::KindKey;
use crate::rollup::HOUR;

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
    pub(crate) fn asks(&self, key: KindKey<'_>) -> bool {
        let is_it = |wanted: &Option<String>, name| wanted.as_ref().is_none_or(|of| of == name);
        is_it(&self.service, key.service) && is_it(&self.operation, key.operation)
    }

    /// Returns the bounds in nanoseconds.
    pub(crate) fn times(&self) -> Vec<u64> {
        self.between.iter().map(|bound| bound.0).collect()
    }
}
