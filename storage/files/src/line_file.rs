//! A private file to which more than one process appends lines, such as a server and a command.
//!
//! A line is one write at the end of the file, so lines of two processes never mix. A line that a
//! crash cut short is terminated before the next one. Does not own the content of lines.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tidings_disk::{Disk, RealDisk, open_to_append, parent};

use crate::{StorageError, error::failed};

/// A file of lines, open for appending.
#[derive(Debug)]
pub struct LineFile {
    file: File,
    path: PathBuf,
}

impl LineFile {
    /// Opens a file for appending, created if missing. Only its owner can read it. Its name is
    /// durable when this returns.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let folder = parent(path).map_err(failed("open", path))?;
        RealDisk.create_folders(folder).map_err(failed("create", folder))?;
        let file = open_to_append(path).map_err(failed("open", path))?;
        RealDisk.sync_folder(folder).map_err(failed("sync", folder))?;
        let mut opened = Self { file, path: path.to_owned() };
        opened.end_cut_line().map_err(failed("write", path))?;
        Ok(opened)
    }

    /// Appends a line, which must not contain a line break, and returns the bytes written.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails or is full. A part of the line may be in the file then.
    pub fn append(&mut self, line: &str) -> Result<u64, StorageError> {
        let bytes = format!("{line}\n").into_bytes();
        if let Err(error) = self.file.write_all(&bytes) {
            // The next line must not continue this one. If this fails too, the next open terminates
            // it.
            let _ = self.end_cut_line();
            return Err(failed("write", &self.path)(error));
        }
        Ok(bytes.len() as u64)
    }

    /// Makes the lines durable.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }

    /// Removes a file of lines. Succeeds if the file does not exist.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn remove(path: &Path) -> Result<(), StorageError> {
        match RealDisk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    fn end_cut_line(&mut self) -> io::Result<()> {
        let read = RealDisk.open(&self.path)?;
        let mut last = [b'\n'];
        let end = read.size()?;
        if end > 0 {
            read.read_at(end - 1, &mut last)?;
        }
        if last != *b"\n" {
            self.file.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::MetadataExt};

    use super::LineFile;

    #[test]
    fn two_writers_append_whole_lines_that_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.jsonl");
        let mut first = LineFile::open(&path).unwrap();
        let mut second = LineFile::open(&path).unwrap();
        assert_eq!(first.append("one").unwrap(), 4);
        second.append("two").unwrap();
        first.append("three").unwrap();
        first.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(fs::metadata(&path).unwrap().len(), 14);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        LineFile::remove(&path).unwrap();
        LineFile::remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_cut_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut before = LineFile::open(&path).unwrap();
        before.append("one").unwrap();
        before.file.write_all(b"cut").unwrap();
        LineFile::open(&path).unwrap().append("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ncut\ntwo\n");
    }
}
