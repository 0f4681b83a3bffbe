#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_disk::{CheckSummary, Finding, RealDisk, paths::index_path};
use tidings_files::ErrorKind;
use tidings_index::SpanFilter;
use tidings_runtime::{Clock, SystemClock};

use super::ScrubPosition;
use crate::{
    Store, StoreSettings, check,
    maintenance::MergePace,
    store::tests::{contents, logs, settings, traces},
};

/// Creates a store with files of both tables and a closed segment of the log.
async fn filled(root: &Path) -> Store {
    let (store, _) = crate::store::tests::open(root).await;
    for number in 1..=3 {
        store.append(traces(number, 2)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
    store
}

async fn scrub(store: &Store) {
    store.owner.0.scrub(ScrubPosition::default()).await.unwrap();
}

fn files(root: &Path, part: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(part) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn checked(root: &Path) -> (CheckSummary, Vec<Finding>) {
    let mut findings = Vec::new();
    let checked = check(root, &mut |finding| findings.push(finding.clone())).await.unwrap();
    (checked, findings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_wherever_it_is_and_forgotten_once_mended() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    scrub(&store).await;
    assert_eq!(store.alarms(), Vec::<String>::new());
    let data = files(root.path(), "/hour=");
    let data = data.iter().find(|path| path.extension().unwrap() == "parquet").unwrap();
    let segment = &files(root.path(), ".wal")[0];
    let commit = &files(root.path(), "/_delta_log/")[2];
    let last = fs::metadata(data).unwrap().len() - 1;
    let mut places: Vec<(&PathBuf, u64)> = (0..10).map(|part| (data, last * part / 9)).collect();
    places.extend([(segment, 8_250), (commit, 0)]);
    for (path, offset) in places {
        let sound = fs::read(path).unwrap();
        flip(path, usize::try_from(offset).unwrap());
        scrub(&store).await;
        let alarms = store.alarms();
        assert_eq!(alarms.len(), 1, "{offset}: {alarms:?}");
        assert!(alarms[0].starts_with(path.to_str().unwrap()), "{offset}: {alarms:?}");
        fs::write(path, sound).unwrap();
        scrub(&store).await;
        assert_eq!(store.alarms(), Vec::<String>::new());
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_an_alarm_until_its_table_does_without_it() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    let victim = store.owner.0.shared.state.files(tidings_proto::Signal::Spans)[0].path.clone();
    let aside = root.path().join("aside");
    fs::rename(&victim, &aside).unwrap();
    scrub(&store).await;
    assert!(store.alarms()[0].contains("it is missing"), "{:?}", store.alarms());
    fs::rename(&aside, &victim).unwrap();
    store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap();
    scrub(&store).await;
    assert_eq!(store.alarms(), Vec::<String>::new());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_question_meets_is_an_alarm_at_once() {
    for damage in ["missing", "truncated", "overwritten"] {
        let root = tempfile::tempdir().unwrap();
        let store = filled(root.path()).await;
        let ask = || {
            let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
            store
                .snapshot()
                .scan_spans(&SpanFilter::default(), scan, &mut |_| ControlFlow::Continue(()))
        };
        let victim = store.owner.0.shared.state.files(tidings_proto::Signal::Spans)[0].path.clone();
        let sound = fs::read(&victim).unwrap();
        match damage {
            "missing" => fs::remove_file(&victim).unwrap(),
            "truncated" => fs::write(&victim, &sound[..sound.len() / 2]).unwrap(),
            _ => fs::write(&victim, vec![0; sound.len()]).unwrap(),
        }
        assert_eq!(store.alarms(), Vec::<String>::new(), "{damage}");
        for _ in 0..2 {
            // The failure is permanent, so that a retry does not repair it.
            let error = ask().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}: {error}");
        }
        let alarms = store.alarms();
        assert_eq!(alarms.len(), 1, "{damage}: {alarms:?}");
        assert!(alarms[0].contains(&*victim.to_string_lossy()), "{damage}: {alarms:?}");
        assert_eq!(store.measurements().damaged_files, 1, "{damage}");
        fs::write(&victim, sound).unwrap();
        scrub(&store).await;
        assert_eq!(store.alarms(), Vec::<String>::new(), "{damage}");
        ask().unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_index_is_rebuilt() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    let before = contents(&store);
    let index = index_path(&store.owner.0.shared.state.files(tidings_proto::Signal::Logs)[0].path);
    let sound = fs::read(&index).unwrap();
    for damage in ["head", "pages", "gone"] {
        match damage {
            "head" => flip(&index, 40),
            "pages" => flip(&index, sound.len() - 1),
            _ => fs::remove_file(&index).unwrap(),
        }
        scrub(&store).await;
        assert_eq!(store.alarms(), Vec::<String>::new(), "{damage}");
        let deadline = SystemClock.instant() + std::time::Duration::from_secs(20);
        while fs::read(&index).ok().as_ref() != Some(&sound) {
            assert!(SystemClock.instant() < deadline, "{damage}");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(contents(&store), before);
    store.close().await.unwrap();
    assert_eq!(checked(root.path()).await.1, []);
}

/// A clock that counts the time slept, without sleeping.
#[derive(Debug, Default)]
struct Sleepless(AtomicU64);

impl Clock for Sleepless {
    fn now(&self) -> tidings_proto::UnixNanos {
        SystemClock.now()
    }

    fn instant(&self) -> std::time::Instant {
        SystemClock.instant()
    }

    fn sleep(
        &self,
        duration: std::time::Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        if duration >= super::YIELD.min(super::FIRST) {
            return Box::pin(std::future::pending()); // The background's.
        }
        self.0.fetch_add(u64::try_from(duration.as_nanos()).unwrap(), Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scrubbing_is_no_faster_than_it_may_be_and_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    store.close().await.unwrap();
    let clock = Arc::new(Sleepless::default());
    let settings = StoreSettings { scrub_bytes_per_second: 10_000_000, ..settings(root.path()) };
    let (store, _) =
        Store::open_on(Arc::new(RealDisk), settings, Arc::clone(&clock) as Arc<dyn Clock>)
            .await
            .unwrap();
    scrub(&store).await;
    let parquet: Vec<_> = files(root.path(), ".parquet");
    let bytes: u64 = parquet.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let slept = clock.0.swap(0, Ordering::Relaxed);
    assert!(slept >= bytes * 100 && slept < bytes * 110 + 100_000_000, "{slept} for {bytes}");

    // An interrupted round continues after the file that it read last.
    let inner = &store.owner.0;
    let ended = inner.read_place().await.unwrap();
    assert!(ended.after.is_empty() && ended.ended.0 > 0);
    let last = parquet.last().unwrap();
    let after = inner.name(last).unwrap();
    inner.write_place(&ScrubPosition { after, ..ended.clone() }).await.unwrap();
    inner.scrub_if_due().await.unwrap();
    let of_the_log = clock.0.swap(0, Ordering::Relaxed);
    assert!(of_the_log < slept / 2, "{of_the_log} {slept}");
    // No round begins before it is due.
    inner.scrub_if_due().await.unwrap();
    assert_eq!(clock.0.load(Ordering::Relaxed), 0);
    fs::write(root.path().join("scrub"), b"nonsense").unwrap();
    inner.scrub_if_due().await.unwrap();
    assert!(clock.0.load(Ordering::Relaxed) >= bytes * 100);
    store.close().await.unwrap();
}
