//! Backups: consistent copies of a data directory in a folder or a bucket, and their restoration.
//!
//! A backup is taken with or without a running server. It contains each record that was
//! acknowledged before it began exactly once. Files that an earlier backup at the same location has
//! are not copied again. Owns the layout of a backup location (`repository`), the manifest
//! (`manifest`), the choice of a moment (`pinned_source`), copying (`create`) and restoring
//! (`restore`). Does not own the formats of the copied files.
//!
//! ```text
//! back up: pin tables ─► pin log ─► copy new files ─► manifest ─► delete files that no backup has
//! restore: manifest ─► mark directory incomplete ─► copy and compare ─► mark directory complete
//! ```

mod create;
mod file_store;
mod manifest;
mod pinned_source;
mod repository;
mod restore;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tidings_disk::{Finding, RealDisk, SharedDisk};
use tidings_files::{
    ObjectStoreSettings, StorageError, TablesAt, blocking::blocking, error::failed, table_store,
};
use tidings_proto::{CivilDate, UnixNanos, rfc_3339};
use tidings_runtime::Clock;
use tokio::runtime::Handle;

use self::{
    create::BackupOrigin,
    file_store::{Bucket, FileStore, Folder},
    pinned_source::Source,
    repository::Repository,
    restore::RestoreTarget,
};

pub use self::manifest::ManifestContent;

/// Location where backups are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupLocation {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In an S3-compatible store.
    ObjectStore(ObjectStoreSettings),
}

/// The id of a backup: the second in which it began, and nanoseconds. A later backup has a greater
/// id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    fn new(began: UnixNanos) -> Self {
        Self(format!("{}-{:08x}", second_text(began), began.0 % 1_000_000_000))
    }

    /// Returns the id of a backup that begins now. It is greater than `newest`, even if the clock
    /// was set back since.
    fn after(newest: Option<&Self>, now: UnixNanos) -> Self {
        let (id, Some(newest)) = (Self::new(now), newest) else { return Self::new(now) };
        let parts = newest.0.split_once('-');
        match parts.and_then(|(time, number)| Some((time, u32::from_str_radix(number, 16).ok()?))) {
            Some((time, number)) if id <= *newest => {
                Self(format!("{time}-{:08x}", number.saturating_add(1)))
            }
            _ => id,
        }
    }
}

/// Formats the second of a time in UTC, as `20260131T235959Z`.
fn second_text(time: UnixNanos) -> String {
    let mut text = rfc_3339(i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX));
    text.retain(|sign| !['-', ':'].contains(&sign));
    // Removes the fraction of the second.
    text.replace_range("20260131T235959".len().., "Z");
    text
}

/// Reports whether the text is a second as [`second_text`] writes it.
fn is_second(text: &str) -> bool {
    let number = |range: Range<usize>| text.get(range)?.parse::<i64>().ok();
    let time = || {
        let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
        let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
        let days = CivilDate { year, month, day }.days();
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        u64::try_from(seconds).ok()?.checked_mul(1_000_000_000).map(UnixNanos)
    };
    time().is_some_and(|time| second_text(time) == text)
}

impl FromStr for BackupId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = text.split_once('-').is_some_and(|(time, number)| {
            let is_number = number.len() == 8 && number.bytes().all(is_digit);
            is_number && is_second(time)
        });
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is no backup, as 20260131T235959Z-0123abcd")),
        }
    }
}

impl TryFrom<String> for BackupId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl Default for BackupId {
    fn default() -> Self {
        Self::new(UnixNanos(0))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The data directory to back up, and the number of older backups to keep.
#[derive(Debug, Clone)]
pub struct BackupSource {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Location of its tables.
    pub tables: TablesAt,
    /// Name and version of the program, recorded in the manifest.
    pub program: String,
    /// Number of newest backups to keep, this one included. `None` keeps all.
    pub keep: Option<usize>,
}

/// Observer of a backup or a restore, and its clock.
#[derive(Clone)]
pub struct BackupMonitor {
    /// Source of the time.
    pub clock: Arc<dyn Clock>,
    /// Receives a line about the progress every few seconds.
    pub report: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for BackupMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupMonitor").finish_non_exhaustive()
    }
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupReport {
    /// Its id.
    pub id: BackupId,
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files that no earlier backup had.
    pub new_files: u64,
    /// Bytes of the new files.
    pub new_bytes: u64,
    /// Older backups that were deleted.
    pub deleted_backups: u64,
    /// Bytes of deleted files that no backup contains any more.
    pub deleted_bytes: u64,
    /// Sentences for conditions that need attention. The backup is complete nevertheless.
    pub warnings: Vec<String>,
}

/// A backup that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// Its id.
    pub id: BackupId,
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// A backup that was read from end to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Its id.
    pub id: BackupId,
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files that differ from what was backed up.
    pub findings: u64,
}

/// A backup in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBackup {
    /// Its id.
    pub id: BackupId,
    /// Its content, or the reason why it is unknown: the manifest is damaged or was written by a
    /// newer program.
    pub content: Result<BackupContent, String>,
}

