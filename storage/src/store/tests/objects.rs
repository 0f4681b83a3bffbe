#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]
//! The store with its tables in an object store.

use std::{
    fs,
    future::Future,
    ops::ControlFlow,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path as ObjectPath};
use tidings_columns::{Projection, SpanRows};
use tidings_data_file::Scan;
use tidings_disk::{
    RealDisk,
    test_effort::{by_effort, is_exhaustive},
};
use tidings_files::{
    ErrorKind, ObjectStoreSettings, StorageError, TablesAt,
    table_store::unreliable::{RequestFault, StoreDefect, UnreliableStore, remote},
};
use tidings_index::SpanFilter;
use tidings_proto::{
    Signal, TraceId, UnixNanos,
    otlp::{AnyValue, KeyValue, Value},
};
use tidings_runtime::{Clock, SystemClock};
use tokio::task::JoinHandle;

use super::{logs, settings as local_settings, traces};
use crate::{
    Store, StoreSettings, TelemetryBatch,
    maintenance::MergePace,
    store::simulation::{Ledger, StillClock, read},
};

const AT: &str = "s3://bucket/some/where";
/// Timeout of any step. Only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock whose sleeps are shorter than requested.
#[derive(Debug)]
struct HurriedClock;

impl Clock for HurriedClock {
    fn now(&self) -> UnixNanos {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration / 100)
    }
}

fn settings(root: &Path) -> StoreSettings {
    StoreSettings { tables: TablesAt::ObjectStore(remote(&[])), ..local_settings(root) }
}

async fn open_with(
    settings: StoreSettings,
    objects: &UnreliableStore,
) -> Result<Store, StorageError> {
    let given: Arc<dyn ObjectStore> = Arc::new(objects.clone());
    let opened = Store::open_at(Arc::new(RealDisk), Some(given), settings, Arc::new(HurriedClock));
    Box::pin(opened).await.map(|(store, _)| store)
}

pub(super) async fn open(root: &Path, objects: &UnreliableStore) -> Result<Store, StorageError> {
    open_with(settings(root), objects).await
}

