//! Replays the log when the store opens, and classifies its parts: valid, torn or damaged.
//!
//! Never writes to a segment and never deletes one. The log ends where the next segment's header
//! records its end (`prior_end`). Opening a successor therefore cuts off a torn tail and the
//! remains of a failed write, without truncation. Damage before that end is a loss of acknowledged
//! records. The segment then gets a second name in `quarantine/`, which costs no space, and all
//! readable records after the damage are replayed. An unreadable segment does not count as damaged:
//! replay ends with [`WalError::NeedsRecovery`], unless `recover` allows skipping unreadable
//! blocks.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_disk::{
    Disk, ReadFile, SharedDisk, link_durably,
    paths::{Paths, segment_first},
};

use super::{
    reader::{SegmentPart, SegmentReader, read_header},
    record::{HeaderPage, RECORDS_START, SegmentHeader, WalRecord},
    segments::{Sealed, limits},
    unreadable::{PatchedFile, UnreadableParts, first_unreadable, is_unreadable},
};
use crate::{WalError, error::failed};

/// A pass over all segments, oldest first.
pub struct Replay {
    disk: SharedDisk,
    paths: Paths,
    segments: Vec<ReplaySegment>,
    at: usize,
    reader: Option<SegmentReader>,
    tail: Option<(u64, u64)>,
    damaged: bool,
    /// Sequence of the record before damaged bytes, and their range. The next record determines the
    /// missing sequences.
    gap: Option<(u64, Range<u64>)>,
    /// Continues without unreadable parts.
    recover: bool,
    /// Quarantines every segment, as if it were damaged.
    keeps_all: bool,
    /// Sequence up to which no record is needed any more.
    settled: u64,
    /// Flushed positions of the tables of spans and of logs.
    covered: [u64; 2],
    end: ReplayEnd,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Replay");
        shown.field("paths", &self.paths).field("at", &self.at).field("end", &self.end);
        shown.finish_non_exhaustive()
    }
}

/// The findings of a pass over the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayEnd {
    /// The segments, oldest first.
    pub sealed: Vec<Sealed>,
    /// Last valid sequence.
    pub last: u64,
    /// Sequence up to which none may be assigned again.
    pub used: u64,
    /// Number of bytes after the last valid record.
    pub torn_bytes: u64,
    /// Damaged segments, by their paths in the quarantine.
    pub quarantined: Vec<PathBuf>,
    /// Segments with unreadable parts. They are still in the log. The log can be opened without
    /// them only after the tables have all of their readable records.
    pub unreadable: Vec<PathBuf>,
}

struct ReplaySegment {
    path: PathBuf,
    size: u64,
    first: u64,
    /// The header, or `None` when both copies are damaged.
    header: Option<SegmentHeader>,
    /// Sequence above which records are ignored.
    limit: u64,
    unreadable: Arc<UnreadableParts>,
}

impl ReplayEnd {
    /// Notes a sound record of a segment, which comes after these damaged bytes. Returns true if it
    /// belongs to the log.
    fn meet(
        &mut self,
        segment: &ReplaySegment,
        gap: Option<(u64, Range<u64>)>,
        sequence: u64,
    ) -> bool {
        log_lost_records(&segment.path, gap, Some(sequence.saturating_sub(1)));
        self.used = self.used.max(sequence);
        let is_of_log = sequence <= segment.limit && sequence > self.last;
        if is_of_log {
            self.last = sequence;
        }
        is_of_log
    }
}

