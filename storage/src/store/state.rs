//! Visible rows: the memtable's chunks and the tables' files, under one lock.
//!
//! A row is in exactly one of three sets: `active` (new), `flushing` (being written by a flush) or
//! `files`. Every move is one critical section, so every snapshot sees each row once. Chunks arrive
//! in the order of the log's sequences. Therefore `active` and `flushing` hold all rows up to
//! `through` that the files lack.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tidings_data_file::TableView;
use tidings_files::{memory::Chunk, table_file::DataFile};
use tidings_proto::{Signal, UnixNanos};
use tidings_snapshot::Snapshot;

use crate::table_change::{CommitReason, TableChange};

/// Number of adjacent chunks that are concatenated into one, so that scans read few chunks.
const RUN: usize = 16;
/// Maximum rows of a concatenated chunk. Larger chunks gain nothing: the cost per chunk is small
/// beside the cost of some hundred rows.
const ROWS_ENOUGH: u64 = 4 << 10;
/// Minimum ratio of all rows of a run to the rows of its largest chunk. A row is copied once for
/// each time that its chunk grows by this factor, which is at most six times.
const GROWTH: u64 = 4;

/// The visible rows.
#[derive(Debug)]
pub(crate) struct VisibleState(Mutex<VisibleTables>);

#[derive(Debug, Default)]
struct VisibleTables {
    spans: TableRows,
    logs: TableRows,
    through: u64,
    oldest: Option<Instant>,
    /// Arrival time of the oldest row that a flush has taken and no file has yet.
    oldest_flushing: Option<Instant>,
    /// Files that a commit removed and that are still on the disk.
    gone: Vec<RemovedFile>,
    /// Number of commits whose change is visible.
    commits: u64,
}

/// A file that new snapshots do not include.
#[derive(Debug)]
struct RemovedFile {
    file: Arc<DataFile>,
    since: UnixNanos,
}

#[derive(Debug, Default)]
struct TableRows {
    active: Vec<Arc<Chunk>>,
    flushing: Vec<Arc<Chunk>>,
    files: Vec<Arc<DataFile>>,
    /// Memory of all chunks, in bytes.
    bytes: u64,
    /// Number of leading chunks in `active` at which no run begins.
    passed: usize,
}

/// Row, byte and file counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreTotals {
    pub(crate) spans: u64,
    pub(crate) log_records: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) data_files: u64,
}

impl TableRows {
    fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.flushing.iter().chain(&self.active)
    }

    fn count(&self) -> u64 {
        let in_memory: u64 = self.chunks().map(|chunk| chunk.rows()).sum();
        in_memory + self.files.iter().map(|file| file.rows).sum::<u64>()
    }

    fn view(&self) -> TableView {
        TableView { chunks: self.chunks().cloned().collect(), files: self.files.clone() }
    }

    fn push(&mut self, chunk: Arc<Chunk>) {
        self.bytes += chunk.bytes();
        self.active.push(chunk);
    }

    /// Returns true if chunks were added since the last search for a run to concatenate.
    fn may_have_run(&self) -> bool {
        self.active.len() >= self.passed + RUN
    }

    /// Returns the first adjacent chunks that should be concatenated. Each chunk is checked once as
    /// the beginning of a run, however often this is called.
    fn run(&mut self) -> Option<Vec<Arc<Chunk>>> {
        while let Some(run) = self.active.get(self.passed..self.passed + RUN) {
            let rows: u64 = run.iter().map(|chunk| chunk.rows()).sum();
            let largest = run.iter().map(|chunk| chunk.rows()).max().unwrap_or_default();
            if rows <= ROWS_ENOUGH && rows >= largest.saturating_mul(GROWTH) {
                return Some(run.to_vec());
            }
            self.passed += 1;
        }
        None
    }

    /// Replaces these chunks by one, unless a flush took them meanwhile.
    fn replace(&mut self, run: &[Arc<Chunk>], merged: Arc<Chunk>) {
        let same = |window: &[Arc<Chunk>]| window.iter().zip(run).all(|(a, b)| Arc::ptr_eq(a, b));
        let Some(at) = self.active.windows(run.len().max(1)).position(same) else { return };
        let before: u64 = run.iter().map(|chunk| chunk.bytes()).sum();
        self.bytes = (self.bytes + merged.bytes()).saturating_sub(before);
        self.active.splice(at..at + run.len(), [merged]);
        // The preceding chunks may form a run with the new one.
        self.passed = self.passed.min((at + 1).saturating_sub(RUN));
    }

    /// Moves all active chunks to the flush.
    fn cut(&mut self) {
        self.flushing.append(&mut self.active);
        self.passed = 0;
    }

    /// Returns the chunks whose rows are now in files.
    fn take_flushed(&mut self) -> Vec<Arc<Chunk>> {
        let flushed = std::mem::take(&mut self.flushing);
        let bytes: u64 = flushed.iter().map(|chunk| chunk.bytes()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        flushed
    }
}

