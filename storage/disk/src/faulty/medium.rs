//! State of the simulated disk, and the state that a power cut leaves.

#![expect(clippy::disallowed_methods, reason = "this is a disk")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Dice, Mistake,
    fault_plan::{DiskFault, FaultRepeat, PlantedBug},
};

pub(super) type Inode = u64;

const SECTOR: usize = 512;

#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    pub(super) written: Vec<u8>,
    pub(super) durable: usize,
    /// Offset from which a sync failed. Bytes from here on never become durable.
    pub(super) lost_from: Option<usize>,
    pub(super) syncs_failed: u64,
    pub(super) syncs_after_failure: u64,
}

/// Files and folders: their current state and their durable state.
#[derive(Debug, Default)]
pub(super) struct DiskState {
    pub(super) inodes: BTreeMap<Inode, Content>,
    pub(super) names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    pub(super) operations: u64,
    pub(super) syncs: u64,
    pub(super) fail_at: Option<(u64, FaultRepeat, DiskFault)>,
    pub(super) faults: u64,
    /// Free space to report, independent of the actual capacity.
    pub(super) free: Option<u64>,
    /// True if queries of the free space fail.
    pub(super) is_unmeasured: bool,
    pub(super) capacity: Option<u64>,
    /// Bytes of files that cannot be read.
    pub(super) unreadable: Vec<(PathBuf, Range<u64>)>,
    pub(super) bug: Option<PlantedBug>,
    pub(super) mistake: Option<Mistake>,
    /// True while the simulated process is dead: operations have no effect.
    pub(super) dead: bool,
    /// Operations so far, in text that is the same in every run.
    pub(super) trace: Vec<String>,
}

impl DiskState {
    /// Counts an operation. Returns the fault that it must have.
    pub(super) fn count(&mut self, what: &str, path: &Path) -> Option<DiskFault> {
        self.operations += 1;
        if self.dead {
            self.faults += 1;
            return Some(DiskFault::Io);
        }
        self.trace.push(format!("{what} {}", plain_name(path)));
        let trouble = match self.fail_at {
            Some((at, FaultRepeat::Once, trouble)) => (self.operations == at).then_some(trouble),
            Some((at, FaultRepeat::Persistent, trouble)) => {
                (self.operations >= at).then_some(trouble)
            }
            None => None,
        };
        self.faults += u64::from(trouble.is_some());
        assert!(trouble != Some(DiskFault::Panic), "a planted panic: {what}");
        trouble
    }

