//! Scenarios: sequences of appends, flushes during merges, retention, pins, erasure, clock jumps,
//! disk faults, kills and power cuts. After each step the contents are compared with the expected
//! ones.
//!
//! Tables are on the disk or in a bucket. The bucket refuses requests, loses their answers,
//! executes them late, is slow or is unreachable for a while. Another program commits to the tables
//! in it. Kills and power cuts do not affect it.
//!
//! A history (`world`) chooses each operation on the disk. A scenario chooses whole steps, and so
//! reaches states that take many of them. It controls the time. The seed alone determines the next
//! step and its faults. It does not determine how a concurrent flush and merge interleave.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, PutMode, PutOptions, path::Path as ObjectPath};
use tidings_disk::{
    Mistake, SharedDisk,
    faulty::{Dice, DiskFault, FaultRepeat, FaultyDisk},
    paths::commit_name,
};
use tidings_files::{
    ObjectStoreSettings, TablesAt,
    table_store::unreliable::{RequestFault, UnreliableStore, remote},
};
use tidings_proto::{Signal, TraceId, UnixNanos, otlp::Span};
use tidings_runtime::{Clock, SystemClock};
use tidings_snapshot::Snapshot;

use super::{Contents, ledger::contents, read};
use crate::{
    Erasure, Retention, Store, StoreSettings, TelemetryBatch,
    maintenance::{MergePace, orphan_files},
    store::{
        StoreInner,
        tests::{logs, settings, traces},
    },
};

/// Maximum number of seeds until a mistake must be found.
const SEEDS_MAX: usize = 150;
const BEGIN: u64 = 1_700_000_000_000_000_000;
const HOUR: u64 = 3600 * 1_000_000_000;
const AGE: u64 = 72 * HOUR;
/// Number of traces that are pinned and erased.
const TRACES: u64 = 12;
/// Maximum bytes of object copies. It is so small that most objects are fetched again.
const COPIES_BYTES: u64 = 60_000;

/// A clock that only the scenario moves.
#[derive(Debug)]
struct ScenarioClock {
    first: Instant,
    passed: AtomicU64,
    jumped: AtomicI64,
}

impl ScenarioClock {
    fn new() -> Arc<Self> {
        let (first, passed) = (SystemClock.instant(), AtomicU64::new(0));
        Arc::new(Self { first, passed, jumped: AtomicI64::new(0) })
    }

    fn pass(&self, nanos: u64) {
        self.passed.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the time of a clock that never jumped.
    fn truth(&self) -> u64 {
        BEGIN + self.passed.load(Ordering::Relaxed)
    }
}

impl Clock for ScenarioClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.truth().saturating_add_signed(self.jumped.load(Ordering::Relaxed)))
    }

    fn instant(&self) -> Instant {
        self.first + Duration::from_nanos(self.passed.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}

/// The outcome of sending a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchOutcome {
    /// All rows are stored, once each.
    Stored,
    /// No rows are visible. After the next start all rows are, or none.
    Refused,
    /// Each row is stored or not, because an erasure was running.
    Erasing,
    /// No rows are stored.
    Gone,
}

#[derive(Debug, Clone)]
struct Batch {
    trace: u64,
    records: u64,
    received: u64,
    fate: BatchOutcome,
    /// True if it exceeded its age while it was not pinned. Its rows may have been removed then.
    lapsed: bool,
}

struct Scenario {
    dice: Dice,
    clock: Arc<ScenarioClock>,
    disk: FaultyDisk,
    /// The bucket, if the tables are in one.
    objects: Option<UnreliableStore>,
    settings: StoreSettings,
    batches: BTreeMap<String, Batch>,
    pinned: BTreeSet<u64>,
    /// Traces whose pins are in an unknown state.
    unsure: BTreeSet<u64>,
    number: u64,
    jumps: u64,
    /// The steps so far, printed for a single seed.
    steps: Vec<String>,
    /// A snapshot in use, and its contents at the beginning.
    held: Option<(Snapshot, BTreeMap<String, u64>)>,
    _root: tempfile::TempDir,
}

fn trace_id(trace: u64) -> TraceId {
    TraceId::from_bytes(u128::from(trace + 1).to_be_bytes()).unwrap()
}

