//! Threads that help with a question which one alone would take long for.
//!
//! Owns how many there may be, for all questions together: one less than the machine has
//! processors, so that what is received is stored meanwhile. A question takes those that are free
//! when it begins and waits for none.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// A question has no more of them: what they have added up has to be joined.
const OF_QUESTION_MAX: usize = 7;

/// How many are free.
#[derive(Debug, Default)]
pub(super) struct SpareThreads {
    free: AtomicUsize,
}

/// Some that are taken as long as this lives.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    of: &'a SpareThreads,
    count: usize,
}

impl SpareThreads {
    pub(super) fn of_machine() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { free: AtomicUsize::new(processors - 1) }
    }

    /// Takes those that are free, as many as one question may have.
    pub(super) fn all_free(&self) -> Taken<'_> {
        let left = |free: usize| Some(free - free.min(OF_QUESTION_MAX));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        Taken { of: self, count: before.unwrap_or_default().min(OF_QUESTION_MAX) }
    }
}

impl Taken<'_> {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Taken<'_> {
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
