//! A segment's file: bytes in, whole blocks out.
//!
//! Owns the last block that is not full yet, and the memory that blocks are written from, which
//! lies where the system can hand it to the device without a copy. An unfinished block is written
//! with zeros behind its bytes and written again with what follows: what was durable in it has the
//! same bytes each time. Does not own what the bytes mean, nor when they are durable enough to be
//! relied upon: the writer syncs.

use std::io;

use crate::disk::{BLOCK, BlockFile};

/// So much goes to the disk at once, however long a record is.
const PIECE: usize = 1 << 20;

/// Memory of [`PIECE`] bytes that begins at a multiple of [`BLOCK`].
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; PIECE + BLOCK];
        // The memory is never grown, so it stays where it is. `align_offset` may say that it
        // cannot tell: then the system refuses to write directly and the disk writes otherwise.
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start }
    }

    fn part(&mut self, from: usize, length: usize) -> &mut [u8] {
        let from = self.start + from;
        self.memory.get_mut(from..from + length).unwrap_or_default()
    }
}

/// A segment's file, being written.
pub(super) struct Blocks {
    file: Box<dyn BlockFile>,
    buffer: Aligned,
    /// Where in the file the buffer's first byte goes: a multiple of [`BLOCK`].
    offset: u64,
    /// Bytes in the buffer.
    filled: usize,
}

impl Blocks {
    pub(super) fn new(file: Box<dyn BlockFile>) -> Self {
        Self { file, buffer: Aligned::new(), offset: 0, filled: 0 }
    }

    /// Puts bytes behind those that are there. They may be nowhere but here before
    /// [`Self::flush`].
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filled == PIECE {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.filled));
            self.buffer.part(self.filled, now.len()).copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Writes what is not written yet.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let whole = self.filled.next_multiple_of(BLOCK);
        self.buffer.part(self.filled, whole - self.filled).fill(0);
        self.file.write_at(self.offset, self.buffer.part(0, whole))?;
        let full = self.filled / BLOCK * BLOCK;
        self.buffer.part(0, whole).copy_within(full..self.filled, 0);
        self.offset += full as u64;
        self.filled -= full;
        Ok(())
    }

    /// Makes durable what was flushed. After an error nothing is known about it, ever.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}
