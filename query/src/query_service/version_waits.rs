//! Waits for the next version of an answer.
//!
//! A wait holds no permit of the queue. The query runs again when the store has grown. It also runs
//! at intervals, because states can change with time alone. Owns the number of waits.

use std::time::{Duration, Instant};

use tidings_proto::api::{TraceSkeleton, TraceView, TransactionView};

use super::QueryService;
use crate::{QueryError, TraceRequest};

/// Interval at which the size of the store is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of polls after which the query runs again even without new data.
const POLLS_MAX: u32 = 10;

/// Request for a version of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionWait {
    /// Version that the client has already.
    pub after: Option<String>,
    /// Maximum wait; after it the current version is returned.
    pub wait: Duration,
}

/// An answer with a version.
trait Versioned {
    fn version(&self) -> &str;
}

impl Versioned for TraceView {
    fn version(&self) -> &str {
        &self.assembly.version
    }
}

impl Versioned for TraceSkeleton {
    fn version(&self) -> &str {
        &self.assembly.version
    }
}

impl Versioned for TransactionView {
    fn version(&self) -> &str {
        &self.version
    }
}

impl QueryService {
    /// Returns the result of [`Self::trace`] in another version than the known one. Waits for that
    /// version, and for a trace that is not stored yet.
    ///
    /// # Errors
    /// The errors of [`Self::trace`]; `Overloaded` when too many clients wait already, or this
    /// client waits too often.
    pub async fn next_trace(
        &self,
        request: TraceRequest,
        wanted: VersionWait,
    ) -> Result<TraceView, QueryError> {
        let ask = |service: Self| async move { service.trace(request).await };
        self.next(wanted, ask).await
    }

    /// Returns the result of [`Self::skeleton`] in another version than the known one.
    ///
    /// # Errors
    /// The errors of [`Self::next_trace`].
    pub async fn next_skeleton(
        &self,
        request: TraceRequest,
        wanted: VersionWait,
    ) -> Result<TraceSkeleton, QueryError> {
        let ask = |service: Self| async move { service.skeleton(request).await };
        self.next(wanted, ask).await
    }

    /// Returns the result of [`Self::transaction`] in another version than the known one.
    ///
    /// # Errors
    /// The errors of [`Self::next_trace`].
    pub async fn next_transaction(
        &self,
        tid: String,
        wanted: VersionWait,
    ) -> Result<TransactionView, QueryError> {
        let ask = |service: Self| {
            let tid = tid.clone();
            async move { service.transaction(tid).await }
        };
        self.next(wanted, ask).await
    }

    async fn next<T: Versioned, A: Future<Output = Result<T, QueryError>>>(
        &self,
        wanted: VersionWait,
        ask: impl Fn(Self) -> A,
    ) -> Result<T, QueryError> {
        let is_wanted = |answer: &Result<T, QueryError>| match answer {
            Ok(answer) => wanted.after.as_deref() != Some(answer.version()),
            Err(QueryError::NotFound { .. }) => false,
            Err(_) => true,
        };
        let mut known_counts = self.row_counts();
        let answer = ask(self.clone()).await;
        if is_wanted(&answer) || wanted.wait.is_zero() {
            return answer;
        }
        let waiting = self.limits().versions_awaited_max;
        let _permit = self
            .version_waits
            .try_acquire(self.client())
            .ok_or(QueryError::Overloaded { waiting })?;
        // The wait holds neither the known answer nor its permits.
        drop(answer);
        let clock = self.execution.clock();
        let until = clock.instant() + wanted.wait;
        loop {
            if let Some(permit_slot) = &self.permit_slot {
                permit_slot.release();
            }
            let is_last = self.wait_for_growth(&mut known_counts, until).await;
            let answer = ask(self.clone()).await;
            if is_last || is_wanted(&answer) {
                return answer;
            }
        }
    }

    /// Waits until the store has grown or enough polls have passed. Returns true when the query
    /// runs for the last time.
    async fn wait_for_growth(&self, known_counts: &mut (u64, u64), until: Instant) -> bool {
        let clock = self.execution.clock();
        let mut polls = 0;
        loop {
            let left = until.saturating_duration_since(clock.instant());
            clock.sleep(POLL_INTERVAL.min(left)).await;
            polls += 1;
            let current_counts = self.row_counts();
            let is_last = clock.instant() >= until || *self.shutdown.borrow();
            if is_last || current_counts != *known_counts || polls >= POLLS_MAX {
                *known_counts = current_counts;
                return is_last;
            }
        }
    }

    /// Returns the numbers of stored spans and log records, which change with the stored content.
    pub(super) fn row_counts(&self) -> (u64, u64) {
        let counts = self.store.counts();
        (counts.spans, counts.log_records)
    }
}
