//! Which files to merge.
//!
//! A file of at least [`SEALED_BYTES`] is never merged again, nor is one of [`FLUSHED_BYTES`] that
//! a flush wrote: that is where so much comes that processor time counts. The others of an hour are
//! merged when together they make a sealed file, or when there are [`FILES_ENOUGH`] of about one
//! size; each row is then written about twice: by the flush and into a sealed file, or into one
//! that waits for the end of its hour. When an hour is over and nothing comes any more, what is
//! left becomes one file, unless most of the work would be to copy a large file for the sake of
//! small ones; once nothing came for hours, more of that work is worth it. While an old hour still
//! gets rows, as in an import, it is merged no more eagerly than the current one.
//!
//! Spanning files, which have rows of other hours than their partition's, are merged among
//! themselves: the others keep what only files of one hour can have, such as rollups of use. They
//! are never split into hours: whoever chooses times chooses how many hours those are.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use tidings_proto::UnixNanos;

use super::rewrite::is_rewritten;
use crate::data_file::{DataFile, HOUR_NANOS};

/// How large the files are that a merge makes; those of half that are left alone.
pub(crate) const FILE_BYTES: u64 = 256 << 20;
const SEALED_BYTES: u64 = FILE_BYTES / 2;
/// So are those that a flush wrote from here on: hardly less than a full memory of realistic spans.
const FLUSHED_BYTES: u64 = 32 << 20;
/// The most that is merged at a time: it is done again when the process ends before.
const JOB_BYTES: u64 = 4 * FILE_BYTES;
/// So many files of about one size become one.
const FILES_ENOUGH: usize = 32;
/// The most files that are read at once.
pub(super) const FILES_MAX: usize = 64;
/// A file is about as large as smaller ones together when it is not more than so many times that.
const RATIO: u64 = 4;
/// Ratio for settled hours. Late rows belong to traces in the larger files, and queries of calls
/// have to assemble every split trace.
const SETTLED_RATIO: u64 = 16;
/// An hour is taken for over so long after its end, when as long nothing has come for it.
const LATENESS: Duration = Duration::from_secs(10 * 60);
/// An hour that is over is settled when nothing has come for it for so long: a large file is then
/// written again at most a few times a day for the sake of what comes late.
const SETTLING: Duration = Duration::from_secs(6 * 3600);

/// Returns true if a file is never merged again.
pub(crate) fn is_sealed(file: &DataFile) -> bool {
    let bytes = if is_rewritten(&file.path) { SEALED_BYTES } else { FLUSHED_BYTES };
    file.bytes >= bytes
}

/// Files that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergeJob {
    pub(crate) hour: i64,
    pub(crate) files: Vec<Arc<DataFile>>,
}

impl MergeJob {
    /// How large the files are together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Narrowed to one of these portions of it: to one of the most files, and of these to the
    /// smallest. The first file is what was merged last. Taken each time, it would be written again
    /// for each few new ones.
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
    /// More comes: small merges would be done again.
    Running,
    /// Nothing comes: everything that helps is done.
    Offline,
}

/// The merges that are worth doing, at most two of an hour, the one that helps most first. Looks at
/// no file.
pub(crate) fn plan(files: &[Arc<DataFile>], now: UnixNanos, pace: MergePace) -> Vec<MergeJob> {
    let mut hours: BTreeMap<(i64, bool), Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| !is_sealed(file)) {
        hours.entry((file.hour, file.is_spanning())).or_default().push(file);
    }
    let jobs = hours.into_iter().filter_map(|((hour, _), mut files)| {
        files.sort_by_key(|file| (file.bytes, file.path.clone()));
        Some(MergeJob { hour, files: choose(&files, HourState::new(hour, &files, now, pace))? })
    });
    let mut jobs: Vec<MergeJob> = jobs.collect();
    jobs.sort_by_key(|job| Reverse((job.files.len(), job.hour)));
    jobs
}

/// State of an hour, by the rows that may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HourState {
    /// More.
    Running,
    /// Late rows only.
    Over,
    /// Nothing.
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
fn choose(files: &[&Arc<DataFile>], state: HourState) -> Option<Vec<Arc<DataFile>>> {
    let ratio = if state == HourState::Settled { SETTLED_RATIO } else { RATIO };
    // Files that are too small for the one after them must not keep that from being merged.
    let mut jobs = (0..files.len()).map(|start| together(alike(&files[start..], ratio)));
    let is_worth_it = |job: &Vec<Arc<DataFile>>| {
        let bytes: u64 = job.iter().map(|file| file.bytes).sum();
        let enough = bytes >= SEALED_BYTES || job.len() >= FILES_ENOUGH;
        job.len() >= 2 && (enough || state != HourState::Running)
    };
    jobs.find(is_worth_it)
}

/// As many of these files, smallest first, as one merge takes: the oldest, for what came one after
/// the other has traces in common.
fn together(files: &[&Arc<DataFile>]) -> Vec<Arc<DataFile>> {
    // Of many, no merged one again and again for the sake of the next few.
    let large = files.get(FILES_MAX - 1).map_or(u64::MAX, |file| file.bytes.saturating_mul(RATIO));
    let mut files: Vec<Arc<DataFile>> =
        files.iter().take_while(|file| file.bytes <= large).map(|file| Arc::clone(file)).collect();
    files.sort_by_key(|file| (file.received_max, file.path.clone()));
    let (mut bytes, mut rows) = (0, 0);
    let fits = |file: &&Arc<DataFile>| {
        (bytes, rows) = (bytes + file.bytes, rows + file.rows);
        bytes <= JOB_BYTES && rows <= u64::from(u32::MAX)
    };
    let count = files.iter().take(FILES_MAX).take_while(fits).count();
    files.truncate(count);
    files
}

/// As many of these files, from the first on, as are of about one size.
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
