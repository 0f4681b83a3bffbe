use std::{collections::BTreeSet, fs::File, io::Write, ops::Range, sync::Arc};

use parquet::arrow::ProjectionMask;
use tidings_proto::otlp::{
    AnyValue, ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, Value,
};

use super::{BLOCK_ROWS, Portion, portion_of, sections};
use crate::{
    columns::span_rows,
    data_file::{encode_spans, footer::footer},
    memory::Chunk,
    samples::NOW,
    schema::Signal,
    table_store::Readable,
};

const ROWS: usize = 9 * BLOCK_ROWS + 100;

/// Spans with a note that is long in some stretches.
fn spans() -> Vec<Span> {
    let span = |row: usize| {
        let length = if (row / 1500).is_multiple_of(2) { 20 } else { 600 };
        let text = Value::String(format!("{row:0length$}"));
        Span {
            trace_id: (row as u128 + 1).to_be_bytes().to_vec(),
            span_id: vec![1; 8],
            start_time_unix_nano: NOW.0 + row as u64,
            end_time_unix_nano: NOW.0 + row as u64,
            attributes: vec![KeyValue {
                key: "note".to_owned(),
                value: Some(AnyValue { value: Some(text) }),
            }],
            ..Span::default()
        }
    };
    (0..ROWS).map(span).collect()
}

#[test]
fn asking_of_a_few_rows_says_what_asking_of_all_says_of_them() {
    let scope_spans = vec![ScopeSpans { spans: spans(), ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
    let encoded = encode_spans(&[chunk], NOW).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut file = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    file.write_all(&encoded[0].bytes).unwrap();
    let readable = Readable::whole(File::open(file.path()).unwrap()).unwrap();
    let footer = footer(Signal::Spans, file.path(), &readable).unwrap();
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
