//! The disk, and the layout of a data directory on it. Only this crate writes with `std::fs`.
//!
//! Owns the meaning of "on the disk": a file's bytes are durable after [`AppendFile::sync`], its
//! name after [`Disk::sync_folder`]. All other code takes a [`Disk`], so that tests can cut the
//! power and fail any operation. [`paths`] says which files exist, and a [`Finding`] what is wrong
//! with one. Does not own the content of any file.
//!
//! The feature `simulation` adds a disk that fails as a test wants, and the effort of tests.

mod block_file;
#[cfg(any(test, feature = "simulation"))]
pub mod faulty;
mod findings;
pub mod paths;
mod private;
pub mod ranges;
mod real;
#[cfg(any(test, feature = "simulation"))]
pub mod test_effort;

use std::{
    collections::HashSet,
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

pub use findings::{CheckSummary, Finding, Findings};
pub use private::{ExposedFiles, make_private};
pub use real::{RealDisk, open_to_append};

use tidings_proto::UnixNanos;

/// A disk shared by all code that writes.
pub type SharedDisk = Arc<dyn Disk>;

/// Operations that the store needs from a disk.
pub trait Disk: Mistakes + fmt::Debug + Send + Sync + 'static {
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Creates a file that must not exist yet and is written in whole blocks.
    fn create_in_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Creates a folder in an existing one; its name is not durable yet.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns true if there is a folder of this name.
    fn is_folder(&self, path: &Path) -> bool;

    /// Returns the list of folders that are known to survive a power cut.
    fn durable_folders(&self) -> &DurableFolders;

    /// Creates a folder and its parents where missing, durably.
    ///
    /// An existing folder may still be lost, because its creator may have died before it synced the
    /// name. The name of the first existing folder on the path is therefore synced too, once per
    /// process.
    fn create_folders(&self, path: &Path) -> io::Result<()> {
        let durable = self.durable_folders();
        let mut unsure = Vec::new();
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            let exists = self.is_folder(folder);
            if exists && durable.contains(folder) {
                break;
            }
            unsure.push((folder, exists));
            if exists {
                break;
            }
        }
        for (folder, exists) in unsure.into_iter().rev() {
            if !exists {
                match self.create_folder(folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            let holder = match folder.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => continue,
            };
            match self.sync_folder(holder) {
                // The folder belongs to another user and existed before.
                Err(error) if exists && error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
            durable.add(folder);
        }
        Ok(())
    }

    /// Lists the entries of a folder, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Renames a file, and replaces the file at the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    /// Makes the bytes of a file durable, even if another process wrote them, and drops its cached
    /// pages. After a failed sync, the page cache may still show bytes that are lost.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Returns when a file was last written, renamed or moved, by the machine's clock.
    fn changed(&self, path: &Path) -> io::Result<UnixNanos> {
        let metadata = std::fs::symlink_metadata(path)?;
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        let seconds = part(metadata.ctime()).saturating_mul(1_000_000_000);
        Ok(UnixNanos(seconds.saturating_add(part(metadata.ctime_nsec()))))
    }

    /// Returns the bytes that this process can use on the disk that holds a folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Takes the lock of a file, which is created if missing. Returns `None` when another process
    /// holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;
}

/// Folders whose names this process has synced.
#[derive(Debug, Default)]
pub struct DurableFolders(Mutex<HashSet<PathBuf>>);

impl DurableFolders {
    /// Maximum number of remembered folders. Forgetting one costs a sync.
    const MAX: usize = 4096;

    fn contains(&self, folder: &Path) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    fn add(&self, folder: &Path) {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if folders.len() >= Self::MAX {
            folders.clear();
        }
        folders.insert(folder.to_path_buf());
    }

    /// Forgets all folders, as a restart does.
    #[cfg(any(test, feature = "simulation"))]
    fn invalidate(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A file being written.
pub trait AppendFile: Send {
    /// Writes all the bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable. After an error their state stays unknown for good.
    fn sync(&mut self) -> io::Result<()>;
}

/// Alignment and unit of writes in a [`BlockFile`], in bytes.
pub const BLOCK: usize = 4096;

/// A file being written in whole blocks. Writes bypass the system's cache where that is possible,
/// which requires memory that begins at a multiple of [`BLOCK`].
pub trait BlockFile: Send {
    /// Overwrites blocks, beginning at the offset of a block. Bytes that do not change stay
    /// durable, even if the write is interrupted.
    fn write_at(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable. After an error the state of bytes that were not durable stays
    /// unknown for good.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadFile: Send {
    /// Size of the file in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset. Returns fewer bytes than requested only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskEntry {
    /// Its name.
    pub name: String,
    /// True for a regular file.
    pub is_file: bool,
}

/// A lock on a file, released when dropped.
#[derive(Debug)]
pub struct DiskLock {
    #[expect(dead_code, reason = "the open file is the lock")]
    file: std::fs::File,
}

/// Reads a whole file.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a new file and its name durably. On an error no file is left, unless removing it fails.
pub fn write_durably(disk: &dyn Disk, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let written = (|| {
        let mut file = disk.create(path)?;
        for part in parts {
            file.append(part)?;
        }
        file.sync()?;
        disk.sync_folder(parent(path)?)
    })();
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let _ = disk.remove(path);
            Err(error)
        }
        other => other,
    }
}

/// Replaces the content of a file durably and completely, or leaves the file as it was. Writes the
/// new content beside it first, under its name with `.new` appended.
pub fn replace_durably(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_durably(disk, &unfinished, &[content])?;
    disk.rename(&unfinished, path)?;
    disk.sync_folder(parent(path)?)
}

/// Copies a file durably, in pieces, to a name that must not exist yet. On an error no file is
/// left, unless removing it fails.
pub fn copy_durably(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let source = disk.open(from)?;
    let mut target = disk.create(to)?;
    let mut copy = || {
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        loop {
            let read = source.read_at(offset, &mut piece)?;
            target.append(piece.get(..read).unwrap_or_default())?;
            offset += read as u64;
            if read < PIECE {
                break;
            }
        }
        target.sync()?;
        disk.sync_folder(parent(to)?)
    };
    copy().inspect_err(|_| {
        let _ = disk.remove(to);
    })
}

/// Gives a file a second, durable name in a folder, so that it survives the removal of the first.
/// An existing file of that name is left unchanged.
pub fn link_durably(disk: &dyn Disk, from: &Path, folder: &Path) -> io::Result<PathBuf> {
    disk.create_folders(folder)?;
    let name = from.file_name().ok_or_else(|| io::Error::other("a file without a name"))?;
    let to = folder.join(name);
    match disk.link(from, &to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    disk.sync_folder(folder)?;
    Ok(to)
}

/// Returns the folder of a file.
pub fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("a file without a folder"))
}

/// Moves a file into another folder, durably, under an unused name.
pub fn move_durably(disk: &dyn Disk, from: &Path, folder: &Path) -> io::Result<PathBuf> {
    disk.create_folders(folder)?;
    let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| io::Error::other("a file without a name"))?;
    let to = free_name(disk, folder, &name)?;
    disk.rename(from, &to)?;
    disk.sync_folder(folder)?;
    disk.sync_folder(parent(from)?)?;
    Ok(to)
}

