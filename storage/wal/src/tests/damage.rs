//! Reading of segments that are damaged or changed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use prost::Message;
use tidings_disk::{
    CheckSummary, Findings, ReadFile, RealDisk,
    paths::{Paths, segment_name},
};
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{ExportTraceServiceRequest, ResourceSpans},
};

use super::real;
use crate::{
    Replay, Sealed, SegmentCheck, WalRecord,
    reader::{SegmentPart, SegmentReader},
    record::{MARKER, RECORDS_START, SegmentHeader},
};

const SALT: u64 = 42;

/// A file that counts how often it is read, and how many bytes.
struct Counted {
    bytes: Vec<u8>,
    reads: Arc<AtomicUsize>,
    read_bytes: Arc<AtomicUsize>,
}

impl ReadFile for Counted {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rest = &self.bytes[usize::try_from(offset).unwrap()..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.read_bytes.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

fn record(sequence: u64) -> Vec<u8> {
    let schema_url = "x".repeat(500 * usize::try_from(sequence).unwrap());
    let spans = ResourceSpans { schema_url, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![spans] };
    let payload = request.encode_to_vec().into();
    let record = WalRecord { sequence, received: UnixNanos(1), signal: Signal::Spans, payload };
    let mut bytes = record.header(SALT).unwrap().to_vec();
    bytes.extend(record.payload);
    bytes
}

fn segment(first: u64, prior_end: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = SegmentHeader { first, prior_end, salt: SALT, covered: [0; 2] }.encode();
    records.iter().for_each(|record| bytes.extend(record));
    bytes
}

/// Creates a log of these segments, given by their first sequence.
fn log(segments: &[(u64, Vec<u8>)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("wal")).unwrap();
    for (first, bytes) in segments {
        std::fs::write(root.path().join("wal").join(segment_name(*first)), bytes).unwrap();
    }
    root
}

/// Returns the sequences that are replayed, and the number of quarantined segments.
fn replayed(root: &Path, covered: [u64; 2]) -> (Vec<u64>, usize) {
    let mut replay = Replay::start(real(), Paths::new(root), covered, false).unwrap();
    let mut sequences = Vec::new();
    while let Some(record) = replay.next_record().unwrap() {
        sequences.push(record.sequence);
    }
    (sequences, replay.finish().quarantined.len())
}

/// Returns the findings of `tidings check` for the log.
fn found(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |finding: &tidings_disk::Finding| found.push(finding.what.clone());
    let mut findings = Findings { summary: CheckSummary::default(), report: &mut report };
    crate::check(&RealDisk, &root.join("wal"), 0, &mut findings).unwrap();
    found
}

/// Returns true if the scrub finds no damage in a segment that was closed with this sequence.
fn is_scrubbed_clean(path: PathBuf, last: u64) -> bool {
    let mut check =
        SegmentCheck::open(&RealDisk, &Sealed { path, last, bytes: 0 }).unwrap().unwrap();
    loop {
        match check.step(100) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[test]
fn a_payload_of_imitated_markers_is_read_once() {
    let imitations = 1 << 20;
    for behind in [Vec::new(), record(7)] {
        let mut bytes = segment(1, 0, &[MARKER.repeat(imitations)]);
        bytes.extend(&behind);
        let reads = Arc::new(AtomicUsize::new(0));
        let file = Counted { bytes, reads: Arc::clone(&reads), read_bytes: Arc::default() };
        let header = SegmentHeader { first: 1, prior_end: 0, salt: SALT, covered: [0; 2] };
        let mut reader = SegmentReader::new(Box::new(file), &header).unwrap();
        let (offset, bytes) = (RECORDS_START, (imitations * MARKER.len()) as u64);
        let piece = reader.next_part().unwrap();
        if behind.is_empty() {
            assert_eq!(piece, Some(SegmentPart::Tail { offset, bytes }));
        } else {
            assert_eq!(piece, Some(SegmentPart::Damaged { offset, bytes }));
        }
        // The segment has 4 MiB, and a read takes 256 KiB.
        assert!(reads.load(Ordering::Relaxed) < 20, "{} reads", reads.load(Ordering::Relaxed));
    }
}

#[test]
fn only_acknowledged_records_count_as_damage() {
    let mut records: Vec<Vec<u8>> = (1..=7).map(record).collect();
    let at = records[5].len() - 1;
    records[5][at] ^= 1;
    // The batch of 6 and 7 either failed or was acknowledged.
    for (prior_end, lost) in [(5, false), (7, true)] {
        let root = log(&[(1, segment(1, 0, &records)), (8, segment(8, prior_end, &[record(8)]))]);
        let (sequences, quarantined) = replayed(root.path(), [0; 2]);
        let expected: &[u64] = if lost { &[1, 2, 3, 4, 5, 7, 8] } else { &[1, 2, 3, 4, 5, 8] };
        assert_eq!(sequences, expected);
        assert_eq!(quarantined, usize::from(lost));
        assert_eq!(found(root.path()).len(), usize::from(lost), "{:?}", found(root.path()));
        let path = root.path().join("wal").join(segment_name(1));
        assert_eq!(is_scrubbed_clean(path, prior_end), !lost);
    }
}

#[test]
fn a_segment_that_both_tables_have_is_not_read_again() {
    let mut records: Vec<Vec<u8>> = (1..=5).map(record).collect();
    records[2][20] ^= 1;
    let root = log(&[(1, segment(1, 0, &records)), (6, segment(6, 5, &[record(6)]))]);
    assert_eq!(replayed(root.path(), [5, 5]), (vec![6], 0));
    assert_eq!(replayed(root.path(), [9, 5]), (vec![], 0));
    assert_eq!(replayed(root.path(), [9, 4]), (vec![], 1));
    assert_eq!(replayed(root.path(), [4, 9]), (vec![5, 6], 1));
    assert_eq!(replayed(root.path(), [0, 0]), (vec![1, 2, 4, 5, 6], 1));
}

#[test]
fn the_payload_of_a_record_that_its_table_has_is_not_read_again() {
    let mut records: Vec<Vec<u8>> = (1..=5).map(record).collect();
    let at = records[2].len() - 1;
    records[2][at] ^= 1;
    let root = log(&[(1, segment(1, 0, &records)), (6, segment(6, 5, &[record(6)]))]);
    assert_eq!(replayed(root.path(), [3, 0]), (vec![4, 5, 6], 0));
    assert_eq!(replayed(root.path(), [6, 0]), (vec![], 0));
    assert_eq!(replayed(root.path(), [2, 9]), (vec![4, 5, 6], 1));
}

#[test]
fn of_long_records_that_are_skipped_little_more_than_the_headers_is_read() {
    let records: Vec<Vec<u8>> = (200..240).map(record).collect();
    let read_bytes = Arc::<AtomicUsize>::default();
    let bytes = segment(200, 199, &records);
    let file = Counted { bytes, reads: Arc::default(), read_bytes: Arc::clone(&read_bytes) };
    let header = SegmentHeader { first: 200, prior_end: 199, salt: SALT, covered: [0; 2] };
    let mut reader = SegmentReader::new(Box::new(file), &header).unwrap();
    for sequence in 200..239 {
        assert_eq!(reader.skip_covered([238, 0]).unwrap(), Some(sequence));
    }
    // The segment has 4 MB. The first read takes 256 KiB, and each of the others a block.
    let skipped_bytes = read_bytes.load(Ordering::Relaxed);
    assert!(skipped_bytes < 600_000, "{skipped_bytes} bytes");
    assert_eq!(reader.skip_covered([238, 0]).unwrap(), None);
    let piece = reader.next_part().unwrap();
    assert!(matches!(piece, Some(SegmentPart::Record(last)) if last.sequence == 239));
    assert_eq!(reader.skip_covered([u64::MAX; 2]).unwrap(), None);
}

#[test]
fn a_file_named_beyond_any_log_does_not_spend_the_sequences() {
    let root = log(&[(1, segment(1, 0, &[record(1)])), (1 << 63, Vec::new())]);
    let mut replay = Replay::start(real(), Paths::new(root.path()), [0; 2], false).unwrap();
    assert_eq!(replay.next_record().unwrap().map(|record| record.sequence), Some(1));
    assert_eq!(replay.next_record().unwrap(), None);
    assert_eq!(replay.finish().used, 1);
}
