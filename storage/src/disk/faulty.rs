//! A disk for tests that loses power and fails operations.
//!
//! The files are real ones in a temporary folder, so that readers that know nothing of [`Disk`]
//! (Parquet, Delta) see them. Beside them it keeps what is durable: bytes up to the last sync of a
//! file, names of files and folders up to the last sync of the folder they are in.
//! [`FaultyDisk::lose_power`] puts the folder into a state that a real disk could be in afterwards.

#![expect(clippy::disallowed_methods, reason = "this is a disk")]

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
pub(crate) use self::{
    fault_plan::{DiskFault, FaultRepeat, PlantedBug},
    gate::{Actor, Gate},
};
use super::{
    AppendFile, BLOCK, BlockFile, Disk, DiskEntry, DiskLock, DurableFolders, Mistake, Mistakes,
    ReadFile, real::RealDisk,
};

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

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    root: PathBuf,
    medium: Arc<Mutex<DiskState>>,
    folders: Arc<DurableFolders>,
    gate: Option<Arc<Gate>>,
}

impl FaultyDisk {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), medium: Arc::default(), folders: Arc::default(), gate: None }
    }

    /// A disk whose every operation waits at the gate.
    pub(crate) fn behind(root: impl Into<PathBuf>, gate: Arc<Gate>) -> Self {
        Self { gate: Some(gate), ..Self::new(root) }
    }

    /// Makes the n-th operation from now on fail (1 is the next).
    pub(crate) fn fail(&self, nth: u64, fault: FaultRepeat) {
        self.fail_with(nth, fault, DiskFault::Io);
    }

    /// Makes the n-th operation from now on fail in this way.
    pub(crate) fn fail_with(&self, nth: u64, fault: FaultRepeat, trouble: DiskFault) {
        let mut medium = self.lock();
        medium.fail_at = Some((medium.operations + nth, fault, trouble));
    }

    /// No more faults; how many there were since the last call.
    pub(crate) fn heal(&self) -> u64 {
        let mut medium = self.lock();
        medium.fail_at = None;
        std::mem::take(&mut medium.faults)
    }

    /// Does something while nothing fails; what is to fail afterwards fails then.
    pub(crate) fn without_faults<T>(&self, work: impl FnOnce() -> T) -> T {
        let planned = self.lock().fail_at.take();
        let done = work();
        self.lock().fail_at = planned;
        done
    }

    /// From now on the store has this bug.
    pub(crate) fn plant(&self, bug: PlantedBug) {
        self.lock().bug = Some(bug);
    }

    /// From now on the store makes this mistake.
    pub(crate) fn make(&self, mistake: Mistake) {
        self.lock().mistake = Some(mistake);
    }

    /// Pretends that so much is free.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.lock().free = bytes;
    }

    /// Gives the disk a size.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Asking for the free space fails from now on.
    pub(crate) fn refuse_measuring(&self) {
        self.lock().is_unmeasured = true;
    }

    /// These bytes of a file cannot be read from now on, by no process.
    pub(crate) fn spoil(&self, path: &Path, bytes: Range<u64>) {
        self.lock().spoilt.push((path.to_path_buf(), bytes));
    }

    /// Syncs of files and folders so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Syncs of files one of whose syncs had failed before: they can only lie.
    pub(crate) fn syncs_after_failure(&self) -> u64 {
        self.lock().inodes.values().map(|content| content.syncs_after_failure).sum()
    }

    /// Adds to what was done.
    pub(crate) fn note(&self, words: String) {
        self.lock().trace.push(words);
    }

    /// Returns the operations so far, in text that is the same in every run.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().trace)
    }

    /// The files that were written through this disk and are still there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    /// Files that have bytes or a name that a power cut could lose.
    pub(crate) fn unsynced(&self) -> Vec<PathBuf> {
        self.lock().unsynced()
    }

    /// The process dies here: nothing that it still does has an effect.
    pub(crate) fn stop(&self) {
        self.lock().dead = true;
    }

    /// A new process starts: what was written is there, durable or not.
    pub(crate) fn restart(&self) {
        let mut medium = self.lock();
        medium.dead = false;
        medium.fail_at = None;
        medium.faults = 0;
        self.folders.invalidate();
    }

    /// Un-synced names are there or not, un-synced bytes are there, cut or zeroed.
    pub(crate) fn lose_power(&self, dice: &mut Dice) {
        self.lock().lose_power(dice);
        self.restart();
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        // A planted panic is no reason for others.
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn and counts; the trouble it is in.
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

    /// Answers without waiting at the gate: a question has no effect, and is asked where nothing may
    /// wait.
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
    /// Writes at an offset, or at the end.
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
            // As Linux does: the pages of a failed sync are clean, the next sync is a lie.
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
        if medium.spoilt.iter().any(|(path, bytes)| *path == self.path && is_met(bytes)) {
            return Err(DiskFault::Io.error());
        }
        drop(medium);
        self.file.read_at(offset, buffer)
    }
}