    /// Returns the free capacity in bytes.
    pub(super) fn free_capacity(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX };
        let inodes: BTreeSet<_> = self.names.values().collect();
        let used = inodes.iter().map(|inode| self.inodes[*inode].written.len() as u64).sum();
        capacity.saturating_sub(used)
    }

    pub(super) fn free(&self) -> u64 {
        self.free.unwrap_or_else(|| self.free_capacity())
    }

    pub(super) fn add_file(&mut self, path: &Path) -> Inode {
        let inode = self.inodes.keys().next_back().map_or(1, |last| last + 1);
        self.inodes.insert(inode, Content::default());
        self.names.insert(path.to_path_buf(), inode);
        inode
    }

    pub(super) fn add_folder(&mut self, path: &Path) {
        self.folders.insert(path.to_path_buf());
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) {
        let here = |path: &PathBuf| path.parent() == Some(folder);
        self.durable_names.retain(|path, _| !here(path));
        let now = self.names.iter().filter(|(path, _)| here(path));
        self.durable_names.extend(now.map(|(path, inode)| (path.clone(), *inode)));
        self.durable_folders.extend(self.folders.iter().filter(|path| here(path)).cloned());
    }

    /// Returns the files with bytes or a name that a power cut could lose.
    pub(super) fn unsynced(&self) -> Vec<PathBuf> {
        let volatile = |path: &PathBuf, inode: &Inode| {
            self.durable_names.get(path) != Some(inode)
                || self.inodes.get(inode).is_none_or(|c| c.durable < c.written.len())
        };
        let names = self.names.iter().filter(|(path, inode)| volatile(path, inode));
        let folders = self.folders.difference(&self.durable_folders);
        names.map(|(path, _)| path.clone()).chain(folders.cloned()).collect()
    }

    /// Simulates a power cut. An un-synced name may be lost, and un-synced bytes may be lost, cut
    /// or zeroed.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        let lost_folders = self.lose_folders(dice);
        let after = self.surviving_names(dice, &lost_folders);
        self.inodes.retain(|inode, _| after.values().any(|kept| kept == inode));
        let seed = dice.roll(u64::MAX);
        for (inode, content) in &mut self.inodes {
            tear_unsynced(content, &mut Dice(seed ^ (inode << 32)));
        }
        for path in self.names.keys() {
            let _ = fs::remove_file(path);
        }
        for folder in lost_folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        for (path, inode) in &after {
            fs::write(path, &self.inodes[inode].written).unwrap();
        }
        self.durable_names.clone_from(&after);
        self.names = after;
    }

    fn lose_folders(&mut self, dice: &mut Dice) -> BTreeSet<PathBuf> {
        let mut lost = BTreeSet::new();
        for folder in &self.folders {
            let gone = folder.parent().is_some_and(|parent| lost.contains(parent));
            if gone || !self.durable_folders.contains(folder) && dice.roll(2) == 0 {
                lost.insert(folder.clone());
            }
        }
        self.folders.retain(|folder| !lost.contains(folder));
        self.durable_folders.clone_from(&self.folders);
        lost
    }

    /// Chooses the names that survive, in the order of creation. The order of names differs from
    /// run to run.
    fn surviving_names(
        &self,
        dice: &mut Dice,
        lost_folders: &BTreeSet<PathBuf>,
    ) -> BTreeMap<PathBuf, Inode> {
        let all: BTreeSet<(Inode, &PathBuf)> = self
            .names
            .iter()
            .chain(&self.durable_names)
            .map(|(path, inode)| (*inode, path))
            .collect();
        let mut after = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (_, path) in all {
            if !seen.insert(path) || path.parent().is_some_and(|at| lost_folders.contains(at)) {
                continue;
            }
            let (now, durable) = (self.names.get(path), self.durable_names.get(path));
            let kept = if now == durable || dice.roll(2) == 0 { durable } else { now };
            if let Some(inode) = kept {
                after.insert(path.clone(), *inode);
            }
        }
        after
    }

    pub(super) fn length(&self, inode: Inode) -> u64 {
        self.inodes.get(&inode).map_or(0, |content| content.written.len() as u64)
    }

    /// Writes as many bytes as fit, and returns their number. When bytes are overwritten, the
    /// unchanged ones before the first change stay durable.
    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.free_capacity()).unwrap_or(usize::MAX);
        let offset = usize::try_from(offset).unwrap();
        let content = self.inodes.entry(inode).or_default();
        let old = content.written.split_off(offset);
        let fits = bytes.get(..room.saturating_add(old.len())).unwrap_or(bytes);
        if let Some(same) = old.iter().zip(fits).position(|(old, new)| old != new) {
            content.durable = content.durable.min(offset + same);
        }
        content.written.extend_from_slice(fits);
        content.written.extend_from_slice(old.get(fits.len()..).unwrap_or_default());
        fits.len()
    }
}

/// Cuts the un-synced bytes at a random point and zeroes some of their sectors.
fn tear_unsynced(content: &mut Content, dice: &mut Dice) {
    let (durable, written) = (content.durable, content.written.len());
    let reachable = content.lost_from.unwrap_or(written);
    let torn = durable + usize::try_from(dice.roll((written - durable) as u64 + 1)).unwrap();
    content.written.truncate(torn);
    for sector in durable / SECTOR..torn.div_ceil(SECTOR) {
        let (from, to) = ((sector * SECTOR).max(durable), ((sector + 1) * SECTOR).min(torn));
        if from >= reachable || dice.roll(4) == 0 {
            content.written[from..to].fill(0);
        }
    }
    *content = Content {
        durable: torn,
        written: std::mem::take(&mut content.written),
        ..Content::default()
    };
}

/// Returns the last part of a path without the numbers that differ between runs.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = name.split('#').next().unwrap_or_default();
    match kept.rsplit_once('.') {
        // A temporary folder of the crate `tempfile`.
        Some(("", _)) => "root".to_owned(),
        // A data file or its index: its name without the nonce.
        Some((stem, end)) => match stem.rsplit_once('-') {
            Some((plain, nonce)) if nonce.len() == 16 => format!("{plain}.{end}"),
            _ => kept.to_owned(),
        },
        None => kept.to_owned(),
    }
}
