//! Location of the tables: a local folder or an S3-compatible store.
//!
//! Owns access to their files: data files, indexes, commits and checkpoints. Both kinds of stores
//! name files by paths below a folder of the data directory, `<folder>/<table>/…`. The folder of
//! `local` contains the tables themselves, that of `object` contains copies of files that were read
//! recently (`cache`). Delta reads and commits through [`TableStore::log_store`]. All other methods
//! block and are called where blocking is allowed. Does not own the content of the files
//! (`tidings_data_file`, `tidings_index`, `tables` of `tidings_storage`), nor the write-ahead log,
//! which is always on the local disk.
//!
//! `location` has the settings, and `connect` connects to an S3-compatible store. `claim` verifies
//! that the store can hold tables, and that the tables belong to this data directory.

mod cache;
mod claim;
mod connect;
mod credentials;
mod list_retries;
mod local;
mod location;
mod object;
mod readable;
mod synced_store;
#[cfg(any(test, feature = "samples"))]
pub mod unreliable;

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use tidings_columns::schema::HOUR;
use tidings_disk::{AppendFile, DiskEntry, Finding, Mistakes, SharedDisk, paths::Paths};
use tidings_proto::UnixNanos;
use tidings_runtime::Clock;

use self::{
    cache::Cache, claim::claim, connect::connect, list_retries::ListRetries, object::ObjectTables,
};
use crate::{StorageError, blocking::blocking, damage::DamagedFiles, error::failed};

pub use self::{
    claim::{check_local, check_recorded, is_permanent},
    local::LocalTables,
    location::{ObjectAddress, ObjectStoreSettings, TablesAt},
    object::as_io,
    readable::{FetchFailure, Readable},
};

/// The table store shared by all code that reads and writes tables.
pub type SharedTables = Arc<dyn TableStore>;

/// Access to the files of the tables.
pub trait TableStore: Mistakes + fmt::Debug + Send + Sync + 'static {
    /// Returns the folder below which a table's files are named.
    fn folder(&self, table: &str) -> PathBuf;

    /// Returns a table's log, for Delta. A write is durable when it returns, and a commit never
    /// replaces another one.
    fn log_store(&self, table: &str) -> Result<LogStoreRef, StorageError>;

    /// Makes sure that a folder exists, and that files of a process that died there stay.
    fn prepare(&self, folder: &Path) -> io::Result<()>;

    /// Lists the entries of a folder, sorted by name. A missing folder is empty or `NotFound`.
    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Reads the current content of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Opens a data file or an index. Such a file never changes under its name.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Opens a data file of this size for reading some of its parts.
    fn open_parts(&self, path: &Path, bytes: u64) -> io::Result<Readable>;

    /// Returns when a file was written, or `NotFound` when it does not exist.
    fn written(&self, path: &Path) -> io::Result<UnixNanos>;

    /// Begins a new file. After [`AppendFile::sync`] the file is durable and has its name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Writes a file durably, and replaces an existing one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file. Returns `NotFound` if the store can tell that it does not exist.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns true if new files stay on the local disk, and false if they stay only until they are
    /// uploaded.
    fn is_local(&self) -> bool;

    /// Returns the free bytes on the disk that new files are written to first, plus the cached
    /// bytes that can be evicted for them.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Evicts cached copies until this many bytes are free on that disk. Returns the free bytes.
    fn make_room(&self, bytes: u64) -> io::Result<u64>;

    /// Moves a damaged file into a local folder. Returns its new path.
    fn set_aside(&self, path: &Path, folder: &Path) -> io::Result<PathBuf>;

    /// Invalidates the cached copy of a file that was opened and cannot be decoded.
    fn invalidate(&self, path: &Path);

    /// Returns the files that were found damaged.
    fn damaged_files(&self) -> &DamagedFiles;
}

/// Writes a new file and its name durably.
pub fn write(tables: &dyn TableStore, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tables.create(path)?;
    file.append(bytes)?;
    file.sync()
}

/// Lists the entries of a folder. A missing folder has none.
pub fn list_existing(
    tables: &dyn TableStore,
    folder: &Path,
) -> Result<Vec<DiskEntry>, StorageError> {
    match tables.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(failed("list", folder)),
    }
}

