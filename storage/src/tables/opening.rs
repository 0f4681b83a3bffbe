//! Reads a table's log when the table opens, and decides how much of a damaged log can be used.
//!
//! Delta refuses a table for one entry that it cannot read, and does not report the commit. A
//! binary search over single versions therefore finds the first one that is refused. That commit
//! counts as damaged, like one with a wrong checksum. A program that may change the table
//! quarantines files that it does not need. One is an unusable checkpoint whose commits exist.
//! Another is a damaged last commit, if the files before it exist and the write-ahead log has every
//! record after their position. A recovery also gives up those records. All other damage leaves the
//! table unchanged: see `history`.
//!
//! Missing last commits leave no gap in the table's log. The newest segment of the write-ahead log
//! reveals them, because its header has the positions that were committed before it began.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use deltalake_core::{logstore::LogStoreRef, table::state::DeltaTableState};
use tidings_disk::paths::{commit_name, flushed_position};
use tidings_files::{
    StorageError,
    blocking::blocking,
    error::failed,
    table_file::DataFile,
    table_store::{DataFileStore, SharedTables, TableStore, list_existing, partitions},
};
use tidings_proto::Signal;
use tidings_wal::LogExtent;

use super::{
    commit::CommitEncoder,
    create,
    history::{self, Damage, History},
    listing::{listed_files, load},
    position::{self, FoundPosition},
};

/// A table whose log is being read.
#[derive(Debug)]
pub(super) struct TableLog {
    pub(super) tables: SharedTables,
    pub(super) store: LogStoreRef,
    pub(super) signal: Signal,
    pub(super) folder: PathBuf,
}

/// The way in which a damaged table opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The table needs a restored commit, and is only read until then.
    Backup,
    /// The table opens without its last commit, whose rows the write-ahead log no longer has.
    GiveUp,
    /// The table opens without its last commit, whose rows are replayed from the write-ahead log.
    Replay,
}

/// The state of a table at one version.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) delta: DeltaTableState,
    pub(super) files: Vec<Arc<DataFile>>,
}

/// A table's log after reading.
#[derive(Debug)]
pub(super) struct ReadLog {
    pub(super) history: History,
    /// The state, or `None` when the history is damaged.
    pub(super) state: Option<TableState>,
    /// Quarantined files.
    pub(super) quarantined: Vec<PathBuf>,
}

impl ReadLog {
    /// Returns the log with this damage instead of a state, if there is one.
    fn without(mut self, lost: Option<Damage>) -> Self {
        if lost.is_some() {
            (self.state, self.history.damage) = (None, lost);
        }
        self
    }
}

impl TableLog {
    pub(super) fn new(tables: &SharedTables, signal: Signal) -> Result<Self, StorageError> {
        let (store, folder) = (tables.log_store(signal.table())?, tables.folder(signal.table()));
        Ok(Self { tables: Arc::clone(tables), store, signal, folder })
    }

    pub(super) fn log_folder(&self) -> PathBuf {
        self.folder.join("_delta_log")
    }

    /// Reads the log of a table that this process may change, and creates a missing one. `recover`
    /// allows giving up last commits that are missing or damaged.
    pub(super) async fn open(
        &self,
        quarantine: &Path,
        extent: &LogExtent,
        recover: bool,
    ) -> Result<ReadLog, StorageError> {
        let mut quarantined = Vec::new();
        self.prepare().await?;
        loop {
            let quarantine_of_it = quarantine.to_owned();
            let (pointer, mut history) = self
                .blocking(move |tables, log_folder| {
                    let pointer = history::check_pointer(tables, log_folder, &quarantine_of_it)?;
                    Ok((pointer, history::examine(tables, log_folder)?))
                })
                .await?;
            quarantined.extend(pointer);
            let error = match self.read(&mut history).await {
                Ok(state) => {
                    let remedy = self.remedy(&history, extent).await?;
                    if let Some(damage) = &history.damage
                        && (remedy == Remedy::Replay || remedy == Remedy::GiveUp && recover)
                    {
                        quarantined.push(self.discard(damage, remedy, quarantine).await?);
                        self.prepare().await?;
                        continue;
                    }
                    if remedy == Remedy::GiveUp {
                        history.suggest_recovery();
                    }
                    let lost = self.lost_commit(state.as_ref(), extent).await?;
                    let read = ReadLog { history, state, quarantined };
                    return match recover {
                        true => self.give_up(lost, read, quarantine).await,
                        false => Ok(read.without(lost)),
                    };
                }
                Err(error) => error,
            };
            let quarantine = quarantine.to_owned();
            let aside = self.blocking(move |tables, log_folder| {
                history::set_checkpoint_aside(tables, log_folder, &quarantine)
            });
            let aside = aside.await?;
            if aside.is_empty() {
                return Err(error);
            }
            quarantined.extend(aside);
        }
    }

