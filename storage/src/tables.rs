//! A Delta table of the store: its data files and its commits.
//!
//! Owns `tables/<name>/`: creating the table, writing data files, and one commit per change of the
//! set of files. A flush adds files and advances the flushed position. Maintenance replaces files.
//! Does not own rows (`tidings_data_file` encodes them) or the log. The caller of
//! [`TelemetryTable::write`] may drop log segments only after it returned `Ok`.
//!
//! `opening` reads the log of a table, even a damaged one (`history`). `commit` encodes commits
//! instead of delta-rs, whose snapshots grow with every commit and are read again for each. There
//! is a single writer, so only the version and the position have to be remembered, and every commit
//! costs the same. Opening, resolving and checkpoints (`checkpoint`) read the table through
//! delta-rs. `delta_columns` declares new columns.
//!
//! A commit that failed, or could not be read back, is in doubt.
//! [`TelemetryTable::resolve_in_doubt`] resolves it before the next write, so that no row is
//! committed twice.

mod checkpoint;
mod commit;
mod delta_columns;
pub(crate) mod fuzzed_log;
mod history;
mod listing;
mod opening;
mod position;
mod table_check;

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use deltalake_core::{
    DeltaTableError,
    logstore::{LogStoreRef, commit_uri_from_version},
};
use futures::StreamExt;
use object_store::{PutMode, PutOptions};
use serde_json::Value;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    schema::HOUR,
};
use tidings_data_file::EncodedFile;
use tidings_disk::{
    Mistake,
    paths::{commit_name, index_path},
};
use tidings_files::{
    StorageError,
    blocking::{blocking, random},
    error::failed,
    table_file::DataFile,
    table_store::{self, DataFileStore, SharedTables, TableStore},
};
use tidings_proto::{Signal, UnixNanos};
use tidings_wal::LogExtent;

use self::{
    commit::CommitEncoder,
    listing::load,
    opening::{ReadLog, TableLog, TableState},
    position::FoundPosition,
};
use crate::table_change::{CommitReason, TableChange};

pub(crate) use self::{
    checkpoint::Checkpoint,
    history::{Damage, files_of_version},
    position::PositionDamage,
    table_check::{check, decoded},
};

/// Table properties set at creation.
const PROPERTIES: [(&str, &str); 5] = [
    ("delta.checkpointInterval", "200"),
    ("delta.logRetentionDuration", "interval 1 days"),
    ("delta.enableExpiredLogCleanup", "true"),
    ("delta.deletedFileRetentionDuration", "interval 1 hours"),
    ("delta.appendOnly", "false"),
];
/// Maximum attempts of a commit when other programs take its version.
const TRIES: usize = 16;

/// One of the two tables.
pub(crate) struct TelemetryTable {
    signal: Signal,
    tables: SharedTables,
    folder: PathBuf,
    log_store: LogStoreRef,
    encoder: CommitEncoder,
    /// Version of the last commit.
    version: u64,
    /// Flushed position: the table holds the log's records up to this sequence.
    covered: u64,
    /// Last version with a checkpoint.
    checkpointed: u64,
    /// Action that declares the table, or `None` while the table is damaged.
    declaration: Option<Value>,
    unsettled: Option<InDoubtCommit>,
    /// This store's files that other programs' commits removed since the table was opened.
    removed_elsewhere: HashSet<PathBuf>,
    damage: Option<Damage>,
}

impl fmt::Debug for TelemetryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.signal.table();
        f.debug_struct("Table").field("name", &name).field("version", &self.version).finish()
    }
}

/// Findings of opening a table.
#[derive(Debug)]
pub(crate) struct OpenedTable {
    pub(crate) table: TelemetryTable,
    pub(crate) files: Vec<Arc<DataFile>>,
    /// Flushed position: the table holds the log's records up to this sequence.
    pub(crate) covered: u64,
    /// Damage of the table's recorded position, if any. `covered` is then the proven position
    /// instead.
    pub(crate) position_damage: Option<PositionDamage>,
    /// Time at which the newest of the files was committed.
    pub(crate) newest: Option<UnixNanos>,
    pub(crate) quarantined: Vec<PathBuf>,
    /// Number of commits in the table's log.
    pub(crate) commits: u64,
    /// Id that the table was created with, or `None` when it is damaged.
    pub(crate) id: Option<String>,
}

/// Outcome of a commit attempt.
#[derive(Debug)]
enum CommitOutcome {
    Landed,
    /// Another commit has its version, with this content.
    Taken(Bytes),
}

/// A commit that may or may not be in the log.
#[derive(Debug, Clone)]
struct InDoubtCommit {
    version: u64,
    bytes: Bytes,
    change: TableChange,
}

