//! A backup location: its marker, its manifests, and the files that they name.
//!
//! ```text
//! <place>/tidings-backups                        marker of a backup location, with its format
//! <place>/lock, <place>/lock.json                lock while a process changes it (folder, bucket)
//! <place>/manifests/<backup>.<SHA-256>.json      manifest of each backup, written last
//! <place>/files/<backup>/<path>                  files that no earlier backup had
//! ```
//!
//! A file that no manifest names is waste from an incomplete or a deleted backup. Does not own
//! which files a backup has (`create`).

use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use tidings_disk::ReadFile;
use tidings_files::{StorageError, error::failed};
use tidings_runtime::Clock;

use super::{
    BackupId,
    file_store::{FileStore, LocationLock, StoredFile, is_setup},
    manifest::{FILES, FileEntry, Manifest, Sha256},
};

const MARKER: &str = "tidings-backups";
const MARKER_TEXT: &[u8] = b"tidings backups, format 1\n";
const MANIFESTS: &str = "manifests";
/// Maximum size of a manifest. A manifest of a million files is smaller.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// A backup location: see the module's description.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) files: Arc<dyn FileStore>,
}

/// Name of an existing manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManifestName {
    pub(super) id: BackupId,
    pub(super) name: String,
    digest: String,
    bytes: u64,
}

impl Repository {
    /// Opens a location for a backup and locks it. An empty location becomes a backup location.
    ///
    /// # Errors
    /// `RefusedBackup` when it contains anything else, `Locked` while another process changes it.
    pub(super) fn open_to_write(
        files: Arc<dyn FileStore>,
        clock: &dyn Clock,
    ) -> Result<(Self, Box<dyn LocationLock>), StorageError> {
        let repository = Self { files };
        let files = repository.files.as_ref();
        if repository.is_marked()? {
            return Ok((repository.clone(), files.lock(clock)?));
        }
        if !files.is_unused().map_err(|error| repository.unreachable(error))? {
            return Err(repository.refused(
                "it is not empty, and what is in there are no backups; name an empty or a new place",
            ));
        }
        let lock = files.lock(clock)?;
        let written = files.write(MARKER, MARKER_TEXT.len() as u64, &mut &MARKER_TEXT[..]);
        written.map_err(failed("write", &files.address(MARKER)))?;
        Ok((repository.clone(), lock))
    }

    /// Opens an existing backup location.
    ///
    /// # Errors
    /// `RefusedBackup` when it contains no backups.
    pub(super) fn open(files: Arc<dyn FileStore>) -> Result<Self, StorageError> {
        let repository = Self { files };
        match repository.is_marked()? {
            true => Ok(repository),
            false => Err(repository.refused("there are no backups in there")),
        }
    }

