//! Files in a local folder. A new file is written under a name that ends with [`UNFINISHED`], synced
//! and renamed.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use tidings_disk::{DiskLock, ReadFile, SharedDisk, parent, read_all};
use tidings_files::{StorageError, error::failed};
use tidings_proto::UnixNanos;
use tidings_runtime::Clock;

use super::{FileStore, LocationLock, StoredFile, piece_of};

/// Suffix of the names of unfinished files.
const UNFINISHED: &str = ".part";
/// File whose lock is held by the process that changes the folder.
const LOCK: &str = "lock";
/// Names that an unused folder may have: the lock, and a folder that file systems create.
const IGNORED: [&str; 2] = [LOCK, "lost+found"];

/// Files in a folder: see the module's description.
#[derive(Debug)]
pub(in crate::backup) struct Folder {
    disk: SharedDisk,
    root: PathBuf,
}

impl Folder {
    /// Creates a view of the files below this folder, which need not exist.
    pub(in crate::backup) fn new(disk: SharedDisk, root: impl Into<PathBuf>) -> Self {
        Self { disk, root: root.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    /// Removes the folders of a removed file that are now empty.
    fn remove_empty(&self, file: &Path) {
        for folder in file.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            // A folder that is not empty stays, and so do its parents.
            if self.disk.remove_folder(folder).is_err() {
                break;
            }
        }
    }

    fn write_unfinished(&self, path: &Path, bytes: u64, source: &mut dyn Read) -> io::Result<()> {
        let mut file = self.disk.create(path)?;
        let mut piece = vec![0; piece_of(bytes)];
        loop {
            match source.read(&mut piece)? {
                0 => break,
                read => file.append(piece.get(..read).unwrap_or_default())?,
            }
        }
        file.sync()
    }
}

impl FileStore for Folder {
    fn address(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    fn is_unused(&self) -> io::Result<bool> {
        let entries = match self.disk.list(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            listed => listed?,
        };
        let is_ours = |name: &str| IGNORED.contains(&name) || name.ends_with(UNFINISHED);
        Ok(entries.iter().all(|entry| is_ours(&entry.name)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<StoredFile>> {
        let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            let entries = match self.disk.list(&self.path(&folder)) {
                // The entry was removed, or is a link to something other than a folder.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                listed => listed?,
            };
            for entry in entries {
                let name = match folder.as_str() {
                    "" => entry.name,
                    folder => format!("{folder}/{}", entry.name),
                };
                if !entry.is_file {
                    folders.push(name);
                    continue;
                }
                let metadata = match std::fs::metadata(self.path(&name)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata?,
                };
                let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                let modified = UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
                files.push(StoredFile { name, bytes: metadata.len(), modified });
            }
        }
        Ok(files)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        read_all(self.disk.as_ref(), &self.path(name))
    }

    fn open(&self, name: &str, bytes: u64) -> io::Result<Box<dyn ReadFile>> {
        let file = self.disk.open(&self.path(name))?;
        match file.size()? {
            size if size < bytes => {
                let reason = format!("it has {size} bytes and not {bytes}");
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            _ => Ok(file),
        }
    }

    fn write(&self, name: &str, bytes: u64, source: &mut dyn Read) -> io::Result<()> {
        let path = self.path(name);
        let folder = parent(&path)?;
        self.disk.create_folders(folder)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self
            .write_unfinished(&unfinished, bytes, source)
            .and_then(|()| self.disk.rename(&unfinished, &path));
        written.inspect_err(|_| {
            let _ = self.disk.remove(&unfinished);
        })?;
        self.disk.sync_folder(folder)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => {
                self.remove_empty(&path);
                Ok(())
            }
            failed => failed,
        }
    }

    fn lock(&self, _: &dyn Clock) -> Result<Box<dyn LocationLock>, StorageError> {
        self.disk.create_folders(&self.root).map_err(failed("create", &self.root))?;
        let path = self.path(LOCK);
        let lock = self.disk.lock(&path).map_err(failed("lock", &path))?;
        let lock = lock.ok_or(StorageError::Locked { path })?;
        Ok(Box::new(FolderLock { _lock: lock }))
    }
}

/// A held lock. The system releases it when the process ends.
struct FolderLock {
    _lock: DiskLock,
}

impl LocationLock for FolderLock {
    fn keep(&mut self, _: &dyn Clock) -> Result<(), StorageError> {
        Ok(())
    }
}