impl Scenario {
    fn new(seed: u64, mistake: Option<Mistake>, objects: Option<UnreliableStore>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(root.path());
        if let Some(mistake) = mistake {
            disk.make(mistake);
        }
        let retention = Retention { age: Some(Duration::from_nanos(AGE)), ..Retention::default() };
        let removed_file_age = Duration::from_secs(600);
        let settings = StoreSettings { retention, removed_file_age, ..settings(root.path()) };
        let at = ObjectStoreSettings { cache_bytes_max: COPIES_BYTES, ..remote(&[]) };
        let settings = match &objects {
            Some(_) => StoreSettings { tables: TablesAt::ObjectStore(at), ..settings },
            None => settings,
        };
        Self {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            clock: ScenarioClock::new(),
            disk,
            objects,
            settings,
            batches: BTreeMap::new(),
            pinned: BTreeSet::new(),
            unsure: BTreeSet::new(),
            number: 0,
            jumps: 0,
            steps: Vec::new(),
            held: None,
            _root: root,
        }
    }

    async fn open(&mut self) -> Result<Store, String> {
        let disk: SharedDisk = Arc::new(self.disk.clone());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        // Opening waits for an unreachable bucket, and the clock does not advance meanwhile.
        let given = self.objects.clone().map(|objects| {
            objects.heal();
            Arc::new(objects) as Arc<dyn ObjectStore>
        });
        let opened = Box::pin(Store::open_at(disk, given, self.settings.clone(), clock)).await;
        let (store, _) = opened.map_err(|error| format!("could not be opened: {error}"))?;
        let found = read(&store)?;
        for (name, batch) in &mut self.batches {
            let there = found.get(name).copied().unwrap_or_default();
            match batch.fate {
                BatchOutcome::Refused if there == batch.records => {
                    batch.fate = BatchOutcome::Stored
                }
                BatchOutcome::Refused if there == 0 => batch.fate = BatchOutcome::Gone,
                BatchOutcome::Refused => {
                    return Err(format!("{name}: {there} of {}", batch.records));
                }
                _ => {}
            }
        }
        let known = store.pins().map_err(|error| error.to_string())?;
        let is_pinned = |trace: u64| known.iter().any(|pin| pin.trace_id == trace_id(trace));
        for trace in std::mem::take(&mut self.unsure) {
            if is_pinned(trace) {
                self.pinned.insert(trace);
            } else {
                self.pinned.remove(&trace);
            }
        }
        if let Some(trace) =
            (0..TRACES).find(|trace| is_pinned(*trace) != self.pinned.contains(trace))
        {
            return Err(format!("the pin of {trace} is not what it was"));
        }
        self.check(&store)?;
        Ok(store)
    }

    /// Returns the contents that a reader sees. Reads them again without faults if the bucket, or
    /// the disk with the copies, fails.
    fn see(&self, look: impl Fn() -> Result<Contents, String>) -> Result<Contents, String> {
        match &self.objects {
            None => look(),
            Some(objects) => {
                look().or_else(|_| objects.without_faults(|| self.disk.without_faults(&look)))
            }
        }
    }

    /// Compares the visible contents with the expected ones.
    fn check(&mut self, store: &Store) -> Result<(), String> {
        let (mut found, truth) = (self.see(|| read(store))?, self.clock.truth());
        for (name, batch) in &mut self.batches {
            let (there, all) = (found.remove(name).unwrap_or_default(), batch.records);
            let is_pinned =
                self.pinned.contains(&batch.trace) && !self.unsure.contains(&batch.trace);
            batch.lapsed |= truth - batch.received >= AGE && !is_pinned;
            let fits = match batch.fate {
                BatchOutcome::Stored if batch.lapsed => there == 0 || there == all,
                BatchOutcome::Stored => there == all,
                BatchOutcome::Refused => there == 0,
                BatchOutcome::Erasing => there <= all,
                BatchOutcome::Gone => there == 0,
            };
            if !fits {
                return Err(format!("{name}: {there} there of {batch:?}"));
            }
        }
        match found.first_key_value() {
            Some((name, there)) => Err(format!("{name}: {there} there, never sent")),
            None => Ok(()),
        }
    }

