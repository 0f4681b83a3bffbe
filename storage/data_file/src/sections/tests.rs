use std::{collections::BTreeSet, fs::File, io::Write, ops::Range, path::PathBuf, sync::Arc};

use parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata};
use tempfile::TempDir;
use tidings_columns::conversion::span_rows;
use tidings_files::{memory::Chunk, table_file::DataFile, table_store::Readable};
use tidings_index::samples::NOW;
use tidings_proto::{
    Signal,
    otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span},
};

use super::{
    BLOCK_ROWS, DECOMPRESSOR_BYTES, Portion, merge_bytes_min, pages, portion_of, sections,
};
use crate::{encode_spans, footer::footer};

const ROWS: usize = 9 * BLOCK_ROWS + 100;

/// Returns spans with these attributes.
fn spans(rows: usize, attributes: impl Fn(usize) -> Vec<KeyValue>) -> Vec<Span> {
    let span = |row: usize| Span {
        trace_id: (row as u128 + 1).to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: NOW.0 + row as u64,
        end_time_unix_nano: NOW.0 + row as u64,
        attributes: attributes(row),
        ..Span::default()
    };
    (0..rows).map(span).collect()
}

/// Returns a note that is long in some ranges of rows.
fn note(row: usize) -> Vec<KeyValue> {
    let length = if (row / 1500).is_multiple_of(2) { 20 } else { 600 };
    vec![KeyValue::new("note", format!("{row:0length$}"))]
}

/// Writes a file of these spans as a flush does.
fn file(folder: &TempDir, spans: Vec<Span>) -> DataFile {
    let rows = spans.len() as u64;
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
    let encoded = encode_spans(&[chunk], NOW).unwrap().remove(0);
    let mut file = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    file.write_all(&encoded.bytes).unwrap();
    let path: PathBuf = file.keep().unwrap().1;
    let bytes = encoded.bytes.len() as u64;
    let (min, max) = (encoded.stats.start_min, encoded.stats.start_max);
    DataFile::new(path, encoded.hour, rows, bytes, min, max)
}

fn footer_of(file: &DataFile) -> ArrowReaderMetadata {
    let readable = Readable::whole(File::open(&file.path).unwrap()).unwrap();
    footer(Signal::Spans, &file.path, &readable).unwrap()
}

#[test]
fn asking_of_a_few_rows_says_what_asking_of_all_says_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let footer = footer_of(&file(&folder, spans(ROWS, note)));
    assert_eq!(footer.metadata().num_row_groups(), 1);
    let (mask, portion) = (ProjectionMask::all(), Portion { rows: 4096, bytes: 200_000 });
    let all = sections(&footer, &mask, portion);
    let expected = |ranges: &[Range<usize>]| {
        let blocks = |rows: &Range<usize>| {
            let end = rows.end.div_ceil(BLOCK_ROWS) * BLOCK_ROWS;
            rows.start / BLOCK_ROWS * BLOCK_ROWS..end
        };
        let meet = |rows: &Range<usize>, section: &Range<usize>| {
            rows.start < section.end && section.start < rows.end
        };
        let among = all
            .iter()
            .filter(|section| ranges.iter().map(blocks).any(|rows| meet(&rows, &section.rows)));
        among.map(|section| section.portion).min().unwrap_or(portion.rows)
    };
    let mut said = BTreeSet::new();
    for start in (0..ROWS).step_by(97) {
        for length in [1, 3, 700, 2500] {
            let range = start..ROWS.min(start + length);
            let apart = [range.clone(), (start + 4000).min(ROWS - 1)..ROWS];
            for ranges in [&apart[..1], &apart[..]] {
                let found = portion_of(&footer, &mask, 0, ranges, portion);
                assert_eq!(found, expected(ranges), "{ranges:?}");
                said.insert(found);
            }
        }
    }
    assert!(said.len() > 1, "{said:?}");
    assert_eq!(portion_of(&footer, &mask, 0, &[], portion), portion.rows);
}

const BUNCHED_ROWS: usize = 1000;
/// Consecutive rows, enough for an attribute column.
const BUNCH: Range<usize> = 400..528;

#[test]
fn few_rows_are_decoded_at_once_where_they_may_have_the_values_of_all_columns() {
    const COLUMNS: usize = 60;
    let keys: Vec<String> = (0..COLUMNS).map(|number| format!("k{number}")).collect();
    let text = "x".repeat(1 << 10);
    let attributes = |row: usize| match BUNCH.contains(&row) {
        true => keys.iter().map(|key| KeyValue::new(key, text.as_str())).collect(),
        false => vec![],
    };
    let folder = tempfile::tempdir().unwrap();
    let footer = footer_of(&file(&folder, spans(BUNCHED_ROWS, attributes)));
    assert!(footer.schema().field_with_name("string.k59").is_ok());
    let portion = Portion { rows: 4096, bytes: 1 << 20 };
    let rows = portion_of(&footer, &ProjectionMask::all(), 0, &[BUNCH], portion);
    let bytes = rows.min(BUNCH.len()) * COLUMNS * text.len();
    assert!(bytes <= 2 << 20, "{rows} rows have {bytes} bytes");
}

#[test]
fn a_page_of_a_column_ends_by_its_texts_although_it_has_only_codes() {
    let text = "x".repeat(32 << 10);
    let attributes = |row: usize| match BUNCH.contains(&row) {
        true => vec![KeyValue::new("k", text.as_str())],
        false => vec![],
    };
    let folder = tempfile::tempdir().unwrap();
    let footer = footer_of(&file(&folder, spans(BUNCHED_ROWS, attributes)));
    let columns = footer.parquet_schema().columns();
    let leaf = columns.iter().position(|leaf| leaf.name() == "string.k").unwrap();
    let pages = pages(footer.metadata(), 0, leaf, BUNCHED_ROWS, &(0..BUNCHED_ROWS));
    let lengths: Vec<u64> = pages.into_iter().filter_map(|(_, bytes)| bytes).collect();
    assert_eq!(lengths.iter().sum::<u64>(), (BUNCH.len() * text.len()) as u64);
    assert!(lengths.iter().all(|length| *length <= 1 << 20), "{lengths:?}");
}

#[test]
fn a_merge_counts_what_each_open_column_of_an_attribute_takes() {
    let bytes = |columns: usize| {
        let keys: Vec<String> = (0..columns).map(|number| format!("k{number}")).collect();
        let attributes = |_: usize| keys.iter().map(|key| KeyValue::new(key, "x")).collect();
        let folder = tempfile::tempdir().unwrap();
        merge_bytes_min(Signal::Spans, &file(&folder, spans(64, attributes))).unwrap()
    };
    let (few, many) = (bytes(1), bytes(61));
    assert!(many - few >= 60 * DECOMPRESSOR_BYTES, "{few} {many}");
}
