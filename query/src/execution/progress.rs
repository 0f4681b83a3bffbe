//! How far a question is, for whoever waits for its answer.
//!
//! Written by the thread that answers, read by the one that tells the client. Owns no rule about
//! when there is something to tell.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tidings_proto::{UnixNanos, api::TraceSummary};
use tidings_storage::ScanWatch;

/// How far a question is.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What was read.
    pub(crate) scan: Arc<ScanWatch>,
    /// Whether anybody listens.
    pub(crate) is_heard: bool,
    found: AtomicU64,
    /// Everything after this time was looked at.
    reached: AtomicU64,
    /// The next traces of the page, as far as nobody has taken them.
    traces: Mutex<Vec<TraceSummary>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            scan: Arc::default(),
            is_heard: false,
            found: AtomicU64::new(0),
            reached: AtomicU64::new(u64::MAX),
            traces: Mutex::default(),
        }
    }
}

impl Progress {
    /// Of a question whose asker listens.
    pub(crate) fn heard() -> Self {
        Self { is_heard: true, ..Self::default() }
    }

    /// What was found so far that matches.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// From when on everything was looked at; `None` before anything was.
    pub(crate) fn since(&self) -> Option<UnixNanos> {
        let reached = self.reached.load(Ordering::Relaxed);
        (reached < u64::MAX).then_some(UnixNanos(reached))
    }

    /// The traces that were told and not taken yet.
    pub(crate) fn take_traces(&self) -> Vec<TraceSummary> {
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