impl TelemetryTable {
    /// Opens or creates a table, and quarantines damaged files that it does not need. `recover`
    /// allows giving up last commits that are missing or damaged.
    pub(crate) async fn open(
        tables: &SharedTables,
        quarantine: &Path,
        signal: Signal,
        (extent, recover): (&LogExtent, bool),
    ) -> Result<OpenedTable, StorageError> {
        let log = TableLog::new(tables, signal)?;
        let read = log.open(quarantine, extent, recover).await?;
        Self::opened(log, read).await
    }

    /// Opens a table without changing it. Returns `None` if it does not exist. The extent was read
    /// before, because a server may commit meanwhile. Such commits are not taken for lost ones.
    pub(crate) async fn peek(
        tables: &SharedTables,
        signal: Signal,
        extent: &LogExtent,
    ) -> Result<Option<OpenedTable>, StorageError> {
        let log = TableLog::new(tables, signal)?;
        match log.peek(extent).await? {
            Some(read) => Self::opened(log, read).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens a table from its log, or the salvaged part of a damaged one.
    async fn opened(log: TableLog, read: ReadLog) -> Result<OpenedTable, StorageError> {
        let ReadLog { history, state, quarantined } = read;
        let (signal, encoder) = (log.signal, CommitEncoder::new(log.signal, &log.folder));
        let commits = history.commits.len() as u64;
        let (mut position_damage, mut delta) = (None, None);
        let (files, covered, version) = match (state, &history.damage) {
            (Some(TableState { delta: state, files }), _) => {
                let covered = match log.position(&state).await? {
                    FoundPosition::Sound(position) => position,
                    FoundPosition::Damaged(found) => {
                        let of_it = (&encoder, log.folder.as_path());
                        let proven =
                            position::proven(&log.tables, of_it, &history.commits, &files).await?;
                        let path = log.log_folder();
                        position_damage = Some(PositionDamage { path, found, proven });
                        proven
                    }
                };
                let version = state.version();
                delta = Some(state);
                (files, covered, version)
            }
            (None, Some(damage)) => {
                tracing::error!(path = %damage.path.display(), reason = damage.reason,
                    "the table's log is damaged; the table is not written to any more");
                let found = history::salvage(&log, &history, damage).await?;
                (found.files, found.covered, 0)
            }
            (None, None) => (Vec::new(), 0, 0),
        };
        let declaration = delta.as_ref().map(|state| delta_columns::declaration(state.metadata()));
        let declaration = declaration.transpose()?;
        let id = delta.as_ref().and_then(|state| delta_columns::table_id(state.metadata()));
        let newest = delta.and_then(|state| {
            let views = state.log_data();
            views.iter().map(|view| from_millis(view.modification_time())).max()
        });
        let table = Self {
            signal,
            tables: log.tables,
            folder: log.folder,
            encoder,
            version,
            covered,
            checkpointed: history.checkpoint.unwrap_or(0),
            declaration,
            unsettled: None,
            removed_elsewhere: HashSet::new(),
            damage: history.damage,
            log_store: log.store,
        };
        Ok(OpenedTable { table, files, covered, position_damage, newest, quarantined, commits, id })
    }

    /// Returns the damaged commit, if there is one. The table must not be written to then.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Returns the attribute columns that the table declares.
    pub(crate) fn declared_columns(&self) -> DeclaredColumns {
        self.declaration.as_ref().map(delta_columns::declared).unwrap_or_default()
    }

    /// Returns the committed position in the write-ahead log.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Returns the version of the last commit.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Writes files and commits them, with the sequence up to which they cover the log. When this
    /// returns, the files and the commit are durable and have been read back.
    ///
    /// # Errors
    /// The rows may or may not be in the table: [`Self::resolve_in_doubt`] finds out.
    pub(crate) async fn write(
        &mut self,
        encoded: Vec<EncodedFile>,
        covered: u64,
        now: UnixNanos,
    ) -> Result<TableChange, StorageError> {
        let tables = Arc::clone(&self.tables);
        let (home, mut added, mut parts) = (DataFileStore::new(&tables), Vec::new(), Vec::new());
        let mut columns = Vec::new();
        for file in encoded {
            columns.extend(file.columns);
            let name = file_path(file.hour, &format!("{covered:020}"), added.len());
            let (path, bytes) = (self.folder.join(name), file.bytes.len() as u64);
            let (min, max) = (file.stats.start_min, file.stats.start_max);
            let new = DataFile::new(path.clone(), file.hour, file.rows, bytes, min, max);
            let (home, received_max) = (home.clone(), file.stats.received_max);
            added.push(Arc::new(DataFile { received_max, home, ..new }));
            parts.extend([(index_path(&path), file.index), (path, file.bytes)]);
        }
        self.expect_commit(self.version).await?;
        blocking(move || write_all(tables.as_ref(), &parts)).await?;
        columns.sort_unstable();
        columns.dedup();
        let change = TableChange { why: CommitReason::Flush, added, removed: Vec::new() };
        self.commit(change, &columns, covered, now).await
    }

    /// Commits the replacement of files by other durable files. Nothing else in the table changes.
    ///
    /// # Errors
    /// The files may or may not be replaced: [`Self::resolve_in_doubt`] finds out.
    pub(crate) async fn replace(
        &mut self,
        change: TableChange,
        now: UnixNanos,
    ) -> Result<TableChange, StorageError> {
        // Rows that were already in the table need no new columns.
        self.commit(change, &[], self.covered, now).await
    }

    /// Resolves an in-doubt commit. Returns its change if it is in the log, `None` if another
    /// commit has its version. Its absence proves nothing, because the lost request may still
    /// arrive. So the commit is attempted again; only one attempt can succeed.
    pub(crate) async fn resolve_in_doubt(&mut self) -> Result<Option<TableChange>, StorageError> {
        let Some(InDoubtCommit { version, bytes, change }) = self.unsettled.clone() else {
            return Ok(None);
        };
        let fate = self.attempt(version, &bytes).await?;
        self.unsettled = None;
        if let CommitOutcome::Taken(_) = fate {
            return Ok(None);
        }
        self.record_commit(version, &bytes);
        Ok(Some(change))
    }

    /// Returns a reader of the files that recent commits removed.
    pub(crate) fn tombstones(&self) -> Tombstones {
        Tombstones { log_store: Arc::clone(&self.log_store), folder: self.folder.clone() }
    }

    /// Returns a checkpoint to write, if there were enough commits since the last one.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let due = self.version >= self.checkpointed + checkpoint::INTERVAL;
        due.then(|| Checkpoint::new(Arc::clone(&self.log_store), self.version))
    }

    /// Records that this version has a checkpoint.
    pub(crate) fn checkpointed(&mut self, version: u64) {
        self.checkpointed = self.checkpointed.max(version);
    }

    async fn commit(
        &mut self,
        change: TableChange,
        columns: &[AttributeColumn],
        covered: u64,
        now: UnixNanos,
    ) -> Result<TableChange, StorageError> {
        let declaration = self.declaration.as_ref();
        let missing_columns =
            declaration.map(|known| delta_columns::missing_columns(self.signal, known, columns));
        let missing_columns = missing_columns.transpose()?.flatten();
        if let Some(file) = change.removed.iter().find(|file| self.is_removed_elsewhere(file)) {
            let reason = "another program has removed it from the table".to_owned();
            return Err(StorageError::Conflict { path: file.path.clone(), reason });
        }
        for _ in 0..TRIES {
            let version = self.version + 1;
            let bytes =
                self.encoder.encode(version, missing_columns.as_ref(), &change, covered, now)?;
            let unsettled = InDoubtCommit { version, bytes: bytes.clone(), change: change.clone() };
            self.unsettled = Some(unsettled);
            let fate = self.attempt(version, &bytes).await?;
            self.unsettled = None;
            match fate {
                CommitOutcome::Landed => {
                    self.record_commit(version, &bytes);
                    return Ok(change);
                }
                CommitOutcome::Taken(entry) => {
                    self.removed_elsewhere.extend(self.encoder.removed_by(&entry));
                    self.encoder.check_conflict(&entry, &change, &self.commit_path(version))?;
                    self.version = version;
                }
            }
        }
        let path = self.commit_path(self.version);
        Err(StorageError::Conflict { path, reason: "it does not stop".to_owned() })
    }

    /// Returns true if another program's commit removed this file. Its rows may be in a file of
    /// that program, and must not enter the table again. Snapshots show the file until the table is
    /// opened again.
    pub(crate) fn is_removed_elsewhere(&self, file: &DataFile) -> bool {
        self.removed_elsewhere.contains(&file.path)
    }

    /// Updates the remembered state after a commit that is in the log.
    fn record_commit(&mut self, version: u64, bytes: &[u8]) {
        self.version = version;
        if let Some(declaration) = self.encoder.declaration(bytes) {
            self.declaration = Some(declaration);
        }
        self.covered = self.covered.max(self.encoder.position(bytes).unwrap_or(0));
    }

    /// Checks that a version has a commit or a checkpoint.
    ///
    /// # Errors
    /// `Corrupt` if it has neither. The log was deleted then, and a commit after the gap would
    /// belong to a table that no reader accepts.
    async fn expect_commit(&self, version: u64) -> Result<(), StorageError> {
        let (tables, path) = (Arc::clone(&self.tables), self.commit_path(version));
        let checkpoint = path.with_extension("checkpoint.parquet");
        blocking(move || {
            for path in [&path, &checkpoint] {
                match tables.written(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    written => return written.map(|_| ()).map_err(failed("find", path)),
                }
            }
            let reason = "the table's last commit was removed; nothing is written to the table \
                          until it is back, and the write-ahead log keeps the rows";
            Err(StorageError::Corrupt { path, reason: reason.to_owned() })
        })
        .await
    }

    /// Writes a commit unless its version is taken, and reads back the commit with that version. No
    /// two commits are equal, so an equal one is this one: an earlier request for it has landed.
    async fn attempt(&self, version: u64, bytes: &Bytes) -> Result<CommitOutcome, StorageError> {
        self.expect_commit(version - 1).await?;
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let location = commit_uri_from_version(Some(version));
        let store = self.log_store.object_store(None);
        let created = match store.put_opts(&location, bytes.clone().into(), create).await {
            Ok(_) => true,
            Err(object_store::Error::AlreadyExists { .. })
                if self.tables.makes(Mistake::BelieveConflict) =>
            {
                return Ok(CommitOutcome::Landed);
            }
            Err(object_store::Error::AlreadyExists { .. }) => false,
            Err(error) => return Err(DeltaTableError::from(error).into()),
        };
        match self.log_store.read_commit_entry(version).await? {
            Some(entry) if entry == *bytes => Ok(CommitOutcome::Landed),
            Some(entry) if !created => Ok(CommitOutcome::Taken(entry)),
            _ => {
                let reason = "the commit is not what was written".to_owned();
                Err(StorageError::Corrupt { path: self.commit_path(version), reason })
            }
        }
    }

    fn commit_path(&self, version: u64) -> PathBuf {
        self.folder.join("_delta_log").join(commit_name(version))
    }
}

/// Writes new files. After an error none is left. A file that cannot be deleted is only waste.
fn write_all(tables: &dyn TableStore, files: &[(PathBuf, Bytes)]) -> Result<(), StorageError> {
    for (number, (path, bytes)) in files.iter().enumerate() {
        if let Err(error) = table_store::write(tables, path, bytes) {
            for (path, _) in files.iter().take(number + 1) {
                let _ = tables.remove(path);
            }
            return Err(failed("write", path)(error));
        }
    }
    Ok(())
}

/// Returns the first damaged or missing commit of a table.
///
/// # Errors
/// When the commits cannot be listed or read.
pub(crate) fn damage(
    tables: &dyn TableStore,
    signal: Signal,
) -> Result<Option<Damage>, StorageError> {
    let log_folder = tables.folder(signal.table()).join("_delta_log");
    Ok(history::examine(tables, &log_folder)?.damage)
}

/// Removals that a table's log still records. Reading them needs no lock on the table.
#[derive(Debug)]
pub(crate) struct Tombstones {
    log_store: LogStoreRef,
    folder: PathBuf,
}

impl Tombstones {
    /// Returns when each file was removed, according to the table's log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn read(&self) -> Result<HashMap<PathBuf, UnixNanos>, StorageError> {
        let state = load(&self.log_store, None).await?;
        let mut all = state.all_tombstones(self.log_store.as_ref());
        let mut removed = HashMap::new();
        while let Some(tombstone) = all.next().await {
            let tombstone = tombstone?;
            let when = from_millis(tombstone.deletion_timestamp().unwrap_or(0));
            removed.insert(self.folder.join(tombstone.path().as_ref()), when);
        }
        Ok(removed)
    }
}

fn from_millis(millis: i64) -> UnixNanos {
    UnixNanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000))
}

/// Returns the path of a new data file in its table's folder. It is unique, because a file of a
/// failed attempt may still exist.
pub(crate) fn file_path(hour: i64, prefix: &str, number: usize) -> String {
    format!("{HOUR}={hour}/{prefix}-{number:04}-{:016x}.parquet", random())
}

/// Writes the commit that creates a table. The builder of delta-rs would bring its clients of all
/// object stores into the program.
async fn create(log_store: &LogStoreRef, signal: Signal) -> Result<(), StorageError> {
    let commit = delta_columns::creation(signal, PROPERTIES)?;
    let location = commit_uri_from_version(Some(0));
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match log_store.object_store(None).put_opts(&location, commit.into(), create).await {
        // The answer to the first request may be lost; its retry then finds the version taken.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(DeltaTableError::from(error).into()),
    }
}

#[cfg(test)]
mod tests;
