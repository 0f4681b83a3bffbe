//! An open file of a table: whole on the local disk, or in blocks that are fetched on demand.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

use super::object::Blocks;

/// An open file: see the module's description. Clones share it.
#[derive(Debug, Clone)]
pub enum Readable {
    /// A local file, with its length when it was opened.
    Whole(Arc<File>, u64),
    /// A file in an object store, of which blocks are fetched on demand.
    Blocks(Arc<Blocks>),
}

/// An error of fetching a part of a file. Decoders also return [`io::Error`], so this type
/// distinguishes an unreachable bucket from damaged bytes.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct FetchFailure(io::Error);

impl FetchFailure {
    fn wrap(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self(error))
    }

    /// Returns the error of the system or of the bucket.
    ///
    /// # Errors
    /// Returns the error itself if a decoder caused it.
    pub fn source_of(error: io::Error) -> Result<io::Error, io::Error> {
        if error.raw_os_error().is_some() {
            return Ok(error);
        }
        error.downcast().map(|Self(source)| source)
    }
}

impl Readable {
    /// Returns a local file with its present length.
    ///
    /// # Errors
    /// When the length of the file cannot be read.
    pub fn whole(file: File) -> io::Result<Self> {
        // The length is read once, because a column reader asks for it for each column.
        let bytes = file.metadata()?.len();
        Ok(Self::Whole(Arc::new(file), bytes))
    }

    /// Fetches the parts that a reader will need, in few requests.
    pub fn fetch(&self, wanted: &[Range<u64>]) -> io::Result<()> {
        match self {
            Self::Whole(..) => Ok(()),
            Self::Blocks(blocks) => blocks.fetch(wanted).map_err(FetchFailure::wrap),
        }
    }

    /// Returns true if a read may have to fetch a part of the file.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Blocks(_))
    }

    /// Reads from an offset until the buffer is full or the file ends.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(file, _) => fill(file, offset, buffer),
            Self::Blocks(blocks) => blocks.read_at(offset, buffer).map_err(FetchFailure::wrap),
        }
    }
}

/// Reads from an offset until the buffer is full or the file ends.
pub(super) fn fill(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Length for Readable {
    fn len(&self) -> u64 {
        match self {
            Self::Whole(_, bytes) => *bytes,
            Self::Blocks(blocks) => blocks.bytes(),
        }
    }
}

impl ChunkReader for Readable {
    type T = BufReader<SequentialReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(SequentialReader { file: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let ends =
            || ParquetError::EOF(format!("it ends before {length} bytes from byte {start} on"));
        // The length is checked before a buffer is allocated, because a damaged file can contain
        // any length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(ends());
        }
        let mut bytes = vec![0; length];
        match self.read_at(start, &mut bytes)? {
            read if read == length => Ok(bytes.into()),
            _ => Err(ends()),
        }
    }
}

/// Reads sequentially from an offset of a file.
#[derive(Debug)]
pub struct SequentialReader {
    file: Readable,
    at: u64,
}

impl Read for SequentialReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}