impl VisibleTables {
    fn table_mut(&mut self, signal: Signal) -> &mut TableRows {
        match signal {
            Signal::Spans => &mut self.spans,
            Signal::Logs => &mut self.logs,
        }
    }
}

impl VisibleState {
    pub(crate) fn new(spans: Vec<Arc<DataFile>>, logs: Vec<Arc<DataFile>>) -> Self {
        let rows = |files| TableRows { files, ..TableRows::default() };
        Self(Mutex::new(VisibleTables {
            spans: rows(spans),
            logs: rows(logs),
            ..VisibleTables::default()
        }))
    }

    /// Marks everything in the log up to this sequence as visible.
    pub(crate) fn advance(&self, through: u64) {
        let mut visible = self.lock();
        visible.through = visible.through.max(through);
    }

    fn lock(&self) -> MutexGuard<'_, VisibleTables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds chunks in the order of their sequences. Returns true if some may be ready to be
    /// concatenated.
    pub(crate) fn publish(
        &self,
        chunks: impl IntoIterator<Item = (u64, Arc<Chunk>)>,
        now: Instant,
    ) -> bool {
        let mut visible = self.lock();
        for (sequence, chunk) in chunks {
            visible.through = visible.through.max(sequence);
            visible.oldest.get_or_insert(now);
            visible.table_mut(chunk.signal()).push(chunk);
        }
        visible.spans.may_have_run() || visible.logs.may_have_run()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let visible = self.lock();
        Snapshot::new(visible.spans.view(), visible.logs.view())
    }

    /// Moves all rows in memory to the flush. Returns the sequence up to which they cover the log.
    pub(crate) fn cut(&self) -> u64 {
        let mut visible = self.lock();
        for signal in [Signal::Spans, Signal::Logs] {
            visible.table_mut(signal).cut();
        }
        visible.oldest_flushing = visible.oldest_flushing.or(visible.oldest);
        visible.oldest = None;
        visible.through
    }

    /// Returns the chunks that a flush has to write.
    pub(crate) fn flushing(&self, signal: Signal) -> Vec<Arc<Chunk>> {
        self.lock().table_mut(signal).flushing.clone()
    }

    /// Returns true if a flush failed and left chunks to write.
    pub(crate) fn has_unflushed(&self) -> bool {
        let visible = self.lock();
        !visible.spans.flushing.is_empty() || !visible.logs.flushing.is_empty()
    }

    /// Applies a commit: the files of a flush replace its chunks, those of maintenance replace
    /// other files.
    pub(crate) fn apply(&self, signal: Signal, change: &TableChange, now: UnixNanos) {
        let mut visible = self.lock();
        visible.commits += 1;
        let gone =
            change.removed.iter().map(|file| RemovedFile { file: Arc::clone(file), since: now });
        visible.gone.extend(gone);
        let rows = visible.table_mut(signal);
        let flushed =
            if change.why == CommitReason::Flush { rows.take_flushed() } else { Vec::new() };
        let removed: HashSet<&Path> =
            change.removed.iter().map(|file| file.path.as_path()).collect();
        rows.files.retain(|file| !removed.contains(file.path.as_path()));
        rows.files.extend(change.added.iter().cloned());
        if visible.spans.flushing.is_empty() && visible.logs.flushing.is_empty() {
            visible.oldest_flushing = None;
        }
        drop(visible);
        // Freeing this much memory takes long, so the lock is released first.
        drop(flushed);
    }

