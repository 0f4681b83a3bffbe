//! Reads the log and says what is wrong with it: all of it, or one segment that rests, some records
//! at a time. Writes nothing, unlike `replay`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use tidings_proto::otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest};

use super::{
    reader::{SegmentPiece, SegmentReader, read_header},
    record::{FORMAT, HeaderPage, SegmentHeader, WalRecord},
    segments::{Sealed, limits},
    unreadable::{PatchedFile, UnreadableParts, is_unreadable},
};
use crate::{
    StorageError,
    damage::Finding,
    disk::{Disk, SharedDisk, failed},
    findings::{CheckSummary, Findings},
    paths::segment_first,
    schema::Signal,
};

/// Refuses a log that has a segment of a newer format.
pub(crate) fn check_formats(disk: &dyn Disk, folder: &Path) -> Result<(), StorageError> {
    for entry in disk.list(folder).map_err(failed("list", folder))? {
        if segment_first(&entry.name).is_none() || !entry.is_file {
            continue;
        }
        let path = folder.join(&entry.name);
        let file = match disk.open(&path) {
            // Replaying says what is to be done.
            Err(error) if is_unreadable(&error) => continue,
            // A backup looks at the log of a server, which drops segments.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed("open", &path))?,
        };
        let patched = PatchedFile::new(file, Arc::default());
        let header = read_header(&patched).map_err(failed("read", &path))?;
        if let HeaderPage::Newer(found) = header {
            return Err(StorageError::Format { path, found, supported: FORMAT });
        }
    }
    Ok(())
}

/// Reads every record. Returns the last sequence that the log can have assigned, `None` without
/// segments. Records up to `covered` may be missing, because the tables hold them. The last segment
/// may end in a torn record, which was never acknowledged.
pub(crate) fn check(
    disk: &dyn Disk,
    folder: &Path,
    covered: u64,
    findings: &mut Findings<'_>,
) -> Result<Option<u64>, StorageError> {
    let segments = segments(disk, folder, findings)?;
    let limits = limits(segments.iter().map(|(_, header)| Some(header.prior_end)));
    let (mut last, mut end): (Option<u64>, Option<u64>) = (None, None);
    for ((path, header), limit) in segments.iter().zip(limits) {
        findings.summary.segments += 1;
        let missing =
            last.is_some_and(|last| last < header.prior_end && covered < header.prior_end);
        if missing {
            let (from, to) = (last.unwrap_or(0) + 1, header.prior_end);
            findings
                .add(Finding::new(path, format!("records {from} to {to} before it are missing")));
        }
        last = Some(segment(disk, path, header, limit, findings)?);
        end = end.max(last).max(Some(header.first.saturating_sub(1)));
    }
    Ok(end)
}

/// The segments whose header can be read, oldest first.
fn segments(
    disk: &dyn Disk,
    folder: &Path,
    findings: &mut Findings<'_>,
) -> Result<Vec<(PathBuf, SegmentHeader)>, StorageError> {
    let mut segments = Vec::new();
    for entry in disk.list(folder).map_err(failed("list", folder))? {
        let path = folder.join(&entry.name);
        let Some(first) = segment_first(&entry.name).filter(|_| entry.is_file) else {
            findings.add(Finding::new(&path, "it is no segment of the log"));
            continue;
        };
        let parts = Arc::new(UnreadableParts::default());
        let file = match disk.open(&path) {
            Err(error) if is_unreadable(&error) => {
                findings.add(Finding::new(&path, format!("it cannot be opened: {error}")));
                continue;
            }
            opened => PatchedFile::new(opened.map_err(failed("open", &path))?, Arc::clone(&parts)),
        };
        let header = match read_header(&file).map_err(failed("read", &path))? {
            HeaderPage::Valid(header) if header.first == first => header,
            HeaderPage::Valid(_) => {
                findings.add(Finding::new(&path, "it is a copy of another segment"));
                continue;
            }
            HeaderPage::Newer(found) => {
                return Err(StorageError::Format { path, found, supported: FORMAT });
            }
            // Its creation never ended.
            HeaderPage::Unfinished => continue,
            HeaderPage::Damaged => {
                findings.add(Finding::at(&path, 0, "both copies of the header are damaged"));
                continue;
            }
        };
        segments.push((path, header));
    }
    Ok(segments)
}