fn refusal(opened: Result<Store, StorageError>) -> String {
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_an_object_store_survive_a_kill_and_a_lost_disk() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let mut ledger = Ledger::default();
    let store = open(root.path(), &objects).await.unwrap();
    for number in 1..=4 {
        send(&store, &mut ledger, number).await;
        store.flush().await.unwrap();
    }
    store.compact(true).await.unwrap();
    send(&store, &mut ledger, 5).await;
    store.abandon().await;
    let store = open(root.path(), &objects).await.unwrap();
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    assert!(!root.path().join("tables").exists());

    // The cache can be deleted, because its files are only copies.
    fs::remove_dir_all(root.path().join("cache")).unwrap();
    let store = open(root.path(), &objects).await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_keep_tables_is_refused() {
    for (flaw, words) in [
        (StoreDefect::IgnoresConditions, "no atomic create"),
        (StoreDefect::ListsNothing, "does not list"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let refused = refusal(open(root.path(), &UnreliableStore::with(flaw)).await);
        assert!(refused.contains(words) && refused.contains(AT), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_belong_to_one_data_directory_until_it_is_given_up() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = UnreliableStore::default();
    let store = open(root.path(), &objects).await.unwrap();
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 1).await;
    // The refusal does not depend on a running owner.
    assert!(refusal(open(other.path(), &objects).await).contains("another data directory"));
    store.close().await.unwrap();
    assert!(refusal(open(other.path(), &objects).await).contains("owner.json"));

    objects.objects().delete(&ObjectPath::from("some/where/owner.json")).await.unwrap();
    let store = open(other.path(), &objects).await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    send(&store, &mut ledger, 2).await;
    store.close().await.unwrap();
    let store = open(other.path(), &objects).await.unwrap();
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    refusal(open(root.path(), &objects).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_not_opened_with_tables_that_are_not_its_own() {
    let (local, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = UnreliableStore::default();
    let (store, _) = super::open(local.path()).await;
    store.close().await.unwrap();
    assert!(refusal(open(local.path(), &objects).await).contains("has tables in"));

    open(far.path(), &objects).await.unwrap().close().await.unwrap();
    let opened = Store::open(local_settings(far.path()), Arc::new(SystemClock)).await;
    let refused = refusal(opened.map(|(store, _)| store));
    assert!(refused.contains(AT), "{refused}");
    let checked = crate::check(far.path(), &mut |_| {}).await;
    assert!(matches!(checked, Err(StorageError::Refused { .. })), "{checked:?}");
    let elsewhere = ObjectStoreSettings { address: "s3://bucket".parse().unwrap(), ..remote(&[]) };
    let tables = TablesAt::ObjectStore(elsewhere);
    let moved = StoreSettings { tables, ..local_settings(far.path()) };
    assert!(refusal(open_with(moved, &objects).await).contains(AT));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_no_acknowledged_data_and_ends_by_itself() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let limited = StoreSettings { memory_bytes_max: 400_000, ..settings(root.path()) };
    let store = open_with(limited, &objects).await.unwrap();
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 1).await;
    store.flush().await.unwrap();
    objects.fail(1, RequestFault::Down);
    send(&store, &mut ledger, 2).await;
    let failed = store.flush().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    // Rows are waiting that the flush could not write.
    assert!(store.usage().unflushed_age.is_some());
    // The store stays ready, with a warning, as long as there is room.
    store.ready().unwrap();
    assert!(store.flush_failure().unwrap().contains("SlowDown"));
    let (mut number, mut refused) = (3, 0);
    while refused < 5 {
        let name = format!("s{number}");
        ledger.sent(&name, 200);
        let answer = store.append(traces(number, 200)).await;
        ledger.answered(&name, answer.is_ok());
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            refused += 1;
        }
        number += 1;
        assert!(number < 10_000, "it never filled up");
    }
    // Rows in memory, in the log or on the disk can still be read.
    ledger.check(&read(&store).unwrap()).unwrap();

    assert!(objects.heal() > 0);
    let deadline = SystemClock.instant() + PATIENCE;
    while let Some(trouble) = store.flush_failure() {
        assert!(SystemClock.instant() < deadline, "{trouble}");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
    // That flush may have begun before all rows arrived.
    store.flush().await.unwrap();
    assert_eq!(store.counts().memory_bytes, 0);
    send(&store, &mut ledger, 20_000).await;
    store.abandon().await;
    let store = open(root.path(), &objects).await.unwrap();
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
}

async fn send(store: &Store, ledger: &mut Ledger, number: u64) {
    for (batch, name, records) in
        [(traces(number, 3), format!("s{number}"), 3), (logs(number), format!("l{number}"), 1)]
    {
        ledger.sent(&name, records);
        ledger.answered(&name, store.append(batch).await.is_ok());
    }
}

/// Opens, writes, flushes, merges, writes a checkpoint, is killed, opens again, closes. A read
/// during a fault must give a correct result or an error.
async fn scenario(root: &Path, objects: &UnreliableStore, ledger: &mut Ledger) {
    let store = open(root, objects).await;
    // Opening waits for a store that does not answer, but not while it reads the tables.
    let Ok(store) = store else { return };
    if let Ok(found) = read(&store) {
        ledger.resolve(found).unwrap();
    }
    for number in 1..=4 {
        send(&store, ledger, number).await;
        let _ = store.flush().await;
        if let Ok(found) = read(&store) {
            ledger.check(&found).unwrap();
        }
    }
    for _ in 0..2 {
        let _ = store.owner.0.run_maintenance_step(MergePace::Offline).await;
        if let Ok(found) = read(&store) {
            ledger.check(&found).unwrap();
        }
    }
    send(&store, ledger, 5).await;
    store.abandon().await;
    let Ok(store) = open(root, objects).await else { return };
    send(&store, ledger, 6).await;
    let _ = store.close().await;
}

/// Runs the scenario with the n-th request failing. Returns true if a fault occurred.
async fn fails(nth: u64, trouble: RequestFault) -> bool {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let mut ledger = Ledger::default();
    objects.fail(nth, trouble);
    let run = scenario(root.path(), &objects, &mut ledger);
    if trouble == RequestFault::Down {
        // Opening waits for the store to return. The timeout ends that wait.
        let _ = tokio::time::timeout(Duration::from_millis(300), run).await;
    } else {
        run.await;
    }
    let failed = objects.heal() > 0;
    let deadline = SystemClock.instant() + PATIENCE;
    let store = loop {
        match open(root.path(), &objects).await {
            Ok(store) => break store,
            // The scenario was cut off, and its background work ends soon.
            Err(error) => assert!(SystemClock.instant() < deadline, "{error}"),
        }
        SystemClock.sleep(Duration::from_millis(5)).await;
    };
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.flush().await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    failed
}

#[test]
fn every_request_may_fail_in_every_way() {
    // Every eighth request fails, in ways that alternate, and fewer in a quick run. An exhaustive
    // run tests every way on every request.
    const THREADS: u64 = 2;
    let (all, distance) = (is_exhaustive(), by_effort(32, 8));
    // Number of runs without a fault after which the scenario is taken to be over.
    let over = by_effort(2, RequestFault::ALL.len());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.unwrap();
                let step = if all { THREADS } else { THREADS * distance };
                let (mut nth, mut untouched, mut reached) = (1 + thread * step / THREADS, 0, 0);
                while untouched < over {
                    let turn = usize::try_from(nth / step).unwrap() % RequestFault::ALL.len();
                    let these =
                        if all { &RequestFault::ALL[..] } else { &RequestFault::ALL[turn..=turn] };
                    for trouble in these {
                        let run =
                            async { tokio::time::timeout(PATIENCE, fails(nth, *trouble)).await };
                        let failed = runtime.block_on(run);
                        let failed = failed
                            .unwrap_or_else(|_| panic!("{trouble:?} of request {nth}: it hangs"));
                        if failed {
                            (untouched, reached) = (0, nth);
                        } else {
                            untouched += 1;
                        }
                    }
                    nth += step;
                }
                assert!(reached > 100, "the scenario has few requests: {reached}");
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn finding_a_trace_fetches_a_part_of_its_file() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let store = open(root.path(), &objects).await.unwrap();
    let mut random = 1_u64;
    for number in 0..200 {
        let mut batch = traces(number, 50);
        let TelemetryBatch::Traces { request, .. } = &mut batch else { unreachable!() };
        for span in &mut request.resource_spans[0].scope_spans[0].spans {
            let text: String = (0..160)
                .map(|_| {
                    random = xxhash_rust::xxh3::xxh3_64(&random.to_le_bytes());
                    format!("{random:x}")
                })
                .collect();
            span.attributes = vec![KeyValue {
                key: "note".to_owned(),
                value: Some(AnyValue { value: Some(Value::String(text)) }),
            }];
        }
        store.append(batch).await.unwrap();
    }
    store.close().await.unwrap();
    fs::remove_dir_all(root.path().join("cache")).unwrap();
    let listed: Vec<_> = objects.objects().list(None).try_collect().await.unwrap();
    let sizes = |ending: &str| {
        let files = listed.iter().filter(|object| object.location.as_ref().ends_with(ending));
        files.map(|object| object.size).sum::<u64>()
    };
    let (data, indexes) = (sizes(".parquet"), sizes(".index"));

    let store = open(root.path(), &objects).await.unwrap();
    let before = objects.bytes_read();
    let ids = TraceId::from_bytes(101_u128.to_be_bytes()).map(|id| vec![id]);
    let filter = SpanFilter { trace_ids: ids, ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
    let mut found = 0;
    let mut count = |rows: &SpanRows| {
        found += rows.len();
        ControlFlow::Continue(())
    };
    store.snapshot().scan_spans(&filter, scan, &mut count).unwrap();
    assert_eq!(found, 50);
    let read = objects.bytes_read() - before;
    assert!(read < indexes + data / 3, "{read} of {data}, and {indexes} of indexes");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_fetched_again() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let store = open(root.path(), &objects).await.unwrap();
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 1).await;
    store.close().await.unwrap();
    let listed: Vec<_> = objects.objects().list(None).try_collect().await.unwrap();
    let data = listed.iter().filter(|object| object.location.as_ref().ends_with(".parquet"));
    for object in data {
        let inside = object.location.as_ref().strip_prefix("some/where/").unwrap();
        let copy = root.path().join("cache").join(inside);
        let length = usize::try_from(object.size).unwrap();
        fs::write(&copy, vec![0; length]).unwrap();
    }
    let store = open(root.path(), &objects).await.unwrap();
    // A result is correct or an error. The table whose cached copy was read reports an error once.
    let mut found = read(&store);
    for _ in 0..2 {
        found = found.or_else(|_| read(&store));
    }
    ledger.check(&found.unwrap()).unwrap();
    store.close().await.unwrap();
}

/// Opens a store like `open`, without background work.
async fn open_still(root: &Path, objects: &UnreliableStore) -> Store {
    let given: Arc<dyn ObjectStore> = Arc::new(objects.clone());
    let clock = Arc::new(StillClock::default());
    let opened = Store::open_at(Arc::new(RealDisk), Some(given), settings(root), clock);
    Box::pin(opened).await.unwrap().0
}

/// Waits until a request is held.
async fn held(objects: &UnreliableStore) {
    let deadline = SystemClock.instant() + PATIENCE;
    while objects.held() == 0 {
        assert!(SystemClock.instant() < deadline, "no request is held");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
}

/// Deletes all unreferenced files of spans.
fn sweep(store: &Store) -> JoinHandle<Result<(), StorageError>> {
    let store = store.clone();
    tokio::spawn(async move {
        let inner = &store.owner.0;
        let mut maintenance = inner.maintenance.lock().await;
        inner.sweep(&mut maintenance, Signal::Spans, None).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lists_slowly_stops_no_flush() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let store = open_still(root.path(), &objects).await;
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 1).await;
    store.flush().await.unwrap();
    objects.hold(Some("list"));
    let swept = sweep(&store);
    held(&objects).await;
    for number in 2..4 {
        send(&store, &mut ledger, number).await;
        tokio::time::timeout(PATIENCE, store.flush()).await.expect("it waits").unwrap();
    }
    objects.hold(None);
    swept.await.unwrap().unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.abandon().await;
    fs::remove_dir_all(root.path().join("cache")).unwrap();
    let store = open_still(root.path(), &objects).await;
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_commit_in_progress_are_not_swept() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let store = open_still(root.path(), &objects).await;
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 1).await;
    // The files are uploaded, and no commit names them yet.
    objects.hold(Some("put some/where/spans/_delta_log/"));
    let flushing = store.clone();
    let flushed = tokio::spawn(async move { flushing.flush().await });
    held(&objects).await;
    let before = objects.requests();
    let swept = sweep(&store);
    let deadline = SystemClock.instant() + PATIENCE;
    // The requests list the table, its hour, its indexes and theirs of the hour, and read the times
    // of the two files.
    while objects.requests() < before + 6 {
        assert!(SystemClock.instant() < deadline && !swept.is_finished(), "it does not look");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
    assert!(!swept.is_finished());
    objects.hold(None);
    flushed.await.unwrap().unwrap();
    swept.await.unwrap().unwrap();
    store.close().await.unwrap();
    fs::remove_dir_all(root.path().join("cache")).unwrap();
    let store = open_still(root.path(), &objects).await;
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
}
