//! Waits for the next version of an answer.
//!
//! A wait holds no permit of the queue. The query runs again when the store has grown. It also runs
//! at intervals, because states can change with time alone. Owns the number of waits.

use std::time::{Duration, Instant};

use tidings_proto::api::{TraceSkeleton, TraceView, TransactionView};

use super::QueryService;
use crate::{QueryError, TraceQuestion};

/// Interval at which the size of the store is checked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Number of polls after which the query runs again even without new data.
const LOOKS_MAX: u32 = 10;

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
        question: TraceQuestion,
        wanted: VersionWait,
    ) -> Result<TraceView, QueryError> {
        let ask = |service: Self| async move { service.trace(question).await };
        self.next(wanted, ask).await
    }

    /// Returns the result of [`Self::skeleton`] in another version than the known one.
    ///
    /// # Errors
    /// The errors of [`Self::next_trace`].
    pub async fn next_skeleton(
        &self,
        question: TraceQuestion,
        wanted: VersionWait,
    ) -> Result<TraceSkeleton, QueryError> {
        let ask = |service: Self| async move { service.skeleton(question).await };
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
        let mut seen = self.stored();
        let answer = ask(self.clone()).await;
        if is_wanted(&answer) || wanted.wait.is_zero() {
            return answer;
        }
        let waiting = self.limits().versions_awaited_max;
        let _place = self.awaiting.take(self.client()).ok_or(QueryError::Overloaded { waiting })?;
        // The wait holds neither the known answer nor its permits.
        drop(answer);
        let clock = self.execution.clock();
        let until = clock.instant() + wanted.wait;
        loop {
            if let Some(kept) = &self.kept {
                kept.end();
            }
            let is_last = self.grown(&mut seen, until).await;
            let answer = ask(self.clone()).await;
            if is_last || is_wanted(&answer) {
                return answer;
            }
        }
    }

    /// Waits until the query should run again. Returns true when it is the last time.
    async fn grown(&self, seen: &mut (u64, u64), until: Instant) -> bool {
        let clock = self.execution.clock();
        let mut looks = 0;
        loop {
            let left = until.saturating_duration_since(clock.instant());
            clock.sleep(LOOK_EVERY.min(left)).await;
            looks += 1;
            let now = self.stored();
            let is_last = clock.instant() >= until || *self.ended.borrow();
            if is_last || now != *seen || looks >= LOOKS_MAX {
                *seen = now;
                return is_last;
            }
        }
    }

    /// Returns the numbers of stored spans and log records. Different numbers mean different stored
    /// content.
    fn stored(&self) -> (u64, u64) {
        let counts = self.store.counts();
        (counts.spans, counts.log_records)
    }
}
