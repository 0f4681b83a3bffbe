//! Files by name, in a folder or in an object store: a place for backups, or tables.
//!
//! A file is there whole and durable or not at all. Files are read and written in pieces of
//! [`PIECE`], so that memory does not depend on their sizes. Does not own what the files say.

mod bucket;
mod folder;

use std::{
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use tidings_proto::UnixNanos;

pub(super) use self::{
    bucket::{Bucket, is_setup},
    folder::Folder,
};
use super::manifest::Sha256;
use crate::{
    Clock, StorageError,
    disk::{ReadFile, failed},
};

/// So much of a file is in memory at once.
pub(super) const PIECE: usize = 8 << 20;

/// See the module's description. Names have `/` between their parts.
pub(super) trait FileStore: fmt::Debug + Send + Sync {
    /// A file's name as a person would look for it.
    fn address(&self, name: &str) -> PathBuf;

    /// Returns true if there is nothing that a backup did not put there.
    fn is_unused(&self) -> io::Result<bool>;

    /// Files in a folder and in the folders of it; none if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<StoredFile>>;

    /// Reads a small file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Opens a file of so many bytes.
    fn open(&self, name: &str, bytes: u64) -> io::Result<Box<dyn ReadFile>>;

    /// Writes a file of so many bytes, durably. `source` is read to its end before the file has its
    /// name, so that an error of it leaves nothing.
    fn write(&self, name: &str, bytes: u64, source: &mut dyn Read) -> io::Result<()>;

    /// Removes a file. One that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Keeps other processes from changing what is there.
    ///
    /// # Errors
    /// `Locked` while another process does.
    fn lock(&self, clock: &dyn Clock) -> Result<Box<dyn PlaceLock>, StorageError>;
}

/// The right to change what is in a place; given back when it is dropped.
pub(super) trait PlaceLock: Send {
    /// Renews the lock. To be called often, and before every step that must not be taken without.
    ///
    /// # Errors
    /// `Locked` when another process has taken it over.
    fn keep(&mut self, clock: &dyn Clock) -> Result<(), StorageError>;
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    /// With the names of its folders.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: UnixNanos,
}

/// Reads the first bytes of a file and digests them. With an expected digest, the end of a file
/// that has another one is an error.
pub(super) struct DigestReader<'a> {
    file: &'a dyn ReadFile,
    bytes: u64,
    at: u64,
    context: Context,
    expected: Option<&'a Sha256>,
    failure: Option<ReadFailure>,
}

/// How reading failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadFailure {
    Disk,
    Damage(&'static str),
}

impl<'a> DigestReader<'a> {
    pub(super) fn new(file: &'a dyn ReadFile, bytes: u64, expected: Option<&'a Sha256>) -> Self {
        Self { file, bytes, at: 0, context: Context::new(&SHA256), expected, failure: None }
    }

    /// The digest of what was read.
    pub(super) fn digest(self) -> Sha256 {
        Sha256::from_digest(&self.context.finish())
    }

    fn fail(&mut self, reason: &'static str) -> io::Error {
        self.failure = Some(ReadFailure::Damage(reason));
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

impl Read for DigestReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if left == 0 {
            let digest = || Sha256::from_digest(&self.context.clone().finish());
            return match self.expected.is_none_or(|expected| *expected == digest()) {
                true => Ok(0),
                false => Err(self.fail("its bytes are not those that were backed up")),
            };
        }
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        match self.file.read_at(self.at, piece) {
            Ok(read) if read == wanted => {
                self.context.update(piece);
                self.at += read as u64;
                Ok(read)
            }
            Ok(_) => Err(self.fail("it ends too early")),
            Err(error) => {
                self.failure = Some(ReadFailure::Disk);
                Err(error)
            }
        }
    }
}

/// Copies the first bytes of a file into a store; their digest.
///
/// # Errors
/// `Corrupt` with the file that is read when it is shorter, or has another digest than expected.
/// `Io` with the action `read` or `write` and the file that failed.
pub(super) fn copy(
    (from, file): (&Path, &dyn ReadFile),
    bytes: u64,
    expected: Option<&Sha256>,
    (store, name): (&dyn FileStore, &str),
) -> Result<Sha256, StorageError> {
    let mut reader = DigestReader::new(file, bytes, expected);
    match store.write(name, bytes, &mut reader) {
        Ok(()) => Ok(reader.digest()),
        Err(error) => Err(match reader.failure {
            None => failed("write", &store.address(name))(error),
            Some(failure) => unreadable(from, failure, error),
        }),
    }
}

/// Reads the first bytes of a file; their digest.
///
/// # Errors
/// As [`copy`].
pub(super) fn digest(
    (from, file): (&Path, &dyn ReadFile),
    bytes: u64,
    expected: Option<&Sha256>,
) -> Result<Sha256, StorageError> {
    let mut reader = DigestReader::new(file, bytes, expected);
    let mut piece = vec![0; piece_of(bytes)];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(reader.digest()),
            Ok(_) => {}
            Err(error) => {
                let failure = reader.failure.unwrap_or(ReadFailure::Disk);
                return Err(unreadable(from, failure, error));
            }
        }
    }
}

fn unreadable(path: &Path, failure: ReadFailure, error: io::Error) -> StorageError {
    match failure {
        ReadFailure::Disk => failed("read", path)(error),
        ReadFailure::Damage(reason) => {
            StorageError::Corrupt { path: path.to_owned(), reason: reason.to_owned() }
        }
    }
}

/// The size of the buffer for a file.
fn piece_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, PIECE)
}

#[cfg(test)]
pub(super) mod tests;
