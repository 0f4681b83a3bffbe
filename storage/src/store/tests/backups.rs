#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]
//! Backups of a running store, compared with the acknowledged batches.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use object_store::ObjectStore;
use tidings_disk::{RealDisk, faulty::Dice, test_effort::by_effort};
use tidings_files::{
    ErrorKind, ObjectStoreSettings, StorageError, TablesAt,
    table_store::unreliable::{UnreliableStore, remote},
};
use tidings_runtime::SystemClock;

use super::{contents, expected, logs, open, open_with, replace_log, settings, traces};
use crate::{
    BackupLocation, BackupMonitor, BackupReport, BackupSource, Retention, Store, StoreSettings,
    back_up,
    backup::{back_up_with, restore_with},
    list_backups, restore_backup,
    store::{
        maintenance_steps::tests::{DAY, MovedClock, open_at},
        simulation::{Ledger, read},
    },
    verify_backup,
};

type Contents = BTreeMap<String, u64>;

fn monitor() -> BackupMonitor {
    BackupMonitor { clock: Arc::new(SystemClock), report: Arc::new(|_| {}) }
}

fn source(data_dir: &Path) -> BackupSource {
    BackupSource {
        data_dir: data_dir.to_owned(),
        tables: TablesAt::DataDirectory,
        program: "test".to_owned(),
        keep: None,
    }
}

async fn back(data_dir: &Path, place: &Path) -> Result<BackupReport, StorageError> {
    back_up(source(data_dir), BackupLocation::Folder(place.to_owned()), monitor()).await
}

async fn restored(place: &Path, to: &Path) -> Store {
    let from = BackupLocation::Folder(place.to_owned());
    let tables = TablesAt::DataDirectory;
    restore_backup(from, None, to.to_owned(), tables, monitor()).await.unwrap();
    open(to).await.0
}

/// Lists every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn named(place: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = files(place);
    found.retain(|path| path.to_str().unwrap().contains(part));
    found
}

/// Appends, flushes, merges and deletes at random until it is told to stop.
async fn work(
    store: Store,
    clock: Arc<MovedClock>,
    ledger: Arc<Mutex<Ledger>>,
    (mut dice, numbers): (Dice, Arc<AtomicU64>),
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Acquire) {
        match dice.roll(10) {
            0..=5 => {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let (batch, name, records) = match dice.roll(3) {
                    0 => (logs(number), format!("l{number}"), 1),
                    _ => (traces(number, 1 + number % 3), format!("s{number}"), 1 + number % 3),
                };
                ledger.lock().unwrap().sent(&name, records);
                let done = store.append(batch).await.is_ok();
                ledger.lock().unwrap().answered(&name, done);
            }
            6 | 7 => store.flush().await.unwrap(),
            8 => {
                store.compact(true).await.unwrap();
            }
            // Only the oldest rows reach the age of retention.
            _ => clock.pass(Duration::from_secs(60)),
        }
    }
}

/// Compares a restored store with the batches that were acknowledged before the backup began, and
/// with those sent before it ended. Rows that retention deletes may be present or not.
fn compare(found: &Contents, before: &Contents, after: &Contents, old: &[String]) {
    for (name, records) in before {
        let there = found.get(name).copied().unwrap_or_default();
        let may_be_gone = old.contains(name) && there == 0;
        assert!(there == *records || may_be_gone, "{name}: {records} acknowledged, {there} there");
    }
    for (name, there) in found {
        assert_eq!(after.get(name), Some(there), "{name}: {there} there");
    }
}