/// The last sequence up to a segment's end.
fn segment(
    disk: &dyn Disk,
    path: &Path,
    header: &SegmentHeader,
    limit: u64,
    findings: &mut Findings<'_>,
) -> Result<u64, StorageError> {
    let parts = Arc::new(UnreadableParts::default());
    let patched = |file| Box::new(PatchedFile::new(file, Arc::clone(&parts)));
    let reader = disk.open(path).and_then(|file| SegmentReader::new(patched(file), header));
    let mut reader = reader.map_err(failed("read", path))?;
    let mut last = header.prior_end;
    while let Some(piece) = reader.next().map_err(failed("read", path))? {
        match piece {
            SegmentPiece::Record(record) if record.sequence > limit => {}
            SegmentPiece::Record(record) => {
                findings.summary.records += 1;
                if let Err(error) = decode(&record) {
                    let what = format!("record {} is no request: {error}", record.sequence);
                    findings.add(Finding::new(path, what));
                }
                last = last.max(record.sequence);
            }
            SegmentPiece::Damaged { offset, bytes } if last < limit => {
                findings.add(Finding::at(path, offset, format!("{bytes} bytes are damaged")));
            }
            // What a write that failed left behind.
            SegmentPiece::Damaged { .. } | SegmentPiece::Tail { .. } => {}
        }
    }
    // Of the header too: the other copy of it can be read.
    let file = disk.open(path).map_err(failed("open", path))?;
    read_header(&PatchedFile::new(file, Arc::clone(&parts))).map_err(failed("read", path))?;
    if let Some((offset, bytes)) = parts.summary() {
        let what =
            format!("{bytes} bytes in it cannot be read; `tidings serve --recover` starts without");
        findings.add(Finding::at(path, offset, what));
    }
    Ok(last)
}

/// The extent of a log, as its oldest segment says it.
#[derive(Clone)]
pub(crate) struct LogExtent {
    disk: SharedDisk,
    folder: PathBuf,
    /// The last record that is not in the log because its segment was dropped. `None` when there is
    /// no segment, or the oldest one does not say.
    pub(crate) dropped_through: Option<u64>,
}

impl fmt::Debug for LogExtent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, dropped_through, .. } = self;
        f.debug_struct("LogExtent").field("folder", folder).field("from", dropped_through).finish()
    }
}

impl LogExtent {
    pub(crate) fn read(disk: &SharedDisk, folder: PathBuf) -> Self {
        let entries = disk.list(&folder).unwrap_or_default().into_iter();
        let segments = entries.filter(|entry| entry.is_file);
        let oldest = segments.filter_map(|entry| Some((segment_first(&entry.name)?, entry.name)));
        let dropped_through = oldest.min().and_then(|(first, name)| {
            let file = disk.open(&folder.join(name)).ok()?;
            match read_header(file.as_ref()).ok()? {
                HeaderPage::Valid(header) if header.first == first => Some(header.prior_end),
                _ => None,
            }
        });
        Self { disk: Arc::clone(disk), folder, dropped_through }
    }

    /// Returns true if every record behind a position is there. Reads the whole log.
    pub(crate) fn is_whole_behind(&self, position: u64) -> Result<bool, StorageError> {
        if self.dropped_through.is_none_or(|dropped| dropped > position) {
            return Ok(false);
        }
        let mut findings = Findings { summary: CheckSummary::default(), report: &mut |_| {} };
        check(self.disk.as_ref(), &self.folder, position, &mut findings)?;
        Ok(findings.summary.findings == 0)
    }
}

/// A segment that gets no more records and is being read.
pub(crate) struct SegmentCheck {
    path: PathBuf,
    reader: SegmentReader,
    last: u64,
    /// The last sequence it was closed with.
    expected: u64,
}

impl fmt::Debug for SegmentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentCheck").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SegmentCheck {
    /// Opens a segment; `None` when it has been dropped.
    pub(crate) fn open(disk: &dyn Disk, segment: &Sealed) -> Result<Option<Self>, Finding> {
        let path = segment.path.clone();
        let unreadable = |error: io::Error| Finding::new(&segment.path, error.to_string());
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unreadable)?,
        };
        let HeaderPage::Valid(header) = read_header(file.as_ref()).map_err(unreadable)? else {
            return Err(Finding::at(&path, 0, "both copies of the header are damaged"));
        };
        let reader = SegmentReader::new(file, &header).map_err(unreadable)?;
        Ok(Some(Self { path, reader, last: header.prior_end, expected: segment.last }))
    }

    /// Reads records until they have so many bytes; how many those were, 0 at the end.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<u64, Finding> {
        let mut read = 0;
        while read < bytes {
            let piece = self.reader.next();
            let piece = piece.map_err(|error| Finding::new(&self.path, error.to_string()))?;
            match piece {
                Some(SegmentPiece::Record(record)) => {
                    self.last = record.sequence;
                    read += record.payload.len() as u64;
                }
                Some(SegmentPiece::Damaged { offset, bytes }) if self.last < self.expected => {
                    let what = format!("{bytes} bytes are damaged");
                    return Err(Finding::at(&self.path, offset, what));
                }
                // What a write that failed left behind, unless records are missing.
                Some(SegmentPiece::Damaged { .. } | SegmentPiece::Tail { .. }) => {}
                None if self.last < self.expected => {
                    let (from, to) = (self.last + 1, self.expected);
                    let what = format!("records {from} to {to} are damaged");
                    return Err(Finding::new(&self.path, what));
                }
                None => break,
            }
        }
        Ok(read)
    }
}

fn decode(record: &WalRecord) -> Result<(), prost::DecodeError> {
    let payload = record.payload.clone();
    match record.signal {
        Signal::Spans => ExportTraceServiceRequest::decode(payload).map(drop),
        Signal::Logs => ExportLogsServiceRequest::decode(payload).map(drop),
    }
}
