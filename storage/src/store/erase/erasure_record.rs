//! Records of erasures: one JSON file each in `erasures/`, named by when the erasure began.
//!
//! A record is written when an erasure begins and again when it ends, so that an interrupted one is
//! recognised. It has the id of a trace or the key of an attribute, and never the attribute's
//! value. Beginning an erasure deletes the oldest records beyond the maximum number. Does not own
//! erasing (`erase`).

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tidings_disk::{
    Disk,
    paths::{erasure_begun, erasure_name},
    read_all, replace_durably,
};
use tidings_files::{StorageError, blocking::blocking, error::failed};
use tidings_proto::{TraceId, UnixNanos};
use tokio::task::JoinHandle;

use super::{Erasure, ErasureReport};
use crate::store::StoreInner;

const TRACE: &str = "trace ";
const ATTRIBUTE: &str = "attribute ";

/// Maximum number of records that are listed and kept. Records of files that are left to snapshots
/// stay until those files are deleted.
pub const ERASURES_MAX: usize = 1_000;

/// State of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErasureState {
    /// It is running.
    Running,
    /// It has ended. Files that snapshots read or that are unreadable may be left.
    #[default]
    Done,
    /// It ended early and may be partial.
    Failed,
    /// The store was closed or killed meanwhile, so the erasure may be partial.
    Interrupted,
}

/// Record of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasureRecord {
    /// When it began, in nanoseconds since 1970. Rows acknowledged before that are erased. The
    /// value is unique.
    #[serde(rename = "time_unix_nanos")]
    pub begun_unix_nanos: u64,
    /// When it ended, in nanoseconds since 1970.
    pub ended_unix_nanos: Option<u64>,
    /// Its state.
    pub state: ErasureState,
    erased: String,
    /// Number of erased spans.
    pub spans: u64,
    /// Number of erased log records.
    pub log_records: u64,
    /// Number of files searched so far.
    #[serde(rename = "files_searched")]
    pub searched_files: u64,
    /// Number of files to search.
    #[serde(rename = "files_to_search")]
    pub files: u64,
    /// Number of rewritten files.
    #[serde(rename = "files_rewritten")]
    pub rewritten_files: u64,
    /// Number of removed files that snapshots still read. They are deleted when those end. Some may
    /// not contain matching rows.
    #[serde(rename = "files_left_to_readers")]
    pub left_files: u64,
    /// Number of pinned traces that lost rows.
    pub pinned_traces: u64,
    /// Number of these without any rows left, which are no longer pinned.
    pub unpinned_traces: u64,
    /// Number of unreadable files below the data directory. They may still contain matching rows.
    #[serde(rename = "files_not_read")]
    pub unread_files: Vec<String>,
    /// Reason for an early end.
    pub reason: Option<String>,
}

impl ErasureRecord {
    /// Reads the record of the erasure that began at this time. One that was still running was
    /// interrupted.
    ///
    /// # Errors
    /// When the file is not a record.
    pub(crate) fn from_json(json: &[u8], begun: u64) -> Result<Self, serde_json::Error> {
        let record: Self = serde_json::from_slice(json)?;
        let state = match record.state {
            ErasureState::Running => ErasureState::Interrupted,
            ended => ended,
        };
        Ok(Self { begun_unix_nanos: begun, state, ..record })
    }

    /// Returns the trace that was erased.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        self.erased.strip_prefix(TRACE)?.parse().ok()
    }

    /// Returns the key of the attribute that was erased.
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

/// State of this process's erasures.
#[derive(Debug, Default)]
pub(in crate::store) struct ErasureBoard {
    erasures: Mutex<Erasures>,
    /// Held while an erasure begins, and while the store ends.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Erasures {
    running: Option<ErasureRecord>,
    task: Option<JoinHandle<()>>,
    /// Number of erasures that have ended.
    ended: u64,
    /// For each erasure, the removed files that snapshots read when it ended.
    left: Vec<(u64, HashSet<PathBuf>)>,
}

impl ErasureBoard {
    fn lock(&self) -> MutexGuard<'_, Erasures> {
        self.erasures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the record of the running erasure.
    pub(super) fn running(&self) -> Option<ErasureRecord> {
        self.lock().running.clone()
    }

    /// Returns the number of erasures that have ended since the store was opened.
    pub(in crate::store) fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// Changes the record of the running erasure.
    pub(super) fn update(&self, change: impl FnOnce(&mut ErasureRecord)) {
        if let Some(running) = &mut self.lock().running {
            change(running);
        }
    }

    pub(super) fn keep_task(&self, task: JoinHandle<()>) {
        self.lock().task = Some(task);
    }

    /// Records the files that an erasure has left to snapshots.
    pub(super) fn leave(&self, begun: u64, files: HashSet<PathBuf>) {
        if !files.is_empty() {
            self.lock().left.push((begun, files));
        }
    }

    /// Returns true while snapshots may read files that an erasure removed.
    pub(in crate::store) fn has_left(&self) -> bool {
        !self.lock().left.is_empty()
    }

