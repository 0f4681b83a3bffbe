//! Memory of a merge.

use tidings_columns::schema::SignalSchema;
use tidings_proto::otlp::{AnyValue, Event, KeyValue, Value};

use super::{
    super::{MergeLimits, Portion, read_ahead::ReadAheadRuns, sizes, source, trace_runs},
    Arc, DataFile, HOUR, Merge, NOW, RecordBatch, Signal, Span, TempDir, encode_spans, keep, spans,
    written_rows,
};

const KIB: usize = 1 << 10;

fn attribute(bytes: usize) -> Vec<KeyValue> {
    let value = AnyValue { value: Some(Value::String("long ".repeat(bytes / 5))) };
    vec![KeyValue { key: "prompt".to_owned(), value: Some(value) }]
}

/// Returns a span with a value of this many bytes. All such spans have the same value.
fn long(trace: u16, number: usize, start: u64, bytes: usize) -> Span {
    let mut trace_id = trace.to_be_bytes().to_vec();
    trace_id.resize(16, 1);
    let start = 500_000 * HOUR + start + number as u64;
    Span {
        trace_id,
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1,
        attributes: attribute(bytes),
        ..Span::default()
    }
}

/// Writes spans as a flush does.
fn flushed(folder: &TempDir, all: Vec<Span>) -> Arc<DataFile> {
    let mut files = keep(folder, encode_spans(&[spans(all)], NOW).unwrap());
    assert_eq!(files.len(), 1, "one hour is one file");
    files.remove(0)
}

fn bytes(batch: &RecordBatch) -> usize {
    sizes::bytes(batch, &(0..batch.num_rows()))
}

#[test]
fn fewer_rows_are_decoded_at_once_where_values_are_long() {
    for in_events in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let long = |number: usize| {
            let length = if (2500..3000).contains(&number) { 16 * KIB } else { 5 };
            let mut span = long(1, number, 0, length);
            if in_events {
                let attributes = std::mem::take(&mut span.attributes);
                span.events = vec![Event { attributes, ..Event::default() }];
            }
            span
        };
        let file = flushed(&folder, (0..6000).map(long).collect());
        assert!(file.bytes < 1 << 20);
        let opened = source::open(Signal::Spans, &[file]).unwrap().remove(0);
        let portion = Portion { rows: 1024, bytes: 1 << 20 };
        let schema = Signal::Spans.memory_schema();
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        for ranges in [None, Some(vec![100..2700, 2800..5900])] {
            let mut reader = opened.reader(&columns, ranges.as_deref(), portion).unwrap();
            let mut batches = Vec::new();
            while let Some(batch) = opened.next(&mut reader).unwrap() {
                batches.push(batch);
            }
            let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
            let wanted =
                ranges.map_or(6000, |ranges| ranges.iter().map(ExactSizeIterator::len).sum());
            assert_eq!(rows.iter().sum::<usize>(), wanted);
            let most = batches.iter().map(bytes).max().unwrap();
            assert!(most <= 2 << 20, "{most} bytes at once, in events: {in_events}");
            assert!(rows.contains(&1024), "{rows:?}");
            assert!(rows.len() < 300, "{} portions", rows.len());
        }
    }
}

#[test]
fn a_merge_holds_no_more_than_it_is_given_and_never_less_than_it_needs() {
    for (given, held) in
        [(0, 16 << 20), (36 << 20, 36 << 20), (512 << 20, 512 << 20), (u64::MAX, 512 << 20)]
    {
        assert_eq!(MergeLimits::within(given).bytes(), held, "{given}");
    }
}

