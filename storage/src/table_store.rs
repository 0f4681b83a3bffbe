//! Where the tables are: in a local folder or in an S3-compatible store.
//!
//! Owns reaching their files: data files, indexes, commits and checkpoints. Both kinds of places
//! name files by paths below a folder of the data directory, `<folder>/<table>/…`: that of `local`
//! holds the tables themselves, that of `object` copies of files that were read lately
//! (`cache`). Delta reads and commits through [`TableStore::log_store`]; everything else in here
//! blocks and is called where blocking is allowed. Does not own what the files say (`data_file`,
//! `index`, `tables`), nor the write-ahead log, which is always on the local disk.
//!
//! `connect` reaches an S3-compatible store, `claim` makes sure that it can keep tables and that
//! they are this data directory's.

mod cache;
mod claim;
mod connect;
mod credentials;
mod local;
mod object;
mod readable;
mod synced_store;
#[cfg(test)]
pub(crate) mod unreliable;
mod whole_lists;

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use tidings_proto::UnixNanos;

use self::{
    cache::Cache, claim::claim, connect::connect, object::ObjectTables, whole_lists::WholeLists,
};
pub(crate) use self::{
    claim::{check_local, check_recorded, is_lasting},
    local::LocalTables,
    object::as_io,
    readable::{FetchFailure, Readable},
};
use crate::{
    Clock, StorageError, StoreSettings,
    blocking::blocking,
    damage::{DamagedFiles, Finding},
    disk::{AppendFile, DiskEntry, Mistakes, SharedDisk, failed},
    paths::Paths,
    schema::HOUR,
    settings::{ObjectAddress, ObjectStoreSettings, TablesAt},
};

/// Where the tables are, shared by everything that reads and writes them.
pub(crate) type SharedTables = Arc<dyn TableStore>;

/// A place for tables.
pub(crate) trait TableStore: Mistakes + fmt::Debug + Send + Sync + 'static {
    /// The folder below which a table's files are named.
    fn folder(&self, table: &str) -> PathBuf;

    /// A table's log, for Delta. What it writes is durable when it says so, and a commit never
    /// takes another's place.
    fn log_store(&self, table: &str) -> Result<LogStoreRef, StorageError>;

    /// Makes sure that a folder is there, and that what a process which died wrote there stays.
    fn prepare(&self, folder: &Path) -> io::Result<()>;

    /// Entries of a folder, sorted by name. A missing folder is empty or `NotFound`.
    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Reads a small file whole, as it is now.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Opens a data file or an index, which do not change as long as they have their names.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Opens a data file of so many bytes, of which maybe a few will be read.
    fn open_parts(&self, path: &Path, bytes: u64) -> io::Result<Readable>;

    /// When a file was written; `NotFound` when it is not there.
    fn written(&self, path: &Path) -> io::Result<UnixNanos>;

    /// Begins a new file. After [`AppendFile::sync`] it is there durably, with its name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Writes a file durably in the place of what may be there.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file. `NotFound` where that can be told.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns true if new files stay on the local disk; false if only until they are uploaded.
    fn is_local(&self) -> bool;

    /// Bytes free on the disk that new files are written to first, plus the cache that can be
    /// evicted for them.
    fn room(&self) -> io::Result<u64>;

    /// Gives up what can be done without until so many bytes are free on that disk; how many are.
    fn make_room(&self, bytes: u64) -> io::Result<u64>;

    /// Moves a damaged file into a local folder; where to.
    fn set_aside(&self, path: &Path, folder: &Path) -> io::Result<PathBuf>;

    /// A file that was opened cannot be decoded: should that have been a copy, it goes.
    fn invalidate(&self, path: &Path);

    /// Files that were found damaged.
    fn damaged_files(&self) -> &DamagedFiles;
}

/// Writes a new file and its name durably.
pub(crate) fn write(tables: &dyn TableStore, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tables.create(path)?;
    file.append(bytes)?;
    file.sync()
}

/// Entries of a folder; none where it is missing.
pub(crate) fn list_existing(
    tables: &dyn TableStore,
    folder: &Path,
) -> Result<Vec<DiskEntry>, StorageError> {
    match tables.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(failed("list", folder)),
    }
}