/// Summary of a backup's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupContent {
    /// Time at which it began.
    pub began: UnixNanos,
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that no earlier backup had.
    pub new_bytes: u64,
    /// The program that made it.
    pub program: String,
}

/// Copies a data directory, which a server may be using. When this returns, the backup is durable
/// and has every record that was acknowledged before the call.
///
/// # Errors
/// `RefusedBackup` when the location contains anything other than backups of this directory,
/// `Locked` while another backup into it is made, `Corrupt` when the directory's tables are
/// damaged. An incomplete backup is not listed, and takes space until the next backup.
pub async fn back_up(
    source: BackupSource,
    place: BackupLocation,
    monitor: BackupMonitor,
) -> Result<BackupReport, StorageError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    back_up_with(disk, [None, None], source, place, monitor).await
}

/// Like [`back_up`], but requests for the buckets of the tables and of the backups go to these
/// stores.
pub(crate) async fn back_up_with(
    disk: SharedDisk,
    [tables_store, place_store]: [Option<Arc<dyn ObjectStore>>; 2],
    source: BackupSource,
    place: BackupLocation,
    monitor: BackupMonitor,
) -> Result<BackupReport, StorageError> {
    let runtime = Handle::current();
    blocking(move || {
        let data_dir = absolute(&source.data_dir)?;
        if let BackupLocation::Folder(folder) = &place
            && resolved(&absolute(folder)?).starts_with(resolved(&data_dir))
        {
            return Err(StorageError::RefusedBackup {
                at: folder.display().to_string(),
                reason: "it is in the data directory, and would be lost with it".to_owned(),
            });
        }
        let tables_at = match &source.tables {
            TablesAt::DataDirectory => "local".to_owned(),
            TablesAt::ObjectStore(remote) => remote.address.to_string(),
        };
        let origin = BackupOrigin { program: source.program, tables_at, keep: source.keep };
        let place = file_store(&disk, place, place_store, &runtime)?;
        let from = Source::open(disk, data_dir, &source.tables, tables_store, runtime.clone())?;
        create::create(&from, place, origin, &monitor, &runtime)
    })
    .await
}

/// Lists the backups at a location, oldest first.
///
/// # Errors
/// `RefusedBackup` when there are none.
pub async fn list_backups(place: BackupLocation) -> Result<Vec<ListedBackup>, StorageError> {
    let runtime = Handle::current();
    blocking(move || {
        let disk: SharedDisk = Arc::new(RealDisk);
        let repository = Repository::open(file_store(&disk, place, None, &runtime)?)?;
        let listed = |name: repository::ManifestName| {
            let content = match repository.manifest(&name) {
                Ok(manifest) => Ok(BackupContent {
                    began: manifest.began(),
                    files: manifest.files.len() as u64,
                    bytes: manifest.bytes(),
                    new_bytes: manifest.new_bytes(),
                    program: manifest.program,
                }),
                Err(error @ (StorageError::Corrupt { .. } | StorageError::Format { .. })) => {
                    Err(error.to_string())
                }
                Err(error) => return Err(error),
            };
            Ok(ListedBackup { id: name.id, content })
        };
        repository.manifests()?.into_iter().map(listed).collect()
    })
    .await
}

/// Reads every file of a backup and reports files that differ from what was backed up. Chooses the
/// newest backup unless an id is given.
///
/// # Errors
/// `RefusedBackup` when there is no such backup, `Corrupt` when its manifest is damaged.
pub async fn verify_backup(
    place: BackupLocation,
    id: Option<BackupId>,
    monitor: BackupMonitor,
    mut found: impl FnMut(&Finding) + Send + 'static,
) -> Result<VerifyReport, StorageError> {
    let runtime = Handle::current();
    blocking(move || {
        let disk: SharedDisk = Arc::new(RealDisk);
        let repository = Repository::open(file_store(&disk, place, None, &runtime)?)?;
        let manifest = restore::choose(&repository, id.as_ref())?;
        restore::verify(&repository, &manifest, &monitor, &mut found)
    })
    .await
}

