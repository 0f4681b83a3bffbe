//! Records of erasures: one JSON file each in `erasures/`, named by when the erasure began.
//!
//! A record is written when an erasure begins and again when it ends, so that one that was cut off
//! is known. It has the id of a trace or the key of an attribute, never the attribute's value. The
//! beginning of an erasure deletes the oldest records above their maximum. Does not own erasing
//! (`erase`).

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tidings_proto::{TraceId, UnixNanos};
use tokio::task::JoinHandle;

use super::{Erasure, ErasureReport};
use crate::{
    StorageError,
    blocking::blocking,
    disk::{Disk, failed, read_all, replace_durably},
    paths::{erasure_begun, erasure_name},
    store::StoreInner,
};

const TRACE: &str = "trace ";
const ATTRIBUTE: &str = "attribute ";

/// Maximum number of records that are listed, and kept: records of files that are left to snapshots
/// stay until those are gone.
pub const ERASURES_MAX: usize = 1_000;

/// State of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErasureState {
    /// It is under way.
    Running,
    /// It has ended. Files may be left to snapshots, and unreadable ones.
    #[default]
    Done,
    /// It ended early and may be partial.
    Failed,
    /// The store was closed or killed meanwhile, so it may be partial.
    Interrupted,
}

/// Record of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasureRecord {
    /// When it began, in nanoseconds since 1970: rows acknowledged by then are erased. No two
    /// erasures have the same.
    #[serde(rename = "time_unix_nanos")]
    pub begun_unix_nanos: u64,
    /// When it ended.
    pub ended_unix_nanos: Option<u64>,
    /// Its state.
    pub state: ErasureState,
    erased: String,
    /// Spans that are gone.
    pub spans: u64,
    /// Log records that are gone.
    pub log_records: u64,
    /// Files that were searched.
    #[serde(rename = "files_searched")]
    pub searched_files: u64,
    /// Files to search.
    #[serde(rename = "files_to_search")]
    pub files: u64,
    /// Files that were rewritten.
    #[serde(rename = "files_rewritten")]
    pub rewritten_files: u64,
    /// Files that snapshots still read, deleted when those end. Some may have nothing of it.
    #[serde(rename = "files_left_to_readers")]
    pub left_files: u64,
    /// Pinned traces that lost something.
    pub pinned_traces: u64,
    /// Of those, the ones without any rows left, which are no longer pinned.
    pub unpinned_traces: u64,
    /// Files that cannot be read, below the data directory: they may still have some of it.
    #[serde(rename = "files_not_read")]
    pub unread_files: Vec<String>,
    /// Reason why it ended early.
    pub reason: Option<String>,
}

impl ErasureRecord {
    /// Reads the record of the erasure that began then. One that was under way was cut off.
    ///
    /// # Errors
    /// When the file is no record.
    pub(crate) fn from_json(json: &[u8], begun: u64) -> Result<Self, serde_json::Error> {
        let record: Self = serde_json::from_slice(json)?;
        let state = match record.state {
            ErasureState::Running => ErasureState::Interrupted,
            ended => ended,
        };
        Ok(Self { begun_unix_nanos: begun, state, ..record })
    }

    /// The trace that was erased.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        self.erased.strip_prefix(TRACE)?.parse().ok()
    }

    /// The key of the attribute that was erased.
    #[must_use]
    pub fn attribute_key(&self) -> Option<&str> {
        self.erased.strip_prefix(ATTRIBUTE)
    }

    fn count(&mut self, report: &ErasureReport, root: &Path) {
        (self.spans, self.log_records) = (report.spans, report.log_records);
        (self.rewritten_files, self.left_files) = (report.files, report.left_files);
        self.pinned_traces = report.pinned.len() as u64;
        self.unpinned_traces = report.unpinned.len() as u64;
        let below =
            |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        self.unread_files = report.unread_files.iter().map(below).collect();
    }
}

impl Erasure {
    /// Describes the erasure without the value that must not be recorded.
    fn described(&self) -> String {
        match self {
            Self::Trace(id) => format!("{TRACE}{id}"),
            Self::Attribute(one) => format!("{ATTRIBUTE}{}", one.key),
        }
    }
}

/// Erasures of this process.
#[derive(Debug, Default)]
pub(in crate::store) struct ErasureBoard {
    erasures: Mutex<Erasures>,
    /// Held by whoever begins an erasure, and by the end of the store.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Erasures {
    running: Option<ErasureRecord>,
    task: Option<JoinHandle<()>>,
    /// By record, the removed files that snapshots read when the erasure ended.
    left: Vec<(u64, HashSet<PathBuf>)>,
}

impl ErasureBoard {
    fn lock(&self) -> MutexGuard<'_, Erasures> {
        self.erasures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The erasure under way.
    pub(super) fn running(&self) -> Option<ErasureRecord> {
        self.lock().running.clone()
    }

    /// Changes the record of the erasure under way.
    pub(super) fn update(&self, change: impl FnOnce(&mut ErasureRecord)) {
        if let Some(running) = &mut self.lock().running {
            change(running);
        }
    }

