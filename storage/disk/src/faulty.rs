//! A disk for tests that loses power and fails operations.
//!
//! The files are real ones in a temporary folder, so that readers that do not use [`Disk`]
//! (Parquet, Delta) see them. The disk also records what is durable: bytes up to the last sync of a
//! file, and names up to the last sync of their folder. [`FaultyDisk::lose_power`] changes the
//! folder to a state that a real disk could have after a power cut.

#![expect(clippy::disallowed_methods, reason = "this is a disk")]
#![expect(clippy::unwrap_used, reason = "only tests use this disk")]

mod fault_plan;
mod gate;
mod medium;

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::medium::{DiskState, Inode};
pub use self::{
    fault_plan::{DiskFault, FaultRepeat, PlantedBug},
    gate::{Actor, Gate},
};
use super::{
    AppendFile, BLOCK, BlockFile, Disk, DiskEntry, DiskLock, DurableFolders, Mistake, Mistakes,
    ReadFile, real::RealDisk,
};

/// A small seeded random number generator, good enough to choose faults.
#[derive(Debug, Clone)]
pub struct Dice(
    /// The seed, and later the state.
    pub u64,
);

impl Dice {
    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }
}

/// A disk that fails: see the module's description.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    root: PathBuf,
    medium: Arc<Mutex<DiskState>>,
    folders: Arc<DurableFolders>,
    gate: Option<Arc<Gate>>,
}

impl FaultyDisk {
    /// Creates a disk without faults, whose files are in a folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), medium: Arc::default(), folders: Arc::default(), gate: None }
    }

    /// Creates a disk whose every operation waits at the gate.
    pub fn with_gate(root: impl Into<PathBuf>, gate: Arc<Gate>) -> Self {
        Self { gate: Some(gate), ..Self::new(root) }
    }

    /// Makes the n-th operation from now on fail (1 is the next).
    pub fn fail(&self, nth: u64, fault: FaultRepeat) {
        self.fail_with(nth, fault, DiskFault::Io);
    }

    /// Makes the n-th operation from now on fail with this fault.
    pub fn fail_with(&self, nth: u64, fault: FaultRepeat, trouble: DiskFault) {
        let mut medium = self.lock();
        medium.fail_at = Some((medium.operations + nth, fault, trouble));
    }

    /// Cancels planned faults. Returns the number of faults since the last call.
    pub fn heal(&self) -> u64 {
        let mut medium = self.lock();
        medium.fail_at = None;
        std::mem::take(&mut medium.faults)
    }

    /// Runs `work` with the planned faults suspended.
    pub fn without_faults<T>(&self, work: impl FnOnce() -> T) -> T {
        let planned = self.lock().fail_at.take();
        let done = work();
        self.lock().fail_at = planned;
        done
    }

    /// Plants a bug, effective from now on.
    pub fn plant(&self, bug: PlantedBug) {
        self.lock().bug = Some(bug);
    }

    /// Selects a mistake that the store makes from now on.
    pub fn make(&self, mistake: Mistake) {
        self.lock().mistake = Some(mistake);
    }

    /// Sets the free space to report.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.lock().free = bytes;
    }

    /// Sets the capacity of the disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Makes queries of the free space fail from now on.
    pub fn refuse_measuring(&self) {
        self.lock().is_unmeasured = true;
    }

    /// Makes these bytes of a file unreadable from now on, for every process.
    pub fn make_unreadable(&self, path: &Path, bytes: Range<u64>) {
        self.lock().unreadable.push((path.to_path_buf(), bytes));
    }

    /// Returns the number of syncs of files and folders.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Returns the number of syncs of files after a failed sync of the same file. Such a sync
    /// reports false success.
    pub fn syncs_after_failure(&self) -> u64 {
        self.lock().inodes.values().map(|content| content.syncs_after_failure).sum()
    }

    /// Appends an entry to the trace.
    pub fn note(&self, words: String) {
        self.lock().trace.push(words);
    }

    /// Returns the operations so far, in text that is the same in every run.
    pub fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().trace)
    }

    /// Returns the files that were written through this disk and still exist.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    /// Returns the files with bytes or a name that a power cut could lose.
    pub fn unsynced(&self) -> Vec<PathBuf> {
        self.lock().unsynced()
    }

    /// Simulates the death of the process: its further operations have no effect.
    pub fn stop(&self) {
        self.lock().dead = true;
    }

    /// Simulates the start of a new process, which sees everything written, durable or not.
    pub fn restart(&self) {
        let mut medium = self.lock();
        medium.dead = false;
        medium.fail_at = None;
        medium.faults = 0;
        self.folders.invalidate();
    }

    /// Simulates a power cut. An un-synced name may be lost, and un-synced bytes may be lost, cut
    /// or zeroed.
    pub fn lose_power(&self, dice: &mut Dice) {
        self.lock().lose_power(dice);
        self.restart();
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        // A planted panic poisons the lock, which must not cause further panics.
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn at the gate and counts the operation. Returns the fault that it must have.
    fn enter(&self, what: &str, path: &Path) -> (MutexGuard<'_, DiskState>, Option<DiskFault>) {
        if let Some(gate) = &self.gate {
            gate.enter();
        }
        let mut medium = self.lock();
        let trouble = medium.count(what, path);
        (medium, trouble)
    }

    fn create_file(&self, path: &Path) -> io::Result<FaultyFile> {
        let mut medium = self.operation("create", path)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        let is_segment = path.extension().is_some_and(|end| end == "wal");
        if medium.bug == Some(PlantedBug::CutLogEarly) && is_segment {
            let folder = path.parent();
            let log: Vec<_> =
                medium.names.keys().filter(|name| name.parent() == folder).cloned().collect();
            for segment in log {
                fs::remove_file(&segment)?;
                medium.names.remove(&segment);
            }
        }
        let inode = medium.add_file(path);
        drop(medium);
        Ok(FaultyFile { disk: self.clone(), inode, path: path.to_path_buf(), file })
    }

    fn operation(&self, what: &str, path: &Path) -> io::Result<MutexGuard<'_, DiskState>> {
        match self.enter(what, path) {
            (_, Some(trouble)) => Err(trouble.error()),
            (medium, None) => Ok(medium),
        }
    }
}