/// The partitions in a folder of a table.
pub(crate) fn partitions(
    tables: &dyn TableStore,
    folder: &Path,
) -> Result<Vec<PathBuf>, StorageError> {
    let of_hour = |name: &str| name.strip_prefix(HOUR).is_some_and(|rest| rest.starts_with('='));
    let entries = list_existing(tables, folder)?.into_iter();
    let folders = entries.filter(|entry| !entry.is_file && of_hour(&entry.name));
    Ok(folders.map(|entry| folder.join(entry.name)).collect())
}

/// Store through which a data file is read.
#[derive(Clone, Default)]
pub(crate) struct DataFileStore(Option<SharedTables>);

impl DataFileStore {
    /// Files of these tables.
    pub(crate) fn new(tables: &SharedTables) -> Self {
        Self(Some(Arc::clone(tables)))
    }

    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        match &self.0 {
            Some(tables) => tables.open(path),
            None => File::open(path),
        }
    }

    pub(crate) fn open_parts(&self, path: &Path, bytes: u64) -> io::Result<Readable> {
        match &self.0 {
            Some(tables) => tables.open_parts(path, bytes),
            None => File::open(path).and_then(Readable::whole),
        }
    }

    /// Records that a file is damaged. If that was a copy, the next one to ask gets a new one.
    pub(crate) fn note_damage(&self, finding: &Finding) {
        if let Some(tables) = &self.0 {
            tables.invalidate(&finding.path);
            tables.damaged_files().note(finding);
        }
    }
}

/// Files are equal when their names are: there is one place for the tables of a store.
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

/// Reaches the place that the settings name, for the process that has the data directory's lock.
/// While it does not answer this waits; `given` is taken for it in tests.
///
/// # Errors
/// `Refused` when it cannot keep tables, or when the directory's tables are somewhere else.
pub(crate) async fn open(
    disk: &SharedDisk,
    paths: &Paths,
    settings: &StoreSettings,
    clock: &dyn Clock,
    given: Option<Arc<dyn ObjectStore>>,
) -> Result<SharedTables, StorageError> {
    let TablesAt::ObjectStore(remote) = &settings.tables else {
        let (of_it, paths_of_it) = (Arc::clone(disk), paths.clone());
        blocking(move || check_local(of_it.as_ref(), &paths_of_it)).await?;
        return Ok(Arc::new(LocalTables::new(Arc::clone(disk), paths.tables())));
    };
    let store = match given {
        Some(store) => store,
        None => connect_whole(remote)?,
    };
    claim(disk, paths, &store, &remote.address, clock).await?;
    let (disk, folder) = (Arc::clone(disk), paths.cache());
    let free_min = settings.disk_reserve_bytes.saturating_mul(2);
    let (address, bytes_max) = (remote.address.clone(), remote.cache_bytes_max);
    blocking(move || {
        let cache = Cache::take_over(disk, folder, bytes_max, free_min)?;
        Ok(Arc::new(ObjectTables::new(store, &address, cache)?) as SharedTables)
    })
    .await
}

/// Connects to an S3-compatible store; nothing is asked of it yet.
///
/// # Errors
/// `Refused` when the settings do not fit together.
pub(crate) fn connect_whole(
    settings: &ObjectStoreSettings,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Ok(Arc::new(WholeLists(connect(settings)?)))
}

/// Tables in an object store that another process may be working on: their logs can be read and
/// their folders listed. Nothing is claimed, and no copy of a file is kept.
///
/// # Errors
/// `Io` when no thread for the requests can be started.
pub(crate) fn remote_logs(
    disk: &SharedDisk,
    paths: &Paths,
    store: Arc<dyn ObjectStore>,
    address: &ObjectAddress,
) -> Result<SharedTables, StorageError> {
    let cache = Cache::unused(Arc::clone(disk), paths.cache());
    Ok(Arc::new(ObjectTables::new(store, address, cache)?))
}

#[cfg(test)]
pub(crate) mod tests;
