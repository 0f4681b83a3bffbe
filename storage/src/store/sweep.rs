//! Deletes files that no table references: files that commits removed, and files that were never
//! committed.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use tidings_disk::paths::index_path;
use tidings_files::{StorageError, blocking::blocking, error::failed};
use tidings_proto::{Signal, UnixNanos};

use super::{StoreInner, maintenance_steps::MaintenanceState};
use crate::maintenance::{MergePace, OrphanFile, orphan_files};

/// Interval between searches of the tables' folders for unreferenced files.
const SWEEP: Duration = Duration::from_secs(6 * 3600);

impl StoreInner {
    /// Deletes files that were removed long enough ago and that no snapshot reads.
    pub(super) async fn delete_removed(
        &self,
        maintenance: &mut MaintenanceState,
    ) -> Result<(), StorageError> {
        let age = self.shared.settings.removed_file_age;
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let by = self.shared.clock.now().0.saturating_sub(age);
        self.delete_removed_by(maintenance, UnixNanos(by)).await
    }

    /// Deletes files that erasures left to snapshots, if those have ended.
    pub(super) async fn delete_erased(
        &self,
        maintenance: &mut MaintenanceState,
    ) -> Result<(), StorageError> {
        if !self.erasures.has_left() {
            return Ok(());
        }
        // Erased files are due, whatever the clock says.
        self.delete_removed_by(maintenance, UnixNanos(0)).await?;
        self.settle_erasures().await
    }

    /// Deletes files that were removed by this time and that no snapshot reads. A file that cannot
    /// be deleted is tried again the next time.
    pub(super) async fn delete_removed_by(
        &self,
        maintenance: &mut MaintenanceState,
        by: UnixNanos,
    ) -> Result<(), StorageError> {
        let gone = self.shared.state.unreferenced_files(by);
        let waste = gone.iter().flat_map(|path| [index_path(path), path.clone()]).collect();
        self.remove(maintenance, waste).await?;
        self.shared.state.drop_deleted(&gone);
        Ok(())
    }

    /// Periodically deletes unreferenced files and quarantined files that are old enough. The first
    /// call deletes all unreferenced files, if an erasure of an earlier process left files to
    /// snapshots.
    pub(super) async fn sweep_all(
        &self,
        maintenance: &mut MaintenanceState,
        pace: MergePace,
    ) -> Result<(), StorageError> {
        let instant = self.shared.clock.instant();
        let rested = |swept| instant.saturating_duration_since(swept) >= SWEEP;
        if pace == MergePace::Offline || maintenance.swept.is_none_or(rested) {
            // Records that cannot be read or written do not prevent other deletions.
            let pending = match maintenance.swept {
                None => self.pending_erasures().await,
                Some(_) => Ok(Vec::new()),
            };
            let (pending, known) = match pending {
                Ok(pending) => (pending, Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            };
            let age = pending.is_empty().then_some(self.shared.settings.removed_file_age);
            for signal in [Signal::Spans, Signal::Logs] {
                self.sweep(maintenance, signal, age).await?;
            }
            let recorded = self.record_erasures_ended(pending).await;
            self.age_quarantine().await?;
            known.and(recorded)?;
            maintenance.swept = Some(instant);
        }
        Ok(())
    }

    /// Deletes files in a table's folder that the table does not reference: all of them, or those
    /// that are old enough.
    pub(super) async fn sweep(
        &self,
        maintenance: &mut MaintenanceState,
        signal: Signal,
        removed_file_age: Option<Duration>,
    ) -> Result<(), StorageError> {
        let (at, known) = (Arc::clone(&self.tables_at), self.shared.state.known_files());
        let folder = at.folder(signal.table());
        // Only maintenance removes files from the tables, so a file that is known now stays known.
        let mut orphan_files = blocking(move || orphan_files(at.as_ref(), &folder, &known)).await?;
        if orphan_files.is_empty() {
            return Ok(());
        }
        let (tombstones, known) = {
            // While this lock is held, no flush is writing files. Every file that a flush had
            // written when its folder was listed is either known now, or will never be committed.
            let mut tables = self.tables.lock().await;
            if let Some(recorded) = tables.table_mut(signal).resolve_in_doubt().await? {
                self.shared.state.apply(signal, &recorded, self.shared.clock.now());
            }
            let known = self.shared.state.known_files();
            orphan_files.retain(|orphan| !orphan.belongs_to_any(&known));
            (tables.table_mut(signal).tombstones(), known)
        };
        let removed = match removed_file_age {
            Some(_) => Box::pin(tombstones.read()).await?,
            None => HashMap::new(),
        };
        let now = self.shared.clock.now();
        let is_waste = |orphan: &OrphanFile| match removed_file_age {
            Some(age) => orphan.is_waste(&removed, age, now),
            // An index that is being rebuilt belongs to a known file.
            None => !known.contains(&orphan.data_file),
        };
        let waste = orphan_files.into_iter().filter(is_waste).map(|orphan| orphan.path).collect();
        self.remove(maintenance, waste).await
    }

    /// Deletes files, if they exist. A file that the local disk fails to delete does not stop the
    /// others. After an error of an object store the remaining files are not tried.
    pub(super) async fn remove(
        &self,
        maintenance: &mut MaintenanceState,
        paths: Vec<PathBuf>,
    ) -> Result<(), StorageError> {
        let tables = Arc::clone(&self.tables_at);
        for path in &paths {
            self.shared.indexes.invalidate(path);
            tables.damaged_files().invalidate(|damaged| damaged == path);
        }
        let (deleted, done) = blocking(move || {
            let (mut deleted, mut done) = (0, Ok(()));
            for path in &paths {
                match tables.remove(path) {
                    Ok(()) => deleted += 1,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => done = done.and(Err(failed("remove", path)(error))),
                }
                if done.is_err() && !tables.is_local() {
                    break;
                }
            }
            Ok((deleted, done))
        })
        .await?;
        maintenance.report.deleted_files += deleted;
        done
    }
}