    fn is_marked(&self) -> Result<bool, StorageError> {
        match self.files.read(MARKER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.unreachable(error)),
            Ok(text) if text == MARKER_TEXT => Ok(true),
            Ok(_) => Err(self.refused(
                "the file tidings-backups is damaged, or of a newer program than this one",
            )),
        }
    }

    fn unreachable(&self, error: io::Error) -> StorageError {
        if is_setup(&error) {
            return self.refused(&error.to_string());
        }
        failed("read", &self.files.address(MARKER))(error)
    }

    pub(super) fn refused(&self, reason: &str) -> StorageError {
        let at = self.files.address("").display().to_string();
        let at = at.trim_end_matches('/').to_owned();
        StorageError::RefusedBackup { at, reason: reason.to_owned() }
    }

    /// Lists the manifests, oldest first.
    pub(super) fn manifests(&self) -> Result<Vec<ManifestName>, StorageError> {
        let listed = self.files.list(MANIFESTS);
        let listed = listed.map_err(failed("list", &self.files.address(MANIFESTS)))?;
        let manifest = |file: StoredFile| {
            let inside = file.name.strip_prefix(MANIFESTS)?.strip_prefix('/')?;
            let (id, digest) = inside.strip_suffix(".json")?.split_once('.')?;
            let (id, digest) = (id.parse().ok()?, digest.to_owned());
            Some(ManifestName { id, name: file.name, digest, bytes: file.bytes })
        };
        let mut manifests: Vec<_> = listed.into_iter().filter_map(manifest).collect();
        manifests.sort();
        Ok(manifests)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `Format` when it is newer than this program.
    pub(super) fn manifest(&self, of: &ManifestName) -> Result<Manifest, StorageError> {
        let path = self.files.address(&of.name);
        let corrupt = |reason: &str| StorageError::Corrupt {
            path: self.files.address(&of.name),
            reason: reason.to_owned(),
        };
        let digest: Sha256 = of.digest.parse().map_err(|reason: String| corrupt(&reason))?;
        if of.bytes > MANIFEST_BYTES_MAX {
            return Err(corrupt("it is larger than any manifest"));
        }
        let bytes = self.files.read(&of.name).map_err(failed("read", &path))?;
        let manifest = Manifest::decode(&bytes, &digest, path)?;
        match manifest.id == of.id {
            true => Ok(manifest),
            false => Err(corrupt("it is of another backup")),
        }
    }

    /// Completes a backup by writing its manifest. All of its files are stored already.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<(), StorageError> {
        let encoded = manifest.encode().map_err(io::Error::from);
        let bytes = encoded.map_err(failed("encode", &self.files.address(MANIFESTS)))?;
        let name = format!("{MANIFESTS}/{}.{}.json", manifest.id, Sha256::from_bytes(&bytes));
        let written = self.files.write(&name, bytes.len() as u64, &mut bytes.as_slice());
        written.map_err(failed("write", &self.files.address(&name)))
    }

    /// Opens a file of a backup. Returns its address too, for errors.
    pub(super) fn open_file(
        &self,
        file: &FileEntry,
    ) -> Result<(PathBuf, Box<dyn ReadFile>), StorageError> {
        let name = file.stored_name();
        let address = self.files.address(&name);
        let opened = self.files.open(&name, file.bytes).map_err(failed("open", &address))?;
        Ok((address, opened))
    }

    /// Lists all stored files, including those of incomplete backups.
    pub(super) fn stored(&self) -> Result<Vec<StoredFile>, StorageError> {
        self.files.list(FILES).map_err(failed("list", &self.files.address(FILES)))
    }

    /// Deletes all but the newest backups, and then every file that no remaining backup has. If a
    /// remaining manifest cannot be read, its files are unknown and only backups are deleted.
    ///
    /// # Errors
    /// Files that could not be deleted are waste, and the next call deletes them.
    pub(super) fn prune(
        &self,
        keep: Option<usize>,
        go_on: &mut dyn FnMut() -> Result<(), StorageError>,
    ) -> Result<Pruned, StorageError> {
        let mut pruned = Pruned::default();
        let (mut named, mut kept) = (HashSet::new(), 0);
        // The newest backups come first.
        for of in self.manifests()?.into_iter().rev() {
            let is_kept = keep.is_none_or(|keep| kept < keep);
            match self.manifest(&of) {
                Ok(manifest) if is_kept => {
                    kept += 1;
                    named.extend(manifest.files.iter().map(FileEntry::stored_name));
                }
                Ok(_) => {
                    go_on()?;
                    self.remove(&of.name)?;
                    pruned.backups += 1;
                }
                Err(error @ (StorageError::Corrupt { .. } | StorageError::Format { .. })) => {
                    pruned.unreadable.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        if !pruned.unreadable.is_empty() {
            return Ok(pruned);
        }
        for file in self.stored()? {
            if named.contains(&file.name) || !is_ours(&file.name) {
                continue;
            }
            go_on()?;
            self.remove(&file.name)?;
            pruned.files += 1;
            pruned.bytes += file.bytes;
        }
        Ok(pruned)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.files.remove(name).map_err(failed("remove", &self.files.address(name)))
    }
}

/// Result of deleting old backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pruned {
    pub(super) backups: u64,
    /// Number of deleted files that no backup has any more.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// One sentence for each unreadable manifest.
    pub(super) unreadable: Vec<String>,
}

/// Returns true if a backup wrote the file with this name.
fn is_ours(name: &str) -> bool {
    stored_by(name).is_some()
}

/// Returns the backup that wrote a file, and the file's path in the data directory.
pub(super) fn stored_by(name: &str) -> Option<(BackupId, &str)> {
    let inside = name.strip_prefix(FILES)?.strip_prefix('/')?;
    let (id, path) = inside.split_once('/')?;
    Some((id.parse().ok()?, path))
}