    /// Reads the log without changing anything. Returns `None` when the table does not exist.
    pub(super) async fn peek(&self, extent: &LogExtent) -> Result<Option<ReadLog>, StorageError> {
        let folder = self.folder.clone();
        let examined = self.blocking(move |tables, log_folder| {
            match is_created(tables, &folder, log_folder)? {
                true => history::examine(tables, log_folder).map(Some),
                false => Ok(None),
            }
        });
        let Some(mut history) = examined.await? else { return Ok(None) };
        let state = self.read(&mut history).await?;
        let lost = self.lost_commit(state.as_ref(), extent).await?;
        let read = ReadLog { history, state, quarantined: Vec::new() };
        Ok(Some(read.without(lost)))
    }

    /// Returns the damage if later commits than this state are missing.
    async fn lost_commit(
        &self,
        state: Option<&TableState>,
        extent: &LogExtent,
    ) -> Result<Option<Damage>, StorageError> {
        let Some(TableState { delta, .. }) = state else { return Ok(None) };
        let FoundPosition::Sound(position) = self.position(delta).await? else { return Ok(None) };
        let version = delta.version() + 1;
        let (path, reason) = match version {
            1 => (
                self.folder.clone(),
                "it has no commit with rows, and the write-ahead log no longer has them: put the \
                 folder with its commits in its place, or start with `tidings serve --recover` to \
                 go on without them",
            ),
            _ => (
                self.log_folder().join(commit_name(version)),
                "it is missing, and the write-ahead log no longer has its rows: put it back, or \
                 start with `tidings serve --recover` to go on without it",
            ),
        };
        let is_lost = extent.has_lost_commits(self.signal, position);
        Ok(is_lost.then_some(Damage { version, path, reason }))
    }

    /// Opens the table without last commits. Quarantines files that a flush wrote after the table's
    /// position, because they may belong to the missing commits and have rows that no other file
    /// has.
    async fn give_up(
        &self,
        lost: Option<Damage>,
        mut read: ReadLog,
        quarantine: &Path,
    ) -> Result<ReadLog, StorageError> {
        if let Some(lost) = lost {
            tracing::error!(path = %lost.path.display(),
                "the commit is missing and is given up, with its rows");
        }
        let Some(TableState { delta, files }) = &read.state else { return Ok(read) };
        let FoundPosition::Sound(position) = self.position(delta).await? else { return Ok(read) };
        let known: BTreeSet<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let (folder, quarantine) = (self.folder.clone(), quarantine.to_owned());
        let moved = self.blocking(move |tables, _| {
            let flushed = flushed_files(tables, &folder)?.into_iter();
            let unknown = flushed.filter(|(path, at)| *at > position && !known.contains(path));
            unknown.map(|(path, _)| history::move_aside(tables, &path, &quarantine)).collect()
        });
        let moved: Vec<PathBuf> = moved.await?;
        for path in moved {
            tracing::error!(moved_to = %path.display(), "a data file that no commit has is set aside");
            read.quarantined.push(path);
        }
        Ok(read)
    }

