#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

mod backups;
mod damage;
mod erasing;
mod faults;
mod golden;
mod objects;
mod panics;
mod private;
mod recovery;
mod spanning;
mod wide_words;

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_disk::{
    RealDisk, SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
    paths::segment_name,
    test_effort::by_effort,
};
use tidings_files::{ErrorKind, StorageError};
use tidings_index::{LogFilter, SpanFilter};
use tidings_proto::otlp::{
    AnyValue, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Value,
};
use tidings_runtime::SystemClock;
use tidings_wal::{RECORDS_START, SegmentHeader};

use super::{Store, TelemetryBatch};
use crate::{StoreMemory, StoreSettings};

const SCAN: Scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };

pub(crate) fn settings(root: &Path) -> StoreSettings {
    StoreSettings {
        disk_reserve_bytes: 0,
        memory_flush_age: Duration::from_secs(100_000),
        wal_segment_bytes: 20_000,
        ..StoreSettings::new(root)
    }
}

pub(crate) async fn open(root: &Path) -> (Store, super::Recovery) {
    open_with(Arc::new(RealDisk), settings(root)).await.unwrap()
}

pub(crate) async fn open_with(
    disk: SharedDisk,
    settings: StoreSettings,
) -> Result<(Store, super::Recovery), StorageError> {
    Store::open_on(disk, settings, Arc::new(SystemClock)).await
}

/// Replaces the log by a segment without records. It begins after the given record, and its header
/// has a committed position of both tables.
pub(crate) fn replace_log(root: &Path, prior_end: u64, covered: u64) {
    let folder = root.join("wal");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let header = SegmentHeader { first: prior_end + 1, prior_end, salt: 7, covered: [covered; 2] };
    let mut segment = header.encode();
    segment.resize(usize::try_from(RECORDS_START).unwrap(), 0);
    std::fs::write(folder.join(segment_name(prior_end + 1)), segment).unwrap();
}

fn resource() -> Option<Resource> {
    let value = Some(AnyValue { value: Some(Value::String("shop".to_owned())) });
    let attribute = KeyValue { key: "service.name".to_owned(), value };
    Some(Resource { attributes: vec![attribute], ..Resource::default() })
}