/// Returns an unused path in a folder: this name, or this name with a number appended.
pub fn free_name(disk: &dyn Disk, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let taken = disk.list(folder)?;
    let free = (0u32..)
        .map(|n| if n == 0 { name.to_owned() } else { format!("{name}.{n}") })
        .find(|candidate| taken.iter().all(|entry| entry.name != *candidate))
        .ok_or_else(|| io::Error::other("no free name"))?;
    Ok(folder.join(free))
}

/// A deliberate mistake in the store's logic. A simulation must detect it, because otherwise it
/// would not detect an accidental one either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Replay ignores the tables' flushed positions.
    IgnorePosition,
    /// A flush claims to cover more of the log than it does.
    CoverTooMuch,
    /// The log is cut before the tables have its records.
    CutLogBeforeCommit,
    /// An in-doubt commit that has landed is not made visible.
    ForgetLandedCommit,
    /// A merge omits one of the files that it replaces.
    MergeWithoutFirst,
    /// A merge keeps one of the files that it should replace.
    KeepOneMerged,
    /// The inputs of a merge are deleted before its commit.
    DeleteBeforeCommit,
    /// Retention ignores pins.
    IgnorePins,
    /// Retention trusts a clock that is in doubt.
    BelieveClock,
    /// Retention computes age from the time of the rows alone.
    AgeByTime,
    /// Erasure processes only one file of each table.
    EraseOneFile,
    /// Erasure ignores the memtable.
    EraseWithoutMemory,
    /// A commit whose version is taken is assumed to be in the log.
    BelieveConflict,
    /// A file whose upload the bucket did not confirm is assumed to exist.
    BelieveUpload,
    /// A batch that the log failed to write becomes visible.
    PublishRefused,
    /// A batch that the log failed to write is acknowledged.
    AcknowledgeRefused,
}

/// The deliberate mistakes of the store. Code whose order of steps matters asks its disk, because a
/// disk is available everywhere. The machine's disk makes no mistake. A simulated disk makes the
/// one that a test selects.
pub trait Mistakes {
    /// Returns true if the store must make this mistake.
    fn makes(&self, _: Mistake) -> bool {
        false
    }
}
