//! Bugs that the simulation must find, each within a few seeds: or it would not find ours.

use super::simulate;
use crate::disk::faulty::PlantedBug;

/// A bug that no seed up to here shows is one that the simulation cannot see.
const SEEDS_MAX: u64 = 150;

const BUGS: [PlantedBug; 9] = [
    PlantedBug::SkipFileSync(".wal"),
    PlantedBug::SkipFolderSync("/wal"),
    PlantedBug::SkipFileSync(".parquet"),
    PlantedBug::SkipFolderSync("/hour=472222"),
    PlantedBug::SkipFolderSync("/spans"),
    PlantedBug::SkipFileSync(".json"),
    PlantedBug::SkipFolderSync("/_delta_log"),
    PlantedBug::BelieveSecondSync,
    PlantedBug::CutLogEarly,
];

#[test]
fn planted_bugs_are_found() {
    for bug in BUGS {
        let found = (0..SEEDS_MAX).find_map(|seed| simulate(seed, Some(bug)).err());
        assert!(found.is_some(), "{bug:?} was not found in {SEEDS_MAX} seeds");
    }
}
