//! Segments with blocks that the disk cannot read.
//!
//! By default the log is not opened then: a read error may be transient, and acknowledged data must
//! not be given up for it. An operator who starts the store with `recover` gives up exactly the
//! unreadable blocks. They read as zeros, which contain no record, and the records behind them are
//! replayed. Does not own the fate of such a segment: see `replay`.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use tidings_disk::{BLOCK, ReadFile};

/// Error codes of the system for an unreadable place: an I/O error (`EIO`), a damaged file system
/// (`EUCLEAN`), a wrong checksum (`EBADMSG`).
const UNREADABLE: [i32; 3] = [5, 117, 74];

/// Returns true if the error concerns a place on the disk, and not the process.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| UNREADABLE.contains(&code))
}

/// Returns the first unreadable byte from an offset on, which is the start of a block. Returns the
/// offset if every block is readable.
pub(super) fn first_unreadable(file: &dyn ReadFile, from: u64) -> u64 {
    let size = file.size().unwrap_or(from);
    let block = BLOCK as u64;
    let mut at = from / block * block;
    let mut buffer = vec![0; BLOCK];
    while at < size {
        if file.read_at(at, &mut buffer).is_err() {
            return at;
        }
        at += block;
    }
    from
}

/// The unreadable parts of a file, ascending and not adjacent.
#[derive(Debug, Default)]
pub(super) struct UnreadableParts(Mutex<Vec<Range<u64>>>);

impl UnreadableParts {
    /// Returns the first unreadable byte and the total number, or `None` when there are none.
    pub(super) fn summary(&self) -> Option<(u64, u64)> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = parts.iter().map(|part| part.end - part.start).sum();
        parts.first().map(|part| (part.start, bytes))
    }

    /// Adds a part. An empty one marks a file of which at most the size is known.
    pub(super) fn add(&self, part: Range<u64>) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(part);
        let all = std::mem::take(&mut *parts);
        *parts = tidings_disk::ranges::merged(all);
    }

    fn contains(&self, offset: u64) -> bool {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().any(|part| part.contains(&offset))
    }
}

/// A file whose unreadable blocks read as zeros.
pub(super) struct PatchedFile {
    file: Box<dyn ReadFile>,
    parts: Arc<UnreadableParts>,
}

impl PatchedFile {
    pub(super) fn new(file: Box<dyn ReadFile>, parts: Arc<UnreadableParts>) -> Self {
        Self { file, parts }
    }

    /// Reads block by block; a block that failed once is not tried again, because each try may take
    /// seconds.
    fn read_blocks(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (size, block) = (self.file.size()?, BLOCK as u64);
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset + filled as u64;
            let in_block = block - at % block;
            let wanted = in_block.min(size.saturating_sub(at));
            let wanted = usize::try_from(wanted).unwrap_or(BLOCK).min(rest.len());
            let Some(part) = rest.get_mut(..wanted).filter(|part| !part.is_empty()) else { break };
            let read = if self.parts.contains(at) {
                Err(io::Error::from_raw_os_error(UNREADABLE[0]))
            } else {
                self.file.read_at(at, part)
            };
            match read {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if is_unreadable(&error) => {
                    part.fill(0);
                    let start = at / block * block;
                    self.parts.add(start..(start + block).min(size));
                    filled += wanted;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl ReadFile for PatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(offset, buffer) {
            Err(error) if is_unreadable(&error) => self.read_blocks(offset, buffer),
            read => read,
        }
    }
}
