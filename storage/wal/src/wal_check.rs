//! Verifies the log: all of it, or one closed segment, some records at a time. Also determines the
//! extent of the log ([`LogExtent`]). Writes nothing, unlike `replay`.

use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use tidings_disk::{CheckSummary, Disk, Finding, Findings, SharedDisk, paths::segment_first};
use tidings_proto::{
    Signal,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest},
};

use super::{
    reader::{SegmentPart, SegmentReader, read_header},
    record::{FORMAT, HeaderPage, SegmentHeader, WalRecord},
    segments::{Sealed, limits},
    unreadable::{PatchedFile, UnreadableParts, is_unreadable},
};
use crate::{WalError, error::failed};

/// Fails if the log has a segment of a newer format.
///
/// # Errors
/// `Format` then, and `Io` when the log cannot be read.
pub fn check_formats(disk: &dyn Disk, folder: &Path) -> Result<(), WalError> {
    for entry in disk.list(folder).map_err(failed("list", folder))? {
        if segment_first(&entry.name).is_none() || !entry.is_file {
            continue;
        }
        let path = folder.join(&entry.name);
        let file = match disk.open(&path) {
            // Replay reports this error with the remedy.
            Err(error) if is_unreadable(&error) => continue,
            // A backup reads the log of a running server, which drops segments.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed("open", &path))?,
        };
        let patched = PatchedFile::new(file, Arc::default());
        let header = read_header(&patched).map_err(failed("read", &path))?;
        if let HeaderPage::Newer(found) = header {
            return Err(WalError::Format { path, found, supported: FORMAT });
        }
    }
    Ok(())
}

/// Reads every record. Returns the last sequence that the log can have assigned, `None` without
/// segments. Records up to `covered` may be missing, because the tables hold them. The last segment
/// may end in a torn record, which was never acknowledged.
///
/// # Errors
/// `Format` when a segment is newer than this program, `Io` when the log cannot be read.
pub fn check(
    disk: &dyn Disk,
    folder: &Path,
    covered: u64,
    findings: &mut Findings<'_>,
) -> Result<Option<u64>, WalError> {
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

/// Returns the segments with a readable header, oldest first.
fn segments(
    disk: &dyn Disk,
    folder: &Path,
    findings: &mut Findings<'_>,
) -> Result<Vec<(PathBuf, SegmentHeader)>, WalError> {
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
                return Err(WalError::Format { path, found, supported: FORMAT });
            }
            // The creation of the segment was interrupted.
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

/// Verifies a segment. Returns the last sequence up to its end.
fn segment(
    disk: &dyn Disk,
    path: &Path,
    header: &SegmentHeader,
    limit: u64,
    findings: &mut Findings<'_>,
) -> Result<u64, WalError> {
    let parts = Arc::new(UnreadableParts::default());
    let patched = |file| Box::new(PatchedFile::new(file, Arc::clone(&parts)));
    let reader = disk.open(path).and_then(|file| SegmentReader::new(patched(file), header));
    let mut reader = reader.map_err(failed("read", path))?;
    let mut last = header.prior_end;
    while let Some(piece) = reader.next_part().map_err(failed("read", path))? {
        match piece {
            SegmentPart::Record(record) if record.sequence > limit => {}
            SegmentPart::Record(record) => {
                findings.summary.records += 1;
                if let Err(error) = decode(&record) {
                    let what = format!("record {} is no request: {error}", record.sequence);
                    findings.add(Finding::new(path, what));
                }
                last = last.max(record.sequence);
            }
            SegmentPart::Damaged { offset, bytes } if last < limit => {
                findings.add(Finding::at(path, offset, format!("{bytes} bytes are damaged")));
            }
            // The bytes are the remains of a failed write.
            SegmentPart::Damaged { .. } | SegmentPart::Tail { .. } => {}
        }
    }
    // The header is read too, because a readable copy hides an unreadable one.
    let file = disk.open(path).map_err(failed("open", path))?;
    read_header(&PatchedFile::new(file, Arc::clone(&parts))).map_err(failed("read", path))?;
    if let Some((offset, bytes)) = parts.summary() {
        let what =
            format!("{bytes} bytes in it cannot be read; `tidings serve --recover` starts without");
        findings.add(Finding::at(path, offset, what));
    }
    Ok(last)
}

/// The extent of a log, according to the headers of its segments.
#[derive(Clone)]
pub struct LogExtent {
    disk: SharedDisk,
    folder: PathBuf,
    /// Last record that is not in the log because its segment was dropped. `None` when there is no
    /// segment, or the oldest one does not record it.
    dropped_through: Option<u64>,
    /// Committed positions of the tables of spans and of logs, from the newest header.
    covered: [u64; 2],
}

impl fmt::Debug for LogExtent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LogExtent");
        shown.field("folder", &self.folder).field("dropped_through", &self.dropped_through);
        shown.field("covered", &self.covered).finish()
    }
}