    pub(super) fn keep_task(&self, task: JoinHandle<()>) {
        self.lock().task = Some(task);
    }

    /// Notes the files that an erasure has left to snapshots.
    pub(super) fn leave(&self, begun: u64, files: HashSet<PathBuf>) {
        if !files.is_empty() {
            self.lock().left.push((begun, files));
        }
    }

    /// True while snapshots read files that an erasure removed.
    pub(in crate::store) fn has_left(&self) -> bool {
        !self.lock().left.is_empty()
    }

    /// Compares with the removed files that are still there. Returns the erasures of which some
    /// went, with what they have left.
    fn changes(&self, gone: &HashSet<PathBuf>) -> Vec<(u64, HashSet<PathBuf>)> {
        let remaining = |files: &HashSet<PathBuf>| files.intersection(gone).cloned().collect();
        let erasures = self.lock();
        let left =
            erasures.left.iter().map(|(begun, files)| (*begun, files.len(), remaining(files)));
        let changed =
            left.filter(|(_, before, rest): &(u64, usize, HashSet<PathBuf>)| rest.len() < *before);
        changed.map(|(begun, _, rest)| (begun, rest)).collect()
    }

    /// Notes what an erasure has left now.
    fn note_left(&self, begun: u64, rest: HashSet<PathBuf>) {
        let mut erasures = self.lock();
        erasures.left.retain(|(other, _)| *other != begun);
        if !rest.is_empty() {
            erasures.left.push((begun, rest));
        }
    }
}

/// The erasure under way, until it is dropped.
pub(super) struct ErasureTurn {
    inner: Arc<StoreInner>,
    /// When it began.
    pub(super) begun: u64,
}

impl Drop for ErasureTurn {
    fn drop(&mut self) {
        self.inner.erasures.lock().running = None;
    }
}

impl StoreInner {
    /// Makes an erasure the one under way, and writes its record.
    pub(super) async fn note_erasure(
        self: &Arc<Self>,
        what: &Erasure,
    ) -> Result<ErasureTurn, StorageError> {
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.erasures());
        let (now, erased) = (self.shared.clock.now().0, what.described());
        let newest = blocking(move || {
            disk.create_folders(&folder).map_err(failed("create", &folder))?;
            let begun = records_of(disk.as_ref(), &folder)?;
            forget_oldest(disk.as_ref(), &folder, &begun);
            Ok(begun.last().copied())
        });
        let begun = newest.await?.map_or(now, |newest| now.max(newest.saturating_add(1)));
        let record = ErasureRecord {
            begun_unix_nanos: begun,
            state: ErasureState::Running,
            erased,
            ..ErasureRecord::default()
        };
        let turn = ErasureTurn { inner: Arc::clone(self), begun };
        self.erasures.lock().running = Some(record.clone());
        self.write_record(record).await?;
        Ok(turn)
    }

    /// Writes the record of an erasure that has ended.
    pub(super) async fn close_record(
        &self,
        report: &ErasureReport,
        error: Option<&StorageError>,
    ) -> Result<(), StorageError> {
        let Some(mut record) = self.erasures.running() else { return Ok(()) };
        record.count(report, self.paths.root());
        record.ended_unix_nanos = Some(self.shared.clock.now().0);
        record.state = match error {
            None => ErasureState::Done,
            Some(StorageError::Closed) => ErasureState::Interrupted,
            Some(_) => ErasureState::Failed,
        };
        record.reason = error.map(ToString::to_string);
        self.write_record(record).await
    }

    /// Where the record of an erasure is.
    pub(super) fn record_path(&self, begun: u64) -> PathBuf {
        self.paths.erasures().join(erasure_name(begun))
    }

    async fn write_record(&self, record: ErasureRecord) -> Result<(), StorageError> {
        let path = self.record_path(record.begun_unix_nanos);
        let disk = Arc::clone(&self.disk);
        blocking(move || {
            let content = serde_json::to_vec(&record);
            let content = content.map_err(|error| failed("write", &path)(error.into()))?;
            replace_durably(disk.as_ref(), &path, &content).map_err(failed("write", &path))
        })
        .await
    }

    /// Shows how far the erasure under way is.
    pub(super) fn show_progress(&self, report: &ErasureReport, searched: u64, files: u64) {
        self.erasures.update(|record| {
            record.count(report, self.paths.root());
            (record.searched_files, record.files) = (searched, files);
        });
    }

    /// The records of erasures, the newest first; [`ERASURES_MAX`] at most.
    pub(super) async fn erasures(&self) -> Result<Vec<ErasureRecord>, StorageError> {
        self.newest_erasures(ERASURES_MAX).await
    }

    async fn newest_erasures(&self, limit: usize) -> Result<Vec<ErasureRecord>, StorageError> {
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.erasures());
        // Before the disk is read: what ends meanwhile is taken as it was.
        let running = self.erasures.running();
        blocking(move || {
            let begun = records_of(disk.as_ref(), &folder)?.into_iter().rev().take(limit);
            let mut records = Vec::new();
            for begun in begun {
                records.extend(read_record(disk.as_ref(), &folder, begun, running.as_ref())?);
            }
            Ok(records)
        })
        .await
    }

    /// One of them.
    pub(super) async fn erasure(&self, begun: u64) -> Result<Option<ErasureRecord>, StorageError> {
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.erasures());
        let running = self.erasures.running();
        blocking(move || read_record(disk.as_ref(), &folder, begun, running.as_ref())).await
    }

    /// Brings the records up to date about files that erasures left to snapshots.
    pub(in crate::store) async fn settle_erasures(&self) -> Result<(), StorageError> {
        for (begun, rest) in self.erasures.changes(&self.shared.state.gone_paths()) {
            if let Some(record) = self.erasure(begun).await? {
                let left_files = rest.len() as u64;
                self.write_record(ErasureRecord { left_files, ..record }).await?;
            }
            // After the record is written: what fails is tried again.
            self.erasures.note_left(begun, rest);
        }
        Ok(())
    }

    /// The erasures of earlier processes that left files to snapshots: no snapshot reads them now.
    pub(in crate::store) async fn unsettled_erasures(
        &self,
    ) -> Result<Vec<ErasureRecord>, StorageError> {
        // Also above their maximum: records of files that are left are kept.
        let mut records = self.newest_erasures(usize::MAX).await?;
        let own = self.erasures.lock().left.iter().map(|(begun, _)| *begun).collect::<Vec<_>>();
        records.retain(|record| record.left_files > 0 && record.state != ErasureState::Running);
        records.retain(|record| !own.contains(&record.begun_unix_nanos));
        Ok(records)
    }

    /// Writes that these have left no files.
    pub(in crate::store) async fn settle_records(
        &self,
        records: Vec<ErasureRecord>,
    ) -> Result<(), StorageError> {
        for record in records {
            self.write_record(ErasureRecord { left_files: 0, ..record }).await?;
        }
        Ok(())
    }

    /// Waits for the erasure under way, which ends early because the store stops. None begins
    /// afterwards.
    pub(in crate::store) async fn end_erasures(&self) {
        let _turn = self.erasures.turn.lock().await;
        let task = self.erasures.lock().task.take();
        if let Some(task) = task {
            // One that panicked has nothing left to stop.
            let _ = task.await;
        }
    }
}

