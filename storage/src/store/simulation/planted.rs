//! Deliberate bugs. The simulation must find each of them within a few seeds to prove that it can
//! find real ones.

use tidings_disk::faulty::PlantedBug;

use super::{World, history, simulate};

/// Maximum number of seeds until a bug must be found.
const SEEDS_MAX: u64 = 150;

fn find(bug: PlantedBug) {
    find_by(bug, |seed| simulate(seed, Some(bug)));
}

fn find_by(bug: PlantedBug, simulate: impl Fn(u64) -> Result<Vec<String>, String>) {
    // The search begins with a seed that is known to find the bug.
    let first = if bug == PlantedBug::BelieveSecondSync { 8 } else { 0 };
    let mut seeds = (0..SEEDS_MAX).map(|number| (first + number) % SEEDS_MAX);
    let found = seeds.find_map(|seed| simulate(seed).err());
    assert!(found.is_some(), "{bug:?} was not found in {SEEDS_MAX} seeds");
}

/// A checkpoint repeats the contents of commits, so a power cut seldom reveals this bug where
/// maintenance writes one.
#[test]
fn a_commit_that_is_not_synced() {
    let bug = PlantedBug::SkipFileSync(".json");
    find_by(bug, |seed| history(World::new(seed, Some(bug)).without_maintenance()));
}

macro_rules! planted {
    ($($name:ident: $bug:expr,)*) => {
        $(
            #[test]
            fn $name() {
                find($bug);
            }
        )*
    };
}

planted! {
    a_log_that_is_not_synced: PlantedBug::SkipFileSync(".wal"),
    a_folder_of_the_log_that_is_not_synced: PlantedBug::SkipFolderSync("/wal"),
    data_files_that_are_not_synced: PlantedBug::SkipFileSync(".parquet"),
    a_partition_that_is_not_synced: PlantedBug::SkipFolderSync("/hour=472222"),
    a_folder_of_a_table_that_is_not_synced: PlantedBug::SkipFolderSync("/spans"),
    a_folder_of_commits_that_is_not_synced: PlantedBug::SkipFolderSync("/_delta_log"),
    a_second_sync_that_is_believed: PlantedBug::BelieveSecondSync,
    a_log_that_is_cut_early: PlantedBug::CutLogEarly,
}
