//! Files by name, in a folder or in an object store. They are the files of backups or of tables.
//!
//! A file either exists whole and durable, or not at all. Files are read and written in pieces of
//! [`PIECE`], so that memory use does not depend on their sizes. Does not own the content of files.

mod bucket;
mod folder;

use std::{
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use tidings_disk::ReadFile;
use tidings_files::{StorageError, error::failed};
use tidings_proto::UnixNanos;
use tidings_runtime::Clock;

use super::manifest::Sha256;

pub(super) use self::{
    bucket::{Bucket, is_setup},
    folder::Folder,
};

/// Maximum bytes of a file in memory at once.
pub(super) const PIECE: usize = 8 << 20;

/// Files by name: see the module's description. Names have `/` between their parts.
pub(super) trait FileStore: fmt::Debug + Send + Sync {
    /// Returns the address of a file for messages to people.
    fn address(&self, name: &str) -> PathBuf;

    /// Returns true if nothing exists that a backup did not write.
    fn is_unused(&self) -> io::Result<bool>;

    /// Lists the files in a folder and its subfolders. A missing folder has none.
    fn list(&self, folder: &str) -> io::Result<Vec<StoredFile>>;

    /// Reads a small file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Opens a file of this many bytes.
    fn open(&self, name: &str, bytes: u64) -> io::Result<Box<dyn ReadFile>>;

    /// Writes a file of this many bytes, durably. `source` is read to its end before the file gets
    /// its name, so that an error of `source` leaves no file.
    fn write(&self, name: &str, bytes: u64, source: &mut dyn Read) -> io::Result<()>;

    /// Removes a file. Succeeds if the file does not exist.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Takes the lock that keeps other processes from changing these files.
    ///
    /// # Errors
    /// `Locked` while another process holds it.
    fn lock(&self, clock: &dyn Clock) -> Result<Box<dyn LocationLock>, StorageError>;
}

/// Exclusive right to change the files of a location. Dropping it releases the lock.
pub(super) trait LocationLock: Send {
    /// Renews the lock. Call it often, and before every step that requires the lock.
    ///
    /// # Errors
    /// `Locked` when another process has taken it over.
    fn keep(&mut self, clock: &dyn Clock) -> Result<(), StorageError>;
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    /// Name, including the names of its folders.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: UnixNanos,
}

/// Reads the first bytes of a file and computes their digest. If another digest is expected,
/// reaching the end is an error.
pub(super) struct DigestReader<'a> {
    file: &'a dyn ReadFile,
    bytes: u64,
    at: u64,
    context: Context,
    expected: Option<&'a Sha256>,
    failure: Option<ReadFailure>,
}

/// The way in which reading failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadFailure {
    Disk,
    Damage(&'static str),
}

impl<'a> DigestReader<'a> {
    pub(super) fn new(file: &'a dyn ReadFile, bytes: u64, expected: Option<&'a Sha256>) -> Self {
        Self { file, bytes, at: 0, context: Context::new(&SHA256), expected, failure: None }
    }

    /// Returns the digest of the bytes that were read.
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

/// Copies the first bytes of a file into a store. Returns their digest.
///
/// # Errors
/// `Corrupt` with the source file when it is too short or does not have the expected digest. `Io`
/// with the action `read` or `write` and the file that failed.
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

/// Reads the first bytes of a file. Returns their digest.
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

/// Returns the buffer size for a file.
fn piece_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, PIECE)
}

#[cfg(test)]
pub(super) mod tests;