/// When the recorded erasures began, ascending.
fn records_of(disk: &dyn Disk, folder: &Path) -> Result<Vec<u64>, StorageError> {
    let entries = match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed("list", folder))?,
    };
    let files = entries.into_iter().filter(|entry| entry.is_file);
    let mut begun: Vec<u64> = files.filter_map(|entry| erasure_begun(&entry.name)).collect();
    begun.sort_unstable();
    Ok(begun)
}

/// Deletes the oldest of these records, so that there is room for one more. None of them is of an
/// erasure under way. One that cannot be deleted is tried again at the next erasure, and so is one
/// that cannot be read: it may say that files are left.
fn forget_oldest(disk: &dyn Disk, folder: &Path, begun: &[u64]) {
    let surplus = (begun.len() + 1).saturating_sub(ERASURES_MAX);
    for begun in begun.iter().take(surplus) {
        let record = read_record(disk, folder, *begun, None);
        if !record.is_ok_and(|record| record.is_some_and(|record| record.left_files == 0)) {
            continue;
        }
        let path = folder.join(erasure_name(*begun));
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "a record of an erasure is not deleted");
        }
    }
}

/// Reads a record. A record of an erasure under way that is not this one was cut off.
fn read_record(
    disk: &dyn Disk,
    folder: &Path,
    begun: u64,
    running: Option<&ErasureRecord>,
) -> Result<Option<ErasureRecord>, StorageError> {
    if let Some(running) = running.filter(|running| running.begun_unix_nanos == begun) {
        return Ok(Some(running.clone()));
    }
    let path = folder.join(erasure_name(begun));
    let bytes = match read_all(disk, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", &path))?,
    };
    match ErasureRecord::from_json(&bytes, begun) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a record of an erasure cannot be read");
            Ok(None)
        }
    }
}

impl super::super::Store {
    /// Begins an erasure as of now, and returns its record. Once it is returned, the erasure goes on
    /// beside appends and snapshots, and ends early when the store closes.
    ///
    /// # Errors
    /// `ErasureRunning` while one is under way, `Corrupt` with the commit's file when a table has a
    /// damaged one: nothing is erased then.
    pub async fn begin_erasure(&self, what: Erasure) -> Result<ErasureRecord, StorageError> {
        let inner = Arc::clone(&self.owner.0);
        inner.begin_erasure(what).await.map(|(record, _)| record)
    }

    /// The records of erasures, the newest first; [`ERASURES_MAX`] at most.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn erasures(&self) -> Result<Vec<ErasureRecord>, StorageError> {
        self.owner.0.erasures().await
    }

    /// The record of the erasure that began then; `None` when none did.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn erasure(&self, begun: UnixNanos) -> Result<Option<ErasureRecord>, StorageError> {
        self.owner.0.erasure(begun.0).await
    }
}