    /// Returns the files that were removed by this time and that no snapshot reads, now or later.
    pub(crate) fn unreferenced_files(&self, by: UnixNanos) -> HashSet<PathBuf> {
        let is_waste = |gone: &&RemovedFile| gone.since <= by && Arc::strong_count(&gone.file) == 1;
        let visible = self.lock();
        visible.gone.iter().filter(is_waste).map(|gone| gone.file.path.clone()).collect()
    }

    /// Drops removed files that were deleted from the disk.
    pub(crate) fn drop_deleted(&self, deleted: &HashSet<PathBuf>) {
        self.lock().gone.retain(|gone| !deleted.contains(&gone.file.path));
    }

    /// Returns the removed files that are still on the disk.
    pub(crate) fn removed_paths(&self) -> HashSet<PathBuf> {
        self.lock().gone.iter().map(|gone| gone.file.path.clone()).collect()
    }

    /// Makes all removed files due, whatever their age. They are deleted when no snapshot reads
    /// them.
    pub(crate) fn make_removed_due(&self) {
        self.lock().gone.iter_mut().for_each(|gone| gone.since = UnixNanos(0));
    }

    /// Returns the number of commits that became visible since the store was opened.
    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Returns the number of removed files that are still on the disk.
    pub(crate) fn removed_file_count(&self) -> u64 {
        self.lock().gone.len() as u64
    }

    /// Returns the chunks and files of spans.
    pub(crate) fn spans(&self) -> (Vec<Arc<Chunk>>, Vec<Arc<DataFile>>) {
        let visible = self.lock();
        (visible.spans.chunks().cloned().collect(), visible.spans.files.clone())
    }

    /// Returns the data files that are in use: visible, or removed and not yet deleted.
    pub(crate) fn known_files(&self) -> HashSet<PathBuf> {
        let visible = self.lock();
        let files = visible.spans.files.iter().chain(&visible.logs.files);
        let gone = visible.gone.iter().map(|gone| &gone.file);
        files.chain(gone).map(|file| file.path.clone()).collect()
    }

    /// Returns the files of a table.
    pub(crate) fn files(&self, signal: Signal) -> Vec<Arc<DataFile>> {
        self.lock().table_mut(signal).files.clone()
    }

    /// Returns chunks that should be concatenated.
    pub(crate) fn run(&self) -> Option<(Signal, Vec<Arc<Chunk>>)> {
        let mut visible = self.lock();
        [Signal::Spans, Signal::Logs]
            .into_iter()
            .find_map(|signal| visible.table_mut(signal).run().map(|run| (signal, run)))
    }

    /// Replaces a run by its merged chunk, unless a flush took the run meanwhile.
    pub(crate) fn replace(&self, signal: Signal, run: &[Arc<Chunk>], merged: Arc<Chunk>) {
        self.lock().table_mut(signal).replace(run, merged);
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        let visible = self.lock();
        visible.spans.bytes + visible.logs.bytes
    }

    /// Returns when the oldest row arrived that no flush has taken.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lock().oldest
    }

    /// Returns when the oldest row arrived that is not in a file, whether a flush has taken it or
    /// not.
    pub(crate) fn oldest_unflushed(&self) -> Option<Instant> {
        let visible = self.lock();
        visible.oldest_flushing.or(visible.oldest)
    }

    pub(crate) fn totals(&self) -> StoreTotals {
        let visible = self.lock();
        StoreTotals {
            spans: visible.spans.count(),
            log_records: visible.logs.count(),
            memory_bytes: visible.spans.bytes + visible.logs.bytes,
            data_files: (visible.spans.files.len() + visible.logs.files.len()) as u64,
        }
    }
}

#[cfg(test)]
mod tests;
