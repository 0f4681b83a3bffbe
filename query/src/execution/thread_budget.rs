//! Helper threads for expensive queries.
//!
//! Owns the number of helper threads for all queries together: one less than the machine's
//! processors, so that ingest keeps one. A query takes the free threads when it begins and never
//! waits for one. Two reads of a query that do not need each other take one ([`Reader::both`]).

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::Reader;
use crate::QueryError;

/// Maximum number of helper threads of a query, because their partial aggregates must be merged.
const QUERY_THREADS_MAX: usize = 7;

/// Counter of free helper threads.
#[derive(Debug, Default)]
pub(super) struct ThreadBudget {
    free: AtomicUsize,
}

/// Helper threads that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct ThreadLease<'a> {
    budget: &'a ThreadBudget,
    count: usize,
}

impl ThreadBudget {
    pub(super) fn from_machine() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { free: AtomicUsize::new(processors - 1) }
    }

    /// Creates a budget with this number of threads.
    #[cfg(test)]
    pub(super) fn with_threads(free: usize) -> Self {
        Self { free: AtomicUsize::new(free) }
    }

    /// Takes the free threads, up to the maximum of one query.
    pub(super) fn lease_free(&self) -> ThreadLease<'_> {
        self.lease(QUERY_THREADS_MAX)
    }

    /// Takes the free threads, at most this many.
    fn lease(&self, threads_max: usize) -> ThreadLease<'_> {
        let left = |free: usize| Some(free - free.min(threads_max));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        ThreadLease { budget: self, count: before.unwrap_or_default().min(threads_max) }
    }
}

impl Reader {
    /// Performs two reads that do not need each other: at the same time when a helper thread is
    /// free, and otherwise in this order. `other` runs on the helper thread. When both fail, the
    /// error is that of `one`. When `one` fails, `other` may still be read to its end.
    pub(crate) fn both<A, B: Send>(
        &self,
        one: impl FnOnce() -> Result<A, QueryError>,
        other: impl FnOnce() -> Result<B, QueryError> + Send,
    ) -> Result<(A, B), QueryError> {
        let lease = self.thread_budget.lease(1);
        if lease.count() == 0 {
            return Ok((one()?, other()?));
        }
        let span = tracing::Span::current();
        let (one, other) = thread::scope(|scope| {
            let helper = scope.spawn(move || {
                // The thread is free again when its read ends.
                let _lease = lease;
                span.in_scope(other)
            });
            let one = one();
            (one, helper.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        Ok((one?, other?))
    }
}

impl ThreadLease<'_> {
    /// Number of threads taken.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for ThreadLease<'_> {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{QUERY_THREADS_MAX, ThreadBudget};

    #[test]
    fn threads_are_leased_once_and_returned_on_drop() {
        let budget = ThreadBudget::with_threads(QUERY_THREADS_MAX + 1);
        let most = budget.lease_free();
        let rest = budget.lease_free();
        assert_eq!(
            (most.count(), rest.count(), budget.lease_free().count()),
            (QUERY_THREADS_MAX, 1, 0)
        );
        drop(most);
        assert_eq!(budget.lease_free().count(), QUERY_THREADS_MAX);
        assert_eq!((budget.lease(1).count(), rest.count()), (1, 1));
    }
}
