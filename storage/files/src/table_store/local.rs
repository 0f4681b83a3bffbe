//! Tables in a local folder.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use deltalake_core::{
    ObjectStore,
    logstore::{LogStoreRef, StorageConfig, logstore_with},
};
use tidings_disk::{
    AppendFile, DiskEntry, Mistake, Mistakes, SharedDisk, move_durably, parent, read_all,
    write_durably,
};
use tidings_proto::UnixNanos;
use url::Url;

use super::{Readable, TableStore, synced_store::SyncedStore};
use crate::{StorageError, damage::DamagedFiles};

/// Tables in a local folder: see the module's description.
#[derive(Debug)]
pub struct LocalTables {
    disk: SharedDisk,
    root: PathBuf,
    damaged_files: DamagedFiles,
}

impl LocalTables {
    /// Opens the tables in this folder, whose path must be absolute.
    pub fn new(disk: SharedDisk, root: PathBuf) -> Self {
        Self { disk, root, damaged_files: DamagedFiles::default() }
    }
}

impl Mistakes for LocalTables {
    fn makes(&self, mistake: Mistake) -> bool {
        self.disk.makes(mistake)
    }
}

impl TableStore for LocalTables {
    fn folder(&self, table: &str) -> PathBuf {
        self.root.join(table)
    }

    fn log_store(&self, table: &str) -> Result<LogStoreRef, StorageError> {
        let folder = self.folder(table);
        let url = Url::from_directory_path(&folder).map_err(|()| StorageError::Io {
            action: "address",
            path: folder,
            source: io::Error::other("the data directory's path must be absolute"),
        })?;
        let store: Arc<dyn ObjectStore> = Arc::new(SyncedStore::new(Arc::clone(&self.disk)));
        Ok(logstore_with(store, &url, StorageConfig::default())?)
    }

    fn prepare(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folders(folder)?;
        // A killed process may not have synced the name of its last commit. The name must be
        // durable from here on.
        self.disk.sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>> {
        self.disk.list(folder)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_all(self.disk.as_ref(), path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn open_parts(&self, path: &Path, _: u64) -> io::Result<Readable> {
        File::open(path).and_then(Readable::whole)
    }

    fn written(&self, path: &Path) -> io::Result<UnixNanos> {
        let modified = std::fs::metadata(path)?.modified()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let folder = parent(path)?;
        self.disk.create_folders(folder)?;
        let file = self.disk.create(path)?;
        Ok(Box::new(NewFile { disk: Arc::clone(&self.disk), folder: folder.to_owned(), file }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = parent(path)?;
        self.disk.create_folders(folder)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push("#");
        let unfinished = PathBuf::from(unfinished);
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_durably(self.disk.as_ref(), &unfinished, &[bytes])?;
        self.disk.rename(&unfinished, path)?;
        self.disk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn is_local(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.root)
    }

    fn make_room(&self, _: u64) -> io::Result<u64> {
        self.free_bytes()
    }

    fn set_aside(&self, path: &Path, folder: &Path) -> io::Result<PathBuf> {
        move_durably(self.disk.as_ref(), path, folder)
    }

    fn invalidate(&self, _: &Path) {}

    fn damaged_files(&self) -> &DamagedFiles {
        &self.damaged_files
    }
}

/// A new file whose name becomes durable with its content.
struct NewFile {
    disk: SharedDisk,
    folder: PathBuf,
    file: Box<dyn AppendFile>,
}

impl AppendFile for NewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.disk.sync_folder(&self.folder)
    }
}
