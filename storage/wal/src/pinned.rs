//! Opens a log that another process may be writing, to back up its current records.
//!
//! An open file stays readable when a flush drops its segment, so all segments are opened before
//! any of them is read. The newest segment may still grow, and counts up to the end of its last
//! complete record. Does not own the records before the oldest segment: the caller knows the
//! tables' positions.

use std::{fmt, io, path::Path};

use tidings_disk::{Disk, ReadFile, paths::segment_first};

use super::{
    reader::{SegmentPart, SegmentReader, read_header},
    record::{FORMAT, HeaderPage, RECORDS_START, SegmentHeader},
};
use crate::{WalError, error::failed};

/// A segment that stays readable.
pub struct PinnedSegment {
    /// File name in the log's folder.
    pub name: String,
    /// The open file.
    pub file: Box<dyn ReadFile>,
    /// Length of the segment, which is a prefix of the file.
    pub bytes: u64,
    first: u64,
    header: Option<SegmentHeader>,
}

impl fmt::Debug for PinnedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bytes, .. } = self;
        f.debug_struct("PinnedSegment").field("name", name).field("bytes", bytes).finish()
    }
}

/// The log at one moment: a prefix of all records ever appended, without its oldest part.
#[derive(Debug, Default)]
pub struct PinnedLog {
    /// The segments, oldest first.
    pub segments: Vec<PinnedSegment>,
    /// Sequence of the last record.
    pub end: u64,
}

impl PinnedLog {
    /// Returns the sequence of the last record that may be missing because its segment was dropped.
    #[must_use]
    pub fn missing_through(&self) -> u64 {
        let Some(oldest) = self.segments.first() else { return u64::MAX };
        oldest.header.map_or(oldest.first.saturating_sub(1), |header| header.prior_end)
    }
}

/// Opens every segment in a folder. Returns `None` when one was dropped meanwhile. The caller then
/// tries again.
///
/// # Errors
/// `Format` when a segment is newer than this program, `Io` when one cannot be read.
pub fn pin(disk: &dyn Disk, folder: &Path) -> Result<Option<PinnedLog>, WalError> {
    let entries = match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(PinnedLog::default()));
        }
        listed => listed.map_err(failed("list", folder))?,
    };
    let mut segments = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_file) {
        let Some(first) = segment_first(&entry.name) else { continue };
        let path = folder.join(&entry.name);
        let Some(file) = open(disk, &path)? else { return Ok(None) };
        let bytes = file.size().map_err(failed("read", &path))?;
        let header = match read_header(file.as_ref()).map_err(failed("read", &path))? {
            HeaderPage::Newer(found) => {
                return Err(WalError::Format { path, found, supported: FORMAT });
            }
            // The file is a copy of another segment, which no start reads either.
            HeaderPage::Valid(header) if header.first != first => continue,
            // The creation of the segment was interrupted, so nothing in it was acknowledged.
            HeaderPage::Unfinished => continue,
            HeaderPage::Valid(_) if bytes < RECORDS_START => continue,
            HeaderPage::Valid(header) => Some(header),
            HeaderPage::Damaged => None,
        };
        segments.push(PinnedSegment { name: entry.name, file, bytes, first, header });
    }
    let mut end = 0;
    if let Some(newest) = segments.last_mut() {
        end = newest.first.saturating_sub(1);
        if let Some(header) = newest.header {
            let path = folder.join(&newest.name);
            let Some(again) = open(disk, &path)? else { return Ok(None) };
            let scanned = scan(again, &header).map_err(failed("read", &path))?;
            end = end.max(scanned.last);
            newest.bytes = scanned.bytes.unwrap_or(newest.bytes);
        }
    }
    Ok(Some(PinnedLog { segments, end }))
}

/// Opens a segment. Returns `None` when it was dropped.
fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn ReadFile>>, WalError> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(failed("open", path)),
    }
}

struct SegmentEnd {
    /// Sequence of the last record.
    last: u64,
    /// End of that record, or `None` when an earlier part is damaged. A copy must then keep all
    /// bytes.
    bytes: Option<u64>,
}

/// Reads a segment to the end of its last complete record.
fn scan(file: Box<dyn ReadFile>, header: &SegmentHeader) -> io::Result<SegmentEnd> {
    let mut reader = SegmentReader::new(file, header)?;
    let mut end = SegmentEnd { last: header.prior_end, bytes: Some(RECORDS_START) };
    while let Some(piece) = reader.next_part()? {
        match piece {
            SegmentPart::Record(record) => {
                end.last = record.sequence;
                end.bytes = end.bytes.map(|_| reader.position().1);
            }
            SegmentPart::Damaged { .. } => end.bytes = None,
            SegmentPart::Tail { .. } => break,
        }
    }
    Ok(end)
}