async fn history(seed: u64) {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (clock, mut dice) = (MovedClock::new(), Dice(seed));
    let settings = StoreSettings {
        // Files are deleted as soon as they are replaced, also during a backup.
        removed_file_age: Duration::ZERO,
        wal_segment_bytes: 2_000,
        retention: Retention { age: Some(10 * DAY), ..Retention::default() },
        ..settings(root.path())
    };
    let store = open_at(&clock, settings).await;
    let (ledger, numbers) = (Arc::<Mutex<Ledger>>::default(), Arc::new(AtomicU64::new(0)));
    let mut old = Vec::new();
    for _ in 0..dice.roll(5) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        store.append(logs(number)).await.unwrap();
        ledger.lock().unwrap().stored.insert(format!("l{number}"), 1);
        old.push(format!("l{number}"));
    }
    store.flush().await.unwrap();
    clock.pass(10 * DAY - Duration::from_secs(1200));
    let stop = Arc::<AtomicBool>::default();
    let working = tokio::spawn(work(
        store.clone(),
        Arc::clone(&clock),
        Arc::clone(&ledger),
        (Dice(seed + 1), numbers),
        Arc::clone(&stop),
    ));
    for backup in 0..by_effort(2, 4) {
        for _ in 0..dice.roll(200) {
            tokio::task::yield_now().await;
        }
        let before = ledger.lock().unwrap().stored.clone();
        let made = back(root.path(), place.path()).await.unwrap();
        // Ids are unique even when several backups are made in one second.
        let at = BackupLocation::Folder(place.path().to_owned());
        assert_eq!(list_backups(at).await.unwrap().last().unwrap().id, made.id);
        let after = {
            let ledger = ledger.lock().unwrap();
            let all = ledger.stored.iter().chain(&ledger.pending);
            all.map(|(name, records)| (name.clone(), *records)).collect()
        };
        let to = root.path().join(format!("restored/{backup}"));
        let restored = restored(place.path(), &to).await;
        compare(&read(&restored).unwrap(), &before, &after, &old);
        restored.close().await.unwrap();
    }
    stop.store(true, Ordering::Release);
    working.await.unwrap();
    let all = contents(&store);
    store.abandon().await;
    // No server runs, and the log has the records of a killed one.
    back(root.path(), place.path()).await.unwrap();
    let to = root.path().join("restored/last");
    let store = restored(place.path(), &to).await;
    assert_eq!(contents(&store), all, "seed {seed}");
    store.close().await.unwrap();
    let report = verify_backup(
        BackupLocation::Folder(place.path().to_owned()),
        None,
        monitor(),
        |finding| panic!("{finding}"),
    );
    assert_eq!(report.await.unwrap().findings, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_store_at_work_has_each_acknowledged_record_once() {
    for seed in 0..by_effort(1, 6) {
        eprintln!("seed {seed}");
        Box::pin(history(seed)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_copies_what_is_new_and_old_ones_take_nothing_with_them() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(root.path()).await;
    for number in 0..3 {
        store.append(traces(number, 50)).await.unwrap();
        store.flush().await.unwrap();
    }
    let first = back(root.path(), place.path()).await.unwrap();
    assert_eq!((first.new_files, first.new_bytes), (first.files, first.bytes));
    store.append(traces(3, 1)).await.unwrap();
    store.flush().await.unwrap();
    let second = back(root.path(), place.path()).await.unwrap();
    // The new files are a data file, its index, its commit, and segments of the log.
    assert!(second.new_files <= 6, "{second:?}");
    assert!(second.new_bytes < second.bytes / 2, "{second:?}");
    assert_eq!(named(place.path(), "/manifests/").len(), 2);

    let kept = BackupSource { keep: Some(1), ..source(root.path()) };
    let at = BackupLocation::Folder(place.path().to_owned());
    let third = back_up(kept, at.clone(), monitor()).await.unwrap();
    assert_eq!((third.deleted_backups, third.warnings), (2, Vec::new()));
    let listed = list_backups(at).await.unwrap();
    assert_eq!(listed.iter().map(|listed| &listed.id).collect::<Vec<_>>(), [&third.id]);
    let all = contents(&store);
    store.close().await.unwrap();
    let store = restored(place.path(), &root.path().join("restored")).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
    // The location contains the marker, the lock, a manifest, and only files that the manifest
    // names.
    assert_eq!(files(place.path()).len() as u64, 3 + third.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_backup_files_are_named_and_an_incomplete_restore_is_refused() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 5)).await.unwrap();
    store.close().await.unwrap();
    back(root.path(), place.path()).await.unwrap();
    let at = BackupLocation::Folder(place.path().to_owned());
    for part in [".parquet", "/wal/", "/_delta_log/", ".index"] {
        let path = named(place.path(), part).into_iter().next().unwrap();
        let sound = fs::read(&path).unwrap();
        let flipped = {
            let mut bytes = sound.clone();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        for (damaged, words) in [
            (Some(flipped), "are not those that were backed up"),
            (Some(sound[1..].to_vec()), "bytes and not"),
            (None, "missing"),
        ] {
            match &damaged {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let to = root.path().join("restored");
            let tables = TablesAt::DataDirectory;
            let refused = restore_backup(at.clone(), None, to.clone(), tables, monitor()).await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
            let said = refused.to_string();
            assert!(said.contains(path.to_str().unwrap()) && said.contains(words), "{said}");
            if to.exists() {
                let opened = open_with(Arc::new(RealDisk), settings(&to)).await;
                let said = opened.unwrap_err().to_string();
                assert!(said.contains("restore into this directory did not end"), "{said}");
                fs::remove_dir_all(&to).unwrap();
            }
            let findings = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&findings);
            let report = verify_backup(at.clone(), None, monitor(), move |finding| {
                noted.lock().unwrap().push(finding.path.clone());
            });
            assert_eq!(report.await.unwrap().findings, 1);
            assert_eq!(*findings.lock().unwrap(), std::slice::from_ref(&path));
        }
        fs::write(&path, sound).unwrap();
    }
    let manifest = named(place.path(), "/manifests/").remove(0);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("\"log_end\"", "\"log_enD\"", 1)).unwrap();
    let to = root.path().join("restored");
    let refused = restore_backup(at.clone(), None, to, TablesAt::DataDirectory, monitor()).await;
    assert!(refused.unwrap_err().to_string().contains(manifest.to_str().unwrap()));
    assert!(list_backups(at).await.unwrap()[0].content.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_did_not_end_is_none_and_its_files_are_taken_over() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 5)).await.unwrap();
    store.close().await.unwrap();
    let first = back(root.path(), place.path()).await.unwrap();
    fs::remove_file(named(place.path(), "/manifests/").remove(0)).unwrap();
    let at = BackupLocation::Folder(place.path().to_owned());
    assert_eq!(list_backups(at.clone()).await.unwrap(), []);
    let to = root.path().join("restored");
    let none = restore_backup(at, None, to.clone(), TablesAt::DataDirectory, monitor()).await;
    assert!(matches!(none, Err(StorageError::RefusedBackup { .. })), "{none:?}");
    let second = back(root.path(), place.path()).await.unwrap();
    assert_eq!(second.files, first.files);
    assert_eq!(second.files - second.new_files, 1, "the data file is not copied again");
    let store = restored(place.path(), &to).await;
    assert_eq!(contents(&store), expected(&[(1, 5)], &[]));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_there_is_written_over() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = tempfile::tempdir().unwrap();
    for (folder, number) in [(&root, 1), (&other, 2)] {
        let (store, _) = open(folder.path()).await;
        store.append(traces(number, 1)).await.unwrap();
        store.close().await.unwrap();
    }
    let refused = |done: Result<BackupReport, StorageError>| {
        let error = done.unwrap_err();
        assert!(matches!(error, StorageError::RefusedBackup { .. }), "{error}");
        error.to_string()
    };
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("letter"), "x").unwrap();
    let said = refused(back(root.path(), full.path()).await);
    assert!(said.contains("not empty"), "{said}");
    let inside = root.path().join("backups");
    assert!(refused(back(root.path(), &inside).await).contains("would be lost with it"));
    assert!(refused(back(full.path(), place.path()).await).contains("no data directory"));
    back(root.path(), place.path()).await.unwrap();
    let said = refused(back(other.path(), place.path()).await);
    assert!(said.contains("of another data directory"), "{said}");
    let at = BackupLocation::Folder(place.path().to_owned());
    let to = other.path().to_owned();
    let restored = restore_backup(at, None, to, TablesAt::DataDirectory, monitor()).await;
    assert!(restored.unwrap_err().to_string().contains("not empty"));
    let (store, _) = open(other.path()).await;
    assert_eq!(contents(&store), expected(&[(2, 1)], &[]));
    store.close().await.unwrap();
}

