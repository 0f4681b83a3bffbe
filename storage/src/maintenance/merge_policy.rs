//! Selects the files to merge.
//!
//! A file of at least [`SEALED_BYTES`] is never merged again. Nor is a file of [`FLUSHED_BYTES`]
//! that a flush wrote, because such a high rate makes processor time scarce. The other files of an
//! hour are merged when they make a sealed file together, or when there are [`FILES_ENOUGH`] of
//! similar size. Each row is then written about twice: by the flush, and into a sealed file or one
//! that waits for the end of its hour. When an hour is over and no more rows arrive, the remaining
//! files become one. An exception is a merge that would mostly copy a large file because of small
//! ones. After some hours without new rows, a larger share of such copying is accepted. While an
//! old hour still gets rows, as in an import, it is merged no more eagerly than the current one.
//!
//! Of the remaining files of log records, the smallest become one, as many as can be merged by
//! writing few bytes for each file less. Spans are always merged, because a trace whose spans are in
//! several files is assembled by every query. A query of log records costs microseconds more for
//! each file.
//!
//! Spanning files have rows of other hours than their partition's. They are merged only with each
//! other, because files of a single hour keep data that spanning files cannot have, such as
//! rollups. They are never split into hours, because a sender of arbitrary times could create any
//! number of hours.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use tidings_files::table_file::{DataFile, HOUR_NANOS};
use tidings_proto::{Signal, UnixNanos};

use super::rewrite::is_rewritten;

/// Target size of merged files. A file of half that size is left alone.
pub(crate) const FILE_BYTES: u64 = 256 << 20;
const SEALED_BYTES: u64 = FILE_BYTES / 2;
/// Size from which a flushed file is left alone too. A full memtable of realistic spans gives
/// little more.
const FLUSHED_BYTES: u64 = 32 << 20;
/// Maximum bytes per merge, because a merge is repeated if the process ends during it.
const JOB_BYTES: u64 = 4 * FILE_BYTES;
/// Number of files of similar size that are merged.
const FILES_ENOUGH: usize = 32;
/// Maximum number of files that are read at once.
pub(super) const FILES_MAX: usize = 64;
/// Maximum size of a file relative to all smaller ones together, for both to count as similar.
const RATIO: u64 = 4;
/// Ratio for settled hours. Late rows belong to traces in the larger files, and queries of calls
/// have to assemble every split trace.
const SETTLED_RATIO: u64 = 16;
/// Maximum bytes that a merge of the remaining log records of an hour writes for each file less.
const LOG_BYTES_FOR_FILE: u64 = 16 << 20;
/// Time after the end of an hour, and without new rows, after which the hour counts as over.
const LATENESS: Duration = Duration::from_secs(10 * 60);
/// Time without new rows after which an hour that is over is settled. A large file is then
/// rewritten for late rows at most a few times a day.
pub(crate) const SETTLING: Duration = Duration::from_secs(6 * 3600);

/// Returns true if a file is never merged again.
pub(crate) fn is_sealed(file: &DataFile) -> bool {
    let bytes = if is_rewritten(&file.path) { SEALED_BYTES } else { FLUSHED_BYTES };
    file.bytes >= bytes
}

/// Files to merge into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergeJob {
    pub(crate) hour: i64,
    pub(crate) files: Vec<Arc<DataFile>>,
}

impl MergeJob {
    /// Returns the bytes of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Narrows the job to one of these portions: one with the most files, and among these the
    /// smallest. The first file was merged last. Always taking it would rewrite it for each few new
    /// ones.
    pub(crate) fn narrowed(mut self, portions: Vec<Range<usize>>) -> Self {
        let bytes = |portion: &Range<usize>| {
            self.files[portion.clone()].iter().map(|file| file.bytes).sum::<u64>()
        };
        let of_several = portions.into_iter().filter(|portion| portion.len() > 1);
        let chosen = of_several.max_by_key(|portion| (portion.len(), Reverse(bytes(portion))));
        let pairs = (0..self.files.len()).map(|first| first..(first + 2).min(self.files.len()));
        let pair = || pairs.filter(|pair| pair.len() > 1).min_by_key(bytes);
        let chosen = chosen.or_else(pair).unwrap_or(0..self.files.len());
        self.files = self.files.drain(chosen).collect();
        self
    }
}

/// Expectation of further rows in the current hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergePace {
    /// More rows arrive, so small merges would soon be repeated.
    Running,
    /// No more rows arrive, so every useful merge is done.
    Offline,
}