    /// Compares the files left to snapshots with the removed files that still exist. Returns the
    /// erasures with deleted files, each with its remaining files.
    fn changes(&self, gone: &HashSet<PathBuf>) -> Vec<(u64, HashSet<PathBuf>)> {
        let remaining = |files: &HashSet<PathBuf>| files.intersection(gone).cloned().collect();
        let erasures = self.lock();
        let left =
            erasures.left.iter().map(|(begun, files)| (*begun, files.len(), remaining(files)));
        let changed =
            left.filter(|(_, before, rest): &(u64, usize, HashSet<PathBuf>)| rest.len() < *before);
        changed.map(|(begun, _, rest)| (begun, rest)).collect()
    }

    /// Updates the files that an erasure has left to snapshots.
    fn note_left(&self, begun: u64, rest: HashSet<PathBuf>) {
        let mut erasures = self.lock();
        erasures.left.retain(|(other, _)| *other != begun);
        if !rest.is_empty() {
            erasures.left.push((begun, rest));
        }
    }
}

/// Marks an erasure as running until it is dropped.
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
    /// Makes an erasure the running one, and writes its record.
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
        // Counted before the record says so, so that no cache serves erased rows after that.
        self.erasures.lock().ended += 1;
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

    /// Returns the path of an erasure's record.
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

    /// Updates the progress of the running erasure.
    pub(super) fn show_progress(&self, report: &ErasureReport, searched: u64, files: u64) {
        self.erasures.update(|record| {
            record.count(report, self.paths.root());
            (record.searched_files, record.files) = (searched, files);
        });
    }

    /// Returns the records of erasures, newest first, at most [`ERASURES_MAX`].
    pub(super) async fn erasures(&self) -> Result<Vec<ErasureRecord>, StorageError> {
        self.newest_erasures(ERASURES_MAX).await
    }

    async fn newest_erasures(&self, limit: usize) -> Result<Vec<ErasureRecord>, StorageError> {
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.erasures());
        // The running erasure is read before the disk, so that one that ends meanwhile is returned
        // as it was.
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

    /// Returns the record of one erasure.
    pub(super) async fn erasure(&self, begun: u64) -> Result<Option<ErasureRecord>, StorageError> {
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.erasures());
        let running = self.erasures.running();
        blocking(move || read_record(disk.as_ref(), &folder, begun, running.as_ref())).await
    }

    /// Updates the records of erasures whose files were left to snapshots.
    pub(in crate::store) async fn settle_erasures(&self) -> Result<(), StorageError> {
        for (begun, rest) in self.erasures.changes(&self.shared.state.removed_paths()) {
            if let Some(record) = self.erasure(begun).await? {
                let left_files = rest.len() as u64;
                self.write_record(ErasureRecord { left_files, ..record }).await?;
            }
            // The list is updated after the record is written, so that a failed write is retried.
            self.erasures.note_left(begun, rest);
        }
        Ok(())
    }

    /// Returns the erasures of earlier processes that left files to snapshots. Those snapshots no
    /// longer exist.
    pub(in crate::store) async fn pending_erasures(
        &self,
    ) -> Result<Vec<ErasureRecord>, StorageError> {
        // Includes records beyond the maximum number, because records with files left are kept.
        let mut records = self.newest_erasures(usize::MAX).await?;
        let own = self.erasures.lock().left.iter().map(|(begun, _)| *begun).collect::<Vec<_>>();
        records.retain(|record| record.left_files > 0 && record.state != ErasureState::Running);
        records.retain(|record| !own.contains(&record.begun_unix_nanos));
        Ok(records)
    }

    /// Records that these erasures have no files left.
    pub(in crate::store) async fn record_erasures_ended(
        &self,
        records: Vec<ErasureRecord>,
    ) -> Result<(), StorageError> {
        for record in records {
            self.write_record(ErasureRecord { left_files: 0, ..record }).await?;
        }
        Ok(())
    }

    /// Waits for the running erasure, which ends early because the store stops. No other erasure
    /// begins afterwards.
    pub(in crate::store) async fn end_erasures(&self) {
        let _turn = self.erasures.turn.lock().await;
        let task = self.erasures.lock().task.take();
        if let Some(task) = task {
            // A task that panicked has already stopped.
            let _ = task.await;
        }
    }
}

/// Returns when the recorded erasures began, ascending.
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

/// Deletes the oldest of these records, so that there is room for one more. None of them is of a
/// running erasure. A record that cannot be deleted is tried again at the next erasure. A record
/// that cannot be read stays too, because it may have files left.
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

/// Reads a record. If it says that the erasure runs and another one or none does, it was
/// interrupted.
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
    /// Begins an erasure and returns its record. The erasure then runs beside appends and
    /// snapshots, and ends early when the store closes.
    ///
    /// # Errors
    /// `ErasureRunning` while another one is running, `Corrupt` with the commit's file when a table
    /// has a damaged commit. Nothing is erased then.
    pub async fn begin_erasure(&self, what: Erasure) -> Result<ErasureRecord, StorageError> {
        let inner = Arc::clone(&self.owner.0);
        inner.begin_erasure(what).await.map(|(record, _)| record)
    }

    /// Returns the records of erasures, newest first, at most [`ERASURES_MAX`].
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn erasures(&self) -> Result<Vec<ErasureRecord>, StorageError> {
        self.owner.0.erasures().await
    }

    /// Returns the record of the erasure that began at this time, or `None`.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn erasure(&self, begun: UnixNanos) -> Result<Option<ErasureRecord>, StorageError> {
        self.owner.0.erasure(begun.0).await
    }
}
