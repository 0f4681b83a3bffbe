//! Comparison of a data file with the checksums in its index.
//!
//! A comparison goes piece by piece, so that its caller can yield to other work.

use std::{
    fs::File,
    io::{self, Read},
};

use tidings_disk::Finding;
use tidings_files::{damage::MISSING, table_file::DataFile};
use tidings_index::{IndexState, PIECE_BYTES, Sums};

/// A data file under comparison.
#[derive(Debug)]
pub struct FileComparison {
    file: File,
    sums: Sums,
    next: usize,
    buffer: Vec<u8>,
}

/// Result of opening a data file's index for verification.
#[derive(Debug)]
pub enum Start {
    /// The file can be compared.
    FileComparison(FileComparison),
    /// The index has no checksums, or none that are reliable. The file must be decoded instead.
    NoSums(IndexState),
    /// The file has another length than before, or is missing.
    Wrong(Finding),
}

/// Result of comparing one piece with its checksum.
#[derive(Debug)]
pub enum VerifyStep {
    /// This many bytes match.
    Sound(u64),
    /// All pieces were compared.
    End,
    /// The file is damaged.
    Wrong(Finding),
}

impl FileComparison {
    /// Opens a data file and reads its index.
    pub fn open(data: &DataFile) -> Start {
        let wrong = |what: String| Start::Wrong(Finding::new(&data.path, what));
        let opened = data.open().and_then(|file| Ok((file.metadata()?.len(), file)));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong(MISSING.to_owned());
            }
            Err(error) => return wrong(format!("it cannot be opened: {error}")),
            Ok((found, _)) if found != data.bytes => {
                return wrong(format!("it has {found} bytes and not {}", data.bytes));
            }
            Ok((_, file)) => file,
        };
        match tidings_index::verify(data) {
            IndexState::Sound(Some(sums)) => {
                Start::FileComparison(Self { file, sums, next: 0, buffer: Vec::new() })
            }
            other => Start::NoSums(other),
        }
    }

    /// Compares the next piece.
    pub fn step(&mut self, data: &DataFile) -> VerifyStep {
        let offset = self.next as u64 * PIECE_BYTES as u64;
        if offset >= self.sums.bytes() {
            return VerifyStep::End;
        }
        self.buffer.clear();
        let read = (&self.file).take(PIECE_BYTES as u64).read_to_end(&mut self.buffer);
        if let Err(error) = read {
            return VerifyStep::Wrong(Finding::at(
                &data.path,
                offset,
                format!("cannot be read: {error}"),
            ));
        }
        if !self.sums.holds(self.next, &self.buffer) {
            let what = "its bytes from here on are not those that were written";
            return VerifyStep::Wrong(Finding::at(&data.path, offset, what));
        }
        self.next += 1;
        VerifyStep::Sound(self.buffer.len() as u64)
    }

    /// Compares all remaining pieces.
    pub fn finish(mut self, data: &DataFile) -> Result<(), Finding> {
        loop {
            match self.step(data) {
                VerifyStep::Sound(_) => {}
                VerifyStep::End => return Ok(()),
                VerifyStep::Wrong(finding) => return Err(finding),
            }
        }
    }
}
