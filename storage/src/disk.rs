//! The disk: the only place that writes with `std::fs`.
//!
//! Owns what "on the disk" means: a file's bytes are durable after [`AppendFile::sync`], its name
//! after [`Disk::sync_folder`]. Everything above takes a [`Disk`], so that tests can cut the power
//! and fail any operation. Does not own which files exist: see `paths`.

mod block_file;
#[cfg(test)]
pub(crate) mod faulty;
mod private;
mod real;

use std::{
    collections::HashSet,
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use private::{OpenToOthers, make_private};
pub(crate) use real::{RealDisk, open_to_append};

use tidings_proto::UnixNanos;

use crate::StorageError;

/// A disk shared by everything that writes.
pub(crate) type SharedDisk = Arc<dyn Disk>;

/// Operations that the store needs from a disk.
pub(crate) trait Disk: Mistakes + fmt::Debug + Send + Sync + 'static {
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

    /// Which folders are known to survive a power cut.
    fn durable_folders(&self) -> &DurableFolders;

    /// Creates a folder and its parents where missing, durably.
    ///
    /// That a folder is there does not mean that it stays: whoever made it may have died before
    /// its name was synced. So the name of the first folder that is found is synced too, once.
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
                // Somebody else's folder, which was there before us.
                Err(error) if exists && error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
            durable.add(folder);
        }
        Ok(())
    }

    /// Entries of a folder, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Gives a file a new name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder that is empty.
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    /// Makes the bytes of a file durable that another process may have written, and drops cached
    /// pages. After a failed sync, the page cache may still show bytes that are lost.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// When a file was last written, named or moved, by the machine's clock.
    fn changed(&self, path: &Path) -> io::Result<UnixNanos> {
        let metadata = std::fs::symlink_metadata(path)?;
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        let seconds = part(metadata.ctime()).saturating_mul(1_000_000_000);
        Ok(UnixNanos(seconds.saturating_add(part(metadata.ctime_nsec()))))
    }

    /// Bytes free for this process on the disk that holds a folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Takes the lock of a file, created where missing; `None` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;
}

/// Folders whose names this process has synced.
#[derive(Debug, Default)]
pub(crate) struct DurableFolders(Mutex<HashSet<PathBuf>>);

impl DurableFolders {
    /// So many are remembered; forgetting costs a sync.
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

    /// As after a restart.
    #[cfg(test)]
    pub(crate) fn invalidate(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A file being written.
pub(crate) trait AppendFile: Send {
    /// Writes all the bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable. After an error nothing is known about them, ever.
    fn sync(&mut self) -> io::Result<()>;
}

/// Alignment and unit of writes in a [`BlockFile`], in bytes.
pub(crate) const BLOCK: usize = 4096;

/// A file being written in whole blocks, past the system's cache where that can be: from memory
/// that begins at a multiple of [`BLOCK`].
pub(crate) trait BlockFile: Send {
    /// Writes blocks at the offset of one, over what is there. Bytes that are the same as before
    /// stay durable, whatever happens meanwhile.
    fn write_at(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable. After an error nothing is known about those that were not, ever.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub(crate) trait ReadFile: Send {
    /// Size of the file in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskEntry {
    /// Its name.
    pub(crate) name: String,
    /// True for a regular file.
    pub(crate) is_file: bool,
}

/// A lock on the data directory, free again when dropped.
#[derive(Debug)]
pub(crate) struct DiskLock {
    #[expect(dead_code, reason = "the open file is the lock")]
    file: std::fs::File,
}

/// Turns an error of the system into one of the store.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

/// Reads a whole file.
pub(crate) fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a new file and its name durably. On an error no file is left, unless removing it fails.
pub(crate) fn write_durably(disk: &dyn Disk, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
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

/// Gives a file this content, whole and durably, or leaves it as it was. It is written beside it,
/// under its name with `.new`.
pub(crate) fn replace_durably(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
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

/// Copies a file to a name that is free, durably, in pieces. On an error no file is left, unless
/// removing it fails.
pub(crate) fn copy_durably(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
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

/// Gives a file a second, durable name in a folder, so that removing the first keeps it. A name
/// that is taken already is left as it is.
pub(crate) fn keep_durably(disk: &dyn Disk, from: &Path, folder: &Path) -> io::Result<PathBuf> {
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

/// The folder of a file.
pub(crate) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("a file without a folder"))
}

/// Moves a file into another folder, durably, under a name that is free there.
pub(crate) fn move_durably(disk: &dyn Disk, from: &Path, folder: &Path) -> io::Result<PathBuf> {
    disk.create_folders(folder)?;
    let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| io::Error::other("a file without a name"))?;
    let to = free_name(disk, folder, &name)?;
    disk.rename(from, &to)?;
    disk.sync_folder(folder)?;
    disk.sync_folder(parent(from)?)?;
    Ok(to)
}

/// A path in a folder that is free: of this name, or with a number behind it.
pub(crate) fn free_name(disk: &dyn Disk, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let taken = disk.list(folder)?;
    let free = (0u32..)
        .map(|n| if n == 0 { name.to_owned() } else { format!("{name}.{n}") })
        .find(|candidate| taken.iter().all(|entry| entry.name != *candidate))
        .ok_or_else(|| io::Error::other("no free name"))?;
    Ok(folder.join(free))
}

/// A mistake at one place of the store's logic, which a simulation has to notice: one that does not
/// would not notice a mistake of ours either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The tables' positions are not looked at when the log is replayed.
    IgnorePosition,
    /// A flush says to cover more of the log than it does.
    CoverTooMuch,
    /// The log is cut before the tables have what is in it.
    CutLogBeforeCommit,
    /// A commit that was in doubt and has landed is not made visible.
    ForgetLandedCommit,
    /// A merge leaves out one of the files that it replaces.
    MergeWithoutFirst,
    /// A merge replaces all of its files but one.
    KeepOneMerged,
    /// The files of a merge are deleted before its commit.
    DeleteBeforeCommit,
    /// Retention does not look at pins.
    IgnorePins,
    /// Retention believes every clock.
    BelieveClock,
    /// Retention counts age from the time of the rows alone.
    AgeByTime,
    /// Erasure looks at one file of each table.
    EraseOneFile,
    /// Erasure does not look at memory.
    EraseWithoutMemory,
    /// A commit whose version is taken is believed to be there.
    BelieveConflict,
    /// A file that a bucket did not confirm is believed to be there.
    BelieveUpload,
    /// A batch that the log could not write becomes visible.
    PublishRefused,
    /// A batch that the log could not write is acknowledged.
    AcknowledgeRefused,
}

/// The mistakes that the store makes. Where the order of two steps matters it asks its disk,
/// because it has that everywhere. The machine's disk makes none, a simulated one makes one when it
/// is told.
pub(crate) trait Mistakes {
    /// Tells if the store is to make this one.
    fn makes(&self, _: Mistake) -> bool {
        false
    }
}