impl Mistakes for FaultyDisk {
    fn makes(&self, mistake: Mistake) -> bool {
        self.lock().mistake == Some(mistake)
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(self.create_file(path)?))
    }

    fn create_in_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>> {
        Ok(Box::new(self.create_file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        drop(self.operation("open", path)?);
        let file = RealDisk.open(path)?;
        Ok(Box::new(FaultyRead { disk: self.clone(), path: path.to_path_buf(), file }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.operation("create folder", path)?;
        assert!(path.starts_with(&self.root));
        fs::create_dir(path)?;
        medium.add_folder(path);
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        RealDisk.is_folder(path)
    }

    fn durable_folders(&self) -> &DurableFolders {
        &self.folders
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>> {
        drop(self.operation("list", folder)?);
        RealDisk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = self.operation("rename", to)?;
        fs::rename(from, to)?;
        if let Some(inode) = medium.names.remove(from) {
            medium.names.insert(to.to_path_buf(), inode);
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = self.operation("link", to)?;
        fs::hard_link(from, to)?;
        if let Some(inode) = medium.names.get(from).copied() {
            medium.names.insert(to.to_path_buf(), inode);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.operation("remove", path)?;
        fs::remove_file(path)?;
        medium.names.remove(path);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.operation("sync", path)?;
        medium.syncs += 1;
        let skipped = medium.bug.is_some_and(|bug| bug.skips_file(path));
        let inode = medium.names.get(path).copied();
        let content = inode.and_then(|inode| medium.inodes.get_mut(&inode));
        if let Some(content) = content.filter(|_| !skipped) {
            if let Some(from) = content.lost_from.take() {
                content.written[from..].fill(0);
                fs::write(path, &content.written)?;
            }
            content.durable = content.written.len();
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut medium = self.operation("sync folder", folder)?;
        medium.syncs += 1;
        if !medium.bug.is_some_and(|bug| bug.skips_folder(folder)) {
            medium.sync_folder(folder);
        }
        Ok(())
    }

    /// Does not wait at the gate: this query has no effect, and is made where waiting is not
    /// possible.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        if self.gate.is_some() {
            return Ok(self.lock().free());
        }
        let medium = self.operation("measure", folder)?;
        if medium.is_unmeasured { Err(DiskFault::Io.error()) } else { Ok(medium.free()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        drop(self.operation("lock", path)?);
        RealDisk.lock(path)
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inode: Inode,
    path: PathBuf,
    file: fs::File,
}

impl FaultyFile {
    /// Writes at an offset, or at the end without one.
    fn write(&self, offset: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        let (mut medium, trouble) = self.disk.enter("append", &self.path);
        if medium.dead {
            return Err(DiskFault::Io.error());
        }
        let arriving = trouble.map_or(bytes.len(), |trouble| trouble.arriving(bytes.len()));
        let offset = offset.unwrap_or_else(|| medium.length(self.inode));
        let written = medium.write(self.inode, offset, &bytes[..arriving]);
        self.file.write_all_at(&bytes[..written], offset)?;
        if medium.bug == Some(PlantedBug::IgnoreFailedWrite) {
            return Ok(());
        }
        match trouble {
            Some(trouble) => Err(trouble.error()),
            None if written < bytes.len() => Err(DiskFault::NoSpace.error()),
            None => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let (mut medium, trouble) = self.disk.enter("sync", &self.path);
        if medium.dead {
            return Err(DiskFault::Io.error());
        }
        medium.syncs += 1;
        let bug = medium.bug;
        if bug.is_some_and(|bug| bug.skips_file(&self.path)) {
            return Ok(());
        }
        let content = medium.inodes.entry(self.inode).or_default();
        content.syncs_after_failure += u64::from(content.syncs_failed > 0);
        match (trouble, content.lost_from) {
            (None, None) => content.durable = content.written.len(),
            // Linux behaves like this: the pages of a failed sync are marked clean, so the next
            // sync reports false success.
            (None, Some(from)) => content.durable = from,
            (Some(_), None) => content.lost_from = Some(content.durable),
            (Some(_), Some(_)) => {}
        }
        content.syncs_failed += u64::from(trouble.is_some());
        match trouble {
            Some(trouble) if bug != Some(PlantedBug::BelieveSecondSync) => Err(trouble.error()),
            _ => Ok(()),
        }
    }
}

impl AppendFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(None, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Self::sync(self)
    }
}

impl BlockFile for FaultyFile {
    fn write_at(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let is_whole = |bytes: u64| bytes.is_multiple_of(BLOCK as u64);
        assert!(is_whole(offset) && is_whole(blocks.len() as u64), "a part of a block");
        assert_eq!(blocks.as_ptr().align_offset(BLOCK), 0, "no place to write from directly");
        self.write(Some(offset), blocks)
    }

    fn sync(&mut self) -> io::Result<()> {
        Self::sync(self)
    }
}

struct FaultyRead {
    disk: FaultyDisk,
    path: PathBuf,
    file: Box<dyn ReadFile>,
}

impl ReadFile for FaultyRead {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let medium = self.disk.operation("read", &self.path)?;
        let end = offset + buffer.len() as u64;
        let is_met = |bytes: &Range<u64>| bytes.start < end && offset < bytes.end;
        if medium.unreadable.iter().any(|(path, bytes)| *path == self.path && is_met(bytes)) {
            return Err(DiskFault::Io.error());
        }
        drop(medium);
        self.file.read_at(offset, buffer)
    }
}
