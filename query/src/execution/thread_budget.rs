//! Helper threads for expensive queries.
//!
//! Owns the number of helper threads for all queries together: one less than the machine's
//! processors, so that ingest keeps one. A query takes the free threads when it begins and never
//! waits for one.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

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

    /// Takes the free threads, up to the maximum of one query.
    pub(super) fn lease_free(&self) -> ThreadLease<'_> {
        let left = |free: usize| Some(free - free.min(QUERY_THREADS_MAX));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        ThreadLease { budget: self, count: before.unwrap_or_default().min(QUERY_THREADS_MAX) }
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
    use super::{AtomicUsize, QUERY_THREADS_MAX, ThreadBudget};

    #[test]
    fn threads_are_leased_once_and_returned_on_drop() {
        let budget = ThreadBudget { free: AtomicUsize::new(QUERY_THREADS_MAX + 1) };
        let most = budget.lease_free();
        let rest = budget.lease_free();
        assert_eq!(
            (most.count(), rest.count(), budget.lease_free().count()),
            (QUERY_THREADS_MAX, 1, 0)
        );
        drop(most);
        assert_eq!(budget.lease_free().count(), QUERY_THREADS_MAX);
    }
}