#[test]
fn pending_rows_are_bounded_and_short_traces_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    // Each trace is in all files, and one is longer than the limit of pending rows.
    let of_file = |file: usize| {
        let rows = |trace: u16| if trace == 100 { 120 } else { 2 };
        let numbers = move |trace| (0..rows(trace)).map(move |n| (trace, n * 4 + file));
        let all = (0..200).flat_map(numbers);
        flushed(&folder, all.map(|(trace, n)| long(trace, n, 0, 8 * KIB)).collect())
    };
    let inputs: Vec<_> = (0..4).map(of_file).collect();
    let limits =
        MergeLimits { decoded_bytes: 512 * KIB, pending_bytes: 1 << 20, ..MergeLimits::LARGEST };
    let mut merge = Merge::open(Signal::Spans, &inputs, None, limits).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = merge.next_rows().unwrap() {
        let held: usize = merge.batches.iter().map(bytes).sum();
        // The limit does not include a portion of each file and the portion that was passed last.
        assert!(held <= (3 << 20) + (1 << 19), "{held} bytes are held");
        assert!(bytes(&batch) <= 3 << 20, "{} bytes are given", bytes(&batch));
        batches.push(batch);
    }
    let found = written_rows(&batches);
    assert_eq!(found.len(), 199 * 8 + 480);
    assert!(found.is_sorted_by_key(|row| (row.0.clone(), row.1)));
    let trace_at =
        |batch: &RecordBatch, row: usize| written_rows(&[batch.slice(row, 1)]).remove(0).0;
    let last_of = |batch: &RecordBatch| trace_at(batch, batch.num_rows() - 1);
    let cut: Vec<_> = batches
        .windows(2)
        .filter(|two| last_of(&two[0]) == trace_at(&two[1], 0))
        .map(|two| last_of(&two[0])[..2].to_vec())
        .collect();
    assert!(!cut.is_empty() && cut.iter().all(|trace| *trace == [0, 100]), "{cut:?}");
}

#[test]
fn runs_move_as_far_as_there_is_memory_for_what_they_take() {
    let folder = tempfile::tempdir().unwrap();
    // One trace extends over the whole hour, and other traces follow each part of it.
    let of_file = |file: usize| {
        let start = file as u64 * HOUR / 6;
        let all = (0..200).map(|n| long(7, file * 1000 + n, start, 8 * KIB));
        let others = (0..5).map(|n| long(10 + u16::try_from(file).unwrap(), n, start, 5));
        flushed(&folder, all.chain(others).collect())
    };
    let inputs: Vec<_> = (0..4).map(of_file).collect();
    let runs = |moved_bytes: usize| {
        let limits = MergeLimits { moved_bytes, decoded_bytes: 512 * KIB, ..MergeLimits::LARGEST };
        let mut merge = Merge::open(Signal::Spans, &inputs, None, limits).unwrap();
        let found =
            written_rows(&std::iter::from_fn(|| merge.next_rows().unwrap()).collect::<Vec<_>>());
        assert_eq!(found.len(), 4 * 205);
        let runs = found.chunk_by(|one, other| one.0 == other.0);
        runs.filter(|run| run[0].0[1] == 7).count()
    };
    assert_eq!(runs(MergeLimits::LARGEST.moved_bytes), 1);
    // The memory fits one of three traces, or none.
    assert_eq!(runs(8 << 20), 3);
    assert_eq!(runs(2 << 20), 4);
    assert_eq!(runs(0), 4);
}

/// Writes files whose traces begin at `begins` distinct times and continue in other files.
fn going_on(folder: &TempDir, traces: u16, begins: usize, bytes: usize) -> Vec<Arc<DataFile>> {
    let of_file = |file: usize| {
        let start =
            |trace: u16| usize::from(trace) * [1, 7, 11][file] % begins + [0, 2000, 1000][file];
        let all = (0..traces).map(|trace| long(trace, start(trace), 0, bytes));
        flushed(folder, all.collect())
    };
    (0..3).map(of_file).collect()
}

