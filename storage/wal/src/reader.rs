//! Reads one segment record by record, and continues after damage.
//!
//! Holds one record and a read-ahead buffer in memory, whatever the segment's size. Reports its
//! findings. `replay` decides whether they mean a torn tail, a loss or superseded records.

use std::{fmt, io};

use tidings_disk::{BLOCK, ReadFile};
use tidings_proto::Signal;

use super::record::{
    HeaderPage, MARKER, RECORD_HEADER, RECORDS_START, RecordHeader, SegmentHeader, WalRecord,
};

const READ_AHEAD: usize = 256 << 10;
/// Bytes that are read at once behind a payload of at least this length that was skipped. The next
/// record is probably skipped too.
const SKIP_READ_AHEAD: usize = BLOCK;

/// A part of a segment, in reading order.
#[derive(Debug, PartialEq, Eq)]
pub enum SegmentPart {
    /// A sound record.
    Record(WalRecord),
    /// Bytes that are not a record, followed by a sound record.
    Damaged {
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        bytes: u64,
    },
    /// Bytes that are not a record, up to the end of the file.
    Tail {
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        bytes: u64,
    },
}

/// Reads the records of one segment.
pub struct SegmentReader {
    file: Box<dyn ReadFile>,
    size: u64,
    salt: u64,
    offset: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
    /// Minimum number of bytes that are read at once.
    read_ahead: usize,
    padded: bool,
}

impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SegmentReader");
        shown.field("size", &self.size).field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// Reads the header of a segment.
pub(crate) fn read_header(file: &dyn ReadFile) -> io::Result<HeaderPage> {
    let mut start = vec![0; usize::try_from(RECORDS_START).unwrap_or_default()];
    let read = file.read_at(0, &mut start)?;
    let start = start.get(..read).unwrap_or_default();
    match SegmentHeader::decode(start) {
        HeaderPage::Damaged
            if file.size()? <= RECORDS_START && SegmentHeader::is_unfinished(start) =>
        {
            Ok(HeaderPage::Unfinished)
        }
        page => Ok(page),
    }
}

impl SegmentReader {
    /// Creates a reader of the records behind this header.
    ///
    /// # Errors
    /// When the size of the file cannot be read.
    pub fn new(file: Box<dyn ReadFile>, header: &SegmentHeader) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self {
            file,
            size,
            salt: header.salt,
            offset: RECORDS_START,
            buffer: Vec::new(),
            buffer_start: 0,
            read_ahead: READ_AHEAD,
            padded: false,
        })
    }

    /// Skips the next record without reading its payload, if its sequence is at most the position
    /// of its table. `covered` has the positions of the tables of spans and of logs. Returns the
    /// sequence of the skipped record. Returns `None` if the next part is anything else.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn skip_covered(&mut self, covered: [u64; 2]) -> io::Result<Option<u64>> {
        let (start, salt) = (self.offset, self.salt);
        let header = self.window(start, RECORD_HEADER)?;
        let Some(header) = header.and_then(|bytes| RecordHeader::decode(salt, bytes)) else {
            return Ok(None);
        };
        let [spans, logs] = covered;
        let position = match header.signal {
            Signal::Spans => spans,
            Signal::Logs => logs,
        };
        let end = start + RECORD_HEADER as u64 + u64::from(header.length);
        if header.sequence > position || end > self.size {
            return Ok(None);
        }
        let is_long = u64::from(header.length) >= SKIP_READ_AHEAD as u64;
        self.read_ahead = if is_long { SKIP_READ_AHEAD } else { READ_AHEAD };
        self.offset = end;
        Ok(Some(header.sequence))
    }

    /// Returns the next part. Returns `None` at the end, or when only zeros fill the last block.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_part(&mut self) -> io::Result<Option<SegmentPart>> {
        let start = self.offset;
        self.read_ahead = READ_AHEAD;
        if start >= self.size {
            return Ok(None);
        }
        if let Some(record) = self.record_at(start)? {
            self.offset = start + (RECORD_HEADER + record.payload.len()) as u64;
            return Ok(Some(SegmentPart::Record(record)));
        }
        if self.is_padding(start)? {
            self.padded = true;
            self.offset = self.size;
            return Ok(None);
        }
        let mut from = start + 1;
        while let Some(found) = self.find_marker(from)? {
            if self.record_at(found)?.is_some() {
                self.offset = found;
                return Ok(Some(SegmentPart::Damaged { offset: start, bytes: found - start }));
            }
            from = found + 1;
        }
        self.offset = self.size;
        Ok(Some(SegmentPart::Tail { offset: start, bytes: self.size - start }))
    }

    /// Returns the record at an offset. The salted header is checked first, so that a payload full
    /// of imitated records costs one small checksum each.
    fn record_at(&mut self, offset: u64) -> io::Result<Option<WalRecord>> {
        let salt = self.salt;
        let Some(header) =
            self.window(offset, RECORD_HEADER)?.and_then(|bytes| RecordHeader::decode(salt, bytes))
        else {
            return Ok(None);
        };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let payload = self.window(offset + RECORD_HEADER as u64, length)?;
        Ok(payload.and_then(|payload| header.with_payload(payload)))
    }

    /// Returns the file, and the offset up to which it was read.
    pub(crate) fn position(&self) -> (&dyn ReadFile, u64) {
        (self.file.as_ref(), self.offset)
    }

    /// Returns true if the segment ended with zero padding.
    pub(crate) fn is_padded(&self) -> bool {
        self.padded
    }

    /// Returns true if the rest of the file is the zero padding of a partial block.
    fn is_padding(&mut self, offset: u64) -> io::Result<bool> {
        let rest = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
        if rest >= BLOCK || !self.size.is_multiple_of(BLOCK as u64) {
            return Ok(false);
        }
        Ok(self.window(offset, rest)?.is_some_and(|rest| rest.iter().all(|byte| *byte == 0)))
    }

    fn find_marker(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        while from + MARKER.len() as u64 <= self.size {
            let rest = usize::try_from(self.size - from).unwrap_or(usize::MAX);
            // Buffered bytes are searched first. A payload may consist of imitated markers, and
            // each would cost a read-ahead.
            let length = self.buffered(from).max(MARKER.len()).min(rest.min(READ_AHEAD));
            let Some(bytes) = self.window(from, length)? else { break };
            if let Some(at) = bytes.windows(MARKER.len()).position(|four| four == MARKER) {
                return Ok(Some(from + at as u64));
            }
            from += (bytes.len() - (MARKER.len() - 1)) as u64;
        }
        Ok(None)
    }

    /// Returns the number of bytes from this offset on that are in the buffer.
    fn buffered(&self, offset: u64) -> usize {
        let behind = offset.checked_sub(self.buffer_start);
        let behind = behind.and_then(|behind| usize::try_from(behind).ok());
        behind.map_or(0, |behind| self.buffer.len().saturating_sub(behind))
    }

    /// Returns these bytes of the file, or `None` when it ends before them.
    fn window(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        if self.buffered(offset) < length {
            self.buffer.clear();
            self.buffer.resize(length.max(self.read_ahead), 0);
            let read = self.file.read_at(offset, &mut self.buffer)?;
            self.buffer.truncate(read);
            self.buffer_start = offset;
        }
        let at = usize::try_from(offset - self.buffer_start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(at..).and_then(|bytes| bytes.get(..length)))
    }
}
