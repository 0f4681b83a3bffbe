use std::{io::Write, ops::ControlFlow, sync::Arc};

use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
use parquet::arrow::{ArrowWriter, ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;
use tempfile::TempDir;
use tidings_proto::{
    UnixNanos,
    otlp::{AnyValue, ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, Value},
};

use crate::{
    Detail, Scan, Snapshot, SpanFilter,
    columns::span_rows,
    data_file::{DataFile, EncodedFile, FileWriter, Merge, encode_small, encode_spans},
    memory::Chunk,
    samples::{self, NOW},
    schema::Signal,
    snapshot::TableView,
};

fn text(text: &str) -> Option<AnyValue> {
    Some(Value::String(text.to_owned()).into())
}

fn int(number: i64) -> Option<AnyValue> {
    Some(Value::Int(number).into())
}

/// One span for each of these lists of attributes.
fn chunk(lists: &[Vec<(&str, Option<AnyValue>)>]) -> Arc<Chunk> {
    let span = |(number, list): (usize, &Vec<(&str, Option<AnyValue>)>)| Span {
        trace_id: vec![1; 16],
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: NOW.0 + number as u64,
        end_time_unix_nano: NOW.0 + number as u64,
        attributes: list
            .iter()
            .map(|(key, value)| KeyValue { key: (*key).to_owned(), value: value.clone() })
            .collect(),
        ..Span::default()
    };
    let spans = lists.iter().enumerate().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap())
}

fn batch(bytes: bytes::Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn words(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column: &StringArray = batch.column_by_name(name).unwrap().as_string();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn a_column_has_the_first_value_of_its_type_of_the_newest_key() {
    let cases: [(Vec<(&str, Option<AnyValue>)>, Option<&str>, Option<i64>); 8] = [
        (vec![], None, None),
        (vec![("other", text("GET")), ("http.request.method", text("GET"))], Some("GET"), None),
        (vec![("http.method", text("PUT"))], Some("PUT"), None),
        (
            vec![("http.method", text("old")), ("http.request.method", text("new"))],
            Some("new"),
            None,
        ),
        (
            vec![("http.request.method", text("one")), ("http.request.method", text("two"))],
            Some("one"),
            None,
        ),
        (vec![("http.request.method", int(7)), ("http.method", text("GET"))], Some("GET"), None),
        (
            vec![("http.request.method", None), ("http.response.status_code", text("200"))],
            None,
            None,
        ),
        (
            vec![("http.status_code", int(404)), ("http.request.method", text(""))],
            Some(""),
            Some(404),
        ),
    ];
    let lists: Vec<_> = cases.iter().map(|(list, ..)| list.clone()).collect();
    let file = encode_spans(&[chunk(&lists)], NOW).unwrap().remove(0);
    let batch = batch(file.bytes);
    let methods = words(&batch, "http_request_method");
    let codes = batch.column_by_name("http_response_status_code").unwrap();
    let codes = codes.as_primitive::<Int64Type>();
    for (row, (list, method, code)) in cases.iter().enumerate() {
        assert_eq!(methods[row].as_deref(), *method, "{list:?}");
        assert_eq!(codes.is_valid(row).then(|| codes.value(row)), *code, "{list:?}");
    }
    assert!(words(&batch, "db_system_name").iter().all(Option::is_none));
}

/// The file as an older program wrote it.
fn without_shreds(file: &EncodedFile) -> bytes::Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes.clone()).unwrap();
    let schema = Signal::Spans.sorted_schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(reader.parquet_schema(), names);
    let mut reader = reader.with_projection(mask).build().unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    reader.try_for_each(|batch| writer.write(&batch?).map_err(Into::into)).unwrap_or_else(
        |error: arrow_schema::ArrowError| panic!("the file without columns: {error}"),
    );
    writer.into_inner().unwrap().into()
}

fn kept(folder: &TempDir, file: &EncodedFile, bytes: &[u8]) -> Arc<DataFile> {
    let mut kept = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    kept.write_all(bytes).unwrap();
    let (_, path) = kept.keep().unwrap();
    let (min, max) = (file.stats.start_min, file.stats.start_max);
    Arc::new(DataFile::new(path, file.hour, file.rows, bytes.len() as u64, min, max))
}

/// The spans of files that match, encoded.
fn found(files: Vec<Arc<DataFile>>, filter: &SpanFilter) -> Vec<Vec<u8>> {
    use prost::Message;
    let mut found = Vec::new();
    let view = TableView { chunks: vec![], files };
    let scan = Scan { detail: Detail::Full, rows_max: u64::MAX };
    Snapshot::new(view, TableView::default())
        .scan_spans(filter, scan, &mut |rows| {
            found.extend((0..rows.len()).map(|row| rows.span(row).encode_to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort_unstable();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_answer_depends_on_which_attributes_have_a_column(
        request in samples::traces(),
        filters in proptest::collection::vec(samples::span_filter(), 4),
    ) {
        let folder = TempDir::new().unwrap();
        let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
        let encoded = encode_small(Signal::Spans, &[chunk], NOW).unwrap();
        let new: Vec<_> = encoded.iter().map(|file| kept(&folder, file, &file.bytes)).collect();
        let old: Vec<_> =
            encoded.iter().map(|file| kept(&folder, file, &without_shreds(file))).collect();
        for filter in filters.iter().chain([&SpanFilter::default()]) {
            prop_assert_eq!(found(new.clone(), filter), found(old.clone(), filter));
        }
    }
}

#[test]
fn merging_gives_the_rows_of_older_files_their_columns() {
    let folder = TempDir::new().unwrap();
    let list = |route| vec![("http.route", text(route)), ("error.type", text("timeout"))];
    let of = |route| encode_small(Signal::Spans, &[chunk(&[list(route)])], NOW).unwrap().remove(0);
    let (old, new) = (of("/old"), of("/new"));
    let inputs =
        [kept(&folder, &old, &without_shreds(&old)), kept(&folder, &new, &new.bytes.clone())];
    let mut merge = Merge::open(Signal::Spans, &inputs, None).unwrap();
    let mut writer = FileWriter::new(Signal::Spans, Vec::new(), merge.traces()).unwrap();
    while let Some(rows) = merge.next().unwrap() {
        writer.push(&rows).unwrap();
    }
    let merged = batch(writer.finish().unwrap().0.into());
    let mut routes = words(&merged, "http_route");
    routes.sort_unstable();
    assert_eq!(routes, [Some("/new".to_owned()), Some("/old".to_owned())]);
    assert_eq!(words(&merged, "error_type"), vec![Some("timeout".to_owned()); 2]);
    assert_eq!(UnixNanos(new.stats.start_min.0), NOW);
}