fn bucket(address: &str) -> ObjectStoreSettings {
    ObjectStoreSettings { address: address.parse().unwrap(), ..remote(&[]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_a_bucket_are_backed_up_to_one_and_restored_to_another() {
    let [tables, backups, elsewhere] = [(); 3].map(|()| UnreliableStore::default());
    let given = |store: &UnreliableStore| Some(Arc::new(store.clone()) as Arc<dyn ObjectStore>);
    let root = tempfile::tempdir().unwrap();
    let at = |root: PathBuf, address: &str| StoreSettings {
        tables: TablesAt::ObjectStore(bucket(address)),
        ..settings(&root)
    };
    let open = async |settings: StoreSettings, objects: &UnreliableStore| {
        let clock = Arc::new(SystemClock);
        Store::open_at(Arc::new(RealDisk), given(objects), settings, clock).await.unwrap().0
    };
    let from = at(root.path().join("data"), "s3://bucket/tables");
    let store = open(from.clone(), &tables).await;
    store.append(traces(1, 3)).await.unwrap();
    store.flush().await.unwrap();
    store.append(logs(2)).await.unwrap();
    let all = contents(&store);
    let place = BackupLocation::ObjectStore(bucket("s3://other/backups"));
    let source = BackupSource { tables: from.tables.clone(), ..source(&from.data_dir) };
    let back = async || {
        let stores = [given(&tables), given(&backups)];
        let disk = Arc::new(RealDisk);
        back_up_with(disk, stores, source.clone(), place.clone(), monitor()).await
    };
    back().await.unwrap();
    let second = back().await.unwrap();
    assert_eq!(second.new_files, 0, "{second:?}");
    store.abandon().await;

    let to = at(root.path().join("restored"), "s3://third/tables");
    let restore = async || {
        let stores = [given(&elsewhere), given(&backups)];
        let target = (to.data_dir.clone(), to.tables.clone());
        restore_with(Arc::new(RealDisk), stores, (place.clone(), None), target, monitor()).await
    };
    restore().await.unwrap();
    let store = open(to.clone(), &elsewhere).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
    assert!(restore().await.unwrap_err().to_string().contains("not empty"));
    // Tables of a bucket can also be restored into a data directory.
    let local = root.path().join("local");
    let target = (local.clone(), TablesAt::DataDirectory);
    let stores = [None, given(&backups)];
    let chosen = (place.clone(), Some(second.id));
    restore_with(Arc::new(RealDisk), stores, chosen, target, monitor()).await.unwrap();
    let (store, _) = super::open(&local).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_could_not_be_opened_is_not_backed_up() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(root.path()).await;
    store.close().await.unwrap();
    // The directory is as after a first start that was interrupted between the two tables.
    fs::rename(root.path().join("tables/logs"), root.path().join("aside")).unwrap();
    let error = back(root.path(), place.path()).await.unwrap_err();
    assert!(matches!(error, StorageError::RefusedBackup { .. }), "{error}");
    assert!(error.to_string().contains("first start"), "{error}");
    fs::rename(root.path().join("aside"), root.path().join("tables/logs")).unwrap();

    let (store, _) = open(root.path()).await;
    store.append(traces(1, 1)).await.unwrap();
    store.flush().await.unwrap();
    store.close().await.unwrap();
    back(root.path(), place.path()).await.unwrap();
    replace_log(root.path(), 0, 0);
    let error = back(root.path(), place.path()).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("newest segments are missing"), "{error}");
}
