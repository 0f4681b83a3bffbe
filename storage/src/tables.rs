//! A Delta table of the store: its data files and its commits.
//!
//! Owns `tables/<name>/`: creating the table, writing data files, one commit per flush that
//! carries the position in the write-ahead log as an application transaction, and the proof that
//! the commit is there. Does not own rows (`data_file` encodes them) or the log; whoever calls
//! [`Table::write`] may drop log segments only after it returned `Ok`.
//!
//! A commit whose fate is unknown (its call failed, or could not be read again) is remembered;
//! [`Table::settle`] finds out before anything else is written, so that no row is committed twice.

mod synced_store;
mod tail;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_schema::Schema;
use deltalake_core::{
    DeltaTableError, ObjectStore,
    kernel::{
        Action, Add, LogicalFileView, StructType, Transaction,
        engine::arrow_conversion::TryIntoKernel,
        transaction::{CommitBuilder, CommitProperties, TableReference},
    },
    logstore::{LogStoreRef, StorageConfig, logstore_with},
    operations::create::CreateBuilder,
    protocol::{DeltaOperation, SaveMode},
    table::state::DeltaTableState,
};
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path as ObjectPath};
use serde_json::{Value, json};
use tidings_proto::UnixNanos;
use url::Url;

use self::synced_store::SyncedStore;
use crate::{
    StorageError,
    data_file::{DataFile, EncodedFile},
    disk::{SharedDisk, failed},
    paths::{Paths, commit_name, index_path},
    schema::{HOUR, Signal},
};

/// What a table is told once, when it is created.
const PROPERTIES: [(&str, &str); 5] = [
    ("delta.checkpointInterval", "200"),
    ("delta.logRetentionDuration", "interval 1 days"),
    ("delta.enableExpiredLogCleanup", "true"),
    ("delta.deletedFileRetentionDuration", "interval 1 hours"),
    ("delta.appendOnly", "false"),
];

/// One of the two tables.
pub(crate) struct Table {
    signal: Signal,
    name: &'static str,
    folder: PathBuf,
    log_store: LogStoreRef,
    state: DeltaTableState,
    unsettled: Option<Commit>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What opening a table found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) table: Table,
    pub(crate) files: Vec<Arc<DataFile>>,
    /// The log is in the table up to this sequence.
    pub(crate) covered: u64,
    pub(crate) quarantined: Option<PathBuf>,
}

/// A commit: files, and the sequence up to which they cover the log.
#[derive(Debug, Clone)]
struct Commit {
    files: Vec<Arc<DataFile>>,
    covered: u64,
}

