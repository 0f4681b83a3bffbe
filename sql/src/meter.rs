//! Usage of a query, with the check of deadline and cancellation.
//!
//! Each query has one, shared by all of its work. Every step checks it, because an operator that
//! never yields cannot be stopped from outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tidings_storage::{Clock, ScanWatch};

use crate::{SqlError, SqlLimits};

/// Usage and bounds of one query.
#[derive(Debug)]
pub struct Meter {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deadline: Instant,
    /// The bounds on the cost of the query.
    pub limits: SqlLimits,
    /// Cancellation flag; scans of the snapshot check it too.
    pub(crate) stop: Arc<AtomicBool>,
    /// Counters of the snapshot's scans.
    pub(crate) watch: Arc<ScanWatch>,
    /// Bytes that functions allocated since the last batch was handed on.
    made: AtomicU64,
    /// True when some rows could not be read.
    partial: AtomicBool,
    /// True when a repeated span may have been counted twice.
    repeats_counted: AtomicBool,
}

impl Meter {
    /// Starts to measure a query whose deadline begins now.
    pub fn new(clock: Arc<dyn Clock>, limits: SqlLimits) -> Self {
        let deadline = clock.instant() + limits.deadline;
        Self {
            clock,
            deadline,
            limits,
            stop: Arc::default(),
            watch: Arc::default(),
            made: AtomicU64::new(0),
            partial: AtomicBool::new(false),
            repeats_counted: AtomicBool::new(false),
        }
    }

    /// Fails when the deadline has passed or the query is cancelled.
    ///
    /// # Errors
    /// `Deadline` or `Cancelled`.
    pub fn check(&self) -> Result<(), SqlError> {
        if self.clock.instant() >= self.deadline {
            // Scans that find no match do not call this, but they check the flag.
            self.stop.store(true, Ordering::Relaxed);
            return Err(SqlError::Deadline { limit: self.limits.deadline });
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(SqlError::Cancelled);
        }
        Ok(())
    }

    /// Charges bytes that a function allocates; fails beyond
    /// [`SqlLimits::made_bytes_max`].
    ///
    /// # Errors
    /// `Memory` beyond that, and those of [`Self::check`].
    pub fn make(&self, bytes: u64) -> Result<(), SqlError> {
        self.check()?;
        let made = self.made.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let bytes_max = self.limits.made_bytes_max;
        if made <= bytes_max {
            return Ok(());
        }
        Err(SqlError::Memory {
            reason: format!("its functions make more than {bytes_max} bytes of some rows"),
        })
    }

    /// Resets the count of allocated bytes: the batch now belongs to the next operator.
    pub fn hand_on(&self) {
        self.made.store(0, Ordering::Relaxed);
    }

    /// Notes that some rows could not be read.
    pub(crate) fn mark_partial(&self) {
        self.partial.store(true, Ordering::Relaxed);
    }

    /// Reports whether every requested row was read.
    pub(crate) fn is_complete(&self) -> bool {
        !self.partial.load(Ordering::Relaxed)
    }

    /// Notes that the deduplication set is full, so that repeated rows count again.
    pub(crate) fn count_repeats(&self) {
        self.repeats_counted.store(true, Ordering::Relaxed);
    }

    /// Reports whether a repeated row may occur twice.
    pub(crate) fn counts_repeats(&self) -> bool {
        self.repeats_counted.load(Ordering::Relaxed)
    }
}

/// Cancels the query when dropped: nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(pub(crate) Arc<Meter>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
