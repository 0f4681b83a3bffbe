//! What a scan has yet to look at, the newest first.
//!
//! Owns the order: by the latest row that the filter's time leaves room for, file by file, and row
//! group by row group of those files that are open. A file in which old rows and new ones are
//! together would otherwise have a search for the newest read its old rows before everything in
//! between.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use tidings_proto::UnixNanos;

use crate::{
    data_file::{DataFile, Groups},
    filter::TimeRange,
    memory::Chunk,
};

pub(super) enum Source<'a> {
    Chunk(&'a Chunk),
    /// One that was not opened yet.
    File(&'a Arc<DataFile>),
    /// What is left of one that was.
    Groups(&'a Arc<DataFile>, Box<Groups<'a>>),
}

/// A source that is to be looked at.
pub(super) struct Due<'a> {
    /// Its latest row that may match is not later.
    pub(super) latest: UnixNanos,
    /// Between which times its rows are.
    pub(super) times: (UnixNanos, UnixNanos),
    /// Its number: of what is equally late, what came first.
    pub(super) number: usize,
    pub(super) source: Source<'a>,
}

impl Due<'_> {
    /// Of what may match equally late, what has fewer rows that are too late.
    fn rank(&self) -> (UnixNanos, Reverse<UnixNanos>, Reverse<usize>) {
        (self.latest, Reverse(self.times.1), Reverse(self.number))
    }
}

impl Ord for Due<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Due<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due<'_> {}

/// See the module's description.
pub(super) struct Sources<'a> {
    due: BinaryHeap<Due<'a>>,
    asked: TimeRange,
}

impl<'a> Sources<'a> {
    /// Those of these that have rows of this time.
    pub(super) fn new(
        chunks: &'a [Arc<Chunk>],
        files: &'a [Arc<DataFile>],
        asked: TimeRange,
    ) -> Self {
        let chunks = chunks.iter().map(|chunk| (chunk.times(), Source::Chunk(chunk)));
        let files = files.iter().map(|file| (file.times(), Source::File(file)));
        let mut sources = Self { due: BinaryHeap::new(), asked };
        for (number, (times, source)) in chunks.chain(files).enumerate() {
            // One without rows says that it begins after its end.
            if times.0 <= times.1 && asked.overlaps(times.0, times.1) {
                let latest = sources.latest(times);
                sources.due.push(Due { latest, times, number, source });
            }
        }
        sources
    }

    fn latest(&self, (_, max): (UnixNanos, UnixNanos)) -> UnixNanos {
        self.asked.end.map_or(max, |end| max.min(end))
    }

    /// How many files there are that were not opened yet.
    pub(super) fn files(&self) -> u64 {
        self.due.iter().filter(|due| matches!(due.source, Source::File(_))).count() as u64
    }

    /// What is to be looked at next.
    pub(super) fn next(&mut self) -> Option<Due<'a>> {
        self.due.pop()
    }

    /// Puts back what is left of a file; whether there is something.
    pub(super) fn put_back(
        &mut self,
        file: &'a Arc<DataFile>,
        mut groups: Box<Groups<'a>>,
        before: (UnixNanos, usize),
    ) -> bool {
        let Some(times) = groups.next_times() else { return false };
        // Statistics that say nothing must not put it before what was looked at.
        let latest = self.latest(times).min(before.0);
        if self.due.peek().is_some_and(|next| next.latest > latest) {
            groups.rest();
        }
        self.due.push(Due {
            latest,
            times,
            number: before.1,
            source: Source::Groups(file, groups),
        });
        true
    }
}
