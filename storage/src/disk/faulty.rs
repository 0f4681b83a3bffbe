//! A disk for tests that loses power and fails operations.
//!
//! The files are real ones in a temporary folder, so that readers that know nothing of [`Disk`]
//! (Parquet, Delta) see them. Beside them it keeps what is durable: bytes up to the last sync of a
//! file, names up to the last sync of a folder. [`FaultyDisk::lose_power`] puts the folder into a
//! state that a real disk could be in afterwards.

#![expect(clippy::disallowed_methods, reason = "this is a disk")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use super::{AppendFile, Disk, DiskEntry, DiskLock, ReadFile, real::RealDisk};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Only that operation fails.
    Once,
    /// That and every later one fails.
    Persistent,
}

/// Small, seeded, good enough to choose faults with.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }
}

type Inode = u64;

#[derive(Debug, Default, Clone)]
struct Content {
    written: Vec<u8>,
    durable: usize,
    /// From here on a sync failed: these bytes never become durable.
    lost_from: Option<usize>,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<Inode, Content>,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    operations: u64,
    syncs: u64,
    fail_at: Option<(u64, Fault)>,
    faults: u64,
    free: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), state: Arc::default() }
    }

    /// Makes the n-th operation from now on fail (1 is the next).
    pub(crate) fn fail(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.fail_at = Some((state.operations + nth, fault));
    }

    /// No more faults; how many there were since the last call.
    pub(crate) fn heal(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.fail_at = None;
        std::mem::take(&mut state.faults)
    }

    /// Pretends that so much is free.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.state.lock().unwrap().free = bytes;
    }

    /// Syncs of files and folders so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().unwrap().syncs
    }

    /// The files that were written through this disk and are still there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.state.lock().unwrap().names.keys().cloned().collect()
    }

    /// Files that have bytes or a name that a power cut could lose.
    pub(crate) fn unsynced(&self) -> Vec<PathBuf> {
        let state = self.state.lock().unwrap();
        let volatile = |path: &PathBuf, inode: &Inode| {
            state.durable_names.get(path) != Some(inode)
                || state.inodes.get(inode).is_none_or(|c| c.durable < c.written.len())
        };
        let names = state.names.iter().filter(|(path, inode)| volatile(path, inode));
        names.map(|(path, _)| path.clone()).collect()
    }

    /// Un-synced names are there or not, un-synced bytes are there, cut or zeroed.
    pub(crate) fn lose_power(&self, dice: &mut Dice) {
        let mut state = self.state.lock().unwrap();
        let mut after: BTreeMap<PathBuf, Inode> = BTreeMap::new();
        let mut paths: Vec<PathBuf> = state.names.keys().cloned().collect();
        paths.extend(state.durable_names.keys().cloned());
        paths.sort();
        paths.dedup();
        for path in paths {
            let (now, durable) = (state.names.get(&path), state.durable_names.get(&path));
            let kept = if now == durable || dice.roll(2) == 0 { durable } else { now };
            if let Some(inode) = kept {
                after.insert(path, *inode);
            }
        }
        for content in state.inodes.values_mut() {
            let reachable = content.lost_from.unwrap_or(content.written.len());
            let torn = content.durable + {
                let room = (content.written.len() - content.durable) as u64;
                usize::try_from(dice.roll(room + 1)).unwrap()
            };
            content.written.truncate(torn);
            for sector in content.durable / 512..torn.div_ceil(512) {
                let (from, to) =
                    ((sector * 512).max(content.durable), ((sector + 1) * 512).min(torn));
                if from >= reachable || dice.roll(4) == 0 {
                    content.written[from..to].fill(0);
                }
            }
            content.durable = content.written.len();
            content.lost_from = None;
        }
        for path in state.names.keys() {
            let _ = fs::remove_file(path);
        }
        for (path, inode) in &after {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &state.inodes[inode].written).unwrap();
        }
        state.durable_names.clone_from(&after);
        state.names = after;
    }

    fn operation(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.state.lock().unwrap();
        state.operations += 1;
        let fails = match state.fail_at {
            Some((at, Fault::Once)) => state.operations == at,
            Some((at, Fault::Persistent)) => state.operations >= at,
            None => false,
        };
        if fails {
            state.faults += 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(state)
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.operation()?;
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        let inode = state.inodes.keys().next_back().map_or(1, |last| last + 1);
        state.inodes.insert(inode, Content::default());
        state.names.insert(path.to_path_buf(), inode);
        Ok(Box::new(FaultyFile { disk: self.clone(), inode, file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        drop(self.operation()?);
        RealDisk.open(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        drop(self.operation()?);
        assert!(path.starts_with(&self.root));
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>> {
        drop(self.operation()?);
        RealDisk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operation()?;
        fs::rename(from, to)?;
        if let Some(inode) = state.names.remove(from) {
            state.names.insert(to.to_path_buf(), inode);
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operation()?;
        fs::hard_link(from, to)?;
        if let Some(inode) = state.names.get(from).copied() {
            state.names.insert(to.to_path_buf(), inode);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operation()?;
        fs::remove_file(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.operation()?;
        state.syncs += 1;
        let here = |path: &PathBuf| path.parent() == Some(folder);
        state.durable_names.retain(|path, _| !here(path));
        let now: Vec<_> = state.names.iter().filter(|(path, _)| here(path)).collect();
        let now: Vec<_> = now.into_iter().map(|(path, inode)| (path.clone(), *inode)).collect();
        state.durable_names.extend(now);
        Ok(())
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        let state = self.operation()?;
        Ok(state.free.unwrap_or(u64::MAX))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        drop(self.operation()?);
        RealDisk.lock(path)
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inode: Inode,
    file: fs::File,
}

impl AppendFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (written, outcome) = match self.disk.operation() {
            Ok(_) => (bytes, Ok(())),
            // A short write: half of it arrives.
            Err(error) => (&bytes[..bytes.len() / 2], Err(error)),
        };
        self.file.write_all(written)?;
        let mut state = self.disk.state.lock().unwrap();
        state.inodes.get_mut(&self.inode).unwrap().written.extend_from_slice(written);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let outcome = self.disk.operation().map(drop);
        let mut state = self.disk.state.lock().unwrap();
        state.syncs += 1;
        let content = state.inodes.get_mut(&self.inode).unwrap();
        match (&outcome, content.lost_from) {
            (Ok(()), None) => content.durable = content.written.len(),
            // As Linux does: the pages of a failed sync are clean, the next sync is a lie.
            (Ok(()), Some(from)) => content.durable = from,
            (Err(_), None) => content.lost_from = Some(content.durable),
            (Err(_), Some(_)) => {}
        }
        outcome
    }
}
