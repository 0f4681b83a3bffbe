mod bounds;

use std::{collections::HashSet, io::Write};

use arrow_array::{Array, Int64Array, cast::AsArray};
use tempfile::TempDir;
use tidings_columns::{
    LogRows, SpanRows,
    attribute_column::DeclaredColumns,
    conversion::{log_rows, span_rows},
    rows::column::OptionalColumn,
};
use tidings_disk::{faulty::Dice, test_effort::by_effort};
use tidings_files::memory::Chunk;
use tidings_proto::{
    UnixNanos,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, LogRecord, ResourceLogs,
        ResourceSpans, ScopeLogs, ScopeSpans, Span,
    },
};

use super::{Arc, DataFile, Merge, MergeLimits, RecordBatch, Signal};
use crate::{
    EncodedFile, encode_logs, encode_small, encode_spans, order,
    write::{self, Layout},
};

const HOUR: u64 = 3600 * 1_000_000_000;
const NOW: UnixNanos = UnixNanos(500_000 * HOUR + HOUR / 2);

fn spans(spans: Vec<Span>) -> Arc<Chunk> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap())
}

fn files(folder: &TempDir, signal: Signal, chunks: &[Arc<Chunk>]) -> Vec<Arc<DataFile>> {
    keep(folder, encode_small(signal, chunks, NOW).unwrap())
}

/// Writes files as older releases did: traces of five minutes in the order of their ids.
fn slotted(folder: &TempDir, chunk: &Chunk) -> Vec<Arc<DataFile>> {
    let batches = [chunk.batch().clone()];
    let traces = order::traces(&batches[0]).unwrap();
    let mut placed = order::order_spans(&batches[0], &traces, NOW).unwrap();
    let starts = OptionalColumn::<Int64Array>::from_batch(&batches[0], "start_unix_nanos").unwrap();
    let mut places = vec![(0, 0); placed.len()];
    for (trace, run) in traces.runs.iter().enumerate() {
        let times = traces.rows[run.clone()].iter().map(|row| starts.time(*row).0);
        let slot = times.min().unwrap() / (HOUR / 12);
        for at in run.clone() {
            places[traces.rows[at]] = (slot, trace);
        }
    }
    // Rows of a trace are already ordered by start.
    placed.sort_by_key(|placed| (placed.target, places[placed.row]));
    let layout = Layout::FLUSHED;
    keep(
        folder,
        write::files(Signal::Spans, &batches, &placed, layout, &DeclaredColumns::default())
            .unwrap(),
    )
}

fn keep(folder: &TempDir, encoded: Vec<EncodedFile>) -> Vec<Arc<DataFile>> {
    let kept = encoded.into_iter().map(|file| {
        let mut kept = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
        kept.write_all(&file.bytes).unwrap();
        let (_, path) = kept.keep().unwrap();
        let (min, max) = (file.stats.start_min, file.stats.start_max);
        let bytes = file.bytes.len() as u64;
        Arc::new(DataFile::new(path, file.hour, file.rows, bytes, min, max))
    });
    kept.collect()
}

fn merged(signal: Signal, files: &[Arc<DataFile>]) -> Vec<RecordBatch> {
    let mut merge = Merge::open(signal, files, None, MergeLimits::LARGEST).unwrap();
    std::iter::from_fn(|| merge.next_rows().unwrap()).collect()
}

/// Fields of a span in the file: trace, start, id and hash.
type WrittenSpan = (Vec<u8>, u64, Vec<u8>, u64);

fn written_rows(batches: &[RecordBatch]) -> Vec<WrittenSpan> {
    let mut written_rows = Vec::new();
    for batch in batches {
        let rows = SpanRows::from_batch(batch).unwrap();
        for row in 0..rows.len() {
            let span = rows.span(row);
            let hash = rows.content_hash(row);
            written_rows.push((span.trace_id, span.start_time_unix_nano, span.span_id, hash));
        }
    }
    written_rows
}

/// Returns a span under one that was made before, if any. Some spans are sent twice.
fn random_span(dice: &mut Dice, within: u64, made: &mut Vec<Span>) -> Span {
    if !made.is_empty() && dice.roll(20) == 0 {
        return made[usize::try_from(dice.roll(made.len() as u64)).unwrap()].clone();
    }
    let trace_id = vec![u8::try_from(1 + dice.roll(12)).unwrap(); 16];
    let above: Vec<&Span> = made.iter().filter(|span| span.trace_id == trace_id).collect();
    let chosen = usize::try_from(dice.roll(above.len() as u64 + 2)).unwrap();
    let start = 500_000 * HOUR + dice.roll(within);
    let span = Span {
        parent_span_id: above.get(chosen).map_or(vec![], |parent| parent.span_id.clone()),
        trace_id,
        span_id: (made.len() as u64 + 1).to_be_bytes().to_vec(),
        name: format!("n{}", dice.roll(5)),
        start_time_unix_nano: start,
        end_time_unix_nano: start + dice.roll(HOUR / 12),
        ..Span::default()
    };
    made.push(span.clone());
    span
}

