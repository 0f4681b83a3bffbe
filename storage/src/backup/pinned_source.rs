//! The data directory that is backed up. A server may change every part of it meanwhile.
//!
//! [`Source::pin`] chooses one moment. It reads the tables' last commits first, and then opens all
//! segments of the log. Records that a table's commit lacks are therefore in the log, and the log
//! reaches every flushed position. In the opposite order, a flush between the two steps would leave
//! a position beyond the end of the copied log. A flush between the two steps is harmless unless it
//! dropped log segments. That is detected, and both steps are repeated. Does not own copying
//! (`create`).

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use object_store::ObjectStore;
use tidings_disk::{
    ReadFile, SharedDisk,
    paths::{Paths, commit_version, index_path},
};
use tidings_files::{
    StorageError, TablesAt,
    error::failed,
    table_store::{self, LocalTables, SharedTables},
};
use tidings_proto::Signal;
use tidings_wal::{LogExtent, PinnedLog};
use tokio::runtime::Handle;

use super::{
    file_store::{Bucket, FileStore, Folder, StoredFile},
    manifest::{TableState, TableStates},
};
use crate::{
    store::format,
    tables::{TelemetryTable, files_of_version},
};

/// Files and folders of a data directory that are copied unchanged. `docs/backup.md` explains for
/// each name why it is copied or not.
const COPIED: [&str; 4] = ["pins", "keys.json", "erasures", "quarantine"];

/// The data directory to copy: see the module's description.
pub(super) struct Source {
    disk: SharedDisk,
    paths: Paths,
    tables: SharedTables,
    /// The files of `tables`.
    table_files: Arc<dyn FileStore>,
    directory: Folder,
    runtime: Handle,
}

/// Criterion by which a file equals the one in an earlier backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileIdentity {
    /// Name and length. No two files have its name.
    Unique,
    /// Length and modification time, or else its bytes. The file is replaced at times.
    Modified(u64),
    /// Its bytes.
    Bytes,
}

/// A file to copy.
pub(super) struct SourceFile {
    /// Path in the data directory.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) identity: FileIdentity,
    /// File handle, kept open since the moment was chosen.
    opened: Option<Box<dyn ReadFile>>,
}

impl SourceFile {
    fn new(path: String, bytes: u64, identity: FileIdentity) -> Self {
        Self { path, bytes, identity, opened: None }
    }
}

/// The files that hold the data directory's state at one moment.
pub(super) struct PinnedSource {
    pub(super) tables: TableStates,
    pub(super) log_end: u64,
    pub(super) directory_format: u32,
    pub(super) files: Vec<SourceFile>,
}

