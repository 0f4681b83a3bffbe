//! A file of a table that is open for reading: whole on the local disk, or in blocks that are
//! fetched when they are asked for.

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

/// See the module's description. Clones are one open file.
#[derive(Debug, Clone)]
pub(crate) enum Readable {
    /// With how long it was when it was opened.
    Whole(Arc<File>, u64),
    Blocks(Arc<Blocks>),
}

/// A part of a file that could not be fetched. Decoders have errors of [`io::Error`], too: this tells
/// a bucket that does not answer from bytes that are damaged.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct FetchFailure(io::Error);

impl FetchFailure {
    fn wrap(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self(error))
    }

    /// Returns the error of the system or of the bucket.
    ///
    /// # Errors
    /// The same error, when it is a decoder's.
    pub(crate) fn source_of(error: io::Error) -> Result<io::Error, io::Error> {
        if error.raw_os_error().is_some() {
            return Ok(error);
        }
        error.downcast().map(|Self(source)| source)
    }
}

impl Readable {
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        // Asked once: a reader of columns asks for each of them.
        let bytes = file.metadata()?.len();
        Ok(Self::Whole(Arc::new(file), bytes))
    }

    /// Brings here at once what will be read of these bytes.
    pub(crate) fn fetch(&self, wanted: &[Range<u64>]) -> io::Result<()> {
        match self {
            Self::Whole(..) => Ok(()),
            Self::Blocks(blocks) => blocks.fetch(wanted).map_err(FetchFailure::wrap),
        }
    }

    /// Returns true if a read may have to fetch a part of the file.
    pub(crate) fn is_remote(&self) -> bool {
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
        // Before there is a buffer: a damaged file says any length.
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

/// Reads on from a place of a file.
#[derive(Debug)]
pub(crate) struct SequentialReader {
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