/// Lists the partitions in a folder of a table.
pub fn partitions(tables: &dyn TableStore, folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let of_hour = |name: &str| name.strip_prefix(HOUR).is_some_and(|rest| rest.starts_with('='));
    let entries = list_existing(tables, folder)?.into_iter();
    let folders = entries.filter(|entry| !entry.is_file && of_hour(&entry.name));
    Ok(folders.map(|entry| folder.join(entry.name)).collect())
}

/// Store through which a data file is read.
#[derive(Clone, Default)]
pub struct DataFileStore(Option<SharedTables>);

impl DataFileStore {
    /// Creates a store that reads the files of these tables.
    pub fn new(tables: &SharedTables) -> Self {
        Self(Some(Arc::clone(tables)))
    }

    /// Opens a data file or an index.
    ///
    /// # Errors
    /// When the file does not exist, or when it cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        match &self.0 {
            Some(tables) => tables.open(path),
            None => File::open(path),
        }
    }

    /// Opens a data file of this size in bytes for reading some of its parts.
    ///
    /// # Errors
    /// When the file does not exist, or when it cannot be opened.
    pub fn open_parts(&self, path: &Path, bytes: u64) -> io::Result<Readable> {
        match &self.0 {
            Some(tables) => tables.open_parts(path, bytes),
            None => File::open(path).and_then(Readable::whole),
        }
    }

    /// Records that a file is damaged. If the file was a cached copy, the next reader gets a new
    /// one.
    pub fn note_damage(&self, finding: &Finding) {
        if let Some(tables) = &self.0 {
            tables.invalidate(&finding.path);
            tables.damaged_files().note(finding);
        }
    }
}

/// Files are equal if their names are, because a store has one location for its tables.
impl PartialEq for DataFileStore {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for DataFileStore {}

impl fmt::Debug for DataFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}

/// Opens the configured location of the tables, for the process that holds the data directory's
/// lock. Waits while the location does not answer. Tests pass `given` instead. Cached copies of files
/// leave twice `disk_reserve_bytes` of the disk free.
///
/// # Errors
/// `Refused` when the location cannot hold tables, or when the directory's tables are somewhere
/// else.
pub async fn open(
    disk: &SharedDisk,
    paths: &Paths,
    tables: &TablesAt,
    disk_reserve_bytes: u64,
    clock: &dyn Clock,
    given: Option<Arc<dyn ObjectStore>>,
) -> Result<SharedTables, StorageError> {
    let TablesAt::ObjectStore(remote) = tables else {
        let (of_it, paths_of_it) = (Arc::clone(disk), paths.clone());
        blocking(move || check_local(of_it.as_ref(), &paths_of_it)).await?;
        return Ok(Arc::new(LocalTables::new(Arc::clone(disk), paths.tables())));
    };
    let store = match given {
        Some(store) => store,
        None => connect_with_list_retries(remote)?,
    };
    claim(disk, paths, &store, &remote.address, clock).await?;
    let (disk, folder) = (Arc::clone(disk), paths.cache());
    let free_min = disk_reserve_bytes.saturating_mul(2);
    let (address, bytes_max) = (remote.address.clone(), remote.cache_bytes_max);
    blocking(move || {
        let cache = Cache::open_folder(disk, folder, bytes_max, free_min)?;
        Ok(Arc::new(ObjectTables::new(store, &address, cache)?) as SharedTables)
    })
    .await
}

/// Connects to an S3-compatible store, without a request yet.
///
/// # Errors
/// `Refused` when the settings are inconsistent.
pub fn connect_with_list_retries(
    settings: &ObjectStoreSettings,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Ok(Arc::new(ListRetries(connect(settings)?)))
}

/// Opens tables in an object store that another process may be using, to read their logs and list
/// their folders. Claims nothing, and caches no file.
///
/// # Errors
/// `Io` when the thread for requests cannot be started.
pub fn remote_logs(
    disk: &SharedDisk,
    paths: &Paths,
    store: Arc<dyn ObjectStore>,
    address: &ObjectAddress,
) -> Result<SharedTables, StorageError> {
    let cache = Cache::unused(Arc::clone(disk), paths.cache());
    Ok(Arc::new(ObjectTables::new(store, address, cache)?))
}

#[cfg(test)]
mod tests;