impl Table {
    /// Opens or creates a table, moving a torn last commit aside.
    pub(crate) async fn open(
        disk: &SharedDisk,
        paths: &Paths,
        signal: Signal,
    ) -> Result<Opened, StorageError> {
        let (name, schema) = match signal {
            Signal::Spans => ("spans", crate::schema::spans()),
            Signal::Logs => ("logs", crate::schema::logs()),
        };
        let folder = paths.table(name);
        let log_folder = folder.join("_delta_log");
        let quarantine = paths.quarantine();
        let blocking = Arc::clone(disk);
        let tail = crate::store::blocking(move || {
            blocking.create_folders(&log_folder).map_err(failed("create", &log_folder))?;
            tail::repair(blocking.as_ref(), &log_folder, &quarantine)
        })
        .await?;
        let log_store = log_store(disk, &folder)?;
        if !tail.exists {
            create(&log_store, name, &schema).await?;
        }
        let state = DeltaTableState::try_new(log_store.as_ref(), None).await?;
        let mut table = Self { signal, name, folder, log_store, state, unsettled: None };
        let covered = table.covered().await?;
        let files = table.files()?;
        table.unsettled = None;
        Ok(Opened { table, files, covered, quarantined: tail.quarantined })
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Writes files and commits them, with the sequence up to which they cover the log. When it
    /// returns, the files and the commit are durable and have been read back.
    ///
    /// # Errors
    /// The rows are in the table or not: [`Self::settle`] tells.
    pub(crate) async fn write(
        &mut self,
        encoded: Vec<EncodedFile>,
        covered: u64,
    ) -> Result<Vec<Arc<DataFile>>, StorageError> {
        let store = self.log_store.object_store(None);
        let mut files = Vec::new();
        let mut adds = Vec::new();
        for (number, file) in encoded.into_iter().enumerate() {
            let path = file_path(file.hour, covered, number);
            let location = ObjectPath::from(path.as_str());
            adds.push(self.add(&path, &file));
            files.push(Arc::new(self.data_file(&path, &file)));
            for (location, bytes) in [(index_of(&path), file.index), (location, file.bytes)] {
                let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                let payload = PutPayload::from_bytes(bytes);
                if let Err(error) = store.put_opts(&location, payload, create).await {
                    discard(store.as_ref(), &adds).await;
                    return Err(DeltaTableError::from(error).into());
                }
            }
        }
        let commit = Commit { files, covered };
        self.unsettled = Some(commit.clone());
        self.commit(adds, covered).await?;
        self.unsettled = None;
        Ok(commit.files)
    }

    /// Finds out about a commit of unknown fate: its files when it is there, `None` when there is
    /// no such commit.
    pub(crate) async fn settle(&mut self) -> Result<Option<Vec<Arc<DataFile>>>, StorageError> {
        let Some(commit) = self.unsettled.clone() else { return Ok(None) };
        self.state = DeltaTableState::try_new(self.log_store.as_ref(), None).await?;
        let landed = self.covered().await? >= commit.covered;
        if landed {
            let there: HashSet<PathBuf> =
                self.files()?.iter().map(|file| file.path.clone()).collect();
            if let Some(missing) = commit.files.iter().find(|file| !there.contains(&file.path)) {
                return Err(StorageError::Corrupt {
                    path: self.folder.clone(),
                    reason: format!("commit lacks {}", missing.path.display()),
                });
            }
        }
        self.unsettled = None;
        Ok(landed.then_some(commit.files))
    }

    async fn commit(&mut self, adds: Vec<Add>, covered: u64) -> Result<(), StorageError> {
        let paths: HashSet<String> = adds.iter().map(|add| add.path.clone()).collect();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![HOUR.to_owned()]),
            predicate: None,
        };
        let position = Transaction::new(self.transaction_id(), sequence_as_version(covered));
        let properties = CommitProperties::default()
            .with_metadata([(tail::FILES.to_owned(), json!(adds.len()))])
            .with_application_transaction(position);
        let done = CommitBuilder::from(properties)
            .with_actions(adds.into_iter().map(Action::Add).collect())
            .build(Some(&self.state as &dyn TableReference), Arc::clone(&self.log_store), operation)
            .await?;
        self.state = done.snapshot();
        self.prove(done.version(), &paths, covered).await
    }

    /// Reads a commit back: it has these files and this position.
    async fn prove(
        &self,
        version: u64,
        paths: &HashSet<String>,
        covered: u64,
    ) -> Result<(), StorageError> {
        let name = commit_name(version);
        let damaged = |reason: &str| StorageError::Corrupt {
            path: self.folder.join("_delta_log").join(&name),
            reason: reason.to_owned(),
        };
        let entry = self.log_store.read_commit_entry(version).await?;
        let bytes = entry.ok_or_else(|| damaged("the commit is not there"))?;
        let mut found = HashSet::new();
        let mut position = None;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value =
                serde_json::from_slice(line).map_err(|error| damaged(&error.to_string()))?;
            if let Some(path) = action.pointer("/add/path").and_then(Value::as_str) {
                found.insert(path.to_owned());
            }
            if action.pointer("/txn/appId").and_then(Value::as_str)
                == Some(self.transaction_id().as_str())
            {
                position = action.pointer("/txn/version").and_then(Value::as_i64);
            }
        }
        if found != *paths {
            return Err(damaged("the commit does not have the files that were written"));
        }
        if position != Some(sequence_as_version(covered)) {
            return Err(damaged("the commit does not have the log position that was written"));
        }
        Ok(())
    }

    async fn covered(&self) -> Result<u64, StorageError> {
        let id = self.transaction_id();
        let version = self.state.transaction_version(self.log_store.as_ref(), id).await?;
        Ok(version.map_or(0, |version| u64::try_from(version).unwrap_or(0)))
    }

    fn files(&self) -> Result<Vec<Arc<DataFile>>, StorageError> {
        let mut files = Vec::new();
        for view in self.state.log_data().iter() {
            let file = self.listed_file(&view).ok_or_else(|| StorageError::Corrupt {
                path: self.folder.join(view.path().as_ref()),
                reason: "its entry in the table's log lacks hour or statistics".to_owned(),
            })?;
            files.push(Arc::new(file));
        }
        Ok(files)
    }

    fn listed_file(&self, view: &LogicalFileView) -> Option<DataFile> {
        let hour = view.partition_values_map().get(HOUR)?.as_deref()?.parse().ok()?;
        let stats: Value = serde_json::from_str(&view.stats()?).ok()?;
        let column = self.signal.time_column();
        let time = |which: &str| {
            let nanos = stats.get(which)?.get(column)?.as_i64()?;
            u64::try_from(nanos).ok().map(UnixNanos)
        };
        Some(DataFile::new(
            self.folder.join(view.path().as_ref()),
            hour,
            stats.get("numRecords")?.as_u64()?,
            u64::try_from(view.size()).ok()?,
            time("minValues")?,
            time("maxValues")?,
        ))
    }

    fn data_file(&self, path: &str, file: &EncodedFile) -> DataFile {
        let (min, max) = (file.stats.start_min, file.stats.start_max);
        DataFile::new(
            self.folder.join(path),
            file.hour,
            file.rows,
            file.bytes.len() as u64,
            min,
            max,
        )
    }

    fn add(&self, path: &str, file: &EncodedFile) -> Add {
        let column = self.signal.time_column();
        let stats = json!({
            "numRecords": file.rows,
            "minValues": { column: file.stats.start_min.0 },
            "maxValues": { column: file.stats.start_max.0 },
        });
        Add {
            path: path.to_owned(),
            partition_values: HashMap::from([(HOUR.to_owned(), Some(file.hour.to_string()))]),
            size: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
            modification_time: file.written_unix_millis,
            data_change: true,
            stats: Some(stats.to_string()),
            ..Add::default()
        }
    }

    fn transaction_id(&self) -> String {
        format!("tidings/{}", self.name)
    }
}

