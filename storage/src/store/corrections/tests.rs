use std::{ops::ControlFlow, path::Path, sync::Arc};

use tidings_disk::{
    SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
    test_effort::by_effort,
};
use tidings_proto::{DurationNanos, Signal, UnixNanos};
use tidings_runtime::{Clock, SystemClock};
use tidings_snapshot::{GraphBounds, GraphDetail};

use super::CorrectionState;
use crate::{
    Store, TelemetryBatch,
    maintenance::{DiskSpace, MergePace},
    store::tests::{contents, open, open_with, settings, traces},
};

const HOUR: u64 = 3_600_000_000_000;

/// Returns the beginning of the last complete hour. Older rows may be in files of another hour.
fn hour() -> u64 {
    (SystemClock.now().0 / HOUR - 1) * HOUR
}

/// Returns this many spans of a trace. They began in the given hour.
fn recent(hour: u64, number: u64, spans: u64) -> TelemetryBatch {
    let mut batch = traces(number, spans);
    let TelemetryBatch::Traces { request, .. } = &mut batch else { return batch };
    let scopes = request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans);
    for span in scopes.flat_map(|of| &mut of.spans) {
        span.start_time_unix_nano = hour + number;
        span.end_time_unix_nano = hour + number + 1;
    }
    batch
}

/// Writes four files with spans of the same traces, one more span per trace in each file.
async fn fill(store: &Store, hour: u64) {
    for spans in 1..=4 {
        for number in 0..20 {
            store.append(recent(hour, number, spans)).await.unwrap();
        }
        store.flush().await.unwrap();
    }
}

/// Computes all corrections that are due. Returns the number of files that got some.
async fn precompute(store: &Store, state: &mut CorrectionState, pace: MergePace) -> usize {
    let inner = &store.owner.0;
    let (files, mut room) =
        (inner.shared.state.files(Signal::Spans), DiskSpace::new(u64::MAX, 0, false));
    let mut corrected = 0;
    while inner.precompute_corrections(state, &files, pace, &mut room).await.unwrap() {
        corrected += 1;
    }
    corrected
}

/// Returns the number of spans that the service graph counts, and the number of rows read for it.
fn graph(store: &Store, hour: u64) -> (u64, u64) {
    let bounds = GraphBounds {
        between: vec![UnixNanos(hour), UnixNanos(hour + HOUR)],
        lead: DurationNanos(0),
        trail: DurationNanos(0),
        detail: GraphDetail::Calls,
        without_rollups: false,
        rows_max: u64::MAX,
        bytes_max: usize::MAX,
    };
    let go_on = &mut || ControlFlow::Continue(());
    let aggregate = store.snapshot().aggregate_graph(&bounds, go_on).unwrap().unwrap();
    let counts =
        aggregate.calls().filter(|(_, key, _)| matches!(key, tidings_rollup::GraphKey::Spans(_)));
    (counts.map(|(_, _, calls)| calls.count).sum(), aggregate.scan.rows)
}

async fn findings(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let mut add = |finding: &tidings_disk::Finding| findings.push(finding.to_string());
    crate::check(root, &mut add).await.unwrap();
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn files_say_once_what_they_say_together() {
    let (root, hour) = (tempfile::tempdir().unwrap(), hour());
    let (store, _) = open(root.path()).await;
    fill(&store, hour).await;
    // Every trace is split across four files.
    assert_eq!(graph(&store, hour), (80, 200));
    assert_eq!(precompute(&store, &mut CorrectionState::default(), MergePace::Running).await, 4);
    assert_eq!(graph(&store, hour), (80, 200));
    assert_eq!(precompute(&store, &mut CorrectionState::default(), MergePace::Running).await, 0);
    store.close().await.unwrap();
    assert_eq!(findings(root.path()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_anywhere_leave_a_correct_index() {
    for fault in [FaultRepeat::Once, FaultRepeat::Persistent] {
        for nth in (1..).step_by(by_effort(8, 1)) {
            let (root, hour) = (tempfile::tempdir().unwrap(), hour());
            let faulty = FaultyDisk::new(root.path());
            let disk: SharedDisk = Arc::new(faulty.clone());
            let (store, _) = open_with(Arc::clone(&disk), settings(root.path())).await.unwrap();
            for numbers in [0..20, 10..30] {
                for number in numbers {
                    store.append(recent(hour, number, 3)).await.unwrap();
                }
                store.flush().await.unwrap();
            }
            let all = contents(&store);
            assert_eq!(graph(&store, hour), (90, 60));
            faulty.fail(nth, fault);
            let mut state = CorrectionState::default();
            precompute(&store, &mut state, MergePace::Running).await;
            let faults = faulty.heal();
            let (spans, rows) = graph(&store, hour);
            assert!(spans == 90 && [0, 60].contains(&rows), "{fault:?} {nth}: {rows} rows");
            // A failed write is repeated after the store is opened again.
            store.abandon().await;
            faulty.lose_power(&mut Dice(nth));
            let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
            assert_eq!((contents(&store), graph(&store, hour).0), (all, 90), "{fault:?} {nth}");
            precompute(&store, &mut CorrectionState::default(), MergePace::Offline).await;
            assert_eq!(graph(&store, hour), (90, 0), "{fault:?} {nth}");
            store.close().await.unwrap();
            assert_eq!(findings(root.path()).await, Vec::<String>::new(), "{fault:?} {nth}");
            if faults == 0 {
                break;
            }
        }
    }
}
