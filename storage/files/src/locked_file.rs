//! A small private file that more than one process changes, such as a server and a command.
//!
//! Each change reads the whole file and replaces it under a lock, so that no change is lost.
//! Readers need no lock and never see a partial file. Owns the lock file beside it (`<name>.lock`).
//! Does not own the content of the file.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tidings_disk::{Disk, DiskLock, RealDisk, parent, read_all, replace_durably};

use crate::{StorageError, error::failed};

/// Maximum attempts to take the lock. A change by another process takes milliseconds.
const TRIES: u32 = 50;
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A file that only this process may change until this value is dropped.
#[derive(Debug)]
pub struct LockedFile {
    path: PathBuf,
    _lock: DiskLock,
}

impl LockedFile {
    /// Takes the lock of a file, which need not exist yet. Creates its folder if missing. Blocks
    /// for up to a second while another process changes the file.
    ///
    /// # Errors
    /// `Locked` when another process has not finished by then and a retry may succeed.
    /// `Unavailable` when the disk fails.
    #[expect(
        clippy::disallowed_methods,
        reason = "another process's change has no condition to wait on"
    )]
    pub fn lock(path: &Path) -> Result<Self, StorageError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let folder = parent(path).map_err(failed("lock", path))?;
        RealDisk.create_folders(folder).map_err(failed("create", folder))?;
        for _ in 0..TRIES {
            if let Some(lock) = RealDisk.lock(&lock_path).map_err(failed("lock", &lock_path))? {
                return Ok(Self { path: path.to_owned(), _lock: lock });
            }
            thread::sleep(RETRY_INTERVAL);
        }
        Err(StorageError::Locked { path: lock_path })
    }

    /// Returns the content, or `None` if the file does not exist.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StorageError> {
        match read_all(&RealDisk, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(failed("read", &self.path)),
        }
    }

    /// Replaces the content, durably. Only the owner can read the file.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails; the file is then as it was.
    pub fn replace(&self, content: &[u8]) -> Result<(), StorageError> {
        replace_durably(&RealDisk, &self.path, content).map_err(failed("write", &self.path))
    }
}

/// Reads a file to its end, or one byte more than the maximum. A pipe in its place is an error,
/// because reading it could block for ever.
///
/// # Errors
/// Errors of the system. `InvalidInput` for anything other than a regular file.
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::{LockedFile, StorageError};

    #[test]
    fn one_at_a_time_changes_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/keys.json");
        let first = LockedFile::lock(&path).unwrap();
        assert_eq!(first.read().unwrap(), None);
        first.replace(b"one").unwrap();
        assert!(matches!(LockedFile::lock(&path), Err(StorageError::Locked { .. })));
        drop(first);
        let first = LockedFile::lock(&path).unwrap();
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| LockedFile::lock(&path));
            drop(first);
            waiting.join().unwrap().unwrap()
        });
        second.replace(b"two").unwrap();
        assert_eq!(second.read().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