/// Delta counts transactions in `i64`; a sequence gets there after 292 years of a record per ns.
fn sequence_as_version(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// Where a data file goes. Unique: a file of a failed attempt may still be there.
fn file_path(hour: i64, covered: u64, number: usize) -> String {
    let nonce = RandomState::new().build_hasher().finish();
    format!("{HOUR}={hour}/{covered:020}-{number:04}-{nonce:016x}.parquet")
}

/// Where the index of a data file goes.
fn index_of(path: &str) -> ObjectPath {
    ObjectPath::from(index_path(Path::new(path)).to_string_lossy().as_ref())
}

/// Removes files that no commit names. What cannot be removed is waste and nothing worse.
async fn discard(store: &dyn ObjectStore, adds: &[Add]) {
    for add in adds {
        let _ = store.delete(&ObjectPath::from(add.path.as_str())).await;
        let _ = store.delete(&index_of(&add.path)).await;
    }
}

fn log_store(disk: &SharedDisk, folder: &Path) -> Result<LogStoreRef, StorageError> {
    let url = Url::from_directory_path(folder).map_err(|()| StorageError::Io {
        action: "address",
        path: folder.to_path_buf(),
        source: std::io::Error::other("the data directory's path must be absolute"),
    })?;
    let store: Arc<dyn ObjectStore> = Arc::new(SyncedStore::new(Arc::clone(disk)));
    Ok(logstore_with(store, &url, StorageConfig::default())?)
}

async fn create(log_store: &LogStoreRef, name: &str, schema: &Schema) -> Result<(), StorageError> {
    let columns: StructType = schema.try_into_kernel()?;
    CreateBuilder::new()
        .with_log_store(Arc::clone(log_store))
        .with_table_name(name)
        .with_columns(columns.fields().cloned())
        .with_partition_columns([HOUR])
        .with_configuration(PROPERTIES.map(|(key, value)| (key, Some(value))))
        .await?;
    Ok(())
}