/// Restores a backup into a data directory that is empty or does not exist yet. Chooses the newest
/// backup unless an id is given. The tables are restored to `tables`, which must be empty too.
///
/// # Errors
/// `RefusedBackup` when there is no such backup or the target is not empty, `Corrupt` with the file
/// that differs from what was backed up. Every program refuses an incomplete directory.
pub async fn restore_backup(
    place: BackupLocation,
    id: Option<BackupId>,
    data_dir: PathBuf,
    tables: TablesAt,
    monitor: BackupMonitor,
) -> Result<RestoreReport, StorageError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    restore_with(disk, [None, None], (place, id), (data_dir, tables), monitor).await
}

/// Like [`restore_backup`], but requests for the buckets of the tables and of the backups go to
/// these stores.
pub(crate) async fn restore_with(
    disk: SharedDisk,
    [tables_store, place_store]: [Option<Arc<dyn ObjectStore>>; 2],
    (place, id): (BackupLocation, Option<BackupId>),
    (data_dir, tables): (PathBuf, TablesAt),
    monitor: BackupMonitor,
) -> Result<RestoreReport, StorageError> {
    let runtime = Handle::current();
    blocking(move || {
        let repository = Repository::open(file_store(&disk, place, place_store, &runtime)?)?;
        let manifest = restore::choose(&repository, id.as_ref())?;
        let tables = match tables {
            TablesAt::DataDirectory => None,
            TablesAt::ObjectStore(remote) => {
                let place = BackupLocation::ObjectStore(remote);
                Some(file_store(&disk, place, tables_store, &runtime)?)
            }
        };
        let target = RestoreTarget { data_dir: absolute(&data_dir)?, disk, tables };
        restore::restore(&repository, &manifest, &target, &monitor)
    })
    .await
}

fn file_store(
    disk: &SharedDisk,
    place: BackupLocation,
    given: Option<Arc<dyn ObjectStore>>,
    runtime: &Handle,
) -> Result<Arc<dyn FileStore>, StorageError> {
    Ok(match place {
        BackupLocation::Folder(folder) => {
            Arc::new(Folder::new(Arc::clone(disk), absolute(&folder)?))
        }
        BackupLocation::ObjectStore(remote) => {
            let store = match given {
                Some(store) => store,
                None => table_store::connect_with_list_retries(&remote)?,
            };
            Arc::new(Bucket::new(store, remote.address, runtime.clone()))
        }
    })
}

fn absolute(path: &Path) -> Result<PathBuf, StorageError> {
    std::path::absolute(path).map_err(failed("resolve", path))
}

/// Resolves symbolic links in the part of a path that exists.
fn resolved(path: &Path) -> PathBuf {
    let whole = |folder: &Path| {
        let rest = path.strip_prefix(folder).ok()?;
        Some(std::fs::canonicalize(folder).ok()?.join(rest))
    };
    path.ancestors().find_map(whole).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::BackupId;

    #[test]
    fn a_later_backup_has_a_greater_id_whatever_the_clock_says() {
        let mut ids = vec![BackupId::after(None, UnixNanos(1_700_000_000_000_000_005))];
        for now in [1_700_000_000_000_000_005, 1_600_000_000_000_000_000, 1_700_000_001_000_000_000]
        {
            let id = BackupId::after(ids.last(), UnixNanos(now));
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            ids.push(id);
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert_eq!(ids[0].to_string(), "20231114T221320Z-00000005");
        for wrong in [
            "",
            "20231114T221320Z",
            "20231114T221320Z-5",
            "20231314T221320Z-00000005",
            "20230229T221320Z-00000005",
            "20231114T241320Z-00000005",
            "20231114 221320Z-00000005",
            "20231114T221320+-00000005",
            "20231114T221320ZZ-00000005",
            "+0231114T221320Z-00000005",
        ] {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong}");
        }
        for (nanos, second) in [
            (0, "19700101T000000Z"),
            (1_709_251_199_999_999_999, "20240229T235959Z"),
            (u64::MAX, "25540721T233433Z"),
        ] {
            let id = BackupId::new(UnixNanos(nanos));
            assert_eq!(id.to_string().split_once('-').unwrap().0, second);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
