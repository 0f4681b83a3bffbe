//! Erasing during other work: what stays on the disk, concurrent snapshots and appends, and
//! interruption.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tidings_files::{StorageError, table_file::DataFile, table_store::unreliable::UnreliableStore};
use tidings_index::{AttributeFilter, LogFilter, SpanFilter};
use tidings_proto::{
    Signal, TraceId, UnixNanos,
    otlp::{
        ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue,
        KeyValueList, LogRecord, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Value,
    },
};
use tidings_runtime::{Clock, SystemClock};

use super::{SCAN, contents, objects, open, resource};
use crate::{
    ERASURES_MAX, Erasure, ErasureRecord, ErasureState, Store, TelemetryBatch, check,
    store::maintenance_steps::tests::{files, keep_up},
};

const HOUR: u64 = 3_600_000_000_000;
const ERASED: u128 = 0x5e1f_ab0b_c0de_cafe_9e3d_71c4_2b68_f7a5;
const SECRET: &str = "jane.roe@erased.example";

/// Returns the beginning of the last complete hour.
fn hour() -> u64 {
    (SystemClock.now().0 / HOUR - 1) * HOUR
}

/// Makes a failed call to a peer that is named by a secret attribute.
fn call(trace: u128, id: u64, peer: Option<&str>) -> Span {
    let said = KeyValue::new("exception.message", peer.unwrap_or("declined"));
    let exception = Event {
        name: "exception".to_owned(),
        attributes: vec![KeyValue::new("exception.type", "Declined"), said],
        ..Event::default()
    };
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if id % 10 == 1 { Vec::new() } else { (id - 1).to_be_bytes().to_vec() },
        name: "call".to_owned(),
        kind: if peer.is_some() { 3 } else { 2 },
        start_time_unix_nano: hour() + id,
        end_time_unix_nano: hour() + id + 1_000,
        attributes: peer.map(|peer| KeyValue::new("peer.service", peer)).into_iter().collect(),
        events: vec![exception],
        ..Span::default()
    }
}

fn spans(spans: Vec<Span>) -> TelemetryBatch {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let of_one = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![of_one] };
    TelemetryBatch::Traces { request, bytes: None }
}

fn record(trace: u128, user: &str) -> TelemetryBatch {
    let record = LogRecord {
        time_unix_nano: hour(),
        trace_id: trace.to_be_bytes().to_vec(),
        body: Some(format!("{user} came").into()),
        attributes: vec![KeyValue::new("peer.service", user)],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let of_one = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![of_one] };
    TelemetryBatch::Logs { request, bytes: None }
}

/// Appends traces that are each split over two files of one hour, half of them with the secret, and
/// one trace in memory.
async fn fill(store: &Store) {
    for part in 0..2_u64 {
        for trace in [ERASED, 2, 3] {
            let peer = (part == 0 && trace != 2).then_some(SECRET);
            let number = u64::try_from(trace % 1_000).unwrap() * 100 + part * 2;
            let id = number + 1;
            store
                .append(spans(vec![call(trace, id, None), call(trace, id + 1, peer)]))
                .await
                .unwrap();
            store.append(record(trace, if part == 0 { SECRET } else { "bob" })).await.unwrap();
        }
        store.flush().await.unwrap();
    }
}

/// Returns every file below a folder with its content, except the records of erasures.
fn on_disk(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    found
}

/// Returns the encodings in which an id or a text can occur in a file.
fn spellings(what: &str) -> Vec<Vec<u8>> {
    if what == SECRET {
        return vec![SECRET.into()];
    }
    let low64 = u64::try_from(ERASED & u128::from(u64::MAX)).unwrap();
    vec![
        ERASED.to_be_bytes().to_vec(),
        low64.to_be_bytes().to_vec(),
        low64.to_le_bytes().to_vec(),
        format!("{ERASED:032x}").into_bytes(),
    ]
}

/// Lists the files that contain a trace id or a value, except the records of erasures.
fn with(root: &Path, what: &str) -> Vec<PathBuf> {
    let spellings = spellings(what);
    let mut found = on_disk(root);
    found.retain(|(path, bytes)| {
        let has = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|part| part == needle);
        !path.starts_with(root.join("erasures")) && spellings.iter().any(has)
    });
    found.into_iter().map(|(path, _)| path).collect()
}

/// Counts the files with this suffix.
fn count_of(files: &[PathBuf], ending: &str) -> usize {
    files.iter().filter(|path| path.extension().is_some_and(|own| own == ending)).count()
}