impl Replay {
    /// Finds the segments. `covered` has the flushed position of each table, and `recover` allows
    /// skipping unreadable parts.
    ///
    /// # Errors
    /// `NeedsRecovery` when a part of them is unreadable.
    pub fn start(
        disk: SharedDisk,
        paths: Paths,
        covered: [u64; 2],
        recover: bool,
    ) -> Result<Self, WalError> {
        let folder = paths.wal();
        let mut segments: Vec<ReplaySegment> = Vec::new();
        let mut end = ReplayEnd::default();
        for entry in disk.list(&folder).map_err(failed("list", &folder))? {
            let path = folder.join(&entry.name);
            let Some(first) = segment_first(&entry.name).filter(|_| entry.is_file) else {
                tracing::warn!(path = %path.display(), "the file is no segment and is skipped");
                continue;
            };
            let unreadable = Arc::new(UnreadableParts::default());
            let Some(file) = open(disk.as_ref(), &path, recover, &unreadable)? else {
                // Not even the file's length is known.
                end.used = end.used.max(first);
                let (header, limit) = (None, u64::MAX);
                segments.push(ReplaySegment { path, size: 0, first, header, limit, unreadable });
                continue;
            };
            let size = file.size().map_err(failed("read", &path))?;
            let header = read_header(file.as_ref());
            let header = match header.map_err(|error| unread(&path, file.as_ref(), 0, error))? {
                HeaderPage::Newer(found) => {
                    let supported = super::record::FORMAT;
                    return Err(WalError::Format { path, found, supported });
                }
                HeaderPage::Valid(header) if header.first != first => {
                    tracing::warn!(path = %path.display(), "the segment is a copy and is skipped");
                    continue;
                }
                HeaderPage::Valid(header) if size >= RECORDS_START => Some(header),
                // The creation of the segment was interrupted, so nothing in it was acknowledged.
                HeaderPage::Valid(_) | HeaderPage::Unfinished if unreadable.summary().is_none() => {
                    end.used = end.used.max(first);
                    end.torn_bytes += size;
                    continue;
                }
                _ => None,
            };
            // A killed process may not have synced the records that are read now. They must be
            // durable.
            match disk.sync_file(&path) {
                Err(error) if recover && is_unreadable(&error) => {
                    tracing::error!(path = %path.display(), %error,
                        "the segment cannot be synced; its records go to the tables at once");
                    unreadable.add(0..0);
                }
                synced => synced.map_err(|error| unread(&path, file.as_ref(), 0, error))?,
            }
            end.used = end.used.max(first.saturating_sub(1));
            let limit = u64::MAX;
            segments.push(ReplaySegment { path, size, first, header, limit, unreadable });
        }
        let prior_ends = segments.iter().map(|segment| Some(segment.header?.prior_end));
        for (limit, segment) in limits(prior_ends).into_iter().zip(&mut segments) {
            segment.limit = limit;
        }
        let oldest = segments.first().and_then(|segment| segment.header);
        end.last = oldest.map_or(0, |header| header.prior_end);
        Ok(Self {
            disk,
            paths,
            segments,
            at: 0,
            reader: None,
            tail: None,
            damaged: false,
            gap: None,
            recover,
            keeps_all: false,
            settled: covered[0].min(covered[1]),
            covered,
            end,
        })
    }

