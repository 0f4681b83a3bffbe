//! Makes a backup: copies the files that the location lacks, writes the manifest, deletes waste.
//!
//! A file of the tables may be removed while it is copied, when compaction or retention replaced it
//! long enough ago. The backup then chooses a new moment and copies only the files that this adds,
//! so that each round has less to do. Files that only an earlier round needed are waste.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_files::StorageError;
use tidings_proto::UnixNanos;
use tokio::runtime::Handle;

use super::{
    BackupId, BackupMonitor, BackupReport,
    file_store::{self, FileStore, LocationLock},
    manifest::{self, FileEntry, InnerPath, Manifest, stored_name},
    pinned_source::{FileIdentity, PinnedSource, Source, SourceFile},
    repository::{Repository, stored_by},
};

/// Maximum number of moments that are tried.
const ROUNDS: u32 = 20;
/// Maximum attempts to pin one moment, with pauses in between.
const PINS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(200);
/// Interval between progress reports.
const REPORT: Duration = Duration::from_secs(5);

/// Facts of the source for the manifest, and the number of backups to keep.
#[derive(Debug, Clone)]
pub(super) struct BackupOrigin {
    pub(super) program: String,
    pub(super) tables_at: String,
    pub(super) keep: Option<usize>,
}

/// Makes a backup.
pub(super) fn create(
    source: &Source,
    place: Arc<dyn FileStore>,
    origin: BackupOrigin,
    monitor: &BackupMonitor,
    runtime: &Handle,
) -> Result<BackupReport, StorageError> {
    let clock = monitor.clock.as_ref();
    let (repository, lock) = Repository::open_to_write(place, clock)?;
    let began = clock.now();
    let mut copier = Copier::new(source, &repository, lock, monitor, began)?;
    let (pinned, files) = copier.copy_until_whole(runtime)?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        id: copier.id.clone(),
        program: origin.program,
        began_unix_nanos: began.0,
        ended_unix_nanos: clock.now().0,
        data_directory: source.paths().root().display().to_string(),
        directory_format: pinned.directory_format,
        tables_at: origin.tables_at,
        tables: pinned.tables,
        log_end: pinned.log_end,
        files,
    };
    copier.lock.keep(clock)?;
    repository.publish(&manifest)?;
    let mut report = BackupReport {
        id: manifest.id.clone(),
        files: manifest.files.len() as u64,
        bytes: manifest.bytes(),
        new_files: manifest.new_files(),
        new_bytes: manifest.new_bytes(),
        ..BackupReport::default()
    };
    let Copier { mut lock, .. } = copier;
    // The backup is complete, even if deleting waste fails.
    match repository.prune(origin.keep, &mut || lock.keep(clock)) {
        Ok(pruned) => {
            report.deleted_backups = pruned.backups;
            report.deleted_bytes = pruned.bytes;
            report.warnings.extend(
                pruned
                    .unreadable
                    .into_iter()
                    .map(|error| format!("{error}; no file is deleted while it is there")),
            );
        }
        Err(error) => report.warnings.push(format!("old files could not be deleted: {error}")),
    }
    Ok(report)
}

/// Copies the files of a pinned moment.
struct Copier<'a> {
    source: &'a Source,
    repository: &'a Repository,
    lock: Box<dyn LocationLock>,
    monitor: &'a BackupMonitor,
    id: BackupId,
    /// The ids of the tables in the newest backup.
    known_tables: Option<[String; 2]>,
    /// Files of the newest backup, and of earlier rounds of this one.
    known: HashMap<String, FileEntry>,
    /// Files left by incomplete backups: the backup that wrote each, and its length.
    left: HashMap<String, (BackupId, u64)>,
    progress: CopyProgress,
}

