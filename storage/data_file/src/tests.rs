use std::{io::Write, path::PathBuf, sync::Arc};

use arrow_array::{Array, Int64Array, RecordBatch};
use bytes::Bytes;
use parquet::arrow::{
    ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder, arrow_writer::ArrowWriterOptions,
};
use tempfile::TempDir;
use tidings_columns::{
    SpanRows, attribute_column::AttributeColumn, conversion::span_rows, schema::SignalSchema,
};
use tidings_files::{ErrorKind, StorageError, memory::Chunk, table_file::DataFile};
use tidings_index::{Indexes, SpanFilter, TimeRange, samples::NOW};
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{
        ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, Status, StatusCode,
    },
};

use super::{EncodedFile, Merge, MergeLimits, encode_small, encode_spans, read::index_of};
use crate::{TableView, test_files::scan_spans};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;

fn span(trace: u8, id: u8, parent: u8, start: u64, end: u64) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] },
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

fn chunk(spans: Vec<Span>) -> Arc<Chunk> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap())
}

fn batches(file: &EncodedFile) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes.clone()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

fn longs(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let array = batch.column_by_name(name).unwrap();
    array.as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
}

fn kept(folder: &TempDir, bytes: &[u8]) -> DataFile {
    let mut file = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    file.write_all(bytes).unwrap();
    let (_, path) = file.keep().unwrap();
    DataFile::new(path, 0, 1, bytes.len() as u64, UnixNanos(0), UnixNanos(u64::MAX))
}

fn read(file: DataFile) -> Result<Vec<Span>, StorageError> {
    let mut found = Vec::new();
    let filter = SpanFilter {
        // The filter must compare every row, so that both passes of a scan run.
        start: TimeRange { start: Some(UnixNanos(1)), end: Some(UnixNanos(u64::MAX)) },
        ..SpanFilter::default()
    };
    scan(file, &filter, |rows| found.extend((0..rows.len()).map(|row| rows.span(row))))?;
    Ok(found)
}

fn scan(
    file: DataFile,
    filter: &SpanFilter,
    visit: impl FnMut(&SpanRows),
) -> Result<(), StorageError> {
    let view = TableView { chunks: vec![], files: vec![Arc::new(file)] };
    scan_spans(&view, &Indexes::new(0), filter, visit).map(|_| ())
}

#[test]
fn nothing_makes_no_files() {
    assert!(encode_spans(&[], NOW).unwrap().is_empty());
    assert!(encode_spans(&[chunk(vec![])], NOW).unwrap().is_empty());
}

#[test]
fn rows_go_to_their_start_hour_or_with_hostile_clocks_to_their_reception_hour() {
    let hour = NOW.0 / HOUR;
    let cases = [
        (NOW.0, hour),
        (NOW.0 - HOUR, hour - 1),
        (NOW.0 - 29 * 24 * HOUR, hour - 29 * 24),
        (NOW.0 - 31 * 24 * HOUR, hour),
        (NOW.0 + 23 * HOUR, hour + 23),
        (NOW.0 + 25 * HOUR, hour),
        (0, hour),
        (1, hour),
        (u64::MAX, hour),
    ];
    for (start, expected) in cases {
        let files = encode_spans(&[chunk(vec![span(1, 1, 0, start, start)])], NOW).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].hour, expected.cast_signed(), "start {start}");
        assert_eq!(files[0].rows, 1);
        let clamped = UnixNanos(start.min(i64::MAX.unsigned_abs()));
        assert_eq!((files[0].stats.start_min, files[0].stats.start_max), (clamped, clamped));
    }
}

