#![expect(clippy::disallowed_methods, reason = "tests leave files behind the store's back")]

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_disk::{
    RealDisk, SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
    test_effort::by_effort,
};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{AttributeFilter, SpanFilter};
use tidings_proto::{Signal, TraceId, UnixNanos, otlp::Span};
use tidings_runtime::{Clock, SystemClock};
use tidings_snapshot::Snapshot;
use xxhash_rust::xxh3::xxh3_64;

use super::{MaintenanceState, MergePace, leave};
use crate::{
    Erasure, Retention, RetentionCondition, RetentionRule, Store, StoreSettings, TelemetryBatch,
    store::tests::{contents, logs, open, open_with, settings, traces},
    table_change::CommitReason,
};

/// A clock that a test moves, evenly or by a jump.
#[derive(Debug)]
pub(crate) struct MovedClock {
    passed: AtomicU64,
    jumped: AtomicI64,
    slept: AtomicU64,
}

impl MovedClock {
    pub(crate) fn new() -> Arc<Self> {
        let (passed, slept) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { passed, jumped: AtomicI64::new(0), slept })
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
    }

    /// Simulates a suspended machine.
    fn lie_down(&self, time: Duration) {
        self.slept.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
    }

    fn jump(&self, time: Duration) {
        self.jumped.fetch_add(i64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> UnixNanos {
        let passed = SystemClock.now().0 + self.passed.load(Ordering::Relaxed);
        let passed = passed + self.slept.load(Ordering::Relaxed);
        UnixNanos(passed.checked_add_signed(self.jumped.load(Ordering::Relaxed)).unwrap())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + Duration::from_nanos(self.passed.load(Ordering::Relaxed))
    }

    fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration)
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn open_at(clock: &Arc<MovedClock>, settings: StoreSettings) -> Store {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Store::open_on(Arc::new(RealDisk), settings, clock).await.unwrap().0
}

/// Lists the data files and indexes of both tables.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.join("tables")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().unwrap_or_default().to_str().unwrap().to_owned();
            if path.is_dir() && !path.ends_with("_delta_log") {
                folders.push(path);
            } else if ending == "parquet" || ending == "index" {
                files.push(path);
            }
        }
    }
    files
}

/// Performs all maintenance that is due if no more data arrives.
pub(crate) async fn keep_up(store: &Store) {
    while store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap() {}
}