impl<'a> Copier<'a> {
    fn new(
        source: &'a Source,
        repository: &'a Repository,
        lock: Box<dyn LocationLock>,
        monitor: &'a BackupMonitor,
        began: UnixNanos,
    ) -> Result<Self, StorageError> {
        let manifests = repository.manifests()?;
        let stored = repository.stored()?;
        let mut newest = None;
        for of in manifests.iter().rev() {
            match repository.manifest(of) {
                Ok(manifest) => {
                    newest = Some(manifest);
                    break;
                }
                Err(error @ (StorageError::Corrupt { .. } | StorageError::Format { .. })) => {
                    (monitor.report)(&format!("warning: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        let mut left = HashMap::new();
        for file in &stored {
            if let Some((by, path)) = stored_by(&file.name)
                && manifests.iter().all(|manifest| manifest.id != by)
            {
                left.insert(path.to_owned(), (by, file.bytes));
            }
        }
        let known_tables = newest
            .as_ref()
            .map(|manifest| [manifest.tables.spans.id.clone(), manifest.tables.logs.id.clone()]);
        let sizes: HashMap<&str, u64> =
            stored.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        let files = newest.into_iter().flat_map(|manifest| manifest.files);
        // A stored file may have been deleted by another process.
        let known = files
            .filter(|file| sizes.get(file.stored_name().as_str()) == Some(&file.bytes))
            .map(|file| (file.path.as_str().to_owned(), file))
            .collect();
        let ids = manifests.iter().map(|manifest| &manifest.id);
        let id = BackupId::after(ids.chain(left.values().map(|(by, _)| by)).max(), began);
        let progress = CopyProgress::new(monitor.clock.instant());
        Ok(Self { source, repository, lock, monitor, id, known_tables, known, left, progress })
    }

    /// Pins moments until all files of one of them are stored.
    fn copy_until_whole(
        &mut self,
        runtime: &Handle,
    ) -> Result<(PinnedSource, Vec<FileEntry>), StorageError> {
        let mut round = 1;
        loop {
            let mut pinned = self.pin(runtime)?;
            self.check_tables(&pinned)?;
            let error = match self.copy_all(&mut pinned) {
                Ok(files) => return Ok((pinned, files)),
                Err(error) => error,
            };
            if !has_vanished(&error) || round == ROUNDS {
                return Err(error);
            }
            (self.monitor.report)(&format!(
                "a file was replaced meanwhile ({error}); going on with what took its place"
            ));
            round += 1;
        }
    }

    /// Pins a moment. Commits that are listed while others are being deleted look damaged, so
    /// damage is reported only when it persists.
    fn pin(&self, runtime: &Handle) -> Result<PinnedSource, StorageError> {
        let mut tries = 1;
        loop {
            let pinned = self.source.pin();
            match pinned {
                Ok(Some(pinned)) => return Ok(pinned),
                Err(error) if !may_pass(&error) || tries >= PINS => return Err(error),
                Ok(None) if tries >= PINS => {
                    return Err(self.repository.refused(
                        "the server cuts its log faster than the log can be opened; try again when \
                         there is less to do",
                    ));
                }
                Ok(None) | Err(_) => {}
            }
            tries += 1;
            runtime.block_on(self.monitor.clock.sleep(PAUSE));
        }
    }

    /// Refuses a location with backups of other tables: retention would delete them as old ones.
    fn check_tables(&self, pinned: &PinnedSource) -> Result<(), StorageError> {
        let ids = [&pinned.tables.spans.id, &pinned.tables.logs.id];
        match &self.known_tables {
            Some(known) if known.iter().collect::<Vec<_>>() != ids => Err(self.repository.refused(
                "the backups in there are of another data directory; give each a place of its own",
            )),
            _ => Ok(()),
        }
    }

    fn copy_all(&mut self, pinned: &mut PinnedSource) -> Result<Vec<FileEntry>, StorageError> {
        self.progress.start(pinned);
        let mut entries = Vec::with_capacity(pinned.files.len());
        for file in &mut pinned.files {
            self.lock.keep(self.monitor.clock.as_ref())?;
            let Some(entry) = self.entry(file)? else { continue };
            self.progress.add(file.bytes, self.monitor);
            self.known.insert(file.path.clone(), entry.clone());
            entries.push(entry);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Makes sure that a file is stored, and returns its entry. Returns `None` if the file is gone
    /// and is dispensable.
    fn entry(&self, file: &mut SourceFile) -> Result<Option<FileEntry>, StorageError> {
        let path: InnerPath = file.path.clone().try_into().map_err(|reason| {
            StorageError::Corrupt { path: self.source.paths().root().join(&file.path), reason }
        })?;
        let known = self.known.get(&file.path).filter(|known| known.bytes == file.bytes);
        let modified_unix_nanos = match file.identity {
            FileIdentity::Modified(modified) => Some(modified),
            FileIdentity::Unique | FileIdentity::Bytes => None,
        };
        let is_same = file.identity == FileIdentity::Unique
            || known.is_some_and(|known| {
                modified_unix_nanos.is_some() && known.modified_unix_nanos == modified_unix_nanos
            });
        if let Some(known) = known.filter(|_| is_same) {
            return Ok(Some(known.clone()));
        }
        let (address, opened) = match self.source.open_file(file) {
            // An index is rebuilt by its reader. The other files are not part of the tables and
            // were deleted.
            Err(error) if has_vanished(&error) && is_dispensable(file) => return Ok(None),
            opened => opened?,
        };
        let from = (address.as_path(), opened.as_ref());
        let entry = |sha256, stored_by| {
            Some(FileEntry { path, bytes: file.bytes, sha256, stored_by, modified_unix_nanos })
        };
        let left = self.left.get(&file.path).filter(|(_, bytes)| *bytes == file.bytes);
        let copied = match (known, left) {
            (Some(known), _) => {
                let digest = file_store::digest(from, file.bytes, None)?;
                if digest == known.sha256 {
                    return Ok(entry(digest, known.stored_by.clone()));
                }
                self.copy(from, file, Some(&digest))?
            }
            (None, Some((by, _))) if file.identity == FileIdentity::Unique => {
                return Ok(entry(file_store::digest(from, file.bytes, None)?, by.clone()));
            }
            _ => self.copy(from, file, None)?,
        };
        Ok(entry(copied, self.id.clone()))
    }

    fn copy(
        &self,
        from: (&std::path::Path, &dyn tidings_disk::ReadFile),
        file: &SourceFile,
        expected: Option<&manifest::Sha256>,
    ) -> Result<manifest::Sha256, StorageError> {
        let name = stored_name(&self.id, &file.path);
        file_store::copy(from, file.bytes, expected, (self.repository.files.as_ref(), &name))
    }
}

/// Returns true if the tables and the log are complete without this file.
fn is_dispensable(file: &SourceFile) -> bool {
    let is_index = matches!(file.identity, FileIdentity::Modified(_));
    is_index || !(file.path.starts_with("tables/") || file.path.starts_with("wal/"))
}

/// Returns true if a file of the chosen moment no longer exists.
fn has_vanished(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { action: "open" | "read", source, .. }
        if source.kind() == io::ErrorKind::NotFound)
}

/// Returns true for errors that may be transient when another process changes the table's log.
fn may_pass(error: &StorageError) -> bool {
    has_vanished(error) || matches!(error, StorageError::Corrupt { .. } | StorageError::Delta(_))
}

/// Reports the progress of copying.
struct CopyProgress {
    files: u64,
    bytes: u64,
    done_files: u64,
    done_bytes: u64,
    reported: Instant,
}

impl CopyProgress {
    fn new(now: Instant) -> Self {
        Self { files: 0, bytes: 0, done_files: 0, done_bytes: 0, reported: now }
    }

    fn start(&mut self, pinned: &PinnedSource) {
        let files = pinned.files.len() as u64;
        let bytes = pinned.files.iter().map(|file| file.bytes).sum();
        *self = Self { files, bytes, ..Self::new(self.reported) };
    }

    fn add(&mut self, bytes: u64, monitor: &BackupMonitor) {
        self.done_files += 1;
        self.done_bytes += bytes;
        let now = monitor.clock.instant();
        if now.saturating_duration_since(self.reported) >= REPORT {
            self.reported = now;
            let Self { files, bytes, done_files, done_bytes, .. } = self;
            (monitor.report)(&format!(
                "{done_files} of {files} files, {done_bytes} of {bytes} bytes are in the backup"
            ));
        }
    }
}
