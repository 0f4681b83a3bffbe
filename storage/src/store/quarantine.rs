//! Counts quarantined files, and deletes them when an operator has had time to inspect them.
//!
//! The age of a file counts from its arrival in the quarantine. Moving or linking the file changed
//! its inode, whatever the time of its last write. Each removal is logged.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_disk::{Disk, parent};
use tidings_files::{StorageError, blocking::blocking, error::failed};
use tidings_proto::UnixNanos;

use super::StoreInner;

impl StoreInner {
    /// Deletes the files in the quarantine that are older than the configured age. Counts them and
    /// the remaining ones. A file that cannot be deleted is tried again the next time.
    ///
    /// # Errors
    /// When the quarantine cannot be listed.
    pub(super) async fn age_quarantine(&self) -> Result<(), StorageError> {
        let age = self.shared.settings.quarantine_age;
        let (disk, folder) = (Arc::clone(&self.disk), self.paths.quarantine());
        let now = self.shared.clock.now();
        let metrics = Arc::clone(&self.metrics);
        blocking(move || {
            let files = set_aside(disk.as_ref(), folder)?;
            let mut kept = files.len() as u64;
            for path in &files {
                let Some(age) = age else { break };
                match remove_if_old(disk.as_ref(), path, now, age) {
                    Ok(true) => {
                        metrics.discarded_files.fetch_add(1, Ordering::Relaxed);
                        kept -= 1;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(path = %path.display(), %error,
                        "a file in the quarantine could not be deleted at its age"),
                }
            }
            metrics.quarantined_files.store(kept, Ordering::Relaxed);
            Ok(())
        })
        .await
    }
}

fn remove_if_old(disk: &dyn Disk, path: &Path, now: UnixNanos, age: Duration) -> io::Result<bool> {
    let since = match disk.changed(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        changed => changed?,
    };
    let lay = Duration::from_nanos(now.0.saturating_sub(since.0));
    if lay < age {
        return Ok(false);
    }
    disk.remove(path)?;
    disk.sync_folder(parent(path)?)?;
    let days = lay.as_secs() / (24 * 3600);
    tracing::warn!(path = %path.display(), days,
        "a damaged file that was set aside is deleted at its age (see quarantine-age)");
    Ok(true)
}

/// Lists every file in the quarantine.
pub(super) fn set_aside(
    disk: &dyn Disk,
    quarantine: PathBuf,
) -> Result<Vec<PathBuf>, StorageError> {
    let (mut folders, mut files) = (vec![quarantine], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = match disk.list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            listed => listed.map_err(failed("list", &folder))?,
        };
        for entry in entries {
            let found = if entry.is_file { &mut files } else { &mut folders };
            found.push(folder.join(entry.name));
        }
    }
    Ok(files)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests put files there behind the store's back")]
mod tests {
    use std::{fs, time::Duration};

    use crate::{
        StoreSettings,
        store::{
            maintenance_steps::tests::{DAY, MovedClock, keep_up, open_at},
            tests::{contents, settings, traces},
        },
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn quarantined_files_are_deleted_at_their_age_and_not_before() {
        for age in [Some(3 * DAY), None] {
            let root = tempfile::tempdir().unwrap();
            let clock = MovedClock::new();
            let settings = StoreSettings { quarantine_age: age, ..settings(root.path()) };
            let store = open_at(&clock, settings).await;
            store.append(traces(1, 2)).await.unwrap();
            let folder = root.path().join("quarantine");
            fs::create_dir(folder.join("spans")).unwrap();
            // The file was written long ago and quarantined now.
            let old = root.path().join("old");
            fs::write(&old, "x").unwrap();
            let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
            fs::rename(&old, folder.join("old.parquet")).unwrap();
            fs::write(folder.join("spans/7.json"), "x").unwrap();
            let count = || {
                let files = super::set_aside(&tidings_disk::RealDisk, folder.clone());
                files.unwrap().len()
            };
            keep_up(&store).await;
            assert_eq!(count(), 2);
            clock.pass(2 * DAY);
            keep_up(&store).await;
            assert_eq!((count(), store.measurements().quarantined_files), (2, 2));
            clock.pass(DAY + Duration::from_secs(60));
            keep_up(&store).await;
            let discarded = if age.is_some() { 2 } else { 0 };
            assert_eq!(count() as u64, 2 - discarded);
            assert_eq!(store.measurements().quarantined_files, 2 - discarded);
            assert_eq!(store.measurements().discarded_files, discarded);
            assert_eq!(contents(&store).len(), 1);
            store.close().await.unwrap();
        }
    }
}
