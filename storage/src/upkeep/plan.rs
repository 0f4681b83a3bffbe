//! Which files to merge.
//!
//! A file of at least [`SEALED_BYTES`] is never merged again. The others of an hour are merged when
//! together they make a sealed file, or when there are [`FILES_ENOUGH`] of about one size; each row
//! is then written about twice: by the flush and into a sealed file, or into one that waits for the
//! end of its hour. When an hour is over and nothing comes any more, what is left becomes one file,
//! unless most of the work would be to copy a large file for the sake of small ones. While an old
//! hour still gets rows, as in an import, it is merged no more eagerly than the current one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidings_proto::UnixNanos;

use crate::data_file::DataFile;

/// What a merge aims at; files of half that are left alone.
pub(crate) const FILE_BYTES: u64 = 256 << 20;
const SEALED_BYTES: u64 = FILE_BYTES / 2;
/// So many files of about one size become one.
const FILES_ENOUGH: usize = 32;
/// The most files that are read at once.
pub(super) const FILES_MAX: usize = 64;
/// A file is about as large as smaller ones together when it is not more than so many times that.
const RATIO: u64 = 4;
/// An hour is taken for over so long after its end, when as long nothing has come for it.
const LATENESS: Duration = Duration::from_secs(10 * 60);
const HOUR_NANOS: u64 = 3600 * 1_000_000_000;

/// Files that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) hour: i64,
    pub(crate) files: Vec<Arc<DataFile>>,
}

/// Whether hours that are not over yet may still get more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// More comes: small merges would be done again.
    Running,
    /// Nothing comes: everything that helps is done.
    Offline,
}

/// The merge that helps most; `None` when nothing is worth doing. Looks at no file.
pub(crate) fn plan(files: &[Arc<DataFile>], now: UnixNanos, pace: Pace) -> Option<Job> {
    let mut hours: BTreeMap<i64, Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.bytes < SEALED_BYTES) {
        hours.entry(file.hour).or_default().push(file);
    }
    let jobs = hours.into_iter().filter_map(|(hour, mut files)| {
        files.sort_by_key(|file| (file.bytes, file.path.clone()));
        let over = pace == Pace::Offline || is_over(hour, &files, now);
        let merged = choose(&files, over)?;
        Some(Job { hour, files: merged.iter().map(|file| Arc::clone(file)).collect() })
    });
    jobs.max_by_key(|job| (job.files.len(), job.hour))
}

fn is_over(hour: i64, files: &[&Arc<DataFile>], now: UnixNanos) -> bool {
    let lateness = u64::try_from(LATENESS.as_nanos()).unwrap_or(u64::MAX);
    let end = u64::try_from(hour + 1).unwrap_or(0).saturating_mul(HOUR_NANOS);
    let last = files.iter().map(|file| file.received_max.0).max().unwrap_or(0);
    end.max(last).saturating_add(lateness) <= now.0
}

/// The files, smallest first, that should become one.
fn choose<'a>(files: &'a [&Arc<DataFile>], over: bool) -> Option<&'a [&'a Arc<DataFile>]> {
    // A file that is too small for the one after it must not keep that from being merged.
    let found = (0..files.len()).map(|start| alike(&files[start..]));
    let (bytes, files) = found.into_iter().find(|(_, files)| files.len() >= 2)?;
    let enough = bytes >= SEALED_BYTES || files.len() >= FILES_ENOUGH || over;
    enough.then_some(files)
}

/// As many of these files, from the first on, as are of about one size, and their bytes.
fn alike<'a>(files: &'a [&Arc<DataFile>]) -> (u64, &'a [&'a Arc<DataFile>]) {
    let mut bytes = 0;
    let mut rows = 0;
    let mut count = 0;
    for file in files.iter().take(FILES_MAX) {
        let about_equal = count == 0 || file.bytes <= bytes * RATIO;
        let larger = bytes + file.bytes;
        if !about_equal || larger > FILE_BYTES || rows + file.rows > u64::from(u32::MAX) {
            break;
        }
        (bytes, rows, count) = (larger, rows + file.rows, count + 1);
    }
    (bytes, &files[..count])
}

#[cfg(test)]
mod tests;
