//! A segment's file: receives bytes and writes whole blocks.
//!
//! Owns the last partial block, and the memory that blocks are written from. That memory is
//! aligned, so that the system can pass it to the device without a copy. A partial block is padded
//! with zeros, and written again with the bytes that follow. Its durable bytes are the same each
//! time. Does not own the meaning of the bytes, nor their durability, because the writer syncs.

use std::io;

use tidings_disk::{BLOCK, BlockFile};

/// Maximum bytes of a write, however long a record is.
const PIECE: usize = 1 << 20;

/// Memory of [`PIECE`] bytes that begins at a multiple of [`BLOCK`].
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    fn new() -> Self {
        let memory = vec![0; PIECE + BLOCK];
        // The memory never grows, so its address stays the same. If `align_offset` cannot compute
        // the offset, the system refuses direct writes and the disk uses buffered ones.
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
    buffer: AlignedBuffer,
    /// Offset in the file of the buffer's first byte, a multiple of [`BLOCK`].
    offset: u64,
    /// Number of bytes in the buffer.
    filled: usize,
}

impl Blocks {
    pub(super) fn new(file: Box<dyn BlockFile>) -> Self {
        Self { file, buffer: AlignedBuffer::new(), offset: 0, filled: 0 }
    }

    /// Appends bytes. They may be only in the buffer until [`Self::flush`].
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

    /// Writes the buffered bytes.
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

    /// Makes the flushed bytes durable. After an error their state stays unknown for good.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}
