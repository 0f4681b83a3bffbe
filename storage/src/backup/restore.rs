//! Restores a backup into an empty data directory, or only verifies it.
//!
//! Until the restore is complete, the directory's file `format` makes every program refuse it. An
//! interrupted restore is therefore never taken for a complete one.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use tidings_disk::{Finding, SharedDisk, paths::Paths};
use tidings_files::{StorageError, error::failed};

use super::{
    BackupId, BackupMonitor, RestoreReport, VerifyReport,
    file_store::{self, FileStore, Folder},
    manifest::{FileEntry, Manifest, bytes_of},
    repository::{ManifestName, Repository},
};
use crate::store::format;

/// Name that an empty folder may contain, because file systems create it.
const IGNORED: &str = "lost+found";

/// Target of a restore.
pub(super) struct RestoreTarget {
    pub(super) disk: SharedDisk,
    pub(super) data_dir: PathBuf,
    /// Location of the tables, if it is outside the data directory.
    pub(super) tables: Option<Arc<dyn FileStore>>,
}

/// Chooses the backup with this id, or the newest.
///
/// # Errors
/// `RefusedBackup` when it does not exist, `Corrupt` when its manifest is damaged.
pub(super) fn choose(
    repository: &Repository,
    id: Option<&BackupId>,
) -> Result<Manifest, StorageError> {
    let manifests = repository.manifests()?;
    let is_wanted = |name: &&ManifestName| id.is_none_or(|id| name.id == *id);
    match manifests.iter().rfind(is_wanted) {
        Some(name) => repository.manifest(name),
        None => Err(repository.refused(&match id {
            Some(id) => format!("there is no backup {id}; `tidings backup list` lists them"),
            None => "there is no backup that was made to its end".to_owned(),
        })),
    }
}

/// Reads every file of a backup, and reports files that differ from what was backed up.
pub(super) fn verify(
    repository: &Repository,
    manifest: &Manifest,
    monitor: &BackupMonitor,
    found: &mut dyn FnMut(&Finding),
) -> Result<VerifyReport, StorageError> {
    let mut report = VerifyReport { id: manifest.id.clone(), ..VerifyReport::default() };
    let sizes = sizes(repository)?;
    for file in &manifest.files {
        let finding = match check_size(repository, &sizes, file) {
            Ok(()) => read(repository, file),
            wrong => wrong,
        };
        match finding {
            Ok(()) => {}
            Err(StorageError::Corrupt { path, reason }) => {
                report.findings += 1;
                found(&Finding::new(&path, reason));
            }
            Err(error) => {
                let path = repository.files.address(&file.stored_name());
                report.findings += 1;
                found(&Finding::new(&path, error.to_string()));
            }
        }
        report.files += 1;
        report.bytes += file.bytes;
        if report.files.is_multiple_of(1000) {
            let (done, all) = (report.files, manifest.files.len());
            (monitor.report)(&format!("{done} of {all} files are verified"));
        }
    }
    Ok(report)
}

fn read(repository: &Repository, file: &FileEntry) -> Result<(), StorageError> {
    let (address, opened) = repository.open_file(file)?;
    let from = (address.as_path(), opened.as_ref());
    file_store::digest(from, file.bytes, Some(&file.sha256)).map(drop)
}

fn sizes(repository: &Repository) -> Result<HashMap<String, u64>, StorageError> {
    Ok(repository.stored()?.into_iter().map(|file| (file.name, file.bytes)).collect())
}

fn check_size(
    repository: &Repository,
    sizes: &HashMap<String, u64>,
    file: &FileEntry,
) -> Result<(), StorageError> {
    let name = file.stored_name();
    let reason = match sizes.get(&name) {
        None => "it is missing from the backup".to_owned(),
        Some(bytes) if *bytes != file.bytes => {
            format!("it has {bytes} bytes and not {}", file.bytes)
        }
        Some(_) => return Ok(()),
    };
    Err(StorageError::Corrupt { path: repository.files.address(&name), reason })
}

/// Restores a backup. The result is durable when this returns.
///
/// # Errors
/// `RefusedBackup` when the target is not empty, `Corrupt` with the backup's file that differs from
/// what was backed up. No program uses an incomplete directory.
pub(super) fn restore(
    repository: &Repository,
    manifest: &Manifest,
    target: &RestoreTarget,
    monitor: &BackupMonitor,
) -> Result<RestoreReport, StorageError> {
    let (disk, paths) = (target.disk.as_ref(), Paths::new(&target.data_dir));
    if manifest.directory_format > format::FORMAT {
        let (path, found) = (paths.format(), manifest.directory_format);
        return Err(StorageError::Format { path, found, supported: format::FORMAT });
    }
    let sizes = sizes(repository)?;
    for file in &manifest.files {
        check_size(repository, &sizes, file)?;
    }
    check_empty(target, &paths)?;
    let root = paths.root();
    disk.create_folders(root).map_err(failed("create", root))?;
    let is_local = |file: &&FileEntry| target.tables.is_none() || file.path.in_tables().is_none();
    let bytes = bytes_of(manifest.files.iter().filter(is_local));
    let free = disk.free_bytes(root).map_err(failed("measure", root))?;
    if free < bytes {
        let reason = format!("{bytes} bytes are to be restored, and its disk has {free} free");
        return Err(StorageError::RefusedBackup { at: root.display().to_string(), reason });
    }
    let lock = disk.lock(&paths.lock()).map_err(failed("lock", &paths.lock()))?;
    let _lock = lock.ok_or_else(|| StorageError::Locked { path: paths.lock() })?;
    format::begin_restore(disk, &paths)?;
    let directory = Folder::new(Arc::clone(&target.disk), root);
    let mut report = RestoreReport { id: manifest.id.clone(), ..RestoreReport::default() };
    for file in &manifest.files {
        let to: (&dyn FileStore, &str) = match (&target.tables, file.path.in_tables()) {
            (Some(tables), Some(inside)) => (tables.as_ref(), inside),
            _ => (&directory, file.path.as_str()),
        };
        let (address, opened) = repository.open_file(file)?;
        let from = (address.as_path(), opened.as_ref());
        file_store::copy(from, file.bytes, Some(&file.sha256), to)?;
        report.files += 1;
        report.bytes += file.bytes;
        if report.files.is_multiple_of(1000) {
            let (done, all) = (report.files, manifest.files.len());
            (monitor.report)(&format!("{done} of {all} files are restored"));
        }
    }
    format::write(disk, &paths, manifest.directory_format)?;
    Ok(report)
}

fn check_empty(target: &RestoreTarget, paths: &Paths) -> Result<(), StorageError> {
    let root = paths.root();
    let refused = |at: String| StorageError::RefusedBackup {
        at,
        reason: "it is not empty; restore into an empty or a new one".to_owned(),
    };
    let entries = match target.disk.list(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(failed("list", root))?,
    };
    if entries.iter().any(|entry| entry.name != IGNORED) {
        return Err(refused(root.display().to_string()));
    }
    let Some(tables) = &target.tables else { return Ok(()) };
    let address = tables.address("");
    match tables.is_unused().map_err(failed("list", &address))? {
        true => Ok(()),
        false => Err(refused(address.display().to_string())),
    }
}