/// Returns the worthwhile merges, at most two per hour, the most useful first. Reads no file.
pub(crate) fn plan(
    signal: Signal,
    files: &[Arc<DataFile>],
    now: UnixNanos,
    pace: MergePace,
) -> Vec<MergeJob> {
    let mut hours: BTreeMap<(i64, bool), Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| !is_sealed(file)) {
        hours.entry((file.hour, file.is_spanning())).or_default().push(file);
    }
    let jobs = hours.into_iter().filter_map(|((hour, _), mut files)| {
        files.sort_by(|one, other| {
            one.bytes.cmp(&other.bytes).then_with(|| one.path.cmp(&other.path))
        });
        let state = HourState::new(hour, &files, now, pace);
        Some(MergeJob { hour, files: choose(signal, &files, state)? })
    });
    let mut jobs: Vec<MergeJob> = jobs.collect();
    jobs.sort_by_key(|job| Reverse((job.files.len(), job.hour)));
    jobs
}

/// State of an hour, by the rows that may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HourState {
    /// More rows are expected.
    Running,
    /// Only late rows are expected.
    Over,
    /// No more rows are expected.
    Settled,
}

impl HourState {
    fn new(hour: i64, files: &[&Arc<DataFile>], now: UnixNanos, pace: MergePace) -> Self {
        let end = u64::try_from(hour + 1).unwrap_or(0).saturating_mul(HOUR_NANOS);
        let last = files.iter().map(|file| file.received_max.0).max().unwrap_or(0);
        let silent_for = |time: Duration| {
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            end.max(last).saturating_add(time) <= now.0
        };
        if pace == MergePace::Offline || silent_for(SETTLING) {
            Self::Settled
        } else if silent_for(LATENESS) {
            Self::Over
        } else {
            Self::Running
        }
    }
}

/// Chooses the files of a merge, smallest first.
fn choose(
    signal: Signal,
    files: &[&Arc<DataFile>],
    state: HourState,
) -> Option<Vec<Arc<DataFile>>> {
    let ratio = if state == HourState::Settled { SETTLED_RATIO } else { RATIO };
    let job = |start: usize| {
        let alike = alike(&files[start..], ratio);
        let all = select_merge(alike);
        let bytes: u64 = all.iter().map(|file| file.bytes).sum();
        let is_enough = bytes >= SEALED_BYTES || all.len() >= FILES_ENOUGH;
        let chosen = if is_enough {
            all
        } else if state == HourState::Running {
            return None;
        } else {
            select_merge(select_cheap(signal, alike))
        };
        (chosen.len() >= 2).then_some(chosen)
    };
    // Files that are too small for the next larger one must not prevent the merge of the larger
    // ones.
    (0..files.len()).find_map(job)
}

/// Returns the leading files of an hour that is over whose merge is worth it, given the smallest
/// first: all files of spans, and of log records the most that [`LOG_BYTES_FOR_FILE`] allows.
fn select_cheap<'a>(signal: Signal, files: &'a [&'a Arc<DataFile>]) -> &'a [&'a Arc<DataFile>] {
    if signal == Signal::Spans {
        return files;
    }
    let (mut bytes, mut count) = (0_u64, 0);
    for (number, file) in files.iter().enumerate() {
        bytes = bytes.saturating_add(file.bytes);
        // Merged with all before it, this file leaves as many files less.
        if bytes <= LOG_BYTES_FOR_FILE.saturating_mul(number as u64) {
            count = number + 1;
        }
    }
    &files[..count]
}

/// Returns the files for one merge, given files with the smallest first. Prefers the oldest,
/// because rows that arrived together share traces.
fn select_merge(files: &[&Arc<DataFile>]) -> Vec<Arc<DataFile>> {
    // Among many files, a large merged one is excluded, so that it is not rewritten for each few
    // new ones.
    let large = files.get(FILES_MAX - 1).map_or(u64::MAX, |file| file.bytes.saturating_mul(RATIO));
    let mut files: Vec<Arc<DataFile>> =
        files.iter().take_while(|file| file.bytes <= large).map(|file| Arc::clone(file)).collect();
    files.sort_by(|one, other| {
        one.received_max.cmp(&other.received_max).then_with(|| one.path.cmp(&other.path))
    });
    let (mut bytes, mut rows) = (0, 0);
    let fits = |file: &&Arc<DataFile>| {
        (bytes, rows) = (bytes + file.bytes, rows + file.rows);
        bytes <= JOB_BYTES && rows <= u64::from(u32::MAX)
    };
    let count = files.iter().take(FILES_MAX).take_while(fits).count();
    files.truncate(count);
    files
}

/// Returns the leading files that are of similar size.
fn alike<'a>(files: &'a [&Arc<DataFile>], ratio: u64) -> &'a [&'a Arc<DataFile>] {
    let mut bytes: u64 = 0;
    let is_alike = |file: &&&Arc<DataFile>| {
        let about_equal = bytes == 0 || file.bytes <= bytes.saturating_mul(ratio);
        bytes += file.bytes;
        about_equal
    };
    let count = files.iter().take_while(is_alike).count();
    &files[..count]
}

#[cfg(test)]
mod tests;