    fn batch(&mut self) -> (TelemetryBatch, String, Batch) {
        self.number += 1;
        let (number, trace, now) = (self.number, self.dice.roll(TRACES), self.clock.truth());
        let id = trace_id(trace).as_bytes().to_vec();
        // The time is in this hour, or in any of the last forty days.
        let back = [0, 0, self.dice.roll(4) * HOUR, self.dice.roll(40 * 24) * HOUR];
        let start = now - back[usize::try_from(self.dice.roll(4)).unwrap()];
        let (batch, name, records) = match self.dice.roll(3) {
            0 => {
                let TelemetryBatch::Logs { mut request, .. } = logs(number) else { unreachable!() };
                let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
                (record.trace_id, record.time_unix_nano) = (id, start);
                (TelemetryBatch::Logs { request, bytes: None }, format!("l{number}"), 1)
            }
            _ => {
                let count = 1 + self.dice.roll(9);
                let TelemetryBatch::Traces { mut request, .. } = traces(number, count) else {
                    unreachable!()
                };
                let spans: &mut Vec<Span> = &mut request.resource_spans[0].scope_spans[0].spans;
                for span in spans {
                    span.trace_id = id.clone();
                    span.span_id[..4]
                        .copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
                    (span.start_time_unix_nano, span.end_time_unix_nano) = (start, start + 5);
                }
                (TelemetryBatch::Traces { request, bytes: None }, format!("s{number}"), count)
            }
        };
        let sent =
            Batch { trace, records, received: now, fate: BatchOutcome::Stored, lapsed: false };
        (batch, name, sent)
    }

    async fn append(&mut self, store: &Store) {
        let (batch, name, mut expected) = self.batch();
        if store.append(batch).await.is_err() {
            expected.fate = BatchOutcome::Refused;
        }
        self.batches.insert(name, expected);
    }

    async fn erase(&mut self, store: &Store, trace: u64) {
        let is_there =
            |batch: &Batch| matches!(batch.fate, BatchOutcome::Stored | BatchOutcome::Erasing);
        let of_trace = |batch: &&mut Batch| batch.trace == trace && is_there(batch);
        let mut of_it: Vec<_> = self.batches.values_mut().filter(of_trace).collect();
        of_it.iter_mut().for_each(|batch| batch.fate = BatchOutcome::Erasing);
        let erased = store.erase(&Erasure::Trace(trace_id(trace))).await;
        if erased.as_ref().is_ok_and(|report| report.unread_files.is_empty()) {
            of_it.iter_mut().for_each(|batch| batch.fate = BatchOutcome::Gone);
        }
        // The pin of a trace is removed with its last row.
        self.settle_pins(store, trace, erased.is_ok());
    }

    fn settle_pins(&mut self, store: &Store, trace: u64, is_done: bool) {
        let known = store.pins().unwrap_or_default();
        match known.iter().any(|pin| pin.trace_id == trace_id(trace)) {
            true => _ = self.pinned.insert(trace),
            false => _ = self.pinned.remove(&trace),
        }
        if !is_done {
            self.unsure.insert(trace);
        }
    }

    /// Disturbs the bucket, if there is one, before a step: with a fault, or with a commit of
    /// another program.
    async fn trouble_objects(&mut self) {
        let Some(objects) = self.objects.clone() else { return };
        let outage = RequestFault::Outage(self.dice.roll(30));
        let faults =
            [RequestFault::Refused, RequestFault::Lost, RequestFault::Late, RequestFault::Slow];
        match self.dice.roll(12) {
            0..=4 => {
                let which = usize::try_from(self.dice.roll(5)).unwrap();
                let fault = faults.get(which).copied().unwrap_or(outage);
                objects.fail(1 + self.dice.roll(12), fault);
            }
            5 => {
                // Another program commits, and takes the next version.
                let table = ["spans", "logs"][usize::try_from(self.dice.roll(2)).unwrap()];
                let folder = ObjectPath::from(format!("some/where/{table}/_delta_log"));
                let there = objects.objects().list(Some(&folder)).try_collect::<Vec<_>>().await;
                let version = |name: &str| name.strip_suffix(".json")?.parse::<u64>().ok();
                let there = there.unwrap();
                let versions =
                    there.iter().filter_map(|object| version(object.location.filename()?));
                let next = versions.max().map_or(0, |last| last + 1);
                let at = ObjectPath::from(format!("{folder}/{}", commit_name(next)));
                let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                let commit = r#"{"commitInfo":{"operation":"WRITE"}}"#;
                let put = objects.objects().put_opts(&at, commit.into(), create);
                put.await.unwrap();
            }
            _ => {}
        }
    }

