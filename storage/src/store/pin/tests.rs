#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_disk::{
    SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
    test_effort::by_effort,
};
use tidings_files::{ErrorKind, StorageError};
use tidings_index::{AttributeFilter, LogFilter, SpanFilter};
use tidings_proto::{Signal, TraceId};
use tidings_runtime::Clock;
use tidings_snapshot::Snapshot;

use crate::{
    Erasure, PIN_NOTE_CHARS_MAX, PINS_MAX, Pin, Retention, Store, StoreSettings, TelemetryBatch,
    maintenance::{MergePace, RetentionStep, due},
    store::{
        maintenance_steps::tests::{DAY, MovedClock, files, keep_up, noted, open_at},
        retire,
        tests::{logs, open_with, settings},
    },
};

const ALL: Scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };

/// Returns the trace id of the rows that [`noted`] and [`said`] make for this number.
fn id(number: u64) -> TraceId {
    TraceId::from_wire(&u128::from(number + 1).to_be_bytes()).unwrap()
}

/// Sends two spans and a log record of a trace.
async fn send(store: &Store, clock: &MovedClock, number: u64) {
    store.append(noted(number, clock, false, Some("ada"))).await.unwrap();
    store.append(said(number, clock)).await.unwrap();
}

/// Makes a log record of a trace.
fn said(number: u64, clock: &MovedClock) -> TelemetryBatch {
    let TelemetryBatch::Logs { mut request, .. } = logs(number) else { unreachable!() };
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.time_unix_nano = clock.now().0;
    record.trace_id = id(number).as_bytes().to_vec();
    TelemetryBatch::Logs { request, bytes: None }
}

/// Counts the spans and log records of a trace.
fn rows(snapshot: &Snapshot, number: u64) -> (u64, u64) {
    let (mut spans, mut logs) = (0, 0);
    let ids = Some(vec![id(number)]);
    let filter = SpanFilter { trace_ids: ids.clone(), ..SpanFilter::default() };
    snapshot
        .scan_spans(&filter, ALL, &mut |rows| {
            spans += rows.len() as u64;
            ControlFlow::Continue(())
        })
        .unwrap();
    let filter = LogFilter { trace_ids: ids, ..LogFilter::default() };
    snapshot
        .scan_logs(&filter, ALL, &mut |rows| {
            logs += rows.len() as u64;
            ControlFlow::Continue(())
        })
        .unwrap();
    (spans, logs)
}

fn all_rows(store: &Store, numbers: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    let snapshot = store.snapshot();
    numbers.map(|number| rows(&snapshot, number)).collect()
}

async fn pin(store: &Store, number: u64) -> Result<(Pin, bool), StorageError> {
    store.pin(id(number), String::new()).await
}

