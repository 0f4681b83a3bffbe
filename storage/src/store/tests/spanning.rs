//! Rows of many hours: the number of files that a flush writes, and the correctness of every query
//! result.

use std::{
    collections::{BTreeMap, HashSet},
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Duration,
};

use tidings_columns::Projection;
use tidings_data_file::Scan;
use tidings_disk::{
    faulty::{Dice, FaultyDisk},
    test_effort::by_effort,
};
use tidings_index::{LogFilter, SpanFilter, TimeRange};
use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, LogRecord, ResourceLogs,
        ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, StatusCode,
    },
};
use tidings_rollup::{Call, CallKey, RollupBucket};
use tidings_runtime::Clock;
use tidings_snapshot::{CallAccumulator, CallAccumulatorFactory, CallBounds, Snapshot};

use super::{SCAN, resource, settings};
use crate::{
    Erasure, Retention, RetentionCondition, RetentionRule, Store, StoreSettings, TelemetryBatch,
    check,
    store::maintenance_steps::tests::{DAY, MovedClock, files, keep_up, open_at},
};

const HOUR: u64 = 3600 * 1_000_000_000;
const YEAR: u64 = 365 * 24 * HOUR;

/// A span or a log record in the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sent {
    id: u64,
    trace: u64,
    start: u64,
    failed: bool,
}

impl Sent {
    fn trace_id(trace: u64) -> Vec<u8> {
        u128::from(trace + 1).to_be_bytes().to_vec()
    }

    fn span(&self) -> Span {
        let code = if self.failed { StatusCode::Error } else { StatusCode::Unset };
        Span {
            trace_id: Self::trace_id(self.trace),
            span_id: (self.id + 1).to_be_bytes().to_vec(),
            name: format!("n{}", self.id),
            kind: 2,
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.start + 1_000_000,
            status: Some(Status { code: code.into(), message: String::new() }),
            ..Span::default()
        }
    }

    fn log(&self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.start,
            event_name: format!("n{}", self.id),
            trace_id: Self::trace_id(self.trace),
            ..LogRecord::default()
        }
    }
}

fn spans(sent: &[Sent]) -> TelemetryBatch {
    let spans = sent.iter().map(Sent::span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let of_one = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![of_one] };
    TelemetryBatch::Traces { request, bytes: None }
}

fn logs(sent: &[Sent]) -> TelemetryBatch {
    let log_records = sent.iter().map(Sent::log).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let of_one = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![of_one] };
    TelemetryBatch::Logs { request, bytes: None }
}

async fn open_on(disk: &FaultyDisk, clock: &Arc<MovedClock>, settings: StoreSettings) -> Store {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Store::open_on(Arc::new(disk.clone()), settings, clock).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_a_month_makes_a_dozen_files_and_few_syncs() {
    let root = tempfile::tempdir().unwrap();
    let (disk, clock) = (FaultyDisk::new(root.path()), MovedClock::new());
    let store = open_on(&disk, &clock, settings(root.path())).await;
    let now = clock.now().0;
    for round in 1..=3 {
        let hours = (0..31 * 24_u64).map(|hour| {
            let id = round * 10_000 + hour;
            Sent { id, trace: id, start: now - hour * HOUR, failed: false }
        });
        let sent: Vec<Sent> = hours.collect();
        store.append(spans(&sent)).await.unwrap();
        let before = disk.syncs();
        store.flush().await.unwrap();
        let syncs = disk.syncs() - before;
        let count = usize::try_from(round).unwrap();
        assert_eq!(store.counts().data_files, 6 * round);
        assert_eq!(files(root.path()).len(), 12 * count, "an index beside each");
        assert!(syncs <= 48, "{syncs} syncs");
    }
    // After the merge there are files of as many hours as before, and one file for the other rows.
    keep_up(&store).await;
    assert_eq!(store.counts().data_files, 6);
    assert_eq!(store.counts().spans, 3 * 31 * 24);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_hour_keep_their_file_beside_larger_hours() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open_at(&clock, settings(root.path())).await;
    let now = clock.now().0;
    let far = (0..4000_u64).map(|id| (id, now - (3 + id % 40) * HOUR));
    let near = [(5000, now), (5001, now - HOUR)];
    let sent = far.chain(near).map(|(id, start)| Sent { id, trace: id, start, failed: false });
    store.append(logs(&sent.collect::<Vec<_>>())).await.unwrap();
    store.flush().await.unwrap();
    let files = store.owner.0.shared.state.files(tidings_proto::Signal::Logs);
    let hour = (now / HOUR).cast_signed();
    let of = |wanted: i64| {
        let of_hour = files.iter().filter(|file| file.hour == wanted && !file.is_spanning());
        of_hour.map(|file| file.rows).sum::<u64>()
    };
    assert_eq!((of(hour), of(hour - 1)), (1, 1));
    assert_eq!(files.iter().filter(|file| file.is_spanning()).count(), 1);
    assert_eq!(files.len(), 6);
    store.close().await.unwrap();
}

/// Counts calls by time step.
#[derive(Debug, Default)]
struct Counted {
    step: u64,
    of: BTreeMap<u64, u64>,
}

impl CallAccumulator for Counted {
    fn group(&mut self, _: CallKey<'_>) -> u32 {
        0
    }

    fn call(&mut self, _: u32, call: &Call) {
        let start = call.exemplar.start_unix_nano.0;
        *self.of.entry(start - start % self.step).or_default() += 1;
    }

    fn add_bucket(&mut self, _: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        *self.of.entry(bucket.start().0 - bucket.start().0 % self.step).or_default() +=
            bucket.count();
        Some(())
    }
}

struct Counting(u64);

impl CallAccumulatorFactory for Counting {
    type Accumulator = Counted;

    fn unordered(&self) -> Counted {
        Counted { step: self.0, ..Counted::default() }
    }

    fn for_range(&self, _: Range<UnixNanos>, _: &Arc<Counted>) -> Counted {
        self.unordered()
    }
}

/// The rows that were sent and not removed, each with its number of copies.
#[derive(Debug, Default, Clone)]
struct Model {
    spans: Vec<Sent>,
    logs: Vec<Sent>,
}

fn names(sent: &[Sent], range: &Range<u64>) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for sent in sent.iter().filter(|sent| range.contains(&sent.start)) {
        *found.entry(format!("n{}", sent.id)).or_default() += 1;
    }
    found
}

