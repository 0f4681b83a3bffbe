//! One history: a disk, a store that is opened repeatedly, a client with a ledger, and a random
//! number generator.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_disk::{
    SharedDisk,
    faulty::{Actor, Dice, DiskFault, FaultRepeat, FaultyDisk, Gate, PlantedBug},
};
use tidings_files::StorageError;
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{Ledger, StillClock, read};
use crate::{
    Recovery, Store, StoreSettings,
    maintenance::MergePace,
    store::tests::{logs, settings, traces},
};

/// Timeout of any step. Only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of times that a history opens the store.
const LIVES: u64 = 4;
/// Capacity of a disk that becomes full soon.
const SMALL_DISK: u64 = 120_000;

type StoreTask<T> = JoinHandle<Result<T, StorageError>>;

/// A running flush or merge.
struct Flush {
    task: StoreTask<()>,
    /// Number of times that it was polled. After one poll it waits for the log's thread to close
    /// the segment. After more it works on the disk itself.
    polls: Arc<AtomicU64>,
}

/// The way in which a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifeEnd {
    Close,
    Kill,
    PowerCut,
}

pub(super) struct World {
    runtime: Runtime,
    dice: Dice,
    gate: Arc<Gate>,
    disk: FaultyDisk,
    settings: StoreSettings,
    ledger: Ledger,
    number: u64,
    trace: Vec<String>,
    maintenance: bool,
    /// Dropped last, because it contains the disk's files.
    _root: tempfile::TempDir,
}