#[test]
fn merged_files_are_as_if_all_rows_had_been_flushed_together() {
    // Six seeds in a row differ in the times of traces and in the releases of their files.
    for seed in 0..by_effort(18, 60) {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        // Depending on the seed, many traces begin at the same time, or hardly any two do.
        let within = [20, HOUR / 2][usize::try_from(seed % 2).unwrap()];
        let mut chunks = Vec::new();
        let mut all: Vec<Span> = Vec::new();
        let mut made = Vec::new();
        for _ in 0..1 + dice.roll(300) {
            all.push(random_span(&mut dice, within, &mut made));
        }
        // Spans reach flushes in any order, also children before their parents.
        all.sort_by_cached_key(|_| dice.roll(u64::MAX));
        for flush in all.chunks(1 + usize::try_from(dice.roll(150)).unwrap()) {
            chunks.push(spans(flush.to_vec()));
        }
        // With most seeds, some files are of an older release.
        let of = |chunk: &Arc<Chunk>| match dice.roll(2 + seed % 3) {
            1.. if seed % 3 > 0 => slotted(&folder, chunk),
            _ => files(&folder, Signal::Spans, std::slice::from_ref(chunk)),
        };
        let inputs: Vec<_> = chunks.iter().flat_map(of).collect();
        let together = files(&folder, Signal::Spans, &chunks);
        assert_eq!(together.len(), 1, "seed {seed}");
        let batches = merged(Signal::Spans, &inputs);
        let mut found = written_rows(&batches);
        let mut expected = written_rows(&merged(Signal::Spans, &together));
        check_order(&found, seed, seed % 3 == 0);
        // Rows with the same trace and start have no defined order.
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "seed {seed}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}

/// Checks that each trace is one run ordered by start. Runs must follow their earliest starts if
/// the input files did.
fn check_order(rows: &[WrittenSpan], seed: u64, in_order: bool) {
    let mut seen = HashSet::new();
    let mut last = (0, Vec::new());
    for run in rows.chunk_by(|one, other| one.0 == other.0) {
        assert!(seen.insert(run[0].0.clone()), "a trace has two runs, seed {seed}");
        assert!(run.is_sorted_by_key(|row| row.1), "seed {seed}");
        let key = (run[0].1, run[0].0.clone());
        assert!(!in_order || last < key, "seed {seed}");
        last = key;
    }
}

#[test]
fn a_trace_longer_than_memory_is_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let of = |first: u64, count: u64, trace: u8| {
        let span = |n: u64| Span {
            trace_id: vec![trace; 16],
            span_id: (first + n + 1).to_be_bytes().to_vec(),
            start_time_unix_nano: 500_000 * HOUR + first + n,
            end_time_unix_nano: 500_000 * HOUR + first + n + 1,
            ..Span::default()
        };
        spans((0..count).map(span).collect())
    };
    let half = super::TRACE_ROWS_MAX as u64 / 2 + 100;
    let chunks = [of(0, half, 5), of(half, half, 5), of(0, 10, 4), of(0, 10, 6)];
    let encoded = chunks.iter().flat_map(|chunk| encode_spans(&[Arc::clone(chunk)], NOW).unwrap());
    let inputs = keep(&folder, encoded.collect());
    let batches = merged(Signal::Spans, &inputs);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows as u64, 2 * half + 20);
    let ids: Vec<u8> = batches
        .iter()
        .flat_map(|batch| {
            let ids = batch.column_by_name("trace_id").unwrap().as_binary::<i32>().clone();
            (0..ids.len()).map(move |row| ids.value(row)[0]).collect::<Vec<_>>()
        })
        .collect();
    assert!(ids.is_sorted());
}

#[test]
fn merged_logs_are_in_the_order_of_a_flush() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut chunks = Vec::new();
        for _ in 0..1 + dice.roll(4) {
            let record = |dice: &mut Dice| LogRecord {
                time_unix_nano: 500_000 * HOUR + dice.roll(HOUR / 2),
                severity_number: i32::try_from(dice.roll(20)).unwrap(),
                ..LogRecord::default()
            };
            let log_records = (0..1 + dice.roll(200)).map(|_| record(&mut dice)).collect();
            let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
            let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
            let request = ExportLogsServiceRequest { resource_logs };
            chunks.push(Arc::new(Chunk::new(log_rows(&request, NOW).unwrap()).unwrap()));
        }
        let inputs: Vec<_> = chunks
            .iter()
            .flat_map(|chunk| files(&folder, Signal::Logs, std::slice::from_ref(chunk)))
            .collect();
        let written_rows = |batches: &[RecordBatch]| {
            let rows = batches.iter().flat_map(|batch| {
                let rows = LogRows::from_batch(batch).unwrap();
                (0..rows.len()).map(|row| rows.log_record(row)).collect::<Vec<_>>()
            });
            rows.map(|record| (record.time_unix_nano, record.severity_number)).collect::<Vec<_>>()
        };
        let found = written_rows(&merged(Signal::Logs, &inputs));
        let encoded = encode_logs(&chunks, NOW).unwrap();
        assert_eq!(encoded.len(), 1);
        let together = files(&folder, Signal::Logs, &chunks);
        assert_eq!(found, written_rows(&merged(Signal::Logs, &together)), "seed {seed}");
        assert!(found.is_sorted_by_key(|row| row.0), "seed {seed}");
    }
}