async fn flushed(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.append(traces(number, 1 + number % 4)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
}

fn names(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    let counted = snapshot.scan_spans(&SpanFilter::default(), scan, &mut |rows| {
        for row in 0..rows.len() {
            *found.entry(rows.name(row).to_owned()).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
    counted.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_files_changes_no_answer() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..12).await;
    let before = contents(&store);
    assert_eq!(store.counts().data_files, 24);
    let counts = store.counts();
    keep_up(&store).await;
    assert_eq!(contents(&store), before);
    assert_eq!(store.counts().data_files, 2);
    assert_eq!(store.counts().spans, counts.spans);
    // Appends continue.
    flushed(&store, 12..14).await;
    let after = contents(&store);
    store.abandon().await;
    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery.replayed_records, 0);
    assert_eq!(contents(&store), after);
    assert_eq!(store.counts().data_files, 6);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_held_over_a_merge_still_reads() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..5).await;
    let held = store.snapshot();
    let before = names(&held);
    keep_up(&store).await;
    flushed(&store, 5..6).await;
    assert_eq!(names(&held), before);
    assert_eq!(names(&store.snapshot()).len(), before.len() + 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_that_fails_anywhere_loses_and_doubles_nothing() {
    for fault in [FaultRepeat::Once, FaultRepeat::Persistent] {
        // After a single fault, the same steps follow as after a persistent one, except for those
        // that clean up.
        let step = if fault == FaultRepeat::Once { 1 } else { 3 };
        for nth in (1..).step_by(step * by_effort(7, 1)) {
            let root = tempfile::tempdir().unwrap();
            let faulty = FaultyDisk::new(root.path());
            let disk: SharedDisk = Arc::new(faulty.clone());
            let (store, _) = open_with(Arc::clone(&disk), settings(root.path())).await.unwrap();
            for number in 0..3 {
                store.append(traces(number, 2)).await.unwrap();
                store.flush().await.unwrap();
            }
            let all = contents(&store);
            faulty.fail(nth, fault);
            let mut kept_up = Ok(true);
            while matches!(kept_up, Ok(true)) {
                kept_up = store.owner.0.run_maintenance_step(MergePace::Offline).await;
            }
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            let faults = faulty.heal();
            assert!(faults > 0 || kept_up.is_ok());
            match nth % 3 {
                0 => keep_up(&store).await,
                1 => store.flush().await.unwrap(),
                _ => {}
            }
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            store.abandon().await;
            faulty.lose_power(&mut Dice(nth));
            let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            keep_up(&store).await;
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            store.close().await.unwrap();
            if faults == 0 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_files_go_when_they_are_old_and_nobody_reads_them() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    flushed(&store, 0..4).await;
    let held = store.snapshot();
    let before = names(&held);
    assert_eq!(files(root.path()).len(), 16);
    keep_up(&store).await;
    assert_eq!(files(root.path()).len(), 20, "other programs may read them");
    clock.pass(Duration::from_secs(3601));
    keep_up(&store).await;
    assert_eq!(files(root.path()).len(), 20, "a snapshot reads them");
    assert_eq!(names(&held), before);
    drop(held);
    keep_up(&store).await;
    assert_eq!(files(root.path()).len(), 4);
    assert_eq!(names(&store.snapshot()), before);
    // Files that an earlier process removed are deleted too.
    flushed(&store, 4..6).await;
    keep_up(&store).await;
    assert_eq!(files(root.path()).len(), 16);
    store.close().await.unwrap();
    let store = open_at(&clock, settings(root.path())).await;
    keep_up(&store).await;
    assert_eq!(files(root.path()).len(), 16);
    clock.pass(Duration::from_secs(3601));
    keep_up(&store).await;
    // Each table has one file for the hour in which the rows arrived, and one for the next.
    assert_eq!(files(root.path()).len(), 8);
    assert_eq!(names(&store.snapshot()).len(), 6);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_leaves_the_reserve_says_what_waits_and_does_it_when_there_is_room() {
    const RESERVE: u64 = 100_000;
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let clock = MovedClock::new();
    let settings = StoreSettings {
        disk_reserve_bytes: RESERVE,
        retention: Retention { bytes_max: Some(u64::MAX), ..Retention::default() },
        ..settings(root.path())
    };
    let of_it = Arc::clone(&clock) as Arc<dyn Clock>;
    let opened = Store::open_on(Arc::new(disk.clone()), settings, of_it).await;
    let store = opened.unwrap().0;
    flushed(&store, 0..4).await;
    let all = contents(&store);
    let of = |signal| store.owner.0.shared.state.files(signal);
    let bytes = |signal| of(signal).iter().map(|file| file.bytes).sum::<u64>();
    let (spans, logs) = (bytes(Signal::Spans), bytes(Signal::Logs));
    assert!(logs < spans);
    // The space suffices for the smaller merge only, which leaves less free space than before.
    disk.set_free(Some(2 * RESERVE + logs + logs / 2));
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, of(Signal::Spans).len(), of(Signal::Logs).len()), (4, 4, 1));
    let waiting = report.waiting.unwrap();
    assert_eq!((waiting.files, waiting.bytes), (4, spans));
    assert_eq!(store.alarms(), [waiting.to_string()]);
    store.ready().unwrap();
    // No unfinished file is left, and maintenance that frees space continues.
    disk.set_free(Some(0));
    clock.pass(Duration::from_secs(3601));
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.deleted_files), (0, 8));
    assert_eq!(files(root.path()).len(), 10);
    assert_eq!(contents(&store), all);

    disk.set_free(None);
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.waiting), (4, None));
    assert_eq!(store.alarms(), Vec::<String>::new());
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_ends_without_a_result_when_others_take_its_room_meanwhile() {
    const RESERVE: u64 = 100_000;
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let shared: SharedDisk = Arc::new(disk.clone());
    let reserved = StoreSettings { disk_reserve_bytes: RESERVE, ..settings(root.path()) };
    let (store, _) = open_with(shared, reserved).await.unwrap();
    flushed(&store, 0..4).await;
    let (all, count) = (contents(&store), files(root.path()).len());
    let inner = &store.owner.0;
    disk.set_free(Some(2 * RESERVE - 1));
    let merged = of_spans(&store);
    let failed =
        inner.rewritten((CommitReason::Compaction, Signal::Spans), &merged, None, None).await;
    assert!(
        matches!(failed, Err(StorageError::DiskFull { reserve, .. }) if reserve == 2 * RESERVE)
    );
    assert_eq!(files(root.path()).len(), count);
    // Retention may use more space, even when the log refuses appends. Erasing may use all of it.
    disk.set_free(Some(RESERVE - 1));
    inner.rewritten((CommitReason::Retention, Signal::Spans), &merged, None, None).await.unwrap();
    disk.set_free(Some(0));
    let failed =
        inner.rewritten((CommitReason::Retention, Signal::Spans), &merged, None, None).await;
    assert!(
        matches!(failed, Err(StorageError::DiskFull { reserve, .. }) if reserve == RESERVE / 2)
    );
    inner.rewritten((CommitReason::Erasure, Signal::Spans), &merged, None, None).await.unwrap();
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

/// Makes a batch of a trace with an error. Its data file has more than a hundred kilobytes.
fn bulky(number: u64) -> TelemetryBatch {
    let TelemetryBatch::Traces { mut request, .. } = traces(number, 600) else { unreachable!() };
    let spans: &mut Vec<Span> = &mut request.resource_spans[0].scope_spans[0].spans;
    for (at, span) in spans.iter_mut().enumerate() {
        let word = |part: u64| xxh3_64(format!("{number} {at} {part}").as_bytes());
        span.name = (0..32).map(|part| format!("{:016x}", word(part))).collect();
    }
    spans[0].status = Some(tidings_proto::otlp::Status { code: 2, ..Default::default() });
    TelemetryBatch::Traces { request, bytes: None }
}

/// Creates a store with four such files of spans and four small ones of logs. The disk becomes full
/// before a file of spans is rewritten, although it reports enough free space.
async fn nearly_full(root: &Path, retention: Retention) -> (FaultyDisk, Arc<MovedClock>, Store) {
    let (disk, clock) = (FaultyDisk::new(root), MovedClock::new());
    let settings = StoreSettings { disk_reserve_bytes: 0, retention, ..settings(root) };
    let of_it = Arc::clone(&clock) as Arc<dyn Clock>;
    let opened = Store::open_on(Arc::new(disk.clone()), settings, of_it).await;
    let store = opened.unwrap().0;
    for number in 0..4 {
        store.append(bulky(number)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
    let used: u64 = disk.files().iter().map(|path| path.metadata().unwrap().len()).sum();
    disk.set_free(Some(u64::MAX));
    disk.set_capacity(Some(used + 100_000));
    (disk, clock, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_finds_the_disk_full_waits_and_keeps_nothing_else_from_being_done() {
    let root = tempfile::tempdir().unwrap();
    let (disk, clock, store) = nearly_full(root.path(), Retention::default()).await;
    let all = contents(&store);
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.written_files), (4, 1));
    assert_eq!(report.waiting.unwrap().files, 4);
    assert_eq!(store.alarms(), [report.waiting.unwrap().to_string()]);
    assert_eq!((report.damaged_files, report.stuck_files), (vec![], vec![]));
    // The unfinished file was deleted, and so were the merged ones.
    assert_eq!(files(root.path()).len(), 2 * (4 + 4 + 1));
    clock.pass(Duration::from_secs(3601));
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.deleted_files), (0, 8));
    assert_eq!(contents(&store), all);
    disk.set_capacity(None);
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.waiting), (4, None));
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thinning_that_finds_the_disk_full_waits_and_keeps_nothing_else_from_being_done() {
    let root = tempfile::tempdir().unwrap();
    let rules = vec![RetentionRule { condition: RetentionCondition::Errors, age: None }];
    let retention = Retention { age: days(3), rules, bytes_max: None };
    let (disk, clock, store) = nearly_full(root.path(), retention).await;
    let all = names(&store.snapshot());
    clock.pass(4 * DAY);
    // Retention keeps no log records.
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.retired_files, report.waiting.unwrap().files), (4, 4));
    assert_eq!((report.damaged_files, report.stuck_files), (vec![], vec![]));
    assert_eq!(contents(&store), all);
    disk.set_capacity(None);
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.retired_files, report.waiting), (4, None));
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_measured_stops_no_maintenance() {
    let root = tempfile::tempdir().unwrap();
    let (disk, clock) = (FaultyDisk::new(root.path()), MovedClock::new());
    let retention = Retention { age: days(3), ..Retention::default() };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let of_it = Arc::clone(&clock) as Arc<dyn Clock>;
    let opened = Store::open_on(Arc::new(disk.clone()), settings, of_it).await;
    let store = opened.unwrap().0;
    flushed(&store, 0..4).await;
    disk.refuse_measuring();
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.merged_files, report.waiting), (8, None));
    clock.pass(4 * DAY);
    let report = store.compact(false).await.unwrap();
    assert_eq!((report.retired_files, store.counts().data_files), (2, 0));
    store.close().await.unwrap();
}