/// Makes a batch of spans that are named after the number.
pub(crate) fn traces(number: u64, spans: u64) -> TelemetryBatch {
    let span = |n: u64| Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: (n + 1).to_be_bytes().to_vec(),
        name: format!("s{number}"),
        start_time_unix_nano: 1_700_000_000_000_000_000 + number * 1_000_000_000,
        end_time_unix_nano: 1_700_000_000_500_000_000 + number * 1_000_000_000,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let of_resource = ResourceSpans {
        resource: resource(),
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest { resource_spans: vec![of_resource] };
    TelemetryBatch::Traces { request, bytes: None }
}

/// Makes a batch of one log record whose body is the number.
pub(crate) fn logs(number: u64) -> TelemetryBatch {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + number * 1_000_000_000,
        body: Some(AnyValue { value: Some(Value::String(format!("l{number}"))) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let of_resource =
        ResourceLogs { resource: resource(), scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![of_resource] };
    TelemetryBatch::Logs { request, bytes: None }
}

/// Returns the number of occurrences of each name in the store: spans' names and log records'
/// bodies.
pub(crate) fn contents(store: &Store) -> BTreeMap<String, u64> {
    let snapshot = store.snapshot();
    let mut found = BTreeMap::new();
    snapshot
        .scan_spans(&SpanFilter::default(), SCAN, &mut |rows| {
            for row in 0..rows.len() {
                *found.entry(rows.name(row).to_owned()).or_default() += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let full = Scan { detail: Projection::Full, ..SCAN };
    snapshot
        .scan_logs(&LogFilter::default(), full, &mut |rows| {
            for row in 0..rows.len() {
                let body = rows.log_record(row).body.and_then(|body| body.value);
                let Some(Value::String(text)) = body else { panic!("{body:?}") };
                *found.entry(text).or_default() += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn expected(spans: &[(u64, u64)], logs: &[u64]) -> BTreeMap<String, u64> {
    let spans = spans.iter().map(|(number, count)| (format!("s{number}"), *count));
    spans.chain(logs.iter().map(|number| (format!("l{number}"), 1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_batches_are_visible_at_once_and_survive_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery, super::Recovery::default());
    store.append(traces(1, 3)).await.unwrap();
    let converted = store.convert(logs(2)).unwrap();
    store.append(store.convert(converted).unwrap()).await.unwrap();
    let both = expected(&[(1, 3)], &[2]);
    assert_eq!(contents(&store), both);
    store.abandon().await;

    let (store, recovery) = open(root.path()).await;
    assert_eq!((recovery.replayed_records, recovery.torn_bytes), (2, 0));
    assert_eq!(contents(&store), both);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_ends() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let second = open_with(Arc::new(RealDisk), settings(root.path())).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Locked);
    let (next, ended) = tokio::join!(open(root.path()), store.close());
    ended.unwrap();
    next.0.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_refuses_and_still_shows_what_it_has() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 1)).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.append(traces(2, 1)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.ready().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(contents(&store), expected(&[(1, 1)], &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_batch_costs_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let before = store.counts();
    store.append(traces(1, 0)).await.unwrap();
    store.append(store.convert(traces(1, 0)).unwrap()).await.unwrap();
    let request = ExportLogsServiceRequest::default();
    store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
    assert_eq!(store.counts(), before);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memtable_refuses_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let tight = StoreSettings { memory_bytes_max: 1, ..settings(root.path()) };
    let (store, _) = open_with(Arc::new(RealDisk), tight).await.unwrap();
    let refused = store.append(traces(1, 1)).await.unwrap_err();
    assert!(matches!(refused, StorageError::MemoryFull { limit: 1, .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert_eq!(store.counts().spans, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_less_memory_than_before_flushes_and_takes_less() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 20)).await.unwrap();
    let memory = store.owner.0.shared.settings.memory();
    store.set_memory(StoreMemory { flush_bytes: 1, bytes_max: 1, index_bytes_max: 1 });
    let refused = store.append(traces(2, 1)).await.unwrap_err();
    assert!(matches!(refused, StorageError::MemoryFull { limit: 1, .. }), "{refused}");
    let emptied = async {
        while store.counts().memory_bytes > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), emptied).await.expect("it is not flushed");
    assert_eq!((store.counts().spans, store.usage().memory_bytes_max), (20, 1));
    store.set_memory(memory);
    store.append(traces(2, 1)).await.unwrap();
    assert_eq!(store.counts().spans, 21);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_appends_are_merged_into_few_chunks() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let appends = (0..300).map(|number| store.append(traces(number, 1)));
    for done in futures::future::join_all(appends).await {
        done.unwrap();
    }
    let state = &store.owner.0.shared.state;
    tokio::time::timeout(Duration::from_secs(20), async {
        while state.run().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(contents(&store).len(), 300);
    assert_eq!(store.counts().spans, 300);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_rows_are_seen_once_and_not_replayed() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 3)).await.unwrap();
    store.append(logs(2)).await.unwrap();
    store.flush().await.unwrap();
    let counts = store.counts();
    assert_eq!((counts.memory_bytes, counts.data_files), (0, 2));
    assert_eq!((counts.spans, counts.log_records), (3, 1));
    store.append(traces(3, 1)).await.unwrap();
    let all = expected(&[(1, 3), (3, 1)], &[2]);
    assert_eq!(contents(&store), all);
    store.abandon().await;

    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery.replayed_records, 1);
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery.replayed_records, 0);
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}

#[tokio::test]
async fn flushing_works_on_a_runtime_of_one_thread() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    store.append(traces(1, 3)).await.unwrap();
    store.close().await.unwrap();
    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery.replayed_records, 0);
    assert_eq!(contents(&store), expected(&[(1, 3)], &[]));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shrinks_behind_the_second_flush() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    for number in 0..4 {
        store.append(traces(number, 200)).await.unwrap();
        store.flush().await.unwrap();
    }
    let one = store.counts().wal_bytes;
    for number in 4..12 {
        store.append(traces(number, 200)).await.unwrap();
        store.flush().await.unwrap();
    }
    // The log holds two flushes, whatever came before. Larger numbers take a few bytes more.
    let later = store.counts().wal_bytes;
    assert!(later <= one + one / 10, "{later} after {one}");
    assert_eq!(contents(&store).len(), 12);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_disk_gets_all_of_the_log_back_that_is_not_needed() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::new(root.path()));
    let settings = StoreSettings { disk_reserve_bytes: 1000, ..settings(root.path()) };
    let (store, _) = open_with(Arc::clone(&disk) as SharedDisk, settings).await.unwrap();
    store.append(traces(0, 2000)).await.unwrap();
    store.flush().await.unwrap();
    let kept = store.counts().wal_bytes;
    // The free space is too small for appends, and there are no rows to flush. The log is dropped
    // nevertheless.
    disk.set_free(Some(999));
    store.flush().await.unwrap();
    assert!(store.counts().wal_bytes < kept / 10, "{kept}");
    disk.set_free(Some(1_000_000));
    store.append(traces(1, 2000)).await.unwrap();
    disk.set_free(Some(1999));
    store.flush().await.unwrap();
    assert!(store.counts().wal_bytes < kept / 10, "{kept}");
    assert_eq!(contents(&store), expected(&[(0, 2000), (1, 2000)], &[]));
    store.close().await.unwrap();
}

/// Returns the path of a table's newest commit.
fn last_commit(root: &Path, table: &str) -> std::path::PathBuf {
    let folder = root.join("tables").join(table).join("_delta_log");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "json")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_commit_is_set_aside_and_written_again() {
    for left in ["empty", "half", "missing"] {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = open(root.path()).await;
        store.append(traces(1, 3)).await.unwrap();
        store.flush().await.unwrap();
        store.append(traces(2, 2)).await.unwrap();
        store.append(logs(3)).await.unwrap();
        store.flush().await.unwrap();
        store.abandon().await;
        let commit = last_commit(root.path(), "spans");
        let bytes = std::fs::read(&commit).unwrap();
        match left {
            "missing" => std::fs::remove_file(&commit).unwrap(),
            "half" => std::fs::write(&commit, &bytes[..bytes.len() / 2]).unwrap(),
            _ => std::fs::write(&commit, b"").unwrap(),
        }
        let (store, recovery) = open(root.path()).await;
        assert_eq!(recovery.quarantined.len(), usize::from(left != "missing"), "{left}");
        assert_eq!(recovery.replayed_records, 1, "{left}");
        let all = expected(&[(1, 3), (2, 2)], &[3]);
        assert_eq!(contents(&store), all, "{left}");
        store.flush().await.unwrap();
        assert_eq!(contents(&store), all, "{left}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_flush_wrote_is_synced() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let disk: SharedDisk = Arc::new(faulty.clone());
    let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
    assert_eq!(faulty.unsynced(), Vec::<std::path::PathBuf>::new());
    store.append(traces(1, 3)).await.unwrap();
    store.append(logs(2)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(faulty.unsynced(), Vec::<std::path::PathBuf>::new());
    let known = faulty.files();
    for file in [last_commit(root.path(), "spans"), last_commit(root.path(), "logs")] {
        assert!(known.contains(&file), "{} was not written through the disk", file.display());
    }
    assert_eq!(
        known.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).count(),
        2
    );
    store.close().await.unwrap();
}

/// Runs random operations with faults and power cuts, and compares the store with the acknowledged
/// batches.
async fn storm(seed: u64) {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let mut dice = Dice(seed);
    let mut number = 0;
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    let mut unknown: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..4 {
        let disk: SharedDisk = Arc::new(faulty.clone());
        let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
        let found = contents(&store);
        for (name, count) in &stored {
            assert_eq!(found.get(name), Some(count), "{name}, seed {seed}");
        }
        for (name, count) in &found {
            let known = stored.get(name).or_else(|| unknown.get(name));
            assert_eq!(Some(count), known, "{name}, seed {seed}");
        }
        stored = found;
        unknown.clear();
        if dice.roll(3) > 0 {
            let fault = if dice.roll(2) == 0 { FaultRepeat::Once } else { FaultRepeat::Persistent };
            faulty.fail(1 + dice.roll(60), fault);
        }
        for _ in 0..dice.roll(12) {
            number += 1;
            let (batch, name, count) = match dice.roll(4) {
                0 => {
                    let _ = store.flush().await;
                    assert_eq!(counted(&contents(&store), &unknown), stored, "seed {seed}");
                    continue;
                }
                1 => (logs(number), format!("l{number}"), 1),
                _ => (traces(number, 2), format!("s{number}"), 2),
            };
            match store.append(batch).await {
                Ok(()) => stored.insert(name, count),
                Err(_) => unknown.insert(name, count),
            };
        }
        assert_eq!(counted(&contents(&store), &unknown), stored, "seed {seed}");
        if dice.roll(3) == 0 {
            let _ = store.close().await;
        } else {
            store.abandon().await;
        }
        faulty.heal();
        faulty.lose_power(&mut dice);
    }
}

/// Removes refused batches, which may be stored or not.
fn counted(
    found: &BTreeMap<String, u64>,
    unknown: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let known = found.iter().filter(|(name, _)| !unknown.contains_key(*name));
    known.map(|(name, count)| (name.clone(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_batches_are_there_exactly_once_whatever_happens() {
    for seed in 0..by_effort(5, 25) {
        storm(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_anywhere_loses_and_doubles_nothing() {
    for fault in [FaultRepeat::Once, FaultRepeat::Persistent] {
        // The distance is odd, so that some stores flush again and others do not.
        for nth in (1..).step_by(by_effort(9, 1)) {
            let root = tempfile::tempdir().unwrap();
            let faulty = FaultyDisk::new(root.path());
            let disk: SharedDisk = Arc::new(faulty.clone());
            let (store, _) = open_with(Arc::clone(&disk), settings(root.path())).await.unwrap();
            store.append(traces(1, 3)).await.unwrap();
            store.append(logs(2)).await.unwrap();
            let all = expected(&[(1, 3)], &[2]);
            faulty.fail(nth, fault);
            let flushed = store.flush().await;
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            let faults = faulty.heal();
            assert!(faults > 0 || flushed.is_ok());
            if nth.is_multiple_of(2) {
                store.flush().await.unwrap();
                assert_eq!(contents(&store), all, "{fault:?} {nth}");
            }
            store.abandon().await;
            faulty.lose_power(&mut Dice(nth));
            let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            store.close().await.unwrap();
            if faults == 0 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_larger_than_memory_is_flushed_while_it_is_replayed() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    for number in 0..40 {
        store.append(traces(number, 50)).await.unwrap();
        store.append(logs(number)).await.unwrap();
    }
    let before = contents(&store);
    store.abandon().await;
    let tight = StoreSettings { memory_flush_bytes: 100_000, ..settings(root.path()) };
    let (store, recovery) = open_with(Arc::new(RealDisk), tight).await.unwrap();
    assert_eq!(recovery.replayed_records, 80);
    assert!(store.counts().data_files > 2);
    assert_eq!(contents(&store), before);
    store.close().await.unwrap();
}