/// Returns the moved rows of these files, the number of rounds, and the largest bytes at once.
fn moved(inputs: &[Arc<DataFile>], bytes_max: usize) -> (Vec<RecordBatch>, usize, usize) {
    let schema = Signal::Spans.memory_schema();
    let portion = Portion { rows: 64, bytes: 128 * KIB };
    let opened = source::open(Signal::Spans, inputs).unwrap();
    let mut plan = trace_runs::plan(&opened, portion).unwrap();
    let opened: Vec<_> = opened.into_iter().map(Arc::new).collect();
    let moved = ReadAheadRuns::plan(&opened, &mut plan.files, &schema, portion, bytes_max).unwrap();
    let Some(mut moved) = moved else { return (Vec::new(), 0, 0) };
    let (mut batches, mut most, mut last) = (Vec::new(), 0, (i64::MIN, Vec::new(), 0));
    let rounds = moved.rounds();
    while let Some((batch, begins)) = moved.next().unwrap() {
        most = most.max(moved.bytes());
        let rows = written_rows(std::slice::from_ref(&batch));
        for (begin, row) in begins.unwrap().into_iter().zip(rows) {
            let key = (begin, row.0, row.1);
            assert!(last <= key, "{last:?}, then {key:?}");
            last = key;
        }
        batches.push(batch);
    }
    (batches, rounds, most)
}

#[test]
fn as_many_runs_move_as_there_are_a_part_of_them_at_a_time() {
    for begins in [1, 20, 300] {
        let folder = tempfile::tempdir().unwrap();
        let inputs = going_on(&folder, 300, begins, 4 * KIB);
        // The moved rows take 2.4 MiB.
        let (batches, rounds, most) = moved(&inputs, 600 * KIB);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 600);
        assert!((4..=24).contains(&rounds), "{rounds} rounds");
        assert!((100 * KIB..=600 * KIB).contains(&most), "{most} bytes at once");
        let limits = MergeLimits { moved_bytes: 600 * KIB, ..MergeLimits::LARGEST };
        let mut merge = Merge::open(Signal::Spans, &inputs, None, limits).unwrap();
        let found =
            written_rows(&std::iter::from_fn(|| merge.next_rows().unwrap()).collect::<Vec<_>>());
        assert_eq!(found.len(), 900);
        let runs = || found.chunk_by(|one, other| one.0 == other.0);
        assert_eq!(runs().count(), 300, "{begins} times at which traces begin");
        assert!(runs().all(|run| run.len() == 3 && run.is_sorted_by_key(|row| row.1)));
    }
}

#[test]
fn long_rows_among_short_ones_do_not_fill_more_than_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let early = (0..40).map(|trace| long(trace, usize::from(trace), 0, 5)).collect();
    // Only every hundredth row is moved, and it is long.
    let late = (0..4000).map(|n: u16| {
        let (trace, bytes) = if n.is_multiple_of(100) { (n / 100, 64 * KIB) } else { (n + 100, 5) };
        long(trace, usize::from(n) + 1000, 0, bytes)
    });
    let inputs = [flushed(&folder, early), flushed(&folder, late.collect())];
    let (batches, rounds, most) = moved(&inputs, 512 * KIB);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
    assert!(rounds < 3, "{rounds} rounds: they were taken for short");
    assert!((256 * KIB..=512 * KIB).contains(&most), "{most} bytes at once");
}

#[test]
fn rows_beyond_the_rounds_stay_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = going_on(&folder, 300, 300, 4 * KIB);
    let (batches, rounds, _) = moved(&inputs, 40 * KIB);
    let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert!(rounds == 32 && (32..600).contains(&rows), "{rows} rows in {rounds} rounds");
    let limits = MergeLimits { moved_bytes: 40 * KIB, ..MergeLimits::LARGEST };
    let mut merge = Merge::open(Signal::Spans, &inputs, None, limits).unwrap();
    let found =
        written_rows(&std::iter::from_fn(|| merge.next_rows().unwrap()).collect::<Vec<_>>());
    assert_eq!(found.len(), 900);
    let runs = found.chunk_by(|one, other| one.0 == other.0).count();
    assert!((301..=900).contains(&runs), "{runs} runs");
}
