//! Plan of a query over calls: the sources of each hour.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use tidings_data_file::TableView;
use tidings_files::{memory::Chunk, table_file::DataFile};
use tidings_index::{RolledUp, SpanFilter};
use tidings_proto::UnixNanos;
use tidings_rollup::{HOUR, LEVELS};

use super::{COARSEST, CallQuery, aligned, common, of_hour};

/// Cost of a row, in calls of a rollup.
const CALLS_OF_ROW: u64 = 8;

/// File whose rollups answer a part of the query.
#[derive(Debug)]
pub(super) struct CallRollupFile {
    pub(super) file: Arc<DataFile>,
    pub(super) rollup: RolledUp,
    /// Level with the shortest buckets of the file.
    finest: usize,
}

/// Plan of one hour.
#[derive(Debug, Default)]
pub(super) struct Hour {
    /// Time range of the query in this hour.
    pub(super) range: Range<u64>,
    /// Part of the range that the rollups of these files answer.
    pub(super) covered: Range<u64>,
    pub(super) rolled: Vec<CallRollupFile>,
    /// Other files and chunks with rows of the hour.
    pub(super) rows: TableView,
}

/// Plan of a query.
#[derive(Debug, Default)]
pub(super) struct CallPlan {
    /// Plans of the hours, the newest first.
    pub(super) hours: Vec<Hour>,
    /// Files and chunks with rows of more than one hour.
    pub(super) unordered: TableView,
}

impl CallPlan {
    pub(super) fn new<T>(question: &CallQuery<'_, T>, damaged: &HashSet<PathBuf>) -> Self {
        let snapshot = question.snapshot;
        let number = snapshot.indexes.begin_scan();
        let (mut hours, mut unordered) = (BTreeMap::<u64, Hour>::new(), TableView::default());
        let rollups_can_answer = rollups_can_answer(question.filter);
        for file in &snapshot.spans.files {
            let (min, max) = file.times();
            if max.0 < question.range.start || question.range.end <= min.0 {
                continue;
            }
            let rollup = (rollups_can_answer && !damaged.contains(&file.path))
                .then(|| snapshot.indexes.rollup(number, file))
                .flatten();
            let hour = of_hour(file.hour);
            let finest = rollup.as_ref().and_then(|of| question.level_of(&hour, of));
            if let (Some(rollup), Some(finest)) = (rollup, finest) {
                let rolled = CallRollupFile { file: Arc::clone(file), rollup, finest };
                hours.entry(hour.start / HOUR).or_default().rolled.push(rolled);
            } else if hour.contains(&min.0) && hour.contains(&max.0) {
                hours.entry(hour.start / HOUR).or_default().rows.files.push(Arc::clone(file));
            } else {
                unordered.files.push(Arc::clone(file));
            }
        }
        for chunk in &snapshot.spans.chunks {
            match hour_of(chunk) {
                Some(hour) => hours.entry(hour).or_default().rows.chunks.push(Arc::clone(chunk)),
                None => unordered.chunks.push(Arc::clone(chunk)),
            }
        }
        let hours = hours.into_iter().rev();
        let hours = hours.map(|(number, hour)| hour.with_coverage(number, &question.range));
        Self { hours: hours.filter(|hour| !hour.range.is_empty()).collect(), unordered }
    }

    /// Divides the hours among threads. Returns the time range and the hours of each thread, the
    /// latest first.
    pub(super) fn divide_among_threads<T>(
        &self,
        question: &CallQuery<'_, T>,
    ) -> Vec<(Range<u64>, &[Hour])> {
        let range = &question.range;
        let all: u64 = self.hours.iter().map(Hour::work).sum();
        let rows_most = self.hours.iter().fold(0_u64, |all, hour| all.saturating_add(hour.rows()));
        // With a row limit, the rows that are omitted must not depend on which thread is faster.
        let may_share = rows_most <= question.bounds.rows_max;
        let threads = if may_share { question.bounds.threads_max.max(1) } else { 1 };
        let (mut shares, mut first, mut done, mut end) = (Vec::new(), 0, 0, range.end);
        for (place, hour) in self.hours.iter().enumerate() {
            done += hour.work();
            let ends = done * threads as u64 >= all * (shares.len() as u64 + 1);
            if ends && shares.len() + 1 < threads {
                let start = hour.range.start;
                shares.push((start..end, &self.hours[first..=place]));
                (first, end) = (place + 1, start);
            }
        }
        shares.push((range.start..end, &self.hours[first..]));
        shares
    }
}

