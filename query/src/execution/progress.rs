//! Progress of a query, shown to the client while it waits.
//!
//! The thread of the query writes it, and the task that streams to the client reads it. Does not
//! decide when an event is sent.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tidings_proto::{UnixNanos, api::TraceSummary};
use tidings_storage::ScanWatch;

/// Progress of one query.
#[derive(Debug)]
pub struct Progress {
    /// Counters of the scan.
    pub scan: Arc<ScanWatch>,
    /// True when a client listens for progress.
    pub(crate) has_listener: bool,
    found: AtomicU64,
    /// Time after which everything was read.
    reached: AtomicU64,
    /// Next traces of the page that have not been sent yet.
    traces: Mutex<Vec<TraceSummary>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            scan: Arc::default(),
            has_listener: false,
            found: AtomicU64::new(0),
            reached: AtomicU64::new(u64::MAX),
            traces: Mutex::default(),
        }
    }
}

impl Progress {
    /// Progress of a query whose client listens.
    #[must_use]
    pub fn with_listener() -> Self {
        Self { has_listener: true, ..Self::default() }
    }

    /// Number of matches found so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Returns the time from which on everything was read; `None` before anything was read.
    #[must_use]
    pub fn since(&self) -> Option<UnixNanos> {
        let reached = self.reached.load(Ordering::Relaxed);
        (reached < u64::MAX).then_some(UnixNanos(reached))
    }

    /// Takes the traces that were reported and not yet sent.
    #[must_use]
    pub fn take_traces(&self) -> Vec<TraceSummary> {
        std::mem::take(&mut *self.traces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_found(&self, matches: usize) {
        self.found.store(matches as u64, Ordering::Relaxed);
    }

    pub(super) fn set_reached(&self, reached: UnixNanos) {
        self.reached.fetch_min(reached.0, Ordering::Relaxed);
    }

    pub(super) fn add_traces(&self, traces: Vec<TraceSummary>) {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).extend(traces);
    }
}