/// A running store with its pending work.
struct Life {
    store: Store,
    appends: Vec<(String, StoreTask<()>)>,
    flush: Option<Flush>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<PlantedBug>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let disk = FaultyDisk::with_gate(root.path(), Arc::clone(&gate));
        if let Some(bug) = bug {
            disk.plant(bug);
        }
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let settings = StoreSettings {
            wal_segment_bytes: 9_000 + dice.roll(8_000),
            disk_reserve_bytes: dice.roll(2) * 40_000,
            ..settings(root.path())
        };
        let (ledger, number, trace) = (Ledger::default(), 0, Vec::new());
        Self {
            runtime,
            dice,
            gate,
            disk,
            settings,
            ledger,
            number,
            trace,
            maintenance: true,
            _root: root,
        }
    }

    /// Returns the same world without merges and checkpoints.
    pub(super) fn without_maintenance(mut self) -> Self {
        self.maintenance = false;
        self
    }

    pub(super) fn into_trace(mut self) -> Vec<String> {
        self.trace.extend(self.disk.take_trace());
        std::mem::take(&mut self.trace)
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
        for _ in 0..LIVES {
            if let Some(life) = self.open(true)? {
                self.live(life)?;
            }
        }
        // Faults are off, so all pending work must complete.
        self.disk.heal();
        self.disk.set_capacity(None);
        let life = self.open(false)?.ok_or("a healthy disk could not be opened")?;
        self.gate.set_open(true);
        let store = life.store.clone();
        self.finish(self.runtime.spawn(async move { store.flush().await }))?
            .map_err(|error| format!("a healthy disk refused a flush: {error}"))?;
        self.check(&life.store)?;
        let store = life.store.clone();
        self.finish(self.runtime.spawn(async move { store.close().await }))?
            .map_err(|error| format!("a healthy disk refused to close: {error}"))?;
        drop(life);
        self.disk.restart();
        let life = self.open(false)?.ok_or("a closed store could not be opened")?;
        self.abandon(life)
    }

    /// Opens the store. Returns `None` when the process died during that.
    fn open(&mut self, may_die: bool) -> Result<Option<Life>, String> {
        let dies_after = (may_die && self.dice.roll(3) == 0).then(|| self.dice.roll(50));
        self.gate.set_open(dies_after.is_none());
        let disk: SharedDisk = Arc::new(self.disk.clone());
        let settings = self.settings.clone();
        let opening: StoreTask<(Store, Recovery)> = self.runtime.spawn(async move {
            Store::open_on(disk, settings, Arc::new(StillClock::default())).await
        });
        let mut died = false;
        if let Some(operations) = dies_after {
            for left in (0..=operations).rev() {
                self.wait("opening", || opening.is_finished() || self.gate.waits(Actor::Tables))?;
                if opening.is_finished() {
                    break;
                }
                if left == 0 {
                    died = true;
                    self.disk.stop();
                } else {
                    self.gate.release(Actor::Tables);
                }
            }
        }
        self.gate.set_open(true);
        let opened = self.finish(opening)?;
        self.gate.set_open(false);
        match opened {
            Ok((store, _)) => {
                self.ledger.resolve(read(&store)?).map_err(|wrong| format!("opened: {wrong}"))?;
                let life = Life { store, appends: Vec::new(), flush: None };
                if !died {
                    return Ok(Some(life));
                }
                self.gate.set_open(true);
                self.abandon(life)?;
            }
            Err(_) if died => {}
            Err(error) => return Err(format!("could not be opened: {error}")),
        }
        let end = if self.dice.roll(4) == 0 { LifeEnd::Kill } else { LifeEnd::PowerCut };
        self.after_death(end);
        Ok(None)
    }

    fn live(&mut self, mut life: Life) -> Result<(), String> {
        match self.dice.roll(5) {
            0 | 1 => {
                let fault = if self.dice.roll(3) == 0 {
                    FaultRepeat::Persistent
                } else {
                    FaultRepeat::Once
                };
                let trouble = self.dice.roll(4);
                let trouble = DiskFault::ALL[usize::try_from(trouble).unwrap()];
                self.disk.fail_with(1 + self.dice.roll(60), fault, trouble);
            }
            2 => self.disk.set_capacity(Some(SMALL_DISK + self.dice.roll(SMALL_DISK))),
            _ => {}
        }
        for _ in 0..10 + self.dice.roll(80) {
            self.settle_down(&mut life)?;
            self.step(&mut life)?;
        }
        self.settle_down(&mut life)?;
        let end = match self.dice.roll(6) {
            0 => LifeEnd::Close,
            1 => LifeEnd::Kill,
            _ => LifeEnd::PowerCut,
        };
        if end == LifeEnd::Close {
            while self.release_one(self.dice.clone().roll(2)) {
                self.settle_down(&mut life)?;
            }
            self.gate.set_open(true);
            let store = life.store.clone();
            // Closing may fail if the disk fails. The log then has every record.
            let _ = self.finish(self.runtime.spawn(async move { store.close().await }))?;
            self.check(&life.store)?;
            self.disk.stop();
            drop(life);
        } else {
            self.disk.stop();
            self.gate.set_open(true);
            self.end_work(&mut life)?;
            self.abandon(life)?;
        }
        self.after_death(end);
        Ok(())
    }

    /// Performs the next random step.
    fn step(&mut self, life: &mut Life) -> Result<(), String> {
        match self.dice.roll(20) {
            0..=3 if life.appends.len() < 4 => self.send(life),
            4 if life.flush.is_none() => self.start_flush(life),
            6 if self.maintenance && life.flush.is_none() && self.dice.roll(4) == 0 => {
                self.start_maintenance(life)
            }
            5 => self.check(&life.store),
            7 if self.dice.roll(10) == 0 => {
                self.disk.heal();
                self.disk.set_capacity(None);
                Ok(())
            }
            sides if self.release_one(sides) => Ok(()),
            _ => self.send(life),
        }
    }

    /// Releases one operation. Returns `false` when none waits.
    fn release_one(&self, preference: u64) -> bool {
        let (log, tables) = (self.gate.waits(Actor::Log), self.gate.waits(Actor::Tables));
        if log && (!tables || preference.is_multiple_of(2)) {
            self.gate.release(Actor::Log);
        } else if tables {
            self.gate.release(Actor::Tables);
        }
        log || tables
    }

    fn send(&mut self, life: &mut Life) -> Result<(), String> {
        self.number += 1;
        let number = self.number;
        let (batch, name, records) = match self.dice.roll(3) {
            0 => (logs(number), format!("l{number}"), 1),
            _ => {
                let spans = 1 + self.dice.roll(20);
                (traces(number, spans), format!("s{number}"), spans)
            }
        };
        self.ledger.sent(&name, records);
        let (queued, log_waited) = (life.queued(), self.gate.waits(Actor::Log));
        let store = life.store.clone();
        let task = self.runtime.spawn(async move { store.append(batch).await });
        self.wait(&name, || {
            let there =
                if log_waited { life.queued() > queued } else { self.gate.waits(Actor::Log) };
            there || task.is_finished()
        })?;
        life.appends.push((name, task));
        Ok(())
    }

    fn start_flush(&mut self, life: &mut Life) -> Result<(), String> {
        let (queued, log_waited) = (life.queued(), self.gate.waits(Actor::Log));
        let inner = Arc::clone(&life.store.owner.0);
        let polls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&polls);
        let task = self.runtime.spawn(async move {
            let mut flush = pin!(inner.flush());
            poll_fn(|context| {
                counter.fetch_add(1, Ordering::Relaxed);
                flush.as_mut().poll(context)
            })
            .await
        });
        self.wait("a flush", || {
            let at_log =
                if log_waited { life.queued() > queued } else { self.gate.waits(Actor::Log) };
            at_log || self.gate.waits(Actor::Tables) || task.is_finished()
        })?;
        life.flush = Some(Flush { task, polls });
        Ok(())
    }

    /// Starts a merge in place of a flush, because both commit under one lock.
    fn start_maintenance(&mut self, life: &mut Life) -> Result<(), String> {
        let inner = Arc::clone(&life.store.owner.0);
        let task = self
            .runtime
            .spawn(async move { inner.run_maintenance_step(MergePace::Offline).await.map(|_| ()) });
        // A merge never waits for the log.
        let polls = Arc::new(AtomicU64::new(2));
        self.wait("maintenance", || self.gate.waits(Actor::Tables) || task.is_finished())?;
        life.flush = Some(Flush { task, polls });
        Ok(())
    }

    /// Waits until every thread waits at the gate or is idle, and collects the replies.
    fn settle_down(&mut self, life: &mut Life) -> Result<(), String> {
        let still = || {
            let (log, tables) = (self.gate.waits(Actor::Log), self.gate.waits(Actor::Tables));
            // A task that got its reply before the next operation reached the gate processes it
            // now.
            self.pump();
            life.is_still(log, tables)
        };
        self.wait("work", still).map_err(|wrong| {
            let flush = life.flush.as_ref().map(|flush| flush.polls.load(Ordering::Relaxed));
            let (log, tables) = (self.gate.waits(Actor::Log), self.gate.waits(Actor::Tables));
            let (appends, queued) = (life.appends.len(), life.queued());
            format!(
                "{wrong}: {appends} appends, {queued} queued, a flush polled {flush:?} times; \
                 at the gate: log {log}, tables {tables}"
            )
        })?;
        self.take_answers(life)
    }

    /// Runs tasks until none can continue.
    fn pump(&self) {
        self.runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn wait(&self, what: &str, so: impl Fn() -> bool) -> Result<(), String> {
        let so = || {
            self.pump();
            so()
        };
        if self.gate.wait_until(PATIENCE, so) { Ok(()) } else { Err(format!("{what} hangs")) }
    }

    fn take_answers(&mut self, life: &mut Life) -> Result<(), String> {
        let (done, waiting): (Vec<_>, Vec<_>) =
            life.appends.drain(..).partition(|(_, task)| task.is_finished());
        life.appends = waiting;
        for (name, task) in done {
            let answer = self.finish(task)?;
            self.ledger.answered(&name, answer.is_ok());
            self.disk.note(format!("{name} {}", if answer.is_ok() { "stored" } else { "refused" }));
        }
        if let Some(flush) = life.flush.take_if(|flush| flush.task.is_finished()) {
            // A flush may fail if the disk fails, and loses nothing.
            let done = self.finish(flush.task)?.is_ok();
            self.disk.note(format!("flush {}", if done { "done" } else { "failed" }));
        }
        Ok(())
    }

    /// Lets all pending work complete.
    fn end_work(&mut self, life: &mut Life) -> Result<(), String> {
        self.wait("the end", || {
            life.appends.iter().all(|(_, task)| task.is_finished())
                && life.flush.as_ref().is_none_or(|flush| flush.task.is_finished())
        })?;
        self.take_answers(life)
    }

    fn check(&self, store: &Store) -> Result<(), String> {
        self.ledger.check(&read(store)?)
    }

    fn abandon(&self, life: Life) -> Result<(), String> {
        self.gate.set_open(true);
        self.finish(self.runtime.spawn(async move {
            life.store.abandon().await;
            Ok(())
        }))?
        .map_err(|error| error.to_string())
    }

    fn after_death(&mut self, end: LifeEnd) {
        self.trace.extend(self.disk.take_trace());
        self.trace.push(format!("{end:?}"));
        match end {
            LifeEnd::Kill => self.disk.restart(),
            // The contents of a closed store survive a power cut too.
            LifeEnd::Close | LifeEnd::PowerCut => self.disk.lose_power(&mut self.dice),
        }
    }

    fn finish<T>(&self, task: StoreTask<T>) -> Result<Result<T, StorageError>, String> {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, task).await })
            .map_err(|_| "a task does not end".to_owned())?
            .map_err(|error| format!("a task panicked: {error}"))
    }
}

impl Drop for World {
    /// Opens the gate, so that no thread waits after a failed history.
    fn drop(&mut self) {
        self.disk.stop();
        self.gate.set_open(true);
    }
}

impl Life {
    fn queued(&self) -> usize {
        self.store.owner.0.wal.queued()
    }

    /// Returns true if all pending work waits at the gate.
    fn is_still(&self, log_waits: bool, tables_wait: bool) -> bool {
        let flush = self.flush.as_ref().filter(|flush| !flush.task.is_finished());
        if let Some(flush) = flush.filter(|_| tables_wait) {
            // The flush did not have to wait for the log.
            flush.polls.fetch_max(2, Ordering::Relaxed);
        }
        let rotating = flush.is_some_and(|flush| flush.polls.load(Ordering::Relaxed) <= 1);
        let unanswered = self.appends.iter().any(|(_, task)| !task.is_finished());
        let log_works = unanswered || rotating;
        (!log_works || log_waits) && (flush.is_none() || rotating || tables_wait)
    }
}
