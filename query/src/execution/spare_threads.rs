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
const OF_QUESTION_MAX: usize = 7;

/// Counter of free helper threads.
#[derive(Debug, Default)]
pub(super) struct SpareThreads {
    free: AtomicUsize,
}

/// Helper threads that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct ThreadLease<'a> {
    of: &'a SpareThreads,
    count: usize,
}

impl SpareThreads {
    pub(super) fn of_machine() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { free: AtomicUsize::new(processors - 1) }
    }

    /// Takes the free threads, up to the maximum of one query.
    pub(super) fn all_free(&self) -> ThreadLease<'_> {
        let left = |free: usize| Some(free - free.min(OF_QUESTION_MAX));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        ThreadLease { of: self, count: before.unwrap_or_default().min(OF_QUESTION_MAX) }
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
        self.of.free.fetch_add(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{AtomicUsize, OF_QUESTION_MAX, SpareThreads};

    #[test]
    fn spare_threads_are_taken_once_and_come_back() {
        let spare = SpareThreads { free: AtomicUsize::new(OF_QUESTION_MAX + 1) };
        let most = spare.all_free();
        let rest = spare.all_free();
        assert_eq!((most.count(), rest.count(), spare.all_free().count()), (OF_QUESTION_MAX, 1, 0));
        drop(most);
        assert_eq!(spare.all_free().count(), OF_QUESTION_MAX);
    }
}