fn of_secret() -> Erasure {
    Erasure::Attribute(AttributeFilter::new("peer.service", Some(SECRET.to_owned())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_within_arrays_and_maps_is_erased_too() {
    let map =
        |value: Value| Value::Kvlist(KeyValueList { values: vec![KeyValue::new("in", value)] });
    let array = |value: Value| Value::Array(ArrayValue { values: vec![value.into()] });
    let text = |text: &str| Value::String(text.to_owned());
    let secrets = [map(text(SECRET)), array(array(text(SECRET))), array(map(array(text(SECRET))))];
    let others = [map(text("harmless")), array(array(text("harmless")))];
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let with_value = |(span_id, value): (u64, Value)| {
        let mut span = call(7, span_id, None);
        span.attributes.push(KeyValue::new("k", value));
        span
    };
    let sent: Vec<_> = (1..).zip(secrets.into_iter().chain(others)).map(with_value).collect();
    let count = sent.len() as u64;
    store.append(spans(sent)).await.unwrap();
    for _ in 0..2 {
        keep_up(&store).await;
    }
    let erased = Erasure::Attribute(AttributeFilter::everywhere("k", SECRET));
    assert_eq!(store.erase(&erased).await.unwrap().spans, 3);
    assert_eq!(store.counts().spans, count - 3);
    assert_eq!(with(root.path(), SECRET), Vec::<PathBuf>::new());
    store.close().await.unwrap();
}

fn of_trace() -> Erasure {
    Erasure::Trace(TraceId::from_bytes(ERASED.to_be_bytes()).unwrap())
}

/// Counts the rows of the trace, and the rows with the value.
fn rows(store: &Store) -> [u64; 2] {
    [of_trace(), of_secret()].map(|what| {
        let (mut spans, mut logs) = (SpanFilter::default(), LogFilter::default());
        match what {
            Erasure::Trace(id) => {
                (spans.trace_ids, logs.trace_ids) = (Some(vec![id]), Some(vec![id]));
            }
            Erasure::Attribute(one) => {
                (spans.attributes, logs.attributes) = (vec![one.clone()], vec![one]);
            }
        }
        let (snapshot, mut count) = (store.snapshot(), 0);
        let mut add = |rows: usize| {
            count += rows as u64;
            ControlFlow::Continue(())
        };
        snapshot.scan_spans(&spans, SCAN, &mut |rows| add(rows.len())).unwrap();
        snapshot.scan_logs(&logs, SCAN, &mut |rows| add(rows.len())).unwrap();
        count
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_was_erased_stays_on_the_disk() {
    for (what, erased) in [(SECRET, of_secret()), ("trace", of_trace())] {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = open(root.path()).await;
        fill(&store).await;
        // The corrections for split traces of an hour are in the index of one of its files.
        let hour_files = store.owner.0.shared.state.files(Signal::Spans);
        join(&store, &hour_files).await;
        store
            .append(spans(vec![call(ERASED, 909, None), call(3, 910, Some(SECRET))]))
            .await
            .unwrap();
        let before = with(root.path(), what);
        assert!(count_of(&before, "wal") > 0, "{what}: {before:?}");
        // The value also occurs in a log message, whose form is in the index of its file.
        let indexes_with = if what == SECRET { 3 } else { 2 };
        assert_eq!(count_of(&before, "index"), indexes_with, "{what}: {before:?}");
        let mut indexes = hour_files.iter().map(|file| tidings_disk::paths::index_path(&file.path));
        assert!(indexes.all(|path| before.contains(&path)), "{what}: {before:?}");
        drop(hour_files);

        let report = store.erase(&erased).await.unwrap();
        assert_eq!((report.left_files, report.unread_files.len()), (0, 0));
        let expected = if what == SECRET { (3, 3) } else { (5, 2) };
        assert_eq!((report.spans, report.log_records), expected, "{what}");
        assert_eq!(with(root.path(), what), Vec::<PathBuf>::new(), "{what}");
        assert_eq!(rows(&store)[usize::from(what == SECRET)], 0);
        // No compressed copy is left either: only the tables' files are on the disk.
        assert_eq!(files(root.path()).len() as u64, 2 * store.counts().data_files);
        let (spans, logs) = (store.counts().spans, store.counts().log_records);
        assert_eq!((spans, logs), (14 - expected.0, 6 - expected.1));

        // Maintenance computes the corrections again, from the remaining rows.
        keep_up(&store).await;
        assert_eq!(with(root.path(), what), Vec::<PathBuf>::new(), "{what}");
        let records = store.erasures().await.unwrap();
        let [ErasureRecord { state, searched_files, files, .. }] = &records[..] else {
            panic!("{records:?}")
        };
        assert_eq!((state, searched_files), (&ErasureState::Done, files));
        assert!(!fs::read_to_string(&report.record).unwrap().contains(SECRET));
        store.close().await.unwrap();
        assert_eq!(check(root.path(), &mut |_| {}).await.unwrap().findings, 0);
    }
}

/// Downloads a bucket's objects to files. Returns the number of data files and indexes.
async fn download(bucket: &UnreliableStore, folder: &Path) -> usize {
    let objects: Vec<ObjectMeta> = bucket.objects().list(None).try_collect().await.unwrap();
    for location in objects.iter().map(|object| &object.location) {
        let path = folder.join(location.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = bucket.objects().get(location).await.unwrap().bytes().await.unwrap();
        fs::write(path, bytes).unwrap();
    }
    let is_of_table = |object: &ObjectMeta| {
        let location = &object.location;
        matches!(location.extension(), Some("parquet" | "index"))
            && !location.as_ref().contains("/_delta_log/")
    };
    objects.iter().filter(|object| is_of_table(object)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_was_erased_stays_in_a_bucket_or_in_copies_of_its_objects() {
    for (what, erased) in [(SECRET, of_secret()), ("trace", of_trace())] {
        let (root, bucket) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
        let store = objects::open(root.path(), &bucket).await.unwrap();
        fill(&store).await;
        assert!(rows(&store).iter().all(|rows| *rows > 0));
        let before = tempfile::tempdir().unwrap();
        download(&bucket, before.path()).await;
        let copies = with(&root.path().join("cache"), what);
        assert!(!copies.is_empty(), "{what}");
        assert!(count_of(&with(before.path(), what), "index") > 0, "{what}");

        let report = store.erase(&erased).await.unwrap();
        assert_eq!((report.left_files, report.unread_files.len()), (0, 0), "{what}");
        assert_eq!(rows(&store)[usize::from(what == SECRET)], 0, "{what}");
        let after = tempfile::tempdir().unwrap();
        let files = download(&bucket, after.path()).await;
        assert_eq!(files as u64, 2 * store.counts().data_files, "{what}");
        for folder in [root.path(), after.path()] {
            assert_eq!(with(folder, what), Vec::<PathBuf>::new(), "{what}");
        }
        // No copy of a removed data file is left, because a search cannot see compressed rows.
        let copied = copies.iter().filter(|path| path.exists());
        assert_eq!(copied.collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "{what}");
        store.close().await.unwrap();
    }
}

/// Computes the corrections for split traces of all these files, which are of one hour.
async fn join(store: &Store, files: &[Arc<DataFile>]) {
    use crate::maintenance::{DiskSpace, MergePace};
    let (mut state, mut room) = (Default::default(), DiskSpace::new(u64::MAX, 0, false));
    while store
        .owner
        .0
        .precompute_corrections(&mut state, files, MergePace::Offline, &mut room)
        .await
        .unwrap()
    {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_records_are_kept_and_older_ones_that_left_files() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("erasures");
    fs::create_dir(&folder).unwrap();
    let name = |begun: u64| folder.join(format!("{begun:020}.json"));
    let (left, broken, unread) = (5, 7, 9);
    let count = ERASURES_MAX as u64 + 20;
    for begun in 1..=count {
        let record = match begun {
            _ if begun == left => r#"{"state": "done", "files_left_to_readers": 3}"#,
            _ if begun == broken => r#"{"state": "running"}"#,
            _ if begun == unread => "{",
            _ => r#"{"state": "done"}"#,
        };
        fs::write(name(begun), record).unwrap();
    }
    let (store, _) = open(root.path()).await;
    fill(&store).await;
    store.erase(&of_trace()).await.unwrap();
    let kept: Vec<u64> = (1..=count).filter(|begun| name(*begun).exists()).collect();
    let expected: Vec<u64> = [left, unread].into_iter().chain(22..=count).collect();
    assert_eq!(kept, expected);
    let records = store.erasures().await.unwrap();
    assert_eq!((records.len(), records[0].state), (ERASURES_MAX, ErasureState::Done));
    assert!(records[0].begun_unix_nanos > count);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_snapshot_reads_goes_when_that_ends() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    let before = files(root.path());
    let report = store.erase(&of_trace()).await.unwrap();
    assert_eq!((report.files, report.left_files), (4, 4));
    let are_there = || before.iter().filter(|path| path.exists()).count();
    let left = async || store.erasures().await.unwrap()[0].left_files;
    keep_up(&store).await;
    assert_eq!((are_there(), left().await), (8, 4));
    // The snapshot still reads all rows that it had.
    let mut seen = 0;
    let count = &mut |rows: &_| {
        seen += tidings_columns::SpanRows::len(rows);
        ControlFlow::Continue(())
    };
    snapshot.scan_spans(&SpanFilter::default(), SCAN, count).unwrap();
    assert_eq!(seen, 12);
    drop(snapshot);
    // The files are deleted, whatever the age at which removed files are deleted.
    keep_up(&store).await;
    assert_eq!((are_there(), left().await), (0, 0));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_left_to_a_snapshot_go_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    store.erase(&of_trace()).await.unwrap();
    store.abandon().await;
    drop(snapshot);
    assert!(!with(root.path(), "trace").is_empty());
    let (store, _) = open(root.path()).await;
    assert_eq!(store.erasures().await.unwrap()[0].left_files, 4);
    keep_up(&store).await;
    assert_eq!(with(root.path(), "trace"), Vec::<PathBuf>::new());
    assert_eq!(store.erasures().await.unwrap()[0].left_files, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_come_one_at_a_time_and_let_appends_and_snapshots_go_on() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    fill(&store).await;
    // The erasure waits until maintenance has ended.
    let maintenance = store.owner.0.maintenance.lock().await;
    let begun = store.begin_erasure(of_trace()).await.unwrap();
    assert_eq!((begun.state, begun.trace().map(|id| id.to_string())), {
        (ErasureState::Running, Some(format!("{ERASED:032x}")))
    });
    match store.begin_erasure(of_secret()).await {
        Err(StorageError::ErasureRunning { begun: other }) => {
            assert_eq!(other, begun.begun_unix_nanos);
        }
        other => panic!("{other:?}"),
    }
    store.append(spans(vec![call(7, 801, None)])).await.unwrap();
    assert_eq!(rows(&store)[0], 6);
    let listed = store.erasures().await.unwrap();
    assert_eq!(
        listed.iter().map(|record| record.state).collect::<Vec<_>>(),
        [ErasureState::Running]
    );
    drop(maintenance);
    let id = UnixNanos(begun.begun_unix_nanos);
    while store.erasure(id).await.unwrap().unwrap().state == ErasureState::Running {
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rows(&store)[0], 0);
    let report = store.erase(&of_secret()).await.unwrap();
    assert_eq!((report.spans, report.log_records), (1, 2));
    let listed = store.erasures().await.unwrap();
    let keys: Vec<_> = listed.iter().map(|record| record.attribute_key()).collect();
    assert_eq!(keys, [Some("peer.service"), None]);
    assert_eq!(store.counts().spans, 13 - 4 - 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_stop_cuts_off_says_so_and_is_repeated() {
    for is_closed in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = open(root.path()).await;
        fill(&store).await;
        let inner = Arc::clone(&store.owner.0);
        let maintenance = inner.maintenance.lock().await;
        let begun = store.begin_erasure(of_trace()).await.unwrap();
        let record = root.path().join(format!("erasures/{:020}.json", begun.begun_unix_nanos));
        let while_running = fs::read(&record).unwrap();
        let stopping = tokio::spawn({
            let store = store.clone();
            async move { store.close().await }
        });
        // The erasure ends only after the closing of the store has begun.
        let mut stopped = inner.stop.subscribe();
        stopped.wait_for(|stopped| *stopped).await.unwrap();
        drop(maintenance);
        stopping.await.unwrap().unwrap();
        drop(inner);
        if !is_closed {
            // A kill would leave the record as it was written at the beginning.
            fs::write(&record, while_running).unwrap();
        }
        let (store, _) = open(root.path()).await;
        let records = store.erasures().await.unwrap();
        assert_eq!(records[0].state, ErasureState::Interrupted, "{records:?}");
        let report = store.erase(&of_trace()).await.unwrap();
        assert_eq!(report.spans, 4);
        assert_eq!(with(root.path(), "trace"), Vec::<PathBuf>::new());
        assert_eq!(contents_of(&store), 8);
        store.close().await.unwrap();
        let closed = store.begin_erasure(of_trace()).await;
        assert!(matches!(closed, Err(StorageError::Closed)), "{closed:?}");
    }
}

/// Returns the number of spans.
fn contents_of(store: &Store) -> u64 {
    contents(store).iter().filter(|(name, _)| *name == "call").map(|(_, count)| count).sum()
}