    /// Creates the table if it has no log.
    async fn prepare(&self) -> Result<(), StorageError> {
        let folder = self.folder.clone();
        let is_created = self.blocking(move |tables, log_folder| {
            tables.prepare(log_folder).map_err(failed("create", log_folder))?;
            is_created(tables, &folder, log_folder)
        });
        match is_created.await? {
            true => Ok(()),
            false => create(&self.store, self.signal).await,
        }
    }

    /// Reads the newest version. Returns `None` when the history is damaged, or when a commit turns
    /// out to be unreadable, which is then recorded as damage.
    ///
    /// # Errors
    /// When the checkpoint cannot be used, or the store cannot be reached.
    async fn read(&self, history: &mut History) -> Result<Option<TableState>, StorageError> {
        if history.damage.is_some() {
            return Ok(None);
        }
        let error = match self.state(None).await {
            Ok(state) => return Ok(Some(state)),
            Err(error) => error,
        };
        if let Some(checkpoint) = history.checkpoint
            && let Err(error) = self.state(Some(checkpoint)).await
        {
            let Some(needed) = self.blocking(history::needed_checkpoint).await? else {
                return Err(error);
            };
            // The second read excludes a store that was unreachable only for a moment.
            if self.state(Some(checkpoint)).await.is_ok() {
                return Err(error);
            }
            tracing::error!(path = %needed.path.display(), %error, "the checkpoint cannot be read");
            history.damage = Some(needed);
            return Ok(None);
        }
        let first = history.checkpoint.map_or(0, |version| version + 1);
        let Some(refused) = self.first_refused(first, history).await else { return Err(error) };
        // The further reads exclude a store that was unreachable only for a moment.
        let path = self.log_folder().join(commit_name(refused));
        let damage =
            Damage { version: refused, path, reason: "it has an entry that no reader takes" };
        let of_it = damage.path.clone();
        self.blocking(move |tables, _| tables.read(&of_it).map_err(failed("read", &of_it))).await?;
        if self.state(Some(refused)).await.is_ok() {
            return Err(error);
        }
        tracing::error!(path = %damage.path.display(), %error, "the commit cannot be read");
        history.damage = Some(damage);
        Ok(None)
    }

    /// Returns the first version that cannot be read, by binary search. No later version can be
    /// read either.
    async fn first_refused(&self, first: u64, history: &History) -> Option<u64> {
        let last = history.commits.last().copied().filter(|last| *last >= first)?;
        let (mut sound_below, mut refused) = (first, last + 1);
        while sound_below < refused {
            let middle = sound_below + (refused - sound_below) / 2;
            match self.state(Some(middle)).await {
                Ok(_) => sound_below = middle + 1,
                Err(_) => refused = middle,
            }
        }
        (refused <= last).then_some(refused)
    }

    /// Reads a version, or the newest one if none is given.
    async fn state(&self, version: Option<u64>) -> Result<TableState, StorageError> {
        let delta = load(&self.store, version).await?;
        let home = DataFileStore::new(&self.tables);
        let files = listed_files((self.signal, &self.folder), &delta, &home);
        let files = files.into_iter().collect::<Result<_, _>>()?;
        Ok(TableState { delta, files })
    }

    /// Returns the way in which a damaged table opens. The files of the previous version must
    /// exist, because the inputs of a damaged merge are deleted after it.
    async fn remedy(&self, history: &History, extent: &LogExtent) -> Result<Remedy, StorageError> {
        let Some(damage) = history.damage.as_ref().filter(|_| history.ends_damaged()) else {
            return Ok(Remedy::Backup);
        };
        let Some(before) = damage.version.checked_sub(1) else {
            let folder = self.folder.clone();
            let partitions = self.blocking(move |tables, _| partitions(tables, &folder)).await?;
            return Ok(if partitions.is_empty() { Remedy::Replay } else { Remedy::Backup });
        };
        let Ok(state) = self.state(Some(before)).await else { return Ok(Remedy::Backup) };
        let FoundPosition::Sound(position) = self.position(&state.delta).await? else {
            return Ok(Remedy::Backup);
        };
        let files = state.files.len();
        if self.existing(state.files).await?.len() < files {
            return Ok(Remedy::Backup);
        }
        // The name of a file that the commit added contains its position in the log.
        let (folder, extent) = (self.folder.clone(), extent.clone());
        let has_rows = self.blocking(move |tables, _| {
            let flushed = flushed_files(tables, &folder)?.into_iter();
            let through = flushed.map(|(_, at)| at).fold(position, u64::max);
            Ok(extent.is_whole(position, through)?)
        });
        Ok(if has_rows.await? { Remedy::Replay } else { Remedy::GiveUp })
    }

