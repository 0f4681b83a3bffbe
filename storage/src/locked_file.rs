//! A small private file that more than one process changes, such as a server and a command.
//!
//! Each change reads the whole file and replaces it under a lock, so that none is lost and readers,
//! who need no lock, never see half of one. Owns the lock file beside it (`<name>.lock`). Does not
//! own what the file says.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    StorageError,
    disk::{Disk, DiskLock, RealDisk, failed, parent, read_all, replace_durably},
};

/// A file that this process alone may change, until this is dropped.
#[derive(Debug)]
pub struct LockedFile {
    path: PathBuf,
    _lock: DiskLock,
}

impl LockedFile {
    /// Takes the lock of a file, which need not exist yet. Its folder is made where missing.
    ///
    /// # Errors
    /// `Locked` while another process changes the file: try again. `Unavailable` when the disk
    /// fails.
    pub fn lock(path: &Path) -> Result<Self, StorageError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let folder = parent(path).map_err(failed("lock", path))?;
        RealDisk.create_folders(folder).map_err(failed("create", folder))?;
        match RealDisk.lock(&lock_path).map_err(failed("lock", &lock_path))? {
            Some(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            None => Err(StorageError::Locked { path: lock_path }),
        }
    }

    /// Returns the content; `None` where there is no file.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StorageError> {
        match read_all(&RealDisk, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(failed("read", &self.path)),
        }
    }

    /// Gives the file this content, durable when it returns; only its owner can read it.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails; the file is then as it was.
    pub fn replace(&self, content: &[u8]) -> Result<(), StorageError> {
        replace_durably(&RealDisk, &self.path, content).map_err(failed("write", &self.path))
    }
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
        let second = LockedFile::lock(&path).unwrap();
        second.replace(b"two").unwrap();
        assert_eq!(second.read().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