impl Source {
    /// Opens a data directory for reading. Takes no lock, because a server may hold it, and writes
    /// nothing.
    ///
    /// # Errors
    /// `Refused` when its tables are elsewhere, `RefusedBackup` when this is not a data directory.
    pub(super) fn open(
        disk: SharedDisk,
        data_dir: PathBuf,
        tables: &TablesAt,
        given: Option<Arc<dyn ObjectStore>>,
        runtime: Handle,
    ) -> Result<Self, StorageError> {
        let paths = Paths::new(data_dir);
        format::check(disk.as_ref(), &paths)?;
        if !disk.is_folder(&paths.wal()) {
            let at = paths.root().display().to_string();
            return Err(StorageError::RefusedBackup {
                at,
                reason: "it is no data directory, or one that no server has worked on".to_owned(),
            });
        }
        let (tables, table_files): (SharedTables, Arc<dyn FileStore>) = match tables {
            TablesAt::DataDirectory => {
                table_store::check_local(disk.as_ref(), &paths)?;
                let files = Folder::new(Arc::clone(&disk), paths.tables());
                (Arc::new(LocalTables::new(Arc::clone(&disk), paths.tables())), Arc::new(files))
            }
            TablesAt::ObjectStore(remote) => {
                table_store::check_recorded(disk.as_ref(), &paths, &remote.address)?;
                let store = match given {
                    Some(store) => store,
                    None => table_store::connect_with_list_retries(remote)?,
                };
                let files =
                    Bucket::new(Arc::clone(&store), remote.address.clone(), runtime.clone());
                let tables = table_store::remote_logs(&disk, &paths, store, &remote.address)?;
                (tables, Arc::new(files))
            }
        };
        let directory = Folder::new(Arc::clone(&disk), paths.root());
        Ok(Self { disk, paths, tables, table_files, directory, runtime })
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Chooses a moment. Returns `None` when segments of the log were dropped or commits were
    /// deleted meanwhile. The caller then tries again.
    ///
    /// # Errors
    /// `Corrupt` when a commit or a position is damaged. It must be repaired before a backup.
    pub(super) fn pin(&self) -> Result<Option<PinnedSource>, StorageError> {
        let extent = LogExtent::read(&self.disk, self.paths.wal());
        let mut files = Vec::new();
        let (Some(spans), Some(logs)) = (
            self.pin_table(Signal::Spans, &extent, &mut files)?,
            self.pin_table(Signal::Logs, &extent, &mut files)?,
        ) else {
            return Ok(None);
        };
        let tables = TableStates { spans, logs };
        let Some(log) = tidings_wal::pin(self.disk.as_ref(), &self.paths.wal())? else {
            return Ok(None);
        };
        if !self.is_covered(&tables, &log)? {
            return Ok(None);
        }
        // The log was opened after the tables and reaches at least as far.
        let position = tables.spans.position.max(tables.logs.position);
        if !log.segments.is_empty() && log.end < position {
            let reason = format!(
                "the tables have it up to record {position}, and it ends with record {}: its newest \
                 segments are missing",
                log.end
            );
            return Err(StorageError::Corrupt { path: self.paths.wal(), reason });
        }
        // Segments come before all other files, because they are kept open until they are copied.
        let segments = log.segments.into_iter().map(|segment| SourceFile {
            opened: Some(segment.file),
            ..SourceFile::new(format!("wal/{}", segment.name), segment.bytes, FileIdentity::Bytes)
        });
        let mut all: Vec<SourceFile> = segments.collect();
        all.extend(self.small_files()?);
        all.extend(files);
        let recorded = format::recorded(self.disk.as_ref(), &self.paths.format())?;
        let directory_format = recorded.unwrap_or(format::FORMAT);
        Ok(Some(PinnedSource { tables, log_end: log.end, directory_format, files: all }))
    }

    /// Returns true if each record of the log is in its table or in the pinned segments. A table
    /// without a commit since it was pinned has dropped nothing more from the log, whatever its
    /// position is. A flush without rows for the table does not move that position.
    fn is_covered(&self, tables: &TableStates, log: &PinnedLog) -> Result<bool, StorageError> {
        let missing = log.missing_through();
        for signal in [Signal::Spans, Signal::Logs] {
            let pinned = tables.get(signal);
            if missing > pinned.position && self.newest_commit(signal)? != Some(pinned.version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn commit_files(&self, signal: Signal) -> Result<Vec<StoredFile>, StorageError> {
        let folder = format!("{}/_delta_log", signal.table());
        let listed = self.table_files.list(&folder);
        listed.map_err(failed("list", &self.table_files.address(&folder)))
    }

    fn newest_commit(&self, signal: Signal) -> Result<Option<u64>, StorageError> {
        let files = self.commit_files(signal)?;
        Ok(files.iter().filter_map(|file| commit_version(last_part(&file.name))).max())
    }

    /// Returns the files of a table's last version. Returns `None` when its commits were deleted
    /// meanwhile.
    fn pin_table(
        &self,
        signal: Signal,
        extent: &LogExtent,
        files: &mut Vec<SourceFile>,
    ) -> Result<Option<TableState>, StorageError> {
        let folder = self.tables.folder(signal.table());
        let log_folder = folder.join("_delta_log");
        let corrupt = |path: &PathBuf, reason: String| {
            Err(StorageError::Corrupt { path: path.clone(), reason })
        };
        let peeked = TelemetryTable::peek(&self.tables, signal, extent);
        let Some(opened) = self.runtime.block_on(Box::pin(peeked))? else {
            if extent.has_lost_commits(signal, 0) {
                return corrupt(&log_folder, "it has no commits".to_owned());
            }
            let reason = "no server has come to the end of its first start on it".to_owned();
            let at = folder.display().to_string();
            return Err(StorageError::RefusedBackup { at, reason });
        };
        if let Some(damage) = opened.table.damage() {
            let reason =
                format!("{}; start the server, which says what is to be done", damage.reason);
            return corrupt(&damage.path, reason);
        }
        if let Some(damage) = &opened.position_damage {
            return corrupt(&damage.path, damage.to_string());
        }
        let version = opened.table.version();
        let commits = self.commit_files(signal)?;
        let sizes: HashMap<&str, &StoredFile> =
            commits.iter().map(|file| (last_part(&file.name), file)).collect();
        let Some(needed) = files_of_version(sizes.keys().copied(), version) else {
            return Ok(None);
        };
        let needed = needed.into_iter().filter_map(|name| sizes.get(name));
        files.extend(needed.map(|file| {
            SourceFile::new(format!("tables/{}", file.name), file.bytes, FileIdentity::Bytes)
        }));
        let indexes = self.indexes(signal)?;
        for file in &opened.files {
            let inside = |path: &PathBuf| {
                let inside = path.strip_prefix(&folder).ok()?.to_str()?;
                Some(format!("{}/{inside}", signal.table()))
            };
            let (data, index) = (inside(&file.path), inside(&index_path(&file.path)));
            let Some(data) = data else {
                return corrupt(&file.path, "it is not in its table's folder".to_owned());
            };
            // A missing index is rebuilt by its reader.
            if let Some(index) = index.and_then(|index| indexes.get(&index)) {
                let identity = FileIdentity::Modified(index.modified.0);
                let path = format!("tables/{}", index.name);
                files.push(SourceFile::new(path, index.bytes, identity));
            }
            files.push(SourceFile::new(format!("tables/{data}"), file.bytes, FileIdentity::Unique));
        }
        let id = opened.id.unwrap_or_default();
        Ok(Some(TableState { id, version, position: opened.covered }))
    }

    /// Returns the indexes of a table by name.
    fn indexes(&self, signal: Signal) -> Result<HashMap<String, StoredFile>, StorageError> {
        let folder = format!("{}/_index", signal.table());
        let listed = self.table_files.list(&folder);
        let listed = listed.map_err(failed("list", &self.table_files.address(&folder)))?;
        Ok(listed.into_iter().map(|file| (file.name.clone(), file)).collect())
    }

    /// Returns the pins, keys and other files that belong to neither the log nor the tables.
    fn small_files(&self) -> Result<Vec<SourceFile>, StorageError> {
        let root = self.paths.root();
        let entries = self.disk.list(root).map_err(failed("list", root))?;
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| COPIED.contains(&entry.name.as_str())) {
            if entry.is_file {
                let size =
                    match self.disk.open(&root.join(&entry.name)).and_then(|file| file.size()) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        size => size.map_err(failed("read", &root.join(&entry.name)))?,
                    };
                files.push(SourceFile::new(entry.name.clone(), size, FileIdentity::Bytes));
                continue;
            }
            let listed = self.directory.list(&entry.name);
            let listed = listed.map_err(failed("list", &root.join(&entry.name)))?;
            let found = listed.into_iter();
            files.extend(
                found.map(|file| SourceFile::new(file.name, file.bytes, FileIdentity::Bytes)),
            );
        }
        Ok(files)
    }

    /// Opens a file. Returns its address too, for errors.
    ///
    /// # Errors
    /// `Io` with `NotFound` when it was removed.
    pub(super) fn open_file(
        &self,
        file: &mut SourceFile,
    ) -> Result<(PathBuf, Box<dyn ReadFile>), StorageError> {
        let (store, name): (&dyn FileStore, &str) = match file.path.strip_prefix("tables/") {
            Some(inside) => (self.table_files.as_ref(), inside),
            None => (&self.directory, file.path.as_str()),
        };
        let address = store.address(name);
        let opened = match file.opened.take() {
            Some(opened) => opened,
            None => store.open(name, file.bytes).map_err(failed("open", &address))?,
        };
        Ok((address, opened))
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
