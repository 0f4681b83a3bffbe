use std::{io::Write, ops::ControlFlow, sync::Arc};

use arrow_array::{
    Array, RecordBatch, RecordBatchReader, StringArray, cast::AsArray, types::Int64Type,
};
use parquet::arrow::{
    ArrowWriter, ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};
use proptest::prelude::*;
use tempfile::TempDir;
use tidings_proto::{
    UnixNanos,
    otlp::{
        AnyValue, Event, ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans,
        Span, Value,
    },
};

use super::whole;
use crate::{
    AttributeFilter, Detail, Scan, Snapshot, SpanFilter,
    columns::span_rows,
    data_file::{
        DataFile, EncodedFile, FileWriter, Merge, MergeLimits, encode_small, encode_spans,
    },
    filter::Matcher,
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

type List<'a> = Vec<(&'a str, Option<AnyValue>)>;

fn attributes(list: &List<'_>) -> Vec<KeyValue> {
    let entry = |(key, value): &(&str, Option<AnyValue>)| KeyValue {
        key: (*key).to_owned(),
        value: value.clone(),
    };
    list.iter().map(entry).collect()
}

/// One span for each of these lists of attributes.
fn chunk(lists: &[List<'_>]) -> Arc<Chunk> {
    chunk_with(lists, None, vec![])
}

/// The same, from this resource, with an event that has these attributes.
fn chunk_with(lists: &[List<'_>], resource: Option<Resource>, event: List<'_>) -> Arc<Chunk> {
    let event = Event { attributes: attributes(&event), ..Event::default() };
    let span = |(number, list): (usize, &List<'_>)| Span {
        trace_id: vec![1; 16],
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: NOW.0 + number as u64,
        end_time_unix_nano: NOW.0 + number as u64,
        attributes: attributes(list),
        events: vec![event.clone()],
        ..Span::default()
    };
    let spans = lists.iter().enumerate().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
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
    let cases: [(List<'_>, Option<&str>, Option<i64>); 8] = [
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
    let schema = Signal::Spans.merged_schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(reader.parquet_schema(), names);
    let mut reader = reader.with_projection(mask).build().unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), reader.schema(), None).unwrap();
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
    let mut merge = Merge::open(Signal::Spans, &inputs, None, MergeLimits::LARGEST).unwrap();
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

/// The attributes of spans, their resource, an event of each, and the keys the file lists.
type Case<'a> = (Vec<List<'a>>, Option<Resource>, List<'a>, &'a [&'a str]);

#[test]
fn a_file_lists_the_keys_of_which_its_columns_tell_everything() {
    let route = |value| ("http.route", value);
    let code = |value| ("http.response.status_code", value);
    let of_key =
        |list: List<'_>| Some(Resource { attributes: attributes(&list), ..Resource::default() });
    let cases: [Case<'_>; 9] = [
        (vec![vec![("other", text("x"))]], None, vec![], &[]),
        (
            vec![vec![route(text("/a")), code(int(200))], vec![], vec![route(text("/b"))]],
            of_key(vec![("service.name", text("shop"))]),
            vec![("message.id", int(1))],
            &["http.route", "http.response.status_code"],
        ),
        (vec![vec![route(text("/a"))], vec![route(int(1))]], None, vec![], &[]),
        (vec![vec![route(text("/a"))], vec![route(None)]], None, vec![], &[]),
        (vec![vec![route(text("/a")), route(text("/b"))]], None, vec![], &[]),
        (
            vec![vec![("http.method", text("GET"))], vec![("http.request.method", text("GET"))]],
            None,
            vec![],
            &[],
        ),
        (vec![vec![("http.method", text("GET"))]], None, vec![], &["http.method"]),
        (vec![vec![route(text("/a"))]], None, vec![route(text("/b"))], &[]),
        (vec![vec![route(text("/a"))]], of_key(vec![route(text("/b"))]), vec![], &[]),
    ];
    for (lists, resource, event, expected) in cases {
        let chunk = chunk_with(&lists, resource, event);
        let file = encode_spans(&[chunk], NOW).unwrap().remove(0);
        let footer = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).unwrap();
        let mut keys: Vec<_> =
            whole(Signal::Spans, &footer).into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable_by_key(|key| expected.iter().position(|other| other == key));
        assert_eq!(keys, expected, "{lists:?}");
    }
}

#[test]
fn a_filter_reads_columns_instead_of_the_map_where_they_tell_everything() {
    let folder = TempDir::new().unwrap();
    let lists = [
        vec![("http.route", text("/a")), ("http.response.status_code", int(200))],
        vec![("http.route", text("/a")), ("n", int(1))],
        vec![("n", int(2))],
    ];
    let file = encode_small(Signal::Spans, &[chunk(&lists)], NOW).unwrap().remove(0);
    let kept = kept(&folder, &file, &file.bytes);
    let count = |wanted: &[(&str, Option<&str>)]| {
        let wanted =
            wanted.iter().map(|(key, value)| AttributeFilter::new(*key, value.map(str::to_owned)));
        let filter = SpanFilter { attributes: wanted.collect(), ..SpanFilter::default() };
        found(vec![Arc::clone(&kept)], &filter).len()
    };
    assert_eq!(count(&[("http.route", Some("/a"))]), 2);
    assert_eq!(count(&[("http.route", Some("/b"))]), 0);
    assert_eq!(count(&[("http.route", None)]), 2);
    assert_eq!(count(&[("http.response.status_code", Some("200"))]), 1);
    assert_eq!(count(&[("http.response.status_code", Some("2e2"))]), 0);
    assert_eq!(count(&[("http.route", None), ("n", Some("1"))]), 1);
    assert_eq!(count(&[("http.route", None), ("http.response.status_code", None)]), 1);
    let filter = SpanFilter {
        attributes: vec![AttributeFilter::new("http.route", None)],
        ..SpanFilter::default()
    };
    let mut matcher = Matcher::spans(&filter);
    matcher.set_columns(&[("http.route", "http_route")]);
    assert_eq!(matcher.stages(NOW, NOW), [vec!["http_route"]]);
    matcher.set_columns(&[("error.type", "error_type")]);
    assert!(matcher.stages(NOW, NOW).concat().contains(&"attributes"));
}
