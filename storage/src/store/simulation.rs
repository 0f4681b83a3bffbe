//! Simulates the store under random load and faults: writers, flushes, merges, queries, faults,
//! kills and power cuts. The seed decides their order, down to the single operation on the disk.
//!
//! Every operation waits at a [`Gate`]. Whenever every thread waits there or is idle, the random
//! generator chooses the next step: release an operation, send a batch, start a flush, verify the
//! contents, or end the process. Tasks run on one thread, and only while the test runs them. A seed
//! therefore determines a history, and a failing seed fails again.
//!
//! Some of the seeds are such histories. The others are scenarios (`scenarios`), which choose whole
//! steps, with the tables on the disk or in a bucket.
//!
//! `cargo xtask simulate` runs more seeds than the tests. For a single seed it prints every step.

mod ledger;
mod planted;
mod scenarios;
mod world;

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tidings_disk::{faulty::PlantedBug, test_effort::by_effort};
use tidings_proto::UnixNanos;
use tidings_runtime::{Clock, SystemClock};

use self::world::World;

pub(super) use self::ledger::{Contents, Ledger, read};

/// Number of seeds that a quick run of the tests tries: one of each kind of `simulate_seed`.
const QUICK_SEEDS: u64 = 8;
/// Number of seeds that a full run tries.
const SEEDS: u64 = 120;
/// Number of threads that run seeds.
const THREADS: u64 = 2;

/// A clock that stands still, so that no timer fires by itself.
#[derive(Debug)]
pub(in crate::store) struct StillClock(pub(in crate::store) UnixNanos);

impl Default for StillClock {
    fn default() -> Self {
        Self(UnixNanos(1_700_000_000_000_000_000))
    }
}

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        self.0
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}

/// Runs one history. Returns its steps, or the fault at its end.
fn simulate(seed: u64, bug: Option<PlantedBug>) -> Result<Vec<String>, String> {
    history(World::new(seed, bug))
}

/// Runs the history of this world.
fn history(mut world: World) -> Result<Vec<String>, String> {
    let ran = world.run();
    let trace = world.into_trace();
    ran.map_err(|wrong| with_steps(&trace, &wrong)).map(|()| trace)
}

/// Returns the fault, below the steps that led to it when one seed is asked for.
fn with_steps(steps: &[String], wrong: &str) -> String {
    match number("TIDINGS_SIMULATION_SEED") {
        Some(_) => format!("{}\n{wrong}", steps.join("\n")),
        None => wrong.to_owned(),
    }
}

/// Simulates a seed. Of eight seeds, three are histories, three are scenarios on a disk and two are
/// scenarios with a bucket.
fn simulate_seed(seed: u64) -> Result<Vec<String>, String> {
    match seed % 8 {
        0 | 3 | 6 => simulate(seed, None),
        1 | 4 | 7 => scenarios::run_scenario(seed, None),
        _ => scenarios::run_remote_scenario(seed, None),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}

#[test]
fn acknowledged_rows_are_stored_exactly_once_after_any_fault() {
    let seeds = match number("TIDINGS_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDINGS_SIMULATION_SEEDS").unwrap_or(by_effort(QUICK_SEEDS, SEEDS)),
    };
    let (next, has_failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) || has_failed.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(wrong) = simulate_seed(seed) {
                        has_failed.store(true, Ordering::Relaxed);
                        panic!(
                            "seed {seed}: {wrong}\n`cargo xtask simulate -- --seed {seed}` shows it"
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 11, 17].into_iter().take(by_effort(1, 3)) {
        let first = simulate(seed, None).unwrap();
        let second = simulate(seed, None).unwrap();
        assert!(first.len() > 50, "{} operations", first.len());
        for (number, (left, right)) in first.iter().zip(&second).enumerate() {
            assert_eq!(left, right, "seed {seed}, operation {number}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
