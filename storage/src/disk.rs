//! The disk: the only place that writes with `std::fs`.
//!
//! Owns what "on the disk" means: a file's bytes are durable after [`AppendFile::sync`], its name
//! after [`Disk::sync_folder`]. Everything above takes a [`Disk`], so that tests can cut the power
//! and fail any operation. Does not own which files exist: see `paths`.

#[cfg(test)]
pub(crate) mod faulty;
mod real;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use real::RealDisk;

use crate::StorageError;

/// A disk shared by everything that writes.
pub(crate) type SharedDisk = Arc<dyn Disk>;

/// What the store needs of a disk.
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Creates a folder and its parents where missing, durably.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// What is in a folder, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Gives a file a new name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes free for this process on the disk that holds a folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Takes the lock of a file, created where missing; `None` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;
}

/// A file being written.
pub(crate) trait AppendFile: Send {
    /// Writes all the bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable. After an error nothing is known about them, ever.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub(crate) trait ReadFile: Send {
    /// How long it is.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskEntry {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is a plain file.
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

/// Copies a file, durably, in pieces. A copy that exists already is kept as it is.
pub(crate) fn copy_durably(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let source = disk.open(from)?;
    let mut target = match disk.create(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
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
    let taken = disk.list(folder)?;
    let free = (0u32..)
        .map(|n| if n == 0 { name.clone() } else { format!("{name}.{n}") })
        .find(|candidate| taken.iter().all(|entry| entry.name != *candidate))
        .ok_or_else(|| io::Error::other("no free name"))?;
    let to = folder.join(free);
    disk.rename(from, &to)?;
    disk.sync_folder(folder)?;
    disk.sync_folder(parent(from)?)?;
    Ok(to)
}
