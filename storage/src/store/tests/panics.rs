//! A bug that panics in the log's writer or in a flush: no acknowledged record is lost or
//! duplicated, and the process learns that it must end. After a panic in maintenance, the task runs
//! again and completes its work.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_disk::{
    SharedDisk,
    faulty::{Dice, DiskFault, FaultRepeat, FaultyDisk},
    test_effort::by_effort,
};
use tidings_files::StorageError;
use tidings_proto::UnixNanos;
use tidings_runtime::{Clock, SystemClock, TaskState};
use tokio::sync::watch;

use super::{contents, logs, open_with, settings, traces};
use crate::{
    Store, StoreSettings,
    store::{
        background::MAINTENANCE_INTERVAL,
        simulation::{Ledger, read},
    },
};

/// Timeout of any step. Only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Age at which the files of an hour are merged although no more rows arrive.
const SETTLED: Duration = Duration::from_secs(7 * 3600);

async fn open(disk: &FaultyDisk, root: &Path) -> Store {
    let disk: SharedDisk = Arc::new(disk.clone());
    open_with(disk, settings(root)).await.unwrap().0
}

async fn send(store: &Store, ledger: &mut Ledger, number: u64) -> Result<(), StorageError> {
    let mut last = Ok(());
    for (batch, name, records) in
        [(traces(number, 3), format!("s{number}"), 3), (logs(number), format!("l{number}"), 1)]
    {
        ledger.sent(&name, records);
        last = store.append(batch).await;
        ledger.answered(&name, last.is_ok());
    }
    last
}

/// Appends and flushes with a panic at the n-th operation on the disk. Returns the failed task, if
/// any, and true if the operation was reached.
async fn panics(nth: u64) -> (Option<String>, bool) {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let mut ledger = Ledger::default();
    let store = open(&disk, root.path()).await;
    send(&store, &mut ledger, 1).await.unwrap();
    disk.fail_with(nth, FaultRepeat::Once, DiskFault::Panic);
    let _ = send(&store, &mut ledger, 2).await;
    let _ = store.flush().await;
    let failure = store.supervision().failure();
    if failure.is_some() {
        assert!(store.ready().is_err(), "{nth}: it says that it is ready");
        let refused = send(&store, &mut ledger, 3).await.unwrap_err();
        assert!(matches!(refused, StorageError::WriterStopped), "{nth}: {refused}");
    }
    let reached = disk.heal() > 0;
    store.abandon().await;
    if nth.is_multiple_of(2) {
        disk.restart();
    } else {
        disk.lose_power(&mut Dice(nth));
    }
    let store = open(&disk, root.path()).await;
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.flush().await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    (failure, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_log_writer_or_a_flush_loses_nothing_and_ends_the_process() {
    let mut failures = BTreeSet::new();
    for nth in (1..).step_by(by_effort(5, 1)) {
        let (failure, reached) = panics(nth).await;
        failures.extend(failure.and_then(|text| text.split(" failed").next().map(str::to_owned)));
        if !reached {
            break;
        }
        assert!(nth < 500, "the scenario does not end");
    }
    assert!(failures.contains("log writer"), "{failures:?}");
    assert!(failures.contains("flush"), "{failures:?}");
}

/// A clock that delays maintenance until the test starts it, hours later, and then lets it run
/// often.
#[derive(Debug)]
struct HeldMaintenance {
    has_begun: watch::Sender<bool>,
}

impl HeldMaintenance {
    fn passed(&self) -> Duration {
        if *self.has_begun.borrow() { SETTLED } else { Duration::ZERO }
    }
}

impl Clock for HeldMaintenance {
    fn now(&self) -> UnixNanos {
        UnixNanos(SystemClock.now().0 + u64::try_from(self.passed().as_nanos()).unwrap())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + self.passed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if duration != MAINTENANCE_INTERVAL {
            return SystemClock.sleep(duration);
        }
        let mut has_begun = self.has_begun.subscribe();
        Box::pin(async move {
            // An error means that the store no longer exists.
            let _ = has_begun.wait_for(|begun| *begun).await;
            SystemClock.sleep(Duration::from_millis(10)).await;
        })
    }
}

/// A running store with three files in each table. Its maintenance has not begun.
struct FlushedStore {
    store: Store,
    clock: Arc<HeldMaintenance>,
    contents: BTreeMap<String, u64>,
}

impl FlushedStore {
    async fn new(disk: &FaultyDisk, root: &Path) -> Self {
        let clock = Arc::new(HeldMaintenance { has_begun: watch::Sender::new(false) });
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let disk: SharedDisk = Arc::new(disk.clone());
        // Only maintenance uses the disk in the background.
        let settings = StoreSettings { scrub_bytes_per_second: 0, ..settings(root) };
        let (store, _) = Store::open_on(disk, settings, time).await.unwrap();
        for number in 1..=3 {
            store.append(traces(number, 3)).await.unwrap();
            store.append(logs(number)).await.unwrap();
            store.flush().await.unwrap();
        }
        assert_eq!(store.counts().data_files, 6);
        let contents = contents(&store);
        Self { store, clock, contents }
    }

    /// Starts maintenance and waits until each table has one file.
    async fn merged(&self) {
        self.clock.has_begun.send_replace(true);
        let begin = SystemClock.instant();
        while self.store.counts().data_files > 2 {
            let tasks = self.store.supervision();
            assert_eq!(tasks.failure(), None);
            let waited = SystemClock.instant().saturating_duration_since(begin);
            assert!(waited < PATIENCE, "files are not merged: {:?}", tasks.tasks());
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_that_panics_at_its_work_runs_again_and_merges_the_files() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let undisturbed = FlushedStore::new(&disk, root.path()).await;
    drop(disk.take_trace());
    undisturbed.merged().await;
    let work = disk.take_trace();
    undisturbed.store.close().await.unwrap();

    // The operations are the check of free space, and those that write the merged file.
    for what in ["measure", "append", "create", "sync"].into_iter().take(by_effort(2, 4)) {
        let first = work.iter().position(|words| words.starts_with(what));
        let first = first.unwrap_or_else(|| panic!("maintenance does not {what}: {work:?}"));
        let root = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(root.path());
        let flushed = FlushedStore::new(&disk, root.path()).await;
        let nth = u64::try_from(first).unwrap() + 1;
        disk.fail_with(nth, FaultRepeat::Once, DiskFault::Panic);
        flushed.merged().await;
        assert_eq!(disk.heal(), 1, "{what}");
        let store = flushed.store;
        for task in store.supervision().tasks() {
            let restarts = u64::from(task.name == "maintenance");
            assert_eq!((task.state, task.restarts), (TaskState::Running, restarts), "{task:?}");
            let planted = task.last_panic.as_deref();
            let is_planted = planted.is_some_and(|words| words.contains("a planted panic"));
            assert_eq!(is_planted, restarts == 1, "{task:?}");
        }
        assert!(store.supervision().tasks().iter().any(|task| task.name == "maintenance"));
        store.ready().unwrap();
        assert_eq!(contents(&store), flushed.contents, "{what}");
        store.close().await.unwrap();
    }
}