    /// Quarantines a damaged last commit. Returns its new path.
    async fn discard(
        &self,
        damage: &Damage,
        remedy: Remedy,
        quarantine: &Path,
    ) -> Result<PathBuf, StorageError> {
        let (version, path) = (damage.version, damage.path.clone());
        let quarantine = quarantine.to_owned();
        let moved =
            self.blocking(move |tables, _| history::move_aside(tables, &path, &quarantine)).await?;
        let rows = match remedy {
            Remedy::Replay => "are read from the write-ahead log",
            Remedy::GiveUp | Remedy::Backup => {
                "are given up where the write-ahead log no longer has them"
            }
        };
        tracing::error!(version, moved_to = %moved.display(),
            "the table's last commit is damaged and is set aside; its rows {rows}");
        Ok(moved)
    }

    /// Returns the log position that a state records.
    pub(super) async fn position(
        &self,
        state: &DeltaTableState,
    ) -> Result<FoundPosition, StorageError> {
        let id = CommitEncoder::new(self.signal, &self.folder).transaction_id();
        position::read(&id, state, &self.store).await
    }

    /// Returns the files that exist.
    pub(super) async fn existing(
        &self,
        files: Vec<Arc<DataFile>>,
    ) -> Result<Vec<Arc<DataFile>>, StorageError> {
        self.blocking(move |tables, _| {
            let folders: BTreeSet<_> = files.iter().filter_map(|file| file.path.parent()).collect();
            let mut found = BTreeSet::new();
            for folder in folders {
                let entries = list_existing(tables, folder)?;
                found.extend(entries.into_iter().map(|entry| folder.join(entry.name)));
            }
            Ok(files.iter().filter(|file| found.contains(&file.path)).map(Arc::clone).collect())
        })
        .await
    }

    /// Runs blocking work with the tables and the log's folder.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn TableStore, &Path) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tables, log_folder) = (Arc::clone(&self.tables), self.log_folder());
        blocking(move || work(tables.as_ref(), &log_folder)).await
    }
}

/// Lists the data files in a table's folder that a flush wrote, with their positions in the log.
fn flushed_files(
    tables: &dyn TableStore,
    folder: &Path,
) -> Result<Vec<(PathBuf, u64)>, StorageError> {
    let mut flushed = Vec::new();
    for partition in partitions(tables, folder)? {
        let paths =
            list_existing(tables, &partition)?.into_iter().map(|entry| partition.join(entry.name));
        flushed.extend(paths.filter_map(|path| {
            let position = flushed_position(&path)?;
            Some((path, position))
        }));
    }
    Ok(flushed)
}

/// Returns true if a table has a log.
///
/// # Errors
/// `Corrupt` if it has data files and no log.
fn is_created(
    tables: &dyn TableStore,
    folder: &Path,
    log_folder: &Path,
) -> Result<bool, StorageError> {
    let is_created = history::is_there(tables, log_folder)?;
    if !is_created && !partitions(tables, folder)?.is_empty() {
        let reason = "it has no commit, and the table has data files: restore the folder from a \
                      backup, or move the table's folder away and start with `tidings serve --recover` \
                      to begin without it";
        let path = log_folder.to_owned();
        return Err(StorageError::Corrupt { path, reason: reason.to_owned() });
    }
    Ok(is_created)
}
