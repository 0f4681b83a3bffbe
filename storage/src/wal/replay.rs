//! Reads the whole log when the store opens: what counts, what was torn, what is damaged.
//!
//! Never writes to a segment and never deletes one. The log ends where the next segment's header
//! says it ended (`prior_end`), so a torn tail and the leavings of a failed write are cut off by
//! opening a successor, not by truncating. Damage before that end is a loss of acknowledged
//! records: the segment gets a second name in `quarantine/`, which costs no space, and everything readable behind it still counts.

use std::path::PathBuf;

use super::{
    reader::{Piece, SegmentReader, read_header},
    record::{HeaderPage, RECORDS_START, Record, SegmentHeader},
    segments::{Sealed, limits},
};
use crate::{
    StorageError,
    disk::{SharedDisk, failed, keep_durably},
    paths::{Paths, segment_first},
};

/// A pass over all segments, oldest first.
pub(crate) struct Replay {
    disk: SharedDisk,
    paths: Paths,
    segments: Vec<Segment>,
    at: usize,
    reader: Option<SegmentReader>,
    tail: Option<(u64, u64)>,
    damaged: bool,
    /// Nothing up to here is needed any more.
    settled: u64,
    /// What is missing up to here is no loss.
    covered: u64,
    end: ReplayEnd,
}

/// What a pass over the log found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReplayEnd {
    /// The segments, oldest first.
    pub(crate) sealed: Vec<Sealed>,
    /// The last valid sequence.
    pub(crate) last: u64,
    /// No sequence up to this one may be given out again.
    pub(crate) used: u64,
    /// Bytes behind the last valid record.
    pub(crate) torn_bytes: u64,
    /// Damaged segments, under the names that keep them.
    pub(crate) quarantined: Vec<PathBuf>,
}

struct Segment {
    path: PathBuf,
    size: u64,
    first: u64,
    /// `None` when both copies of the header are damaged.
    header: Option<SegmentHeader>,
    /// Records above it do not count.
    limit: u64,
}

impl Replay {
    /// Finds the segments. `covered` says up to where each of the tables has the log.
    pub(crate) fn start(
        disk: SharedDisk,
        paths: Paths,
        covered: [u64; 2],
    ) -> Result<Self, StorageError> {
        let folder = paths.wal();
        let mut segments: Vec<Segment> = Vec::new();
        let mut end = ReplayEnd::default();
        for entry in disk.list(&folder).map_err(failed("list", &folder))? {
            let path = folder.join(&entry.name);
            let Some(first) = segment_first(&entry.name).filter(|_| entry.is_file) else {
                tracing::warn!(path = %path.display(), "not a log segment, left alone");
                continue;
            };
            let file = disk.open(&path).map_err(failed("open", &path))?;
            let size = file.size().map_err(failed("read", &path))?;
            let header = match read_header(file.as_ref()).map_err(failed("read", &path))? {
                HeaderPage::Newer(found) => {
                    let supported = super::record::FORMAT;
                    return Err(StorageError::Format { path, found, supported });
                }
                HeaderPage::Valid(header) if header.first != first => {
                    tracing::warn!(path = %path.display(), "copy of another segment, left alone");
                    continue;
                }
                HeaderPage::Valid(header) if size >= RECORDS_START => Some(header),
                // Its creation never ended, so nothing in it was acknowledged.
                _ if size <= RECORDS_START => {
                    end.used = end.used.max(first);
                    end.torn_bytes += size;
                    continue;
                }
                _ => None,
            };
            // A process that was killed may not have synced what is read now and relied upon.
            disk.sync_file(&path).map_err(failed("sync", &path))?;
            end.used = end.used.max(first.saturating_sub(1));
            segments.push(Segment { path, size, first, header, limit: u64::MAX });
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
            settled: covered[0].min(covered[1]),
            covered: covered[0].max(covered[1]),
            end,
        })
    }

    /// The next valid record, in the order of sequences; `None` at the end. Segments of which the
    /// tables have everything are not read: they may give none of their records.
    ///
    /// # Errors
    /// The disk could not be read: what was acknowledged is not given up for an error that may
    /// pass. Damage is not an error.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, StorageError> {
        while let Some(segment) = self.segments.get(self.at) {
            if segment.limit <= self.settled {
                self.end_segment()?;
                continue;
            }
            if self.reader.is_none() {
                match &segment.header {
                    Some(header) => {
                        let file = self.disk.open(&segment.path);
                        let reader = file.and_then(|file| SegmentReader::new(file, header));
                        self.reader = Some(reader.map_err(failed("read", &segment.path))?);
                    }
                    None => {
                        tracing::error!(path = %segment.path.display(), first = segment.first,
                            "the segment's header is damaged, its records cannot be read");
                        self.damaged = true;
                    }
                }
            }
            let piece = match &mut self.reader {
                Some(reader) => reader.next().map_err(failed("read", &segment.path))?,
                None => None,
            };
            match piece {
                Some(Piece::Record(record)) => {
                    self.end.used = self.end.used.max(record.sequence);
                    if record.sequence <= segment.limit && record.sequence > self.end.last {
                        self.end.last = record.sequence;
                        return Ok(Some(record));
                    }
                }
                // What a write that failed left behind, with a part of it sound.
                Some(Piece::Damaged { .. }) if self.end.last >= segment.limit => {}
                Some(Piece::Damaged { offset, bytes }) => {
                    tracing::error!(path = %segment.path.display(), offset, bytes,
                        "damage in the write-ahead log, the records there are lost");
                    self.damaged = true;
                }
                Some(Piece::Tail { offset, bytes }) => self.tail = Some((offset, bytes)),
                None => self.end_segment()?,
            }
        }
        Ok(None)
    }

    /// What the pass found. Call it after [`Self::next`] gave `None`.
    pub(crate) fn finish(self) -> ReplayEnd {
        self.end
    }

    fn end_segment(&mut self) -> Result<(), StorageError> {
        let Some(segment) = self.segments.get(self.at) else { return Ok(()) };
        let is_last = segment.limit == u64::MAX;
        if is_last {
            if let Some((offset, bytes)) = self.tail {
                tracing::warn!(path = %segment.path.display(), offset, bytes,
                    "torn tail of the write-ahead log, cut off");
                self.end.torn_bytes += bytes;
            }
        } else if self.end.last < segment.limit {
            if self.covered < segment.limit {
                tracing::error!(path = %segment.path.display(), after = self.end.last,
                    through = segment.limit, "acknowledged records are missing from the log");
                // What was a record may be the zeros that the last block ends with.
                let is_padded = self.reader.as_ref().is_some_and(SegmentReader::is_padded);
                self.damaged |= self.tail.is_some() || is_padded;
            }
            self.end.last = segment.limit;
        }
        if self.damaged {
            match keep_durably(self.disk.as_ref(), &segment.path, &self.paths.quarantine()) {
                Ok(kept) => self.end.quarantined.push(kept),
                // A disk that is too full or too broken for that must not keep the log shut.
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
