//! A consistent view of the memory table and the data files.

use std::ops::ControlFlow;

use crate::{LogFilter, LogRows, Scan, ScanStats, SpanFilter, SpanRows, StorageError};

/// A consistent view of the store. Its methods block: call them from a blocking thread.
#[derive(Debug, Clone)]
pub struct Snapshot {}

#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
impl Snapshot {
    /// Gives `visit` the spans that match, in portions, newest source first (rows within a portion
    /// are in no particular order), until it breaks or the row budget is spent.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: &mut dyn FnMut(&SpanRows) -> ControlFlow<()>,
    ) -> Result<ScanStats, StorageError> {
        unimplemented!()
    }

    /// Gives `visit` the log records that match, as [`Self::scan_spans`] does.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        visit: &mut dyn FnMut(&LogRows) -> ControlFlow<()>,
    ) -> Result<ScanStats, StorageError> {
        unimplemented!()
    }
}