    /// Performs one step, which may fail if the disk fails.
    async fn step(&mut self, store: &Store) -> Result<(), String> {
        let inner = Arc::clone(&store.owner.0);
        match self.dice.roll(16) {
            0..=4 => self.append(store).await,
            5 | 6 => _ = store.flush().await,
            7 => _ = run_maintenance(&inner).await,
            8 | 9 => {
                let (batch, name, mut expected) = self.batch();
                let work = (store.flush(), run_maintenance(&inner), store.append(batch));
                let (_, _, appended) = futures::join!(work.0, work.1, work.2);
                if appended.is_err() {
                    expected.fate = BatchOutcome::Refused;
                }
                self.batches.insert(name, expected);
            }
            10 => self.clock.pass(self.dice.roll(30) * HOUR),
            11 => {
                // The clock is wrong for a while, which must not delete anything. Each jump is
                // larger than before, because a time that an earlier commit recorded is trusted
                // when the clock shows it again.
                self.jumps += 1;
                let jump = i64::try_from((60 + 7 * self.jumps) * 24 * HOUR).unwrap();
                let jump = if self.jumps.is_multiple_of(2) { -jump } else { jump };
                self.clock.jumped.store(jump, Ordering::Relaxed);
                let _ = run_maintenance(&inner).await;
                self.clock.jumped.store(0, Ordering::Relaxed);
                let _ = run_maintenance(&inner).await;
            }
            12 => {
                let trace = self.dice.roll(TRACES);
                let pinned = match self.pinned.contains(&trace) {
                    true => store.unpin(trace_id(trace)).await.map(drop),
                    false => store.pin(trace_id(trace), String::new()).await.map(drop),
                };
                self.settle_pins(store, trace, pinned.is_ok());
            }
            13 => {
                let trace = self.dice.roll(TRACES);
                self.erase(store, trace).await;
            }
            14 => {
                let snapshot = store.snapshot();
                let shown = self.see(|| contents(&snapshot))?;
                self.held = Some((snapshot, shown));
            }
            _ => {
                if let Some((snapshot, before)) = &self.held {
                    let now = self.see(|| contents(snapshot));
                    let now = now.map_err(|error| format!("a held snapshot: {error}"))?;
                    if now != *before {
                        return Err("a held snapshot changed".to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Records a step and the disk operations that it made.
    fn note(&mut self, step: impl Into<String>) {
        let operations = self.disk.take_trace().join("; ");
        self.steps.push(format!("{} [{operations}]", step.into()));
    }

    /// Simulates one life of the process, and its end.
    async fn live(&mut self, store: Store) -> Result<(), String> {
        let faulty = self.dice.roll(3) > 0;
        if faulty {
            let fault =
                if self.dice.roll(2) == 0 { FaultRepeat::Once } else { FaultRepeat::Persistent };
            let trouble = DiskFault::ALL[usize::try_from(self.dice.roll(4)).unwrap()];
            self.disk.fail_with(1 + self.dice.roll(300), fault, trouble);
        }
        for _ in 0..6 + self.dice.roll(14) {
            self.trouble_objects().await;
            let mut before = self.dice.clone();
            let done = Box::pin(self.step(&store)).await;
            self.note(format!("step {}", before.roll(16)));
            done?;
            self.check(&store)?;
        }
        self.held = None;
        if self.dice.roll(5) == 0 {
            self.disk.heal();
            let _ = store.close().await;
            self.disk.restart();
        } else {
            self.disk.stop();
            store.abandon().await;
            self.disk.restart();
            if self.dice.roll(3) > 0 {
                self.disk.lose_power(&mut self.dice);
            }
        }
        Ok(())
    }

    async fn run(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let store = self.open().await?;
            self.note("opened");
            Box::pin(self.live(store)).await?;
            self.note("died");
        }
        let store = self.open().await?;
        self.clock.pass(HOUR);
        run_maintenance(&store.owner.0).await.map_err(|error| format!("a sound disk: {error}"))?;
        self.check(&store)?;
        // Time passes until retention removes all rows that are not pinned.
        self.clock.pass(AGE + 3 * HOUR);
        store.compact(true).await.map_err(|error| format!("a sound disk: {error}"))?;
        let found = read(&store)?;
        for (name, batch) in &self.batches {
            if found.contains_key(name) && !self.pinned.contains(&batch.trace) {
                return Err(format!("{name} is older than its age and still there"));
            }
        }
        self.check(&store)?;
        self.sweep(&store).await?;
        store.close().await.map_err(|error| error.to_string())
    }

    /// Deletes unreferenced files, and expects that none remain.
    async fn sweep(&mut self, store: &Store) -> Result<(), String> {
        // Files have the machine's time, and this is later.
        let now = SystemClock.now().0.saturating_sub(self.clock.truth());
        self.clock.pass(now + 72 * HOUR);
        store.compact(true).await.map_err(|error| format!("a sound disk: {error}"))?;
        let inner = &store.owner.0;
        let known = inner.shared.state.known_files();
        for signal in [Signal::Spans, Signal::Logs] {
            let folder = inner.tables_at.folder(signal.table());
            let found = orphan_files(inner.tables_at.as_ref(), &folder, &known);
            let found = found.map_err(|error| error.to_string())?;
            if let Some(orphan) = found.first() {
                return Err(format!("{} is no table's and stays", orphan.path.display()));
            }
        }
        self.check(store)
    }
}

async fn run_maintenance(inner: &StoreInner) -> Result<(), tidings_files::StorageError> {
    while inner.run_maintenance_step(MergePace::Offline).await? {}
    Ok(())
}

/// Runs one scenario. Returns its steps, or the fault at its end.
pub(super) fn run_scenario(seed: u64, mistake: Option<Mistake>) -> Result<Vec<String>, String> {
    run_to_end(Scenario::new(seed, mistake, None))
}

/// Runs one scenario with the tables in a bucket.
pub(super) fn run_remote_scenario(
    seed: u64,
    mistake: Option<Mistake>,
) -> Result<Vec<String>, String> {
    run_to_end(Scenario::new(seed, mistake, Some(UnreliableStore::default())))
}

fn run_to_end(mut scenario: Scenario) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(scenario.run());
    let steps = std::mem::take(&mut scenario.steps);
    match outcome {
        Ok(()) => Ok(steps),
        Err(wrong) => Err(super::with_steps(&steps, &wrong)),
    }
}

/// Results of the seeds without a mistake: true if the seed passes. Tests share them.
type SoundSeeds = [OnceLock<bool>; SEEDS_MAX];

static SOUND: SoundSeeds = [const { OnceLock::new() }; SEEDS_MAX];
static SOUND_REMOTE: SoundSeeds = [const { OnceLock::new() }; SEEDS_MAX];

/// Searches a seed that fails with the mistake. Without the mistake the seed must pass, so that the
/// mistake is the cause of the failure.
fn find(
    mistake: Mistake,
    sound: &SoundSeeds,
    run_scenario: fn(u64, Option<Mistake>) -> Result<Vec<String>, String>,
) {
    let first = first_seed(mistake);
    let found = (0..SEEDS_MAX).map(|number| (first + number) % SEEDS_MAX).find(|place| {
        let seed = u64::try_from(*place).unwrap();
        let passes = || run_scenario(seed, None).is_ok();
        run_scenario(seed, Some(mistake)).is_err() && *sound[*place].get_or_init(passes)
    });
    assert!(found.is_some(), "it was not found in {SEEDS_MAX} seeds");
    // It belongs into `first_seed` if it comes long after the first.
    eprintln!("{mistake:?}: seed {found:?} after {first}");
}

/// Returns the seed that a search begins with: one that is known to find the mistake, if the first
/// such seed has slow ones before it.
fn first_seed(mistake: Mistake) -> usize {
    match mistake {
        Mistake::AcknowledgeRefused | Mistake::BelieveUpload | Mistake::PublishRefused => 1,
        Mistake::KeepOneMerged => 3,
        Mistake::ForgetLandedCommit => 41,
        _ => 0,
    }
}

macro_rules! mistakes {
    ($run_scenario:ident, $sound:ident: $($name:ident: $mistake:ident,)*) => {
        $(
            #[test]
            fn $name() {
                find(Mistake::$mistake, &$sound, $run_scenario);
            }
        )*
    };
}

mistakes! {
    run_scenario, SOUND:
    positions_that_are_ignored_are_found: IgnorePosition,
    a_position_that_covers_too_much_is_found: CoverTooMuch,
    a_log_that_is_cut_before_the_commit_is_found: CutLogBeforeCommit,
    a_landed_commit_that_is_forgotten_is_found: ForgetLandedCommit,
    a_merge_without_one_of_its_files_is_found: MergeWithoutFirst,
    a_merged_file_that_stays_is_found: KeepOneMerged,
    files_that_are_deleted_before_the_commit_are_found: DeleteBeforeCommit,
    pins_that_are_ignored_are_found: IgnorePins,
    a_clock_that_is_always_believed_is_found: BelieveClock,
    age_by_the_time_of_rows_alone_is_found: AgeByTime,
    an_erasure_of_one_file_is_found: EraseOneFile,
    an_erasure_without_memory_is_found: EraseWithoutMemory,
    a_refused_batch_that_is_visible_is_found: PublishRefused,
    a_refused_batch_that_is_acknowledged_is_found: AcknowledgeRefused,
}

mistakes! {
    run_remote_scenario, SOUND_REMOTE:
    a_taken_version_that_is_believed_is_found: BelieveConflict,
    an_upload_that_failed_and_is_believed_is_found: BelieveUpload,
    objects_that_are_deleted_before_the_commit_are_found: DeleteBeforeCommit,
}