impl Model {
    fn check(&self, snapshot: &Snapshot, range: &Range<u64>) {
        let start =
            TimeRange { start: Some(UnixNanos(range.start)), end: Some(UnixNanos(range.end)) };
        let (filter, mut found) = (SpanFilter { start, ..SpanFilter::default() }, BTreeMap::new());
        let scanned = snapshot.scan_spans(&filter, SCAN, &mut |rows| {
            for row in 0..rows.len() {
                *found.entry(rows.name(row).to_owned()).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
        assert!(scanned.unwrap().complete);
        assert_eq!(found, names(&self.spans, range));
        let full = Scan { detail: Projection::Full, ..SCAN };
        let (of_logs, mut found) =
            (LogFilter { time: start, ..LogFilter::default() }, BTreeMap::new());
        let scanned = snapshot.scan_logs(&of_logs, full, &mut |rows| {
            for row in 0..rows.len() {
                *found.entry(rows.log_record(row).event_name).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
        assert!(scanned.unwrap().complete);
        assert_eq!(found, names(&self.logs, range));
        for step in [HOUR / 60, HOUR, 24 * HOUR] {
            self.check_rollups(snapshot, range, &filter, step);
        }
    }

    fn check_rollups(
        &self,
        snapshot: &Snapshot,
        range: &Range<u64>,
        filter: &SpanFilter,
        step: u64,
    ) {
        let bounds = CallBounds { rows_max: u64::MAX, remembered_max: usize::MAX, threads_max: 2 };
        let go_on = || ControlFlow::Continue(());
        let aggregate =
            snapshot.aggregate_calls(filter, DurationNanos(step), bounds, &Counting(step), &go_on);
        let aggregate = aggregate.unwrap();
        assert!(aggregate.scan.complete && !aggregate.repeats_counted);
        let mut counted: BTreeMap<u64, u64> = BTreeMap::new();
        for share in aggregate.shares.iter().chain([&*aggregate.unordered]) {
            share.of.iter().for_each(|(at, count)| *counted.entry(*at).or_default() += count);
        }
        let once: HashSet<&Sent> =
            self.spans.iter().filter(|sent| range.contains(&sent.start)).collect();
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        for sent in once {
            *expected.entry(sent.start - sent.start % step).or_default() += 1;
        }
        assert_eq!(counted, expected, "steps of {step}");
    }
}

/// Returns a random time in the last year: in this hour, in one of a few hours, or anywhere.
fn time(dice: &mut Dice, now: u64) -> u64 {
    match dice.roll(6) {
        0 | 1 => now - dice.roll(HOUR),
        2 => now - (5 + dice.roll(4)) * HOUR - dice.roll(HOUR),
        3 => now - dice.roll(31 * 24) * HOUR,
        4 => now + dice.roll(30) * HOUR,
        _ => now - dice.roll(YEAR),
    }
}

/// Runs random histories of batches, flushes and merges, with all queries in between.
#[tokio::test(flavor = "multi_thread")]
async fn answers_about_rows_over_a_year_are_those_of_the_rows() {
    for seed in 0..by_effort(1, 4) {
        let mut dice = Dice(seed);
        let root = tempfile::tempdir().unwrap();
        let clock = MovedClock::new();
        let mut store = open_at(&clock, settings(root.path())).await;
        let (mut model, mut id) = (Model::default(), 0);
        let born = clock.now().0;
        // The first steps have all kinds.
        for _ in 0..by_effort(21, 30) {
            let now = clock.now().0;
            match dice.roll(10) {
                0..=4 => {
                    let count = 1 + dice.roll(60);
                    let mut sent: Vec<Sent> = (0..count)
                        .map(|_| {
                            id += 1;
                            let (trace, failed) = (id / 4 % 50, dice.roll(9) == 0);
                            Sent { id, trace, start: time(&mut dice, now), failed }
                        })
                        .collect();
                    // Some spans are sent again, together with other spans than before.
                    for _ in 0..dice.roll(6).min(model.spans.len() as u64) {
                        let again = dice.roll(model.spans.len() as u64);
                        sent.push(model.spans[usize::try_from(again).unwrap()].clone());
                    }
                    store.append(spans(&sent)).await.unwrap();
                    model.spans.extend(sent.iter().cloned());
                    sent.truncate(usize::try_from(dice.roll(20)).unwrap());
                    store.append(logs(&sent)).await.unwrap();
                    model.logs.extend(sent);
                }
                5 | 6 => store.flush().await.unwrap(),
                7 => keep_up(&store).await,
                8 => clock.pass(Duration::from_secs(60 * dice.roll(300))),
                _ => {
                    store.close().await.unwrap();
                    store = open_at(&clock, settings(root.path())).await;
                }
            }
            let (from, length) = (now + 40 * HOUR - dice.roll(YEAR), dice.roll(60 * 24) * HOUR);
            let from = from - from % (HOUR / 60);
            let snapshot = store.snapshot();
            model.check(&snapshot, &(from..from + length));
            model.check(&snapshot, &(born - 3 * HOUR..now + HOUR));
        }
        // A trace with spans in all kinds of files is removed completely.
        let trace = u128::from(dice.roll(50) + 1).to_be_bytes();
        store.erase(&Erasure::Trace(TraceId::from_bytes(trace).unwrap())).await.unwrap();
        let stays = |sent: &Sent| Sent::trace_id(sent.trace) != trace;
        model.spans.retain(stays);
        model.logs.retain(stays);
        keep_up(&store).await;
        model.check(&store.snapshot(), &(0..clock.now().0 + YEAR));
        store.close().await.unwrap();
        let found = check(root.path(), &mut |finding| panic!("seed {seed}: {finding}")).await;
        assert_eq!(found.unwrap().findings, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_spanning_files_go_at_their_age_and_whole_traces_stay_by_rules() {
    let root = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let rule = RetentionRule { condition: RetentionCondition::Errors, age: Some(20 * DAY) };
    let retention = Retention { age: Some(3 * DAY), rules: vec![rule], bytes_max: None };
    let settings = StoreSettings { retention, ..settings(root.path()) };
    let store = open_at(&clock, settings).await;
    let begin = clock.now().0;
    let mut sent = Vec::new();
    for day in 0..by_effort(6, 10) {
        let now = clock.now().0;
        // Trace 7 began in an hour with a file of its own and failed in an hour without one.
        let of_day: Vec<Sent> = (0..200_u64)
            .map(|n| {
                let id = day * 1000 + n;
                let start = now - 5 * HOUR - (n / 2 + n % 2 * n) * HOUR;
                Sent { id, trace: id / 2, start, failed: n == 15 }
            })
            .collect();
        store.append(spans(&of_day)).await.unwrap();
        store.flush().await.unwrap();
        sent.extend(of_day.into_iter().map(|sent| (now, sent)));
        keep_up(&store).await;
        // The age of a partition counts from the end of its hour.
        clock.pass(DAY + Duration::from_secs(3600));
        keep_up(&store).await;
        let now = clock.now().0;
        let failed: HashSet<u64> =
            sent.iter().filter(|(_, sent)| sent.failed).map(|(_, sent)| sent.trace).collect();
        let is_young = |received: u64| now - received < 3 * 24 * HOUR;
        let kept = sent.iter().filter(|(at, of)| is_young(*at) || failed.contains(&of.trace));
        let kept: Vec<Sent> = kept.map(|(_, sent)| sent.clone()).collect();
        let model = Model { spans: kept, logs: Vec::new() };
        model.check(&store.snapshot(), &(begin - YEAR..now + YEAR));
    }
    clock.pass(21 * DAY);
    keep_up(&store).await;
    assert_eq!(store.counts().spans, 0);
    store.close().await.unwrap();
}
