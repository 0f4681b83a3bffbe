//! The closed segments of the log, shared by the writer that closes and the flush that drops them.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    StorageError,
    disk::{SharedDisk, failed},
};

/// A segment that gets no more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) path: PathBuf,
    /// The last sequence it can hold.
    pub(crate) last: u64,
    pub(crate) bytes: u64,
}

/// The closed segments, oldest first, and the size of the whole log.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    disk: SharedDisk,
    sealed: Mutex<VecDeque<Sealed>>,
    bytes: AtomicU64,
}

impl Segments {
    pub(crate) fn new(folder: PathBuf, disk: SharedDisk, sealed: Vec<Sealed>) -> Self {
        let bytes = sealed.iter().map(|segment| segment.bytes).sum();
        Self { folder, disk, sealed: Mutex::new(sealed.into()), bytes: AtomicU64::new(bytes) }
    }

    /// Bytes of the log, the open segment included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn grew(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn seal(&self, segment: Sealed) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).push_back(segment);
    }

    /// Removes the segments that hold nothing above a sequence. Blocks.
    ///
    /// # Errors
    /// A segment could not be removed: it and those after it stay and are tried again next time.
    pub(crate) fn drop_through(&self, sequence: u64) -> Result<(), StorageError> {
        let mut removed = false;
        loop {
            let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(oldest) = sealed.front().filter(|segment| segment.last <= sequence) else {
                break;
            };
            match self.disk.remove(&oldest.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &oldest.path)(error));
                }
                _ => {}
            }
            self.bytes.fetch_sub(oldest.bytes, Ordering::Relaxed);
            sealed.pop_front();
            removed = true;
        }
        if removed {
            self.disk.sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        }
        Ok(())
    }
}
