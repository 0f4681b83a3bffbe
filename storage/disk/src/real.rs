//! The machine's disk.

#![expect(clippy::disallowed_methods, reason = "this is the disk")]

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::LazyLock,
};

use super::{
    AppendFile, BlockFile, Disk, DiskEntry, DiskLock, DurableFolders, Mistakes, ReadFile,
    block_file::RealBlocks,
    private::{FILE_MODE, FOLDER_MODE},
};

/// Durable folders of the machine's disk. The process has one list, because it has one disk.
static DURABLE: LazyLock<DurableFolders> = LazyLock::new(DurableFolders::default);

/// Returns options that open a file for writing which only its owner can read, whatever the
/// process's umask is.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    options
}

/// Opens a private file that is created if missing. All writes go to its end.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

/// The machine's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Mistakes for RealDisk {}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = private().create_new(true).open(path)?;
        Ok(Box::new(RealAppend(file)))
    }

    fn create_in_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>> {
        let file = private().create_new(true).open(path)?;
        Ok(Box::new(RealBlocks::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(RealRead(File::open(path)?)))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(FOLDER_MODE).create(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn durable_folders(&self) -> &DurableFolders {
        &DURABLE
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            entries.push(DiskEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_file: entry.file_type()?.is_file(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_data()?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        let file = match private().create(true).truncate(false).open(path) {
            // A lock does not require write access.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path)?,
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(DiskLock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealAppend(File);

impl AppendFile for RealAppend {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Unlike `sync_all`, this omits timestamps. The size is metadata that reading the bytes
        // needs, so `fdatasync` writes it too.
        self.0.sync_data()
    }
}

struct RealRead(File);

impl ReadFile for RealRead {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
