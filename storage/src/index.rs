//! Where in data files things are: one small index file beside each of them.
//!
//! An index says which rows of its data file can hold a trace, so that finding one costs the same
//! among a thousand rows and among a hundred million. It only ever says which rows need not be
//! read: every row that is read is still compared with the filter, so a missing, damaged or
//! foreign index makes scans slower and changes no answer.
//!
//! [`IndexBuilder`] makes the bytes while a data file is written, `file` is their format, `runs`
//! and `fuse` are its two structures. [`Indexes`] keeps the heads of the files in memory within a
//! budget. Does not write files: whoever writes or removes a data file does so with its index
//! (see [`crate::paths::index_path`]).

mod build;
mod bytes;
mod file;
mod fuse;
mod runs;

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use xxhash_rust::xxh3::xxh3_64;

pub(crate) use build::IndexBuilder;
use file::Head;

use crate::{data_file::DataFile, paths::index_path};

/// What a trace is looked up by: its id's last 8 bytes, so that both lengths of ids find it.
fn trace_hash(low64: u64) -> u64 {
    xxh3_64(&low64.to_le_bytes())
}

/// What a filter asks indexes for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// The row belongs to one of these traces.
    traces: Option<Vec<u64>>,
}

impl Wanted {
    /// Rows of the traces whose ids end with one of these; any when there is no list.
    pub(crate) fn new(trace_low64s: Option<&[u64]>) -> Self {
        let traces = trace_low64s.map(|low64s| low64s.iter().copied().map(trace_hash).collect());
        Self { traces }
    }

    fn is_nothing(&self) -> bool {
        self.traces.is_none()
    }
}

/// The rows of a data file that can match: ascending, apart. `None`: all of them can.
pub(crate) type Candidates = Option<Vec<Range<u64>>>;

/// The indexes of a store's data files.
#[derive(Debug)]
pub(crate) struct Indexes {
    bytes_max: usize,
    heads: Mutex<Heads>,
}

#[derive(Debug, Default)]
struct Heads {
    by_path: HashMap<PathBuf, Kept>,
    bytes: usize,
    /// How many scans there have been.
    scans: u64,
    /// The scan that made room last.
    swept: u64,
}

#[derive(Debug)]
struct Kept {
    /// `None`: the file has no index that can be read.
    head: Option<Arc<Head>>,
    bytes: usize,
    last_use: u64,
}

impl Indexes {
    /// Keeps heads in memory up to so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, heads: Mutex::default() }
    }

    /// Begins a scan; its number is for [`Self::candidates`].
    pub(crate) fn begin(&self) -> u64 {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.scans += 1;
        heads.scans
    }

    /// Which rows of a file a scan has to look at.
    pub(crate) fn candidates(&self, scan: u64, file: &DataFile, wanted: &Wanted) -> Candidates {
        if wanted.is_nothing() {
            return None;
        }
        let path = index_path(&file.path);
        let head = match self.kept(&path, scan) {
            Some(head) => head,
            None => self.load(&path, scan, file),
        }?;
        let found = find(&path, &head, wanted);
        if found.is_none() {
            self.keep(path, scan, None);
        }
        found
    }

    fn kept(&self, path: &Path, scan: u64) -> Option<Option<Arc<Head>>> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = heads.by_path.get_mut(path)?;
        kept.last_use = scan;
        Some(kept.head.clone())
    }

    fn load(&self, path: &Path, scan: u64, file: &DataFile) -> Option<Arc<Head>> {
        let head = file::open(path).and_then(|index| Head::read(&index, file)).map(Arc::new);
        if head.is_none() {
            tracing::warn!(path = %path.display(), "a data file has no index that can be read");
        }
        self.keep(path.to_owned(), scan, head.clone());
        head
    }

    /// Keeps a head if there is room. What the scan before this one has used stays: when all of
    /// them do not fit, pushing out what the next scan needs first would help none.
    fn keep(&self, path: PathBuf, scan: u64, head: Option<Arc<Head>>) {
        let own = size_of::<Kept>() + 2 * path.as_os_str().len();
        let bytes = own + head.as_ref().map_or(0, |head| head.bytes());
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = &mut *heads;
        if let Some(replaced) = heads.by_path.remove(&path) {
            heads.bytes -= replaced.bytes;
        }
        if heads.bytes + bytes > self.bytes_max && heads.swept < scan {
            heads.swept = scan;
            heads.by_path.retain(|_, kept| kept.last_use + 1 >= scan);
            heads.bytes = heads.by_path.values().map(|kept| kept.bytes).sum();
        }
        if heads.bytes + bytes <= self.bytes_max {
            heads.bytes += bytes;
            heads.by_path.insert(path, Kept { head, bytes, last_use: scan });
        }
    }
}

/// `None` when the index is damaged.
fn find(path: &Path, head: &Head, wanted: &Wanted) -> Candidates {
    let mut opened = None;
    let mut fetch = |range| {
        if opened.is_none() {
            opened = file::open(path);
        }
        head.page(opened.as_ref()?, range)
    };
    let hashes = wanted.traces.as_deref().unwrap_or_default();
    let directory = head.traces.as_ref()?;
    let mut found = Vec::new();
    for hash in hashes {
        if head.trace_filter.as_ref().is_none_or(|filter| filter.may_have(*hash)) {
            directory.find(*hash, &mut fetch, &mut found)?;
        }
    }
    Some(merged(found))
}

/// The same rows, ascending and apart.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
pub(crate) mod tests;