impl Hour {
    /// Sets the range that the rollups cover, once all files of the hour are known.
    fn with_coverage(mut self, number: u64, range: &Range<u64>) -> Self {
        let start = number.saturating_mul(HOUR);
        self.range = common(range, &(start..start.saturating_add(HOUR)));
        let level = self.rolled.iter().map(|rolled| rolled.finest).max();
        self.covered = level.map_or(0..0, |level| aligned(self.range.clone(), LEVELS[level]));
        if self.covered.is_empty() {
            self.covered = self.range.start..self.range.start;
            self.rows.files.extend(self.rolled.drain(..).map(|rolled| rolled.file));
        }
        self
    }

    /// Returns the parts that are read as rows: a time range, and the files and chunks.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Range<u64>, TableView)> {
        let (start, end) = (self.range.start, self.range.end);
        let ends = [start..self.covered.start, self.covered.end..end];
        let of_ends = ends.into_iter().map(|range| {
            let files = self.rolled.iter().map(|rolled| &rolled.file);
            let files = files.filter(|file| overlaps(&range, file.times())).cloned().collect();
            (range, TableView { chunks: Vec::new(), files })
        });
        let whole = (start..end, self.rows.clone());
        let is_there =
            |(_, view): &(_, TableView)| !view.chunks.is_empty() || !view.files.is_empty();
        std::iter::once(whole).chain(of_ends.filter(|_| !self.rolled.is_empty())).filter(is_there)
    }

    /// Returns true if the query covers the whole hour, and all of its files have the longest
    /// buckets.
    pub(super) fn has_coarsest(&self) -> bool {
        let has = |rolled: &CallRollupFile| rolled.rollup.directory().has_level(COARSEST);
        let is_whole = self.covered.end - self.covered.start == HOUR;
        is_whole && !self.rolled.is_empty() && self.rolled.iter().all(has)
    }

    /// Returns the maximum number of rows to read.
    fn rows(&self) -> u64 {
        let chunks = self.rows.chunks.iter().map(|chunk| chunk.rows());
        let is_cut = self.covered != self.range;
        let cut = self.rolled.iter().filter(|_| is_cut).map(|rolled| &rolled.file);
        chunks.chain(self.rows.files.iter().chain(cut).map(|file| file.rows)).sum()
    }

    /// Returns an estimate of the work, in calls.
    fn work(&self) -> u64 {
        let calls: u64 = self.rolled.iter().map(|rolled| rolled.file.rows).sum();
        let chunks = self.rows.chunks.iter().map(|chunk| chunk.rows());
        let rows: u64 = chunks.chain(self.rows.files.iter().map(|file| file.rows)).sum();
        calls + rows * CALLS_OF_ROW
    }
}

impl<T> CallQuery<'_, T> {
    /// Returns the level with the shortest buckets of a file, if its rollups can be used. Steps
    /// must consist of such buckets, and all calls of the file in the range must have begun in its
    /// hour.
    fn level_of(&self, hour: &Range<u64>, rollup: &RolledUp) -> Option<usize> {
        let directory = rollup.directory();
        let finest = directory.finest()?;
        let is_stray = |period: Range<u64>| {
            common(&period, hour).is_empty() && !common(&period, &self.range).is_empty()
        };
        let fits =
            self.step.is_multiple_of(LEVELS[finest]) && !directory.periods(finest).any(is_stray);
        fits.then_some(finest)
    }
}

/// Returns true if rollups can evaluate the filter.
fn rollups_can_answer(filter: &SpanFilter) -> bool {
    let SpanFilter { start, services, operation, kind, status, .. } = filter.clone();
    *filter == SpanFilter { start, services, operation, kind, status, ..SpanFilter::default() }
}

/// Returns the hour in which all rows of the chunk began, if it is one hour.
fn hour_of(chunk: &Chunk) -> Option<u64> {
    let (min, max) = chunk.times();
    let hour = min.0 / HOUR;
    let end = hour.checked_add(1)?.checked_mul(HOUR)?;
    (max.0 < end).then_some(hour)
}

pub(super) fn overlaps(range: &Range<u64>, (min, max): (UnixNanos, UnixNanos)) -> bool {
    min.0 < range.end && range.start <= max.0
}