fn of_spans(store: &Store) -> Vec<Arc<DataFile>> {
    store.owner.0.shared.state.files(Signal::Spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_on_a_full_disk_deletes_first_what_nobody_needs() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let shared: SharedDisk = Arc::new(disk.clone());
    let settings = StoreSettings { disk_reserve_bytes: 0, ..settings(root.path()) };
    let (store, _) = open_with(Arc::clone(&shared), settings.clone()).await.unwrap();
    flushed(&store, 0..12).await;
    // Merged files stay for an hour. The next process does not know them.
    keep_up(&store).await;
    store.close().await.unwrap();
    let (store, _) = open_with(shared, settings).await.unwrap();
    let used: u64 = disk.files().iter().map(|path| path.metadata().unwrap().len()).sum();
    let largest = of_spans(&store)[0].bytes;
    disk.set_capacity(Some(used + largest / 2));
    let trace = TraceId::from_wire(&3_u128.to_be_bytes()).unwrap();
    let report = store.erase(&Erasure::Trace(trace)).await.unwrap();
    assert_eq!((report.files, report.left_files), (1, 0));
    assert!(!names(&store.snapshot()).contains_key("s2"));
    assert_eq!(files(root.path()).len(), 4);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_files_go_while_others_are_still_to_be_merged() {
    let root = tempfile::tempdir().unwrap();
    let settings = StoreSettings { removed_file_age: Duration::ZERO, ..settings(root.path()) };
    let store = open_at(&MovedClock::new(), settings).await;
    flushed(&store, 0..4).await;
    let mut left = vec![files(root.path()).len()];
    while store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap() {
        left.push(files(root.path()).len());
    }
    left.push(files(root.path()).len());
    // A merge of spans adds a file and its index. So does one of logs, after the merged files of
    // spans were deleted.
    assert_eq!(left, [16, 18, 12, 4]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_deleted_is_tried_again_and_keeps_no_others() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    flushed(&store, 0..4).await;
    let merged = of_spans(&store);
    keep_up(&store).await;
    clock.pass(Duration::from_secs(3601));
    // A folder in the place of a file cannot be deleted as a file.
    let path = merged.iter().map(|file| file.path.clone()).min().unwrap();
    drop(merged);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    flushed(&store, 4..6).await;
    let mut kept_up = Ok(true);
    while matches!(kept_up, Ok(true)) {
        kept_up = store.owner.0.run_maintenance_step(MergePace::Offline).await;
    }
    assert!(kept_up.unwrap_err().to_string().contains("remove"));
    // Files merged an hour ago are gone. Newer files were merged too, and stay for an hour.
    assert_eq!((store.counts().data_files, files(root.path()).len()), (4, 2 * 4 + 8));
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "again").unwrap();
    keep_up(&store).await;
    assert!(!path.exists());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_left_alone_and_the_others_are_kept_up() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..4).await;
    let of_spans = store.owner.0.shared.state.files(Signal::Spans);
    let damaged = of_spans[1].path.clone();
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let report = store.compact(false).await.unwrap();
    assert_eq!(report.damaged_files, std::slice::from_ref(&damaged));
    assert_eq!(report.merged_files, 3 + 4);
    assert!(damaged.exists());
    assert_eq!(store.compact(false).await.unwrap().damaged_files, Vec::<PathBuf>::new());
    std::fs::write(&damaged, &bytes).unwrap();
    assert_eq!(names(&store.snapshot()).len(), 4);
    store.close().await.unwrap();
    let (store, _) = open(root.path()).await;
    assert_eq!(store.compact(false).await.unwrap().merged_files, 2);
    assert_eq!(names(&store.snapshot()).len(), 4);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_merged_are_reported_and_block_no_others() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..6).await;
    let inner = &store.owner.0;
    let of_spans = inner.shared.state.files(Signal::Spans);
    {
        let mut maintenance = inner.maintenance.lock().await;
        let mut left =
            |error| leave(&mut maintenance, &of_spans[..2], error, MaintenanceState::stuck);
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let passing = [
            StorageError::Closed,
            StorageError::DiskFull { free: 0, reserve: 1 },
            StorageError::Io { action: "write", path: PathBuf::from("new"), source: full() },
            StorageError::Parquet(ParquetError::External(Box::new(full()))),
        ];
        for error in passing {
            assert!(left(error).is_err(), "that passes, and maintenance is done again");
        }
        left(StorageError::Arrow(ArrowError::OffsetOverflowError(1 << 31))).unwrap();
    }
    let report = store.compact(false).await.unwrap();
    let stuck: Vec<_> = of_spans[..2].iter().map(|file| file.path.clone()).collect();
    assert_eq!((report.stuck_files, report.damaged_files), (stuck, vec![]));
    assert_eq!(report.merged_files, 4 + 6);
    assert_eq!(names(&store.snapshot()).len(), 6);
    assert_eq!(store.compact(false).await.unwrap().stuck_files, Vec::<PathBuf>::new());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_after_a_day_and_files_of_others_never() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    flushed(&store, 0..1).await;
    let all = contents(&store);
    let ours: PathBuf = files(root.path())
        .into_iter()
        .find(|path| path.ends_with("parquet") || path.extension().unwrap() == "parquet")
        .unwrap();
    let folder = ours.parent().unwrap();
    let orphan = folder.join("merged-0000-0123456789abcdef.parquet");
    let unfinished = folder.join("merged-0001-0123456789abcdef.parquet#77");
    let foreign = folder.join("part-00000-8f1c2a2e-3f6b-4c55-9d10-0d9a4c1f7b21-c000.parquet");
    for path in [&orphan, &unfinished, &foreign] {
        std::fs::write(path, b"PAR1").unwrap();
    }
    keep_up(&store).await;
    assert!(orphan.exists() && unfinished.exists() && foreign.exists());
    clock.pass(DAY + Duration::from_secs(60));
    keep_up(&store).await;
    assert!(!orphan.exists() && !unfinished.exists() && foreign.exists());
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

/// Makes a batch of two spans of one trace, with an error and an attribute on one of them.
pub(crate) fn noted(
    number: u64,
    clock: &MovedClock,
    is_error: bool,
    user: Option<&str>,
) -> TelemetryBatch {
    let TelemetryBatch::Traces { mut request, .. } = traces(number, 2) else { unreachable!() };
    let spans: &mut Vec<Span> = &mut request.resource_spans[0].scope_spans[0].spans;
    for span in spans.iter_mut() {
        span.start_time_unix_nano = clock.now().0 - 1_000_000;
        span.end_time_unix_nano = clock.now().0;
    }
    if is_error {
        spans[0].status = Some(tidings_proto::otlp::Status { code: 2, ..Default::default() });
    }
    if let Some(user) = user {
        let value = tidings_proto::otlp::Value::String(user.to_owned());
        spans[1].attributes.push(tidings_proto::otlp::KeyValue {
            key: "user.id".to_owned(),
            value: Some(tidings_proto::otlp::AnyValue { value: Some(value) }),
        });
    }
    TelemetryBatch::Traces { request, bytes: None }
}

fn thinned(root: &Path) -> Vec<PathBuf> {
    let is_thinned =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("kept-");
    files(root).into_iter().filter(is_thinned).collect()
}

fn days(count: u32) -> Option<Duration> {
    Some(DAY * count)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_no_rule_keeps_expire_at_their_age() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let pinned = TraceId::from_wire(&4_u128.to_be_bytes()).unwrap();
    let rules = vec![
        RetentionRule { condition: RetentionCondition::Errors, age: days(30) },
        RetentionRule { condition: RetentionCondition::Trace(pinned), age: None },
    ];
    let retention = Retention { age: days(3), rules, bytes_max: None };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let store = open_at(&clock, settings.clone()).await;
    for number in 0..6 {
        store.append(noted(number, &clock, number % 2 == 0, None)).await.unwrap();
    }
    store.flush().await.unwrap();
    keep_up(&store).await;
    assert_eq!(names(&store.snapshot()).len(), 6);
    clock.pass(4 * DAY);
    keep_up(&store).await;
    let kept = [("s0", 2), ("s2", 2), ("s3", 2), ("s4", 2)];
    let expect = |kept: &[(&str, u64)]| {
        kept.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(names(&store.snapshot()), expect(&kept));
    // The files are not rewritten again, not even after a restart.
    let before = thinned(root.path());
    store.close().await.unwrap();
    let store = open_at(&clock, settings).await;
    keep_up(&store).await;
    assert_eq!(thinned(root.path()), before);
    assert_eq!(names(&store.snapshot()), expect(&kept));
    clock.pass(27 * DAY);
    keep_up(&store).await;
    assert_eq!(names(&store.snapshot()), expect(&[("s3", 2)]));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_does_not_give_is_left_alone_and_what_passes_is_not() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..2).await;
    let files = store.owner.0.shared.state.files(Signal::Spans);
    let [first, other] = [0, 1].map(|at: usize| files[at].path.clone());
    let failed = |path: &Path, os| StorageError::Io {
        action: "open",
        path: path.to_owned(),
        source: std::io::Error::from_raw_os_error(os),
    };
    let (failed_medium, no_permission, no_descriptor) = (5, 13, 24);
    let mut maintenance = MaintenanceState::new(None, &SystemClock);
    leave(&mut maintenance, &files, failed(&first, failed_medium), MaintenanceState::stuck)
        .unwrap();
    leave(&mut maintenance, &files, failed(&other, no_permission), MaintenanceState::stuck)
        .unwrap();
    assert_eq!(maintenance.report.damaged_files, [first.clone(), other]);
    let elsewhere = root.path().join("tables");
    for (path, os) in
        [(&first, no_descriptor), (&elsewhere, failed_medium), (&elsewhere, no_permission)]
    {
        leave(&mut maintenance, &files, failed(path, os), MaintenanceState::stuck).unwrap_err();
    }
    assert!(maintenance.stuck.is_empty());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_keeps_its_neighbours_and_stops_nothing() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let rules = vec![RetentionRule { condition: RetentionCondition::Errors, age: None }];
    let retention = Retention { age: days(3), rules, bytes_max: None };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let store = open_at(&clock, settings.clone()).await;
    // Two hours are adjacent, and one is apart.
    for (number, hours) in [(0, 1), (1, 5), (2, 0)] {
        store.append(noted(number, &clock, number == 0, None)).await.unwrap();
        store.flush().await.unwrap();
        clock.pass(Duration::from_secs(hours * 3600));
    }
    store.close().await.unwrap();
    let rows = || {
        let mut found = files(root.path());
        found.retain(|path| path.extension().unwrap() == "parquet");
        found.sort_by_key(|path| path.parent().unwrap().to_owned());
        found
    };
    let [damaged, beside, apart] = rows().try_into().unwrap();
    std::fs::write(&damaged, vec![0xaa; 1000]).unwrap();
    let store = open_at(&clock, settings).await;
    for days in [4, 1] {
        clock.pass(days * DAY);
        keep_up(&store).await;
    }
    let [first, second] = rows().try_into().unwrap();
    assert_eq!(first, damaged);
    assert_eq!(second.parent(), beside.parent());
    assert!(!apart.exists());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_deletes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let retention = Retention { age: days(3), ..Retention::default() };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let store = open_at(&clock, settings.clone()).await;
    store.append(noted(0, &clock, false, None)).await.unwrap();
    store.flush().await.unwrap();
    keep_up(&store).await;
    clock.jump(3650 * DAY);
    keep_up(&store).await;
    assert_eq!(names(&store.snapshot()).len(), 1);
    store.close().await.unwrap();
    let store = open_at(&clock, settings).await;
    keep_up(&store).await;
    assert_eq!(names(&store.snapshot()).len(), 1);
    // An operator confirms the clock.
    store.compact(true).await.unwrap();
    assert_eq!(names(&store.snapshot()).len(), 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_sleeps_every_night_still_deletes_by_age() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let retention = Retention { age: days(3), ..Retention::default() };
    let store = open_at(&clock, StoreSettings { retention, ..settings(root.path()) }).await;
    store.append(noted(0, &clock, false, None)).await.unwrap();
    store.flush().await.unwrap();
    keep_up(&store).await;
    for day in 0..5 {
        assert_eq!(names(&store.snapshot()).len(), usize::from(day < 4), "{day}");
        clock.pass(DAY / 2);
        keep_up(&store).await;
        clock.lie_down(DAY / 2);
        keep_up(&store).await;
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_hours_go_when_the_tables_are_too_large() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let plain = settings(root.path());
    let store = open_at(&clock, plain.clone()).await;
    let mut sizes = Vec::new();
    for number in 0..4 {
        store.append(noted(number, &clock, false, None)).await.unwrap();
        store.flush().await.unwrap();
        let parquet = files(root.path());
        let parquet = parquet.iter().filter(|path| path.extension().unwrap() == "parquet");
        sizes.push(parquet.map(|path| path.metadata().unwrap().len()).sum::<u64>());
        clock.pass(Duration::from_secs(3600));
    }
    store.close().await.unwrap();
    let retention = Retention { bytes_max: Some(sizes[1] + 10), ..Retention::default() };
    let store = open_at(&clock, StoreSettings { retention, ..plain }).await;
    keep_up(&store).await;
    let left: Vec<_> = names(&store.snapshot()).into_keys().collect();
    assert_eq!(left, ["s2", "s3"]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_rows_are_no_longer_on_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    let secret = "ada@example.com";
    for number in 0..6 {
        let user = if number % 3 == 0 { secret } else { "bob" };
        store.append(noted(number, &clock, false, Some(user))).await.unwrap();
        store.append(logs(number)).await.unwrap();
        if number < 4 {
            store.flush().await.unwrap();
        }
    }
    keep_up(&store).await;
    let filter = AttributeFilter::new("user.id", Some(secret.to_owned()));
    let report = store.erase(&Erasure::Attribute(filter)).await.unwrap();
    assert_eq!((report.spans, report.log_records, report.left_files), (2, 0, 0));
    let left = names(&store.snapshot());
    let counts: Vec<u64> = left.values().copied().collect();
    assert_eq!(counts, [1, 2, 2, 1, 2, 2]);
    // The rows are neither in the log nor in a file that is no longer read.
    for file in std::fs::read_dir(root.path().join("wal")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
    assert_eq!(files(root.path()).len() as u64, 2 * store.counts().data_files);
    let said = std::fs::read_to_string(&report.record).unwrap();
    assert!(said.contains("attribute user.id") && !said.contains(secret), "{said}");

    let id = TraceId::from_wire(&2_u128.to_be_bytes()).unwrap();
    let report = store.erase(&Erasure::Trace(id)).await.unwrap();
    assert_eq!(report.spans, 2);
    assert!(!names(&store.snapshot()).contains_key("s1"));
    store.close().await.unwrap();
    let store = open_at(&clock, settings(root.path())).await;
    assert_eq!(names(&store.snapshot()).len(), 5);
    store.close().await.unwrap();
}

/// Reads continuously. Every answer must be a state that the store had during the read.
async fn watch(store: Store, appended: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> u64 {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let store = store.clone();
        let at_least = appended.load(Ordering::SeqCst);
        let found = tokio::task::spawn_blocking(move || names(&store.snapshot())).await.unwrap();
        let rows: u64 = found.values().sum();
        assert!(rows >= at_least, "{rows} of {at_least}");
        assert!(found.values().all(|count| *count == 3), "{found:?}");
        reads += 1;
    }
    reads
}

/// Runs appends, flushes, merges, retention by size and restarts in random order, with concurrent
/// readers.
async fn interleaved(seed: u64) {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let mut dice = Dice(seed);
    let mut number = 0;
    let appended = Arc::new(AtomicU64::new(0));
    let settings = StoreSettings { removed_file_age: Duration::ZERO, ..settings(root.path()) };
    for _ in 0..3 {
        let store = open_at(&clock, settings.clone()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn(watch(store.clone(), Arc::clone(&appended), Arc::clone(&stop)));
        for _ in 0..24 {
            match dice.roll(8) {
                0..=3 => {
                    store.append(traces(number, 3)).await.unwrap();
                    number += 1;
                    appended.store(number * 3, Ordering::SeqCst);
                }
                4 | 5 => store.flush().await.unwrap(),
                6 => {
                    let maintenance = store.owner.0.run_maintenance_step(MergePace::Offline);
                    let (kept, flushed) = tokio::join!(maintenance, store.flush());
                    kept.unwrap();
                    flushed.unwrap();
                }
                _ => {
                    clock.pass(Duration::from_secs(60));
                    keep_up(&store).await;
                }
            }
            assert_eq!(names(&store.snapshot()).len() as u64, number, "seed {seed}");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(watcher.await.unwrap() > 0, "seed {seed}");
        match dice.roll(2) {
            0 => store.close().await.unwrap(),
            _ => store.abandon().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_every_row_once_whatever_maintenance_does() {
    for seed in 0..by_effort(1, 4) {
        interleaved(seed).await;
    }
}