fn by_age(root: &Path) -> StoreSettings {
    let retention = Retention { age: Some(DAY), ..Retention::default() };
    StoreSettings { retention, ..settings(root) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_trace_outlives_its_age_and_merges_until_it_is_unpinned() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, by_age(root.path())).await;
    for number in 0..4 {
        send(&store, &clock, number).await;
        store.flush().await.unwrap();
    }
    let (made, is_new) = store.pin(id(2), "why".to_owned()).await.unwrap();
    assert!(is_new);
    assert_eq!((made.trace_id, made.note.as_str()), (id(2), "why"));
    // Its files are merged with others before and after they are due.
    keep_up(&store).await;
    assert_eq!(store.counts().data_files, 2);
    clock.pass(2 * DAY);
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..4), [(0, 0), (0, 0), (2, 1), (0, 0)]);
    // Later rows are kept too, and a restart changes nothing.
    send(&store, &clock, 2).await;
    send(&store, &clock, 3).await;
    store.flush().await.unwrap();
    store.close().await.unwrap();
    let store = open_at(&clock, by_age(root.path())).await;
    assert_eq!(store.pins().unwrap(), [made]);
    clock.pass(2 * DAY);
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 2..4), [(4, 2), (0, 0)]);
    let before = store.counts().data_files;
    keep_up(&store).await;
    assert_eq!(store.counts().data_files, before);
    assert!(store.unpin(id(2)).await.unwrap());
    assert!(!store.unpin(id(2)).await.unwrap());
    keep_up(&store).await;
    assert_eq!(store.counts().data_files, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_traces_stay_when_the_tables_are_too_large() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let retention = Retention { bytes_max: Some(1), ..Retention::default() };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let store = open_at(&clock, settings).await;
    for number in 0..4 {
        send(&store, &clock, number).await;
        if number == 1 {
            store.flush().await.unwrap();
            clock.pass(Duration::from_secs(3 * 3600));
        }
    }
    store.flush().await.unwrap();
    for number in [0, 3] {
        pin(&store, number).await.unwrap();
    }
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..4), [(2, 1), (0, 0), (0, 0), (2, 1)]);
    store.unpin(id(0)).await.unwrap();
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..4), [(0, 0), (0, 0), (0, 0), (2, 1)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_comes_while_its_trace_is_being_removed_wins() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, by_age(root.path())).await;
    for number in 0..2 {
        send(&store, &clock, number).await;
    }
    store.flush().await.unwrap();
    clock.pass(2 * DAY);
    let inner = &store.owner.0;
    let files = inner.shared.state.files(Signal::Spans);
    let tables = [(Signal::Spans, files)];
    let retention = &inner.shared.settings.retention;
    let now = inner.shared.clock.now();
    let mut room = inner.disk_space().await.unwrap();
    let due = due(retention, &tables, now, true, &|_| Some(Vec::new()), &mut room);
    let RetentionStep::Retire(retired) = due else { panic!() };
    let known = inner.pinned().unwrap();
    let change = retire::retire(inner, retired).await.unwrap();
    // The pin comes after the commit was prepared and before it is made.
    pin(&store, 1).await.unwrap();
    let mut maintenance = inner.maintenance.lock().await;
    inner.commit_retention(&mut maintenance, Signal::Spans, change, &known).await.unwrap();
    drop(maintenance);
    assert_eq!(all_rows(&store, 0..2), [(2, 1), (2, 1)]);
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..2), [(0, 0), (2, 1)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_pins_survive_faults_and_power_cuts() {
    // The distance is odd, so that faults are single and persistent ones in turn.
    for nth in (1..).step_by(by_effort(3, 1)) {
        let root = tempfile::tempdir().unwrap();
        let faulty = FaultyDisk::new(root.path());
        let disk: SharedDisk = Arc::new(faulty.clone());
        let clock = MovedClock::new();
        let (store, _) = open_with(Arc::clone(&disk), settings(root.path())).await.unwrap();
        for number in 0..3 {
            send(&store, &clock, number).await;
        }
        store.flush().await.unwrap();
        pin(&store, 0).await.unwrap();
        pin(&store, 1).await.unwrap();
        faulty.fail(nth, if nth % 2 == 0 { FaultRepeat::Once } else { FaultRepeat::Persistent });
        let unpinned = store.unpin(id(0)).await;
        let pinned = pin(&store, 2).await;
        let faults = faulty.heal();
        let said: Vec<TraceId> = store.pins().unwrap().iter().map(|pin| pin.trace_id).collect();
        assert_eq!(said.contains(&id(0)), unpinned.is_err(), "{nth}");
        assert_eq!(said.contains(&id(2)), pinned.is_ok(), "{nth}");
        store.abandon().await;
        faulty.lose_power(&mut Dice(nth));
        let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
        let said: Vec<TraceId> = store.pins().unwrap().iter().map(|pin| pin.trace_id).collect();
        assert!(said.contains(&id(1)), "{nth}: {said:?}");
        // A failed change may have taken effect or not.
        assert!(unpinned.is_err() || !said.contains(&id(0)), "{nth}: {said:?}");
        assert!(pinned.is_err() || said.contains(&id(2)), "{nth}: {said:?}");
        assert!(pin(&store, 0).await.is_ok() && store.unpin(id(2)).await.is_ok());
        store.close().await.unwrap();
        if faults == 0 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_have_bounds_and_are_of_traces_that_are_there() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    send(&store, &clock, 0).await;
    store.append(said(1, &clock)).await.unwrap();
    let unknown = pin(&store, 9).await.unwrap_err();
    assert!(matches!(unknown, StorageError::UnknownTrace { .. }), "{unknown}");
    // The traces have rows in memory, in files, and only of log records.
    pin(&store, 0).await.unwrap();
    pin(&store, 1).await.unwrap();
    let note = "é".repeat(PIN_NOTE_CHARS_MAX);
    let (again, is_new) = store.pin(id(0), note.clone()).await.unwrap();
    assert!(!is_new && again.note == note);
    let long = store.pin(id(0), note + "!").await.unwrap_err();
    assert!(matches!(long, StorageError::LongNote { .. }), "{long}");
    let filled =
        (10..).take(PINS_MAX - 2).fold((*store.owner.0.pinned().unwrap()).clone(), |pins, n| {
            pins.with(Pin { trace_id: id(n), ..again.clone() })
        });
    store.owner.0.pins.set(filled);
    send(&store, &clock, 2).await;
    let full = pin(&store, 2).await.unwrap_err();
    assert!(matches!(full, StorageError::TooManyPins { .. }), "{full}");
    // A pinned trace can still get another note.
    assert!(!pin(&store, 0).await.unwrap().1);
    store.close().await.unwrap();
    assert_eq!(pin(&store, 0).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_not_known_what_is_pinned_nothing_is_deleted_by_retention() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, by_age(root.path())).await;
    send(&store, &clock, 0).await;
    send(&store, &clock, 1).await;
    pin(&store, 0).await.unwrap();
    store.close().await.unwrap();
    let file = root.path().join("pins");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let mut findings = Vec::new();
    crate::check(root.path(), &mut |finding| findings.push(finding.path.clone())).await.unwrap();
    assert_eq!(findings, std::slice::from_ref(&file));
    let store = open_at(&clock, by_age(root.path())).await;
    assert!(store.alarms()[0].contains("pins"), "{:?}", store.alarms());
    for error in [pin(&store, 1).await.unwrap_err(), store.pins().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    clock.pass(2 * DAY);
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..2), [(2, 1), (2, 1)]);
    // Erasing does not wait for the pins to be repaired. Their file may have notes about the erased
    // rows.
    let report = store.erase(&Erasure::Trace(id(1))).await.unwrap();
    assert_eq!(report.unread_files, std::slice::from_ref(&file));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    store.close().await.unwrap();
    std::fs::remove_file(file).unwrap();
    let store = open_at(&clock, by_age(root.path())).await;
    assert!(store.alarms().is_empty() && store.pins().unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_reaches_pinned_traces_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    for number in 0..3 {
        send(&store, &clock, number).await;
        store.pin(id(number), format!("note {number}")).await.unwrap();
    }
    let report = store.erase(&Erasure::Trace(id(0))).await.unwrap();
    assert_eq!((report.spans, report.log_records), (2, 1));
    assert_eq!((&report.pinned[..], &report.unpinned[..]), (&[id(0)][..], &[id(0)][..]));
    assert!(!std::fs::read_to_string(root.path().join("pins")).unwrap().contains("note 0"));
    let user = AttributeFilter::new("user.id", Some("ada".to_owned()));
    let report = store.erase(&Erasure::Attribute(user)).await.unwrap();
    assert_eq!((&report.pinned[..], &report.unpinned[..]), (&[id(1), id(2)][..], &[][..]));
    assert_eq!(all_rows(&store, 0..3), [(0, 0), (1, 1), (1, 1)]);
    let written = std::fs::read_to_string(&report.record).unwrap();
    assert!(written.contains("\"pinned_traces\":2"), "{written}");
    assert_eq!(store.pins().unwrap().len(), 2);
    // A pin whose trace lost its last rows earlier is removed as well.
    let report = store.erase(&Erasure::Trace(id(1))).await.unwrap();
    assert_eq!(report.unpinned, [id(1)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_ends_where_a_file_does_not_say_whether_it_has_the_pinned_trace() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    for _ in 0..2 {
        send(&store, &clock, 0).await;
        store.flush().await.unwrap();
    }
    store.pin(id(0), String::new()).await.unwrap();
    store.close().await.unwrap();
    let mut spans = files(root.path());
    let is_of_spans = |path: &Path| path.components().any(|part| part.as_os_str() == "spans");
    spans.retain(|path| path.extension().unwrap() == "parquet" && is_of_spans(path));
    spans.sort();
    std::fs::write(&spans[1], vec![0xaa; 1000]).unwrap();
    let store = open_at(&clock, settings(root.path())).await;
    let report = store.erase(&Erasure::Trace(id(0))).await.unwrap();
    assert_eq!((report.spans, report.log_records), (2, 2));
    assert_eq!(report.unread_files, [spans[1].clone()]);
    assert_eq!((&report.pinned[..], &report.unpinned[..]), (&[id(0)][..], &[][..]));
    assert!(!spans[0].exists());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_looked_into_is_not_deleted() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, by_age(root.path())).await;
    for number in 0..2 {
        send(&store, &clock, number).await;
        store.flush().await.unwrap();
    }
    pin(&store, 0).await.unwrap();
    let file = store.owner.0.shared.state.files(Signal::Spans)[0].path.clone();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![0; bytes.len()]).unwrap();
    clock.pass(2 * DAY);
    let report = store.compact(false).await.unwrap();
    assert_eq!(report.damaged_files, std::slice::from_ref(&file));
    assert!(file.exists());
    std::fs::write(&file, &bytes).unwrap();
    store.close().await.unwrap();
    let store = open_at(&clock, by_age(root.path())).await;
    keep_up(&store).await;
    assert_eq!(all_rows(&store, 0..2), [(2, 1), (0, 0)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_fate_is_settled_before_a_pin_is_promised() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let disk: SharedDisk = Arc::new(faulty.clone());
    let clock = MovedClock::new();
    let of_it = Arc::clone(&clock) as Arc<dyn Clock>;
    let (store, _) = Store::open_on(disk, by_age(root.path()), of_it).await.unwrap();
    send(&store, &clock, 0).await;
    store.flush().await.unwrap();
    clock.pass(2 * DAY);
    let mut doubts = 0;
    for nth in 1..40 {
        faulty.fail(nth, FaultRepeat::Once);
        let kept_up = store.owner.0.run_maintenance_step(MergePace::Offline).await;
        faulty.heal();
        let in_doubt = store.owner.0.pins.turn.lock().await.in_doubt;
        assert!(!in_doubt || kept_up.is_err());
        doubts += u64::from(in_doubt);
        let gone = all_rows(&store, 0..1) == [(0, 0)];
        match pin(&store, 0).await {
            // From now on the trace stays, whatever the outcome of the commit.
            Ok(_) => {
                keep_up(&store).await;
                let left = all_rows(&store, 0..1)[0];
                assert!(left == (2, 1) || left == (0, 1) || left == (2, 0), "{nth}: {left:?}");
                store.unpin(id(0)).await.unwrap();
            }
            Err(StorageError::UnknownTrace { .. }) => assert!(gone || in_doubt, "{nth}"),
            Err(error) => panic!("{error}"),
        }
        assert!(!store.owner.0.pins.turn.lock().await.in_doubt);
        if store.counts().data_files == 0 {
            send(&store, &clock, 0).await;
            store.flush().await.unwrap();
            clock.pass(2 * DAY);
        }
    }
    assert!(doubts > 0);
    store.close().await.unwrap();
}