#[test]
fn the_rows_of_a_trace_are_neighbours_in_the_order_of_their_starts() {
    let base = NOW.0 - NOW.0 % HOUR;
    let of = |index: u64| {
        let trace = u8::try_from(index % 7).unwrap() + 1;
        let start = base + index * 7919 % 1000 * SECOND;
        span(trace, u8::try_from(index).unwrap() + 1, 0, start, start + SECOND)
    };
    let files = encode_small(
        Signal::Spans,
        &[chunk((0..100).map(of).collect()), chunk((100..200).map(of).collect())],
        NOW,
    )
    .unwrap();
    assert_eq!(files.len(), 1);
    let order: Vec<(i64, i64)> = batches(&files[0])
        .iter()
        .flat_map(|batch| {
            let starts = longs(batch, "start_unix_nanos").into_iter().flatten();
            longs(batch, "trace_id_low64").into_iter().flatten().zip(starts).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(order.len(), 200);
    let runs: Vec<_> = order.chunk_by(|left, right| left.0 == right.0).collect();
    assert_eq!(runs.len(), 7);
    assert!(runs.iter().all(|run| run.is_sorted()));
}

#[test]
fn a_file_has_only_the_ends_that_start_and_duration_do_not_tell() {
    let folder = tempfile::tempdir().unwrap();
    let now = NOW.0;
    for (start, end, is_left_out) in [
        (now, now, true),
        (now, now + SECOND, true),
        (now, 0, false),
        (now, now - 1, false),
        (u64::MAX - 1, u64::MAX, true),
        (u64::MAX - 1, 5, false),
    ] {
        let sent = span(1, 1, 0, start, end);
        let files = encode_spans(&[chunk(vec![sent.clone()])], NOW).unwrap();
        let expected = (!is_left_out).then_some(end.cast_signed());
        assert_eq!(longs(&batches(&files[0])[0], "end_unix_nanos"), [expected], "{start} {end}");
        assert_eq!(read(kept(&folder, &files[0].bytes)).unwrap(), [sent], "{start} {end}");
    }
}

#[test]
fn a_file_has_the_columns_of_the_table_without_the_partition() {
    let files = encode_spans(&[chunk(vec![span(1, 1, 0, NOW.0, NOW.0)])], NOW).unwrap();
    let schema = batches(&files[0])[0].schema();
    let expected = Signal::Spans.table_schema();
    let of_attribute = |name: &str| AttributeColumn::parse(name).is_some();
    let table = expected.fields().iter().filter(|field| {
        field.name() != tidings_columns::schema::HOUR && !of_attribute(field.name())
    });
    assert!(schema.fields().iter().eq(table), "{schema:#?}");
}

/// Returns the file without these columns.
fn without(file: &EncodedFile, names: &[&str]) -> Bytes {
    let batches = batches(file);
    let fields = batches[0].schema();
    let kept: Vec<usize> = (0..fields.fields().len())
        .filter(|number| !names.contains(&fields.field(*number).name().as_str()))
        .collect();
    let schema = Arc::new(fields.project(&kept).unwrap());
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    for batch in batches {
        writer.write(&batch.project(&kept).unwrap()).unwrap();
    }
    writer.into_inner().unwrap().into()
}

#[test]
fn columns_that_a_file_of_an_earlier_version_lacks_are_null() {
    let folder = TempDir::new().unwrap();
    let failed = Status { code: StatusCode::Error.into(), ..Status::default() };
    let sent = Span {
        name: "pay".to_owned(),
        status: Some(failed),
        ..span(1, 2, 1, NOW.0, NOW.0 + SECOND)
    };
    let encoded = &encode_spans(&[chunk(vec![sent.clone()])], NOW).unwrap()[0];
    let earlier = without(encoded, &["status_code", "parent_span_id", "host_name"]);
    let expected = Span { status: None, parent_span_id: Vec::new(), ..sent.clone() };
    assert_eq!(read(kept(&folder, &earlier)).unwrap(), [expected]);

    let count = |bytes: &[u8], status| {
        let filter = SpanFilter { status: Some(status), ..SpanFilter::default() };
        let mut rows = 0;
        scan(kept(&folder, bytes), &filter, |found| rows += found.len()).unwrap();
        rows
    };
    let counts = |bytes: &[u8]| StatusCode::ALL.map(|status| count(bytes, status));
    assert_eq!(counts(&encoded.bytes), [0, 0, 1]);
    assert_eq!(counts(&earlier), [1, 0, 0]);

    let files = [&encoded.bytes, &earlier].map(|bytes| Arc::new(kept(&folder, bytes)));
    let indexes = files.each_ref().map(|file| index_of(Signal::Spans, file).unwrap());
    assert!(indexes.iter().all(|index| !index.is_empty()));
    let mut merge = Merge::open(Signal::Spans, &files, None, MergeLimits::LARGEST).unwrap();
    let merged = merge.next_rows().unwrap().unwrap();
    assert_eq!(merged.num_rows(), 2);
    assert_eq!(merged.column_by_name("status_code").unwrap().null_count(), 1);
}

#[test]
fn a_file_without_a_column_that_is_never_null_is_damaged() {
    let folder = TempDir::new().unwrap();
    let encoded = &encode_spans(&[chunk(vec![span(1, 1, 0, NOW.0, NOW.0)])], NOW).unwrap()[0];
    let error = read(kept(&folder, &without(encoded, &["content_hash"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().ends_with("it has no column content_hash"), "{error}");
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let path = PathBuf::from("/nowhere/hour=1/x.parquet");
    let file = DataFile::new(path, 1, 1, 1, UnixNanos(0), UnixNanos(u64::MAX));
    let error = read(file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.to_string(), "/nowhere/hour=1/x.parquet is damaged: it is missing");
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_never_a_panic() {
    let folder = TempDir::new().unwrap();
    let spans = (1..200).map(|id| span(id % 9 + 1, id, 0, NOW.0 + u64::from(id), NOW.0 + SECOND));
    let whole =
        encode_small(Signal::Spans, &[chunk(spans.collect())], NOW).unwrap()[0].bytes.clone();
    assert_eq!(read(kept(&folder, &whole)).unwrap().len(), 199);
    let mut errors = 0;
    let step = whole.len() / 150;
    for at in (0..whole.len()).step_by(step) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x55;
        for bytes in [Bytes::from(flipped), whole.slice(..at)] {
            let file = kept(&folder, &bytes);
            let path = file.path.clone();
            if let Err(error) = read(file) {
                errors += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
        }
    }
    assert!(errors > 150, "only {errors} noticed");
}

/// The decoder reports this fault as an I/O error, which callers would retry.
#[test]
fn undecompressible_pages_are_damage_and_no_failed_read() {
    const FRAME: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    let folder = TempDir::new().unwrap();
    let spans = (1..200).map(|id| span(id % 9 + 1, id, 0, NOW.0 + u64::from(id), NOW.0 + SECOND));
    let whole = encode_spans(&[chunk(spans.collect())], NOW).unwrap()[0].bytes.clone();
    let begins = |at: &usize| whole[*at..].starts_with(&FRAME);
    let mut errors = 0;
    for at in (0..whole.len()).filter(begins) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x55;
        if let Err(error) = read(kept(&folder, &damaged)) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            errors += 1;
        }
    }
    assert!(errors > 0, "no page of a scan begins with a frame");
}

#[test]
fn a_scan_gives_few_rows_at_once_where_their_values_are_long() {
    const COUNT: u16 = 1200;
    const BYTES: usize = 64 << 10;
    let long = KeyValue::new("prompt", "long ".repeat(BYTES / 5).as_str());
    let spans = (0..COUNT).map(|number| Span {
        span_id: u64::from(number + 1).to_be_bytes().to_vec(),
        attributes: vec![long.clone()],
        ..span(1, 1, 0, NOW.0, NOW.0 + SECOND)
    });
    let encoded = encode_spans(&[chunk(spans.collect())], NOW).unwrap();
    assert!(encoded[0].bytes.len() < 1 << 20);
    let folder = TempDir::new().unwrap();
    let service = SpanFilter { services: Some(vec![String::new()]), ..SpanFilter::default() };
    for filter in [SpanFilter::default(), service] {
        let mut rows = Vec::new();
        scan(kept(&folder, &encoded[0].bytes), &filter, |found| rows.push(found.len())).unwrap();
        assert_eq!(rows.iter().sum::<usize>(), usize::from(COUNT));
        assert!(rows.iter().all(|rows| rows * BYTES <= 64 << 20), "{rows:?}");
    }
}

#[test]
fn rows_with_impossible_ids_are_damage() {
    let chunk = chunk(vec![span(1, 1, 0, NOW.0, NOW.0)]);
    let batch = chunk.batch();
    assert!(SpanRows::from_batch(batch).is_ok());
    let ids = arrow_array::BinaryArray::from(vec![b"short".as_slice()]);
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of("span_id").unwrap()] = Arc::new(ids);
    assert!(SpanRows::from_batch(&RecordBatch::try_new(batch.schema(), columns).unwrap()).is_err());
}
