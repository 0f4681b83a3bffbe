//! The store under a seeded storm: writers, flushes, merges of files, queries, faults, kills and
//! power cuts in an order that the seed decides, down to the single operation on the disk.
//!
//! Every operation waits at a [`Gate`]. Whenever everybody waits there or has nothing to do, the
//! dice say what comes next: let one operation happen, send a batch, start a flush, look at
//! everything, or end the process. Tasks run on one thread, and only while the test looks on. So a
//! seed is a history, and a seed that fails does it again.
//!
//! A run is as long as `TIDINGS_SIMULATION_SEEDS` says, or goes over one seed with
//! `TIDINGS_SIMULATION_SEED`.

mod ledger;
mod planted;
mod still_clock;
mod stories;
mod world;

use self::world::World;
pub(super) use self::{
    ledger::{Ledger, read},
    still_clock::StillClock,
};
use crate::disk::faulty::PlantedBug;

/// So many seeds are tried in the tests.
const SEEDS: u64 = 120;
/// Threads that try seeds.
const THREADS: u64 = 2;

/// One history; what was done in it, or what was wrong in the end.
fn simulate(seed: u64, bug: Option<PlantedBug>) -> Result<Vec<String>, String> {
    history(seed, World::new(seed, bug))
}

/// The history of this world.
fn history(seed: u64, mut world: World) -> Result<Vec<String>, String> {
    let ran = world.run();
    let trace = world.into_trace();
    let wordy = number("TIDINGS_SIMULATION_SEED").is_some();
    let history = if wordy { trace.join("\n") } else { String::new() };
    ran.map(|()| trace).map_err(|wrong| format!("{history}\nseed {seed}: {wrong}"))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}

#[test]
fn whatever_happens_every_acknowledged_batch_is_there_exactly_once() {
    let seeds = match number("TIDINGS_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDINGS_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mine = seeds.clone().filter(move |seed| seed % THREADS == thread);
            scope.spawn(move || {
                for seed in mine {
                    if let Err(wrong) = simulate(seed, None) {
                        panic!("{wrong}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 11, 17] {
        let first = simulate(seed, None).unwrap();
        let second = simulate(seed, None).unwrap();
        assert!(first.len() > 50, "{} operations", first.len());
        for (number, (left, right)) in first.iter().zip(&second).enumerate() {
            assert_eq!(left, right, "seed {seed}, operation {number}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
