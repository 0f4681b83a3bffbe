//! Entry points for fuzz targets: pass bytes to the decoders of the store's own files.
//!
//! Checksums protect these files, so that random bytes would fail at the first one. Each entry
//! point therefore adds the checksums, and the decoder behind them sees the input. No shipped code
//! calls these functions.

mod file_table;

use std::io;

use bytes::Bytes;
use prost::Message;
use tidings_disk::ReadFile;
use tidings_index::read_sealed;
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest},
};
use tidings_wal::{RECORDS_START, SegmentHeader, SegmentPart, SegmentReader, WalRecord};

use crate::{pins::Pins, store::ErasureRecord};

pub use crate::{backup::ManifestContent, tables::fuzzed_log::TableLog};
pub use file_table::{FileAnswers, FileTable};

/// Header of the segments that [`read_log_segment`] makes.
const SEGMENT: SegmentHeader =
    SegmentHeader { first: 0, prior_end: 0, salt: 0x5eed, covered: [0; 2] };
/// Maximum length of the run of bytes after one control byte.
const RUN_BYTES_MAX: usize = 64;

/// A file held in memory.
struct FileBytes(Vec<u8>);

impl ReadFile for FileBytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let (to, rest) = (buffer.iter_mut(), rest.unwrap_or_default());
        Ok(to.zip(rest).map(|(to, from)| *to = *from).count())
    }
}

/// Reads a segment of the log to its end. Returns the number of sound records and of the bytes that
/// are not records.
///
/// Each run of the input begins with a control byte. A value below 128 is the number of bytes that
/// follow and are not a record. From 128 on, the payload of a sound record follows.
///
/// # Errors
/// When the reader asks for bytes outside of the file.
pub fn read_log_segment(input: &[u8]) -> io::Result<(u64, u64)> {
    let mut segment = SEGMENT.encode();
    segment.resize(usize::try_from(RECORDS_START).unwrap_or_default(), 0);
    let (mut rest, mut sequence) = (input, 0);
    while let Some((control, run)) = rest.split_first() {
        let length = usize::from(control & 0x7f).min(RUN_BYTES_MAX).min(run.len());
        let (run, behind) = run.split_at(length);
        if *control >= 128 {
            let signal = if control & 1 == 0 { Signal::Spans } else { Signal::Logs };
            let payload = Bytes::copy_from_slice(run);
            let record = WalRecord { sequence, received: UnixNanos(1), signal, payload };
            segment.extend(record.header(SEGMENT.salt).into_iter().flatten());
            sequence += 1;
        }
        segment.extend(run);
        rest = behind;
    }
    let mut reader = SegmentReader::new(Box::new(FileBytes(segment)), &SEGMENT)?;
    let (mut records, mut lost) = (0, 0);
    while let Some(piece) = reader.next_part()? {
        match piece {
            SegmentPart::Record(record) => {
                records += 1;
                let _ = match record.signal {
                    Signal::Spans => ExportTraceServiceRequest::decode(record.payload).map(drop),
                    Signal::Logs => ExportLogsServiceRequest::decode(record.payload).map(drop),
                };
            }
            SegmentPart::Damaged { bytes, .. } | SegmentPart::Tail { bytes, .. } => lost += bytes,
        }
    }
    Ok((records, lost))
}

/// Reads the head of an index from its sections, and reads the pages behind it. Returns false when
/// the sections are invalid.
#[must_use]
pub fn read_index(sections: &[u8], pages: &[u8]) -> bool {
    read_sealed(sections, pages).is_some()
}

/// Reads the pins file from its JSON. Returns the number of pins, or `None` when it is another
/// file.
#[must_use]
pub fn read_pins(json: &[u8]) -> Option<usize> {
    Pins::from_json(json).map(|pins| pins.len())
}

/// Reads the record of the erasure that began at this time. Returns `None` when it is another file.
#[must_use]
pub fn read_erasure_record(json: &[u8], begun: u64) -> Option<ErasureRecord> {
    ErasureRecord::from_json(json, begun).ok()
}