    /// Returns true if the log may have assigned this sequence: the log contains it or a later one,
    /// or a header records that it did. Also returns true for a log without segments, which was cut
    /// or is new.
    ///
    /// # Errors
    /// The errors of [`Self::next_record`].
    pub fn reaches(&self, sequence: u64) -> Result<bool, WalError> {
        let ends = self.segments.iter().filter_map(|segment| Some(segment.header?.prior_end));
        if self.segments.is_empty() || ends.chain([self.end.used]).any(|end| sequence <= end) {
            return Ok(true);
        }
        for segment in self.segments.iter().rev().filter(|segment| sequence <= segment.limit) {
            let Some(mut reader) = self.reader_of(segment)? else { continue };
            loop {
                let skipped = reader.skip_covered([sequence; 2]);
                match skipped.map_err(|error| reader.unread(&segment.path, error))? {
                    Some(last) if last == sequence => return Ok(true),
                    Some(_) => continue,
                    None => {}
                }
                let piece = reader.next_part();
                match piece.map_err(|error| reader.unread(&segment.path, error))? {
                    Some(SegmentPart::Record(record)) if sequence <= record.sequence => {
                        return Ok(true);
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Ok(false)
    }

    /// Returns a reader of a segment's records, or `None` when its header is damaged.
    fn reader_of(&self, segment: &ReplaySegment) -> Result<Option<SegmentReader>, WalError> {
        let Some(header) = &segment.header else { return Ok(None) };
        let file = open(self.disk.as_ref(), &segment.path, self.recover, &segment.unreadable)?;
        let Some(file) = file else { return Ok(None) };
        SegmentReader::new(file, header).map(Some).map_err(failed("read", &segment.path))
    }

    /// Returns the next valid record in the order of sequences, or `None` at the end. Records that
    /// their table has may be skipped.
    ///
    /// # Errors
    /// `NeedsRecovery` when the disk could not be read, because acknowledged records are not given
    /// up for an error that may be transient. Damage is not an error.
    pub fn next_record(&mut self) -> Result<Option<WalRecord>, WalError> {
        while let Some(segment) = self.segments.get(self.at) {
            if segment.limit <= self.settled {
                self.end_segment()?;
                continue;
            }
            if self.reader.is_none() {
                self.reader = self.reader_of(segment)?;
                if self.reader.is_none() {
                    tracing::error!(path = %segment.path.display(), first = segment.first,
                        "the segment's header is damaged, its records cannot be read");
                    self.damaged = true;
                }
            }
            if let Some(reader) = &mut self.reader {
                let skipped = reader.skip_covered(self.covered);
                let skipped = skipped.map_err(|error| reader.unread(&segment.path, error))?;
                if let Some(sequence) = skipped {
                    self.end.meet(segment, self.gap.take(), sequence);
                    continue;
                }
            }
            let piece = match &mut self.reader {
                Some(reader) => {
                    reader.next_part().map_err(|error| reader.unread(&segment.path, error))?
                }
                None => None,
            };
            match piece {
                Some(SegmentPart::Record(record)) => {
                    if self.end.meet(segment, self.gap.take(), record.sequence) {
                        return Ok(Some(record));
                    }
                }
                // The bytes are the remains of a failed write, parts of which may be sound.
                Some(SegmentPart::Damaged { .. }) if self.end.last >= segment.limit => {}
                Some(SegmentPart::Damaged { offset, bytes }) => {
                    self.gap = Some((self.end.last, offset..offset + bytes));
                    self.damaged = true;
                }
                Some(SegmentPart::Tail { offset, bytes }) => self.tail = Some((offset, bytes)),
                None => self.end_segment()?,
            }
        }
        Ok(None)
    }

    /// Quarantines every segment, because its records may belong to another log.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// Returns the log's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.paths.wal()
    }

    /// Returns the findings of the pass. Call it after [`Self::next_record`] returned `None`.
    #[must_use]
    pub fn finish(self) -> ReplayEnd {
        self.end
    }

    fn end_segment(&mut self) -> Result<(), WalError> {
        let Some(segment) = self.segments.get(self.at) else { return Ok(()) };
        let is_last = segment.limit == u64::MAX;
        let cannot_be_read = segment.unreadable.summary();
        if let Some((offset, bytes)) = cannot_be_read {
            let (first, last) = (segment.first, (!is_last).then_some(segment.limit));
            tracing::error!(path = %segment.path.display(), offset, bytes, first, ?last,
                "the disk cannot read a part of the segment; all other records of it are kept");
            self.end.unreadable.push(segment.path.clone());
        }
        if let Some((offset, bytes)) = self.tail.filter(|_| cannot_be_read.is_some()) {
            self.gap = Some((self.end.last, offset..offset + bytes));
        }
        log_lost_records(&segment.path, self.gap.take(), (!is_last).then_some(segment.limit));
        if is_last {
            if let Some((offset, bytes)) = self.tail {
                tracing::warn!(path = %segment.path.display(), offset, bytes,
                    "the torn tail of the write-ahead log is cut off");
                self.end.torn_bytes += bytes;
            }
        } else if self.end.last < segment.limit {
            // Missing records that a table has are not a loss.
            if self.covered.into_iter().max() < Some(segment.limit) {
                tracing::error!(path = %segment.path.display(), after = self.end.last,
                    through = segment.limit, "acknowledged records are missing from the log");
                // A lost record may look like the zero padding of the last block.
                let is_padded = self.reader.as_ref().is_some_and(SegmentReader::is_padded);
                self.damaged |= self.tail.is_some() || is_padded;
            }
            self.end.last = segment.limit;
        }
        if (self.damaged || self.keeps_all) && cannot_be_read.is_none() {
            match link_durably(self.disk.as_ref(), &segment.path, &self.paths.quarantine()) {
                Ok(kept) => self.end.quarantined.push(kept),
                // A full or failing disk must not keep the log closed.
                Err(error) => tracing::error!(path = %segment.path.display(), %error,
                    "the damaged segment could not be set aside"),
            }
        }
        let last = if is_last { self.end.last } else { segment.limit };
        self.end.used = self.end.used.max(self.end.last);
        self.end.sealed.push(Sealed { path: segment.path.clone(), last, bytes: segment.size });
        self.reader = None;
        self.tail = None;
        self.damaged = false;
        self.at += 1;
        Ok(())
    }
}

/// Opens a segment. Returns `None` when it cannot be opened and `recover` allows skipping it.
fn open(
    disk: &dyn Disk,
    path: &Path,
    recover: bool,
    unreadable: &Arc<UnreadableParts>,
) -> Result<Option<Box<dyn ReadFile>>, WalError> {
    match disk.open(path) {
        Ok(file) if recover => Ok(Some(Box::new(PatchedFile::new(file, Arc::clone(unreadable))))),
        Ok(file) => Ok(Some(file)),
        Err(error) if !is_unreadable(&error) => Err(failed("open", path)(error)),
        Err(_) if recover => {
            unreadable.add(0..0);
            Ok(None)
        }
        Err(error) => {
            let (path, reason) = (path.to_owned(), format!("it cannot be opened ({error})"));
            Err(WalError::NeedsRecovery { path, reason })
        }
    }
}

/// Returns the error for a segment that is unreadable from an offset on.
fn unread(path: &Path, file: &dyn ReadFile, from: u64, error: io::Error) -> WalError {
    if !is_unreadable(&error) {
        return failed("read", path)(error);
    }
    let offset = first_unreadable(file, from);
    let reason = format!("the write-ahead log cannot be read at byte {offset} ({error})");
    WalError::NeedsRecovery { path: path.to_owned(), reason }
}

impl SegmentReader {
    fn unread(&self, path: &Path, error: io::Error) -> WalError {
        let (file, from) = self.position();
        unread(path, file, from, error)
    }
}

/// Logs the sequences of lost records, which are those between the two records around the damage.
fn log_lost_records(path: &Path, gap: Option<(u64, Range<u64>)>, last: Option<u64>) {
    if let Some((before, bytes)) = gap {
        let (offset, length) = (bytes.start, bytes.end - bytes.start);
        tracing::error!(path = %path.display(), offset, bytes = length, first = before + 1, ?last,
            "the write-ahead log is damaged; the records in these bytes are lost");
    }
}