impl LogExtent {
    /// Reads the headers of the segments in a folder.
    pub fn read(disk: &SharedDisk, folder: PathBuf) -> Self {
        let entries = disk.list(&folder).unwrap_or_default().into_iter();
        let segments = entries.filter(|entry| entry.is_file);
        let mut segments: Vec<_> = segments
            .filter_map(|entry| Some((segment_first(&entry.name)?, folder.join(entry.name))))
            .collect();
        segments.sort_unstable();
        let header = |(first, path): &(u64, PathBuf)| {
            let file = disk.open(path).ok()?;
            match read_header(file.as_ref()).ok()? {
                HeaderPage::Valid(header) if header.first == *first => Some(Ok(header)),
                // These files are not segments of the log.
                HeaderPage::Valid(_) | HeaderPage::Unfinished => None,
                HeaderPage::Newer(_) | HeaderPage::Damaged => Some(Err(())),
            }
        };
        let oldest = segments.iter().find_map(header).and_then(Result::ok);
        let newest = segments.iter().rev().filter_map(header).find_map(Result::ok);
        Self {
            disk: Arc::clone(disk),
            dropped_through: oldest.map(|header| header.prior_end),
            covered: newest.map_or([0; 2], |header| header.covered),
            folder,
        }
    }

    /// Returns the committed position of a table, from the newest header.
    #[must_use]
    pub fn covered(&self, signal: Signal) -> u64 {
        let [spans, logs] = self.covered;
        match signal {
            Signal::Spans => spans,
            Signal::Logs => logs,
        }
    }

    /// Returns the last record that the log has dropped, if it is after this position.
    #[must_use]
    pub fn dropped_after(&self, position: u64) -> Option<u64> {
        self.dropped_through.filter(|dropped| *dropped > position)
    }

    /// Returns true if commits after a table's position are missing: a header has a higher
    /// position, and the log has dropped records after this one.
    #[must_use]
    pub fn has_lost_commits(&self, signal: Signal, position: u64) -> bool {
        self.dropped_after(position).is_some() && self.covered(signal) > position
    }

    /// Returns true if every record after `position` and up to `through` is in the log. Reads the
    /// whole log.
    ///
    /// # Errors
    /// The errors of [`check`].
    pub fn is_whole(&self, position: u64, through: u64) -> Result<bool, WalError> {
        if self.dropped_through.is_none_or(|dropped| dropped > position) {
            return Ok(false);
        }
        let mut is_whole = true;
        let mut report = |finding: &Finding| {
            let name = finding.path.file_name().and_then(OsStr::to_str);
            is_whole &= name.and_then(segment_first).is_none();
        };
        let mut findings = Findings { summary: CheckSummary::default(), report: &mut report };
        let end = check(self.disk.as_ref(), &self.folder, position, &mut findings)?;
        Ok(is_whole && end.is_some_and(|end| end >= through))
    }
}

/// A closed segment that is being verified.
pub struct SegmentCheck {
    path: PathBuf,
    reader: SegmentReader,
    last: u64,
    /// Last sequence of the segment when it was closed.
    expected: u64,
}

impl fmt::Debug for SegmentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentCheck").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SegmentCheck {
    /// Opens a segment. Returns `None` when it has been dropped.
    ///
    /// # Errors
    /// The damage, if its header cannot be read.
    pub fn open(disk: &dyn Disk, segment: &Sealed) -> Result<Option<Self>, Finding> {
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

    /// Reads records up to this many bytes. Returns the number of bytes read, 0 at the end.
    ///
    /// # Errors
    /// The damage, if a record is damaged or missing.
    pub fn step(&mut self, bytes: u64) -> Result<u64, Finding> {
        let mut read = 0;
        while read < bytes {
            let piece = self.reader.next_part();
            let piece = piece.map_err(|error| Finding::new(&self.path, error.to_string()))?;
            match piece {
                Some(SegmentPart::Record(record)) => {
                    self.last = record.sequence;
                    read += record.payload.len() as u64;
                }
                Some(SegmentPart::Damaged { offset, bytes }) if self.last < self.expected => {
                    let what = format!("{bytes} bytes are damaged");
                    return Err(Finding::at(&self.path, offset, what));
                }
                // The bytes are the remains of a failed write, unless records are missing.
                Some(SegmentPart::Damaged { .. } | SegmentPart::Tail { .. }) => {}
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
