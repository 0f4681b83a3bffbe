//! The closed segments of the log, shared by the writer, which closes them, and the flush, which
//! drops them.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_disk::SharedDisk;

use crate::{WalError, error::failed};

/// A closed segment, which gets no more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its file.
    pub path: PathBuf,
    /// Last sequence that it can contain.
    pub last: u64,
    /// Bytes of the segment.
    pub bytes: u64,
}

/// Returns the sequence up to which each segment's records count, oldest first. It follows from the
/// ends in the headers of later segments. `None` stands for an unreadable header, which gives no
/// end.
pub(super) fn limits(prior_ends: impl DoubleEndedIterator<Item = Option<u64>>) -> Vec<u64> {
    let mut limits: Vec<u64> = prior_ends
        .rev()
        .scan(u64::MAX, |later, prior_end| {
            let limit = *later;
            *later = limit.min(prior_end.unwrap_or(u64::MAX));
            Some(limit)
        })
        .collect();
    limits.reverse();
    limits
}

/// The closed segments, oldest first, and the size of the whole log.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    disk: SharedDisk,
    sealed: Mutex<VecDeque<Sealed>>,
    dropping: Mutex<()>,
    bytes: AtomicU64,
    covered: [AtomicU64; 2],
}

impl Segments {
    /// Creates the list. `covered` has the committed positions of the tables of spans and of logs.
    #[must_use]
    pub fn new(folder: PathBuf, disk: SharedDisk, sealed: Vec<Sealed>, covered: [u64; 2]) -> Self {
        let bytes = sealed.iter().map(|segment| segment.bytes).sum();
        let (sealed, dropping) = (Mutex::new(sealed.into()), Mutex::default());
        let (bytes, covered) = (AtomicU64::new(bytes), covered.map(AtomicU64::new));
        Self { folder, disk, sealed, dropping, bytes, covered }
    }

    /// Returns the committed positions for the header of the next segment.
    pub(crate) fn covered(&self) -> [u64; 2] {
        self.covered.each_ref().map(|position| position.load(Ordering::Relaxed))
    }

    /// Updates the committed positions.
    pub fn note_covered(&self, covered: [u64; 2]) {
        for (known, new) in self.covered.iter().zip(covered) {
            known.fetch_max(new, Ordering::Relaxed);
        }
    }

    /// Returns the bytes of the log, including the open segment.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn grew(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn seal(&self, segment: Sealed) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).push_back(segment);
    }

    /// Returns the closed segments.
    pub fn sealed(&self) -> Vec<Sealed> {
        let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        sealed.iter().cloned().collect()
    }

    /// Removes the segments that contain no sequence above this one. Blocks.
    ///
    /// # Errors
    /// When a segment could not be removed. It and later ones stay, and the next call tries again.
    pub fn drop_through(&self, sequence: u64) -> Result<(), WalError> {
        let _one_at_a_time = self.dropping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = false;
        while let Some(oldest) = self.oldest().filter(|segment| segment.last <= sequence) {
            // The list is not locked here, because the writer must not wait when it closes a
            // segment.
            match self.disk.remove(&oldest.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &oldest.path)(error));
                }
                _ => {}
            }
            self.sealed.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            self.bytes.fetch_sub(oldest.bytes, Ordering::Relaxed);
            removed = true;
        }
        if removed {
            self.disk.sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        }
        Ok(())
    }

    fn oldest(&self) -> Option<Sealed> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).front().cloned()
    }
}
