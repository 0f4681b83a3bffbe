use std::{fs, io::Write, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, cast::AsArray, new_null_array,
    types::Int64Type,
};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::{metadata::KeyValue as MetadataEntry, properties::WriterProperties},
};
use proptest::prelude::*;
use prost::Message;
use tempfile::TempDir;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    conversion::{log_rows, span_rows},
    packed::ValueKind,
};
use tidings_disk::test_effort::random_cases;
use tidings_files::{StorageError, memory::Chunk, table_file::DataFile};
use tidings_index::{
    AttributeFilter, Indexes, LogFilter, SpanFilter,
    filter::Matcher,
    samples::{self, NOW},
};
use tidings_proto::{
    Signal,
    otlp::{
        AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, KeyValueList, Resource,
        ResourceSpans, ScopeSpans, Span, Value,
    },
};

use super::{AttributeCounts, COLUMNS_MAX, ColumnMinimum, LISTED};
use crate::{
    Choice, EncodedFile, FileWriter, Merge, MergeLimits, TableView,
    attributes::FileAttributes,
    encode_small, index_of,
    test_files::{scan_logs, scan_spans},
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

/// Returns one span for each of these lists of attributes.
fn chunk(lists: &[List<'_>]) -> Arc<Chunk> {
    chunk_with(lists, None, vec![])
}

/// Like `chunk`, with this resource and with an event that has these attributes.
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
    chunk_of(lists.iter().enumerate().map(span).collect(), resource)
}

fn chunk_of(spans: Vec<Span>, resource: Option<Resource>) -> Arc<Chunk> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap())
}

fn spans_file(chunk: &Arc<Chunk>) -> EncodedFile {
    encode_small(Signal::Spans, &[Arc::clone(chunk)], NOW).unwrap().remove(0)
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

/// Returns the list of attribute columns in a file.
fn list(file: &EncodedFile) -> String {
    let footer = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).unwrap();
    let entries = footer.metadata().file_metadata().key_value_metadata().unwrap();
    entries.iter().find(|entry| entry.key == LISTED).unwrap().value.clone().unwrap()
}

/// Returns these rows as a program with this name rewrites them, with this list of columns.
fn rewritten(rows: &RecordBatch, program: &str, list: Option<String>) -> bytes::Bytes {
    let list = list.map(|list| vec![MetadataEntry::new(LISTED.to_owned(), list)]);
    let properties = WriterProperties::builder()
        .set_created_by(program.to_owned())
        .set_key_value_metadata(list)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap().into()
}

fn kept(folder: &TempDir, file: &EncodedFile, bytes: &[u8]) -> Arc<DataFile> {
    let mut kept = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    kept.write_all(bytes).unwrap();
    let (_, path) = kept.keep().unwrap();
    let (min, max) = (file.stats.start_min, file.stats.start_max);
    Arc::new(DataFile::new(path, file.hour, file.rows, bytes.len() as u64, min, max))
}

/// Writes the rows of a chunk as files of a flush.
fn flushed(folder: &TempDir, signal: Signal, chunk: &Arc<Chunk>) -> Vec<Arc<DataFile>> {
    let encoded = encode_small(signal, &[Arc::clone(chunk)], NOW).unwrap();
    encoded.iter().map(|file| kept(folder, file, &file.bytes)).collect()
}

/// Returns the matching spans of files or of memory, encoded.
fn found(view: &TableView, filter: &SpanFilter) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    scan_spans(view, &Indexes::new(0), filter, |rows| {
        found.extend((0..rows.len()).map(|row| rows.span(row).encode_to_vec()));
    })
    .unwrap();
    found.sort_unstable();
    found
}

fn found_logs(view: &TableView, filter: &LogFilter) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    scan_logs(view, &Indexes::new(0), filter, |rows| {
        found.extend((0..rows.len()).map(|row| rows.log_record(row).encode_to_vec()));
    })
    .unwrap();
    found.sort_unstable();
    found
}

fn in_files(files: &[Arc<DataFile>]) -> TableView {
    TableView { chunks: vec![], files: files.to_vec() }
}

fn in_memory(chunk: &Arc<Chunk>) -> TableView {
    TableView { chunks: vec![Arc::clone(chunk)], files: vec![] }
}

/// Writes the rows of a merge of files, and returns the file and its index.
fn merged(
    folder: &TempDir,
    files: &[Arc<DataFile>],
    choice: Option<Choice>,
    columns: Option<Vec<AttributeColumn>>,
) -> Option<Arc<DataFile>> {
    let mut merge = Merge::open(Signal::Spans, files, choice, MergeLimits::LARGEST).unwrap();
    let columns = columns.unwrap_or_else(|| merge.columns());
    let mut writer = FileWriter::new(Signal::Spans, Vec::new(), merge.traces(), columns).unwrap();
    let mut rows = 0;
    while let Some(batch) = merge.next_rows().unwrap() {
        rows += batch.num_rows();
        writer.push(&batch).unwrap();
    }
    let (bytes, written) = writer.finish().unwrap();
    let mut file = tempfile::Builder::new().tempfile_in(folder.path()).unwrap();
    file.write_all(&bytes).unwrap();
    let (_, path) = file.keep().unwrap();
    let (min, max) = (written.stats.start_min, written.stats.start_max);
    let bytes = bytes.len() as u64;
    (rows > 0).then(|| Arc::new(DataFile::new(path, files[0].hour, rows as u64, bytes, min, max)))
}

proptest! {
    #![proptest_config(random_cases(48))]

    #[test]
    fn spans_are_read_as_they_were_sent_and_no_answer_depends_on_columns(
        request in samples::traces(),
        filters in proptest::collection::vec(samples::span_filter(), 4),
    ) {
        let folder = TempDir::new().unwrap();
        let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
        let files = flushed(&folder, Signal::Spans, &chunk);
        for filter in filters.iter().chain([&SpanFilter::default()]) {
            prop_assert_eq!(found(&in_files(&files), filter), found(&in_memory(&chunk), filter));
        }
    }

    #[test]
    fn log_records_are_read_as_they_were_sent_and_no_answer_depends_on_columns(
        request in samples::logs(),
        filters in proptest::collection::vec(samples::log_filter(), 4),
    ) {
        let folder = TempDir::new().unwrap();
        let chunk = Arc::new(Chunk::new(log_rows(&request, NOW).unwrap()).unwrap());
        let files = flushed(&folder, Signal::Logs, &chunk);
        for filter in filters.iter().chain([&LogFilter::default()]) {
            prop_assert_eq!(
                found_logs(&in_files(&files), filter), found_logs(&in_memory(&chunk), filter)
            );
        }
    }

    #[test]
    fn spans_stay_as_they_were_sent_when_files_are_merged_and_rows_erased(
        request in samples::traces(), erased in samples::span_filter(),
        with_columns in any::<bool>(),
    ) {
        let folder = TempDir::new().unwrap();
        let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
        let files = flushed(&folder, Signal::Spans, &chunk);
        let all = SpanFilter::default();
        // Older releases wrote files without attribute columns.
        let columns = (!with_columns).then(Vec::new);
        for file in files {
            let inputs = [Arc::clone(&file), Arc::clone(&file)];
            let merged_file = merged(&folder, &inputs, None, columns.clone()).unwrap();
            let mut twice = [found(&in_files(&inputs[..1]), &all), found(&in_files(&inputs[1..]), &all)]
                .concat();
            twice.sort_unstable();
            prop_assert_eq!(found(&in_files(&[Arc::clone(&merged_file)]), &all), twice);
            let choice = Choice::drop(Matcher::spans(&erased));
            let rest = merged(&folder, &[merged_file], Some(choice), None);
            let rest = rest.map_or(Vec::new(), |rest| found(&in_files(&[rest]), &all));
            let of_erased = found(&in_files(&inputs), &erased);
            let mut left = found(&in_files(&inputs), &all);
            left.retain(|span| !of_erased.contains(span));
            prop_assert_eq!(rest, left);
        }
    }

    #[test]
    fn an_index_that_is_made_again_is_the_same(request in samples::traces()) {
        let folder = TempDir::new().unwrap();
        let chunk = Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap());
        for file in encode_small(Signal::Spans, &[chunk], NOW).unwrap() {
            let again = index_of(Signal::Spans, &kept(&folder, &file, &file.bytes)).unwrap();
            prop_assert_eq!(again, file.index);
        }
    }
}

#[test]
fn a_column_has_the_first_value_of_its_type_and_the_map_all_others() {
    let lists: [List<'_>; 6] = [
        vec![],
        vec![("a", text("x")), ("n", int(7)), ("b", None)],
        vec![("n", text("7")), ("a", text("")), ("n", int(8))],
        vec![("a", text("one")), ("a", text("two")), ("n", int(9))],
        vec![("b", Some(AnyValue { value: None })), ("A", text("upper"))],
        vec![("a", text("x")), ("n", int(7)), ("b", None)],
    ];
    let chunk = chunk(&lists);
    let file = spans_file(&chunk);
    let batch = batch(file.bytes.clone());
    let of = |texts: [Option<&str>; 6]| texts.map(|text| text.map(str::to_owned)).to_vec();
    let expected = [None, Some("x"), Some(""), Some("one"), None, Some("x")];
    assert_eq!(words(&batch, "string.a"), of(expected));
    let upper = [None, None, None, None, Some("upper"), None];
    assert_eq!(words(&batch, "string.%41"), of(upper));
    assert_eq!(words(&batch, "string.n"), of([None, None, Some("7"), None, None, None]));
    let numbers = batch["int.n"].as_primitive::<Int64Type>();
    let expected = [None, Some(7), Some(8), Some(9), None, Some(7)];
    assert_eq!(numbers.iter().collect::<Vec<_>>(), expected);
    let map = batch["attributes"].as_map();
    let keys: Vec<_> = map.keys().as_string::<i32>().iter().flatten().collect();
    assert_eq!(keys, ["b", "a", "b", "b"], "what has no column, and what comes twice");
    let orders = words(&batch, "attribute_order");
    assert_eq!(orders[0], None);
    assert_eq!(orders[1], orders[5]);
    assert_eq!(orders[3].as_ref().map(|order| order.as_bytes()[1]), Some(b' '));
    let folder = TempDir::new().unwrap();
    let all = SpanFilter::default();
    let kept = kept(&folder, &file, &file.bytes);
    assert_eq!(found(&in_files(&[kept]), &all), found(&in_memory(&chunk), &all));
}

#[test]
fn columns_of_other_programs_with_another_type_are_not_attributes() {
    let folder = TempDir::new().unwrap();
    let lists = [vec![("a", text("x"))], vec![("n", int(8))]];
    let file = spans_file(&chunk(&lists));
    let rows = batch(file.bytes.clone());
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        columns.push((field.name().clone(), Arc::clone(column)));
    }
    columns.push(("int.other".to_owned(), Arc::new(Int32Array::from(vec![1, 2]))));
    columns.push(("string.other".to_owned(), Arc::new(BinaryArray::from(vec![&b"1"[..], b"2"]))));
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let kept = kept(&folder, &file, &rewritten(&rows, "another program", None));
    let attributes_of = |span: Vec<u8>| Span::decode(&*span).unwrap().attributes;
    let found = found(&in_files(&[kept]), &SpanFilter::default());
    let found: Vec<_> = found.into_iter().map(attributes_of).collect();
    assert_eq!(found, lists.map(|list| attributes(&list)));
}

#[test]
fn files_that_other_programs_wrote_again_have_all_attributes() {
    let folder = TempDir::new().unwrap();
    let lists = [
        vec![("a", text("x")), ("n", int(7)), ("b", None)],
        vec![("n", int(8)), ("a", text("y")), ("a", text("z"))],
        vec![("n", int(9))],
    ];
    let file = spans_file(&chunk(&lists));
    let mut expected = lists.map(|list| attributes(&list));
    expected.iter_mut().for_each(|list| {
        list.sort_by_key(|attribute| (attribute.key.clone(), format!("{attribute:?}")));
    });
    // The list may be that of another file, with another order of columns.
    let mut of_other: Vec<serde_json::Value> = serde_json::from_str(&list(&file)).unwrap();
    assert_eq!(of_other.len(), 2);
    of_other.reverse();
    for list in [None, Some(serde_json::Value::from(of_other).to_string())] {
        let bytes = rewritten(&batch(file.bytes.clone()), "parquet-cpp-arrow version 21.0.0", list);
        let footer = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).unwrap();
        assert!(FileAttributes::new(&footer).whole(|_| true).is_empty());
        let kept = kept(&folder, &file, &bytes);
        let mut attributes_of = Vec::new();
        for span in found(&in_files(&[kept]), &SpanFilter::default()) {
            let mut of_span = Span::decode(&*span).unwrap().attributes;
            of_span.sort_by_key(|attribute| (attribute.key.clone(), format!("{attribute:?}")));
            attributes_of.push(of_span);
        }
        for list in &expected {
            assert!(attributes_of.contains(list), "{attributes_of:?}");
        }
    }
}

#[test]
fn a_file_whose_orders_do_not_name_all_values_is_damaged() {
    let folder = TempDir::new().unwrap();
    let file = spans_file(&chunk(&[vec![("a", text("x"))], vec![("a", text("y"))]]));
    let rows = batch(file.bytes.clone());
    let column = |field: &arrow_schema::FieldRef| match field.name().as_str() {
        "attribute_order" => new_null_array(field.data_type(), rows.num_rows()),
        name => Arc::clone(&rows[name]),
    };
    let columns = rows.schema_ref().fields().iter().map(column).collect();
    let unordered = RecordBatch::try_new(rows.schema(), columns).unwrap();
    for (rows, is_sound) in [(&rows, true), (&unordered, false)] {
        let bytes = rewritten(rows, "tidings 0.0.0", Some(list(&file)));
        let index = index_of(Signal::Spans, &kept(&folder, &file, &bytes));
        assert_eq!(index.is_ok(), is_sound);
        assert!(is_sound || matches!(index, Err(StorageError::Corrupt { .. })));
    }
}

#[test]
fn an_erased_key_is_not_among_the_columns_of_the_new_file() {
    let folder = TempDir::new().unwrap();
    let list = |number: usize| match number % 2 {
        0 => vec![("user.bob", text("x"))],
        _ => vec![("other", text("x"))],
    };
    let files = flushed(&folder, Signal::Spans, &chunk(&(0..100).map(list).collect::<Vec<_>>()));
    let has_name = |file: &Arc<DataFile>| {
        let bytes = fs::read(&file.path).unwrap();
        memchr::memmem::find(&bytes, b"user.bob").is_some()
    };
    assert!(has_name(&merged(&folder, &files, None, None).unwrap()));
    let erased = SpanFilter {
        attributes: vec![AttributeFilter::new("user.bob", None)],
        ..SpanFilter::default()
    };
    let choice = Choice::drop(Matcher::spans(&erased));
    let rest = merged(&folder, &files, Some(choice), None).unwrap();
    assert_eq!(rest.rows, 50);
    assert!(!has_name(&rest));
}

#[test]
fn arrays_and_maps_in_columns_match_as_they_do_in_memory() {
    let array = |value: AnyValue| -> Option<AnyValue> {
        Some(Value::Array(ArrayValue { values: vec![value] }).into())
    };
    let map = |value: AnyValue| -> Option<AnyValue> {
        let values = vec![KeyValue::new("in", value)];
        Some(Value::Kvlist(KeyValueList { values }).into())
    };
    let x = || text("x").unwrap();
    let values = [text("x"), array(x()), map(x()), array(array(x()).unwrap()), text("y")];
    let chunk = chunk(&values.map(|value| vec![("k", value)]));
    let file = spans_file(&chunk);
    let footer = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).unwrap();
    let whole = FileAttributes::new(&footer).whole(|_| true);
    assert!(whole[0].1.contains(&"bytes.k".to_owned()), "{whole:?}");
    let folder = TempDir::new().unwrap();
    let files = [kept(&folder, &file, &file.bytes)];
    for (wanted, expected) in [
        (AttributeFilter::new("k", Some("x".to_owned())), 2),
        (AttributeFilter::single("k", "x"), 1),
        (AttributeFilter::single("k", r#"["x"]"#), 1),
        (AttributeFilter::everywhere("k", "x"), 4),
        (AttributeFilter::everywhere("k", "z"), 0),
    ] {
        let filter = SpanFilter { attributes: vec![wanted], ..SpanFilter::default() };
        let in_file = found(&in_files(&files), &filter);
        assert_eq!(in_file.len(), expected, "{filter:?}");
        assert_eq!(in_file, found(&in_memory(&chunk), &filter));
    }
}

#[test]
fn the_files_of_a_flush_share_the_room_for_new_columns() {
    let span = |hour: u64| {
        let keys = (0..60).map(|key| KeyValue::new(format!("hour{hour}.{key}"), "x"));
        let start = NOW.0 - hour * 3600 * 1_000_000_000;
        Span {
            trace_id: vec![1; 16],
            span_id: (hour + 1).to_be_bytes().to_vec(),
            start_time_unix_nano: start,
            end_time_unix_nano: start,
            attributes: keys.collect(),
            ..Span::default()
        }
    };
    let chunk = chunk_of((0..3).map(span).collect(), None);
    let files = encode_small(Signal::Spans, &[chunk], NOW).unwrap();
    assert_eq!(files.len(), 3);
    let columns: usize = files.iter().map(|file| file.columns.len()).sum();
    assert_eq!(columns, 94);
}

/// Attributes of spans, their resource, an event of each, and the keys that the file lists.
type Case<'a> = (Vec<List<'a>>, Option<Resource>, List<'a>, &'a [&'a str]);

#[test]
fn a_file_lists_the_keys_of_which_its_columns_tell_everything() {
    let route = |value| ("http.route", value);
    let code = |value| ("http.response.status_code", value);
    let of_key =
        |list: List<'_>| Some(Resource { attributes: attributes(&list), ..Resource::default() });
    let cases: [Case<'_>; 9] = [
        (vec![vec![("other", text("x"))]], None, vec![], &["other"]),
        (
            vec![vec![route(text("/a")), code(int(200))], vec![], vec![route(text("/b"))]],
            of_key(vec![("service.name", text("shop"))]),
            vec![("message.id", int(1))],
            &["http.route", "http.response.status_code"],
        ),
        (vec![vec![route(text("/a"))], vec![route(int(1))]], None, vec![], &["http.route"]),
        (vec![vec![route(text("/a"))], vec![route(None)]], None, vec![], &[]),
        (vec![vec![route(text("/a")), route(text("/b"))]], None, vec![], &[]),
        (vec![vec![route(text("/a")), route(int(1))]], None, vec![], &["http.route"]),
        (vec![vec![("é", text("GET"))]], of_key(vec![]), vec![], &[]),
        (vec![vec![route(text("/a"))]], None, vec![route(text("/b"))], &[]),
        (vec![vec![route(text("/a"))]], of_key(vec![route(text("/b"))]), vec![], &[]),
    ];
    for (lists, resource, event, expected) in cases {
        let file = spans_file(&chunk_with(&lists, resource, event));
        let footer = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).unwrap();
        let whole = FileAttributes::new(&footer).whole(|_| true);
        let mut keys: Vec<_> = whole.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable_by_key(|key| expected.iter().position(|other| other == key));
        assert_eq!(keys, expected, "{lists:?}");
    }
}

#[test]
fn a_filter_reads_columns_instead_of_the_map_where_they_tell_everything() {
    let folder = TempDir::new().unwrap();
    let lists = [
        vec![("http.route", text("/a")), ("http.response.status_code", int(200))],
        vec![("http.route", text("/a")), ("n", int(1)), ("n", int(3))],
        vec![("n", int(2)), ("http.response.status_code", text("200"))],
    ];
    let files = flushed(&folder, Signal::Spans, &chunk(&lists));
    let count = |wanted: &[(&str, Option<&str>)]| {
        let wanted =
            wanted.iter().map(|(key, value)| AttributeFilter::new(*key, value.map(str::to_owned)));
        let filter = SpanFilter { attributes: wanted.collect(), ..SpanFilter::default() };
        found(&in_files(&files), &filter).len()
    };
    assert_eq!(count(&[("http.route", Some("/a"))]), 2);
    assert_eq!(count(&[("http.route", Some("/b"))]), 0);
    assert_eq!(count(&[("http.route", None)]), 2);
    assert_eq!(count(&[("http.response.status_code", Some("200"))]), 2);
    assert_eq!(count(&[("http.response.status_code", Some("2e2"))]), 0);
    assert_eq!(count(&[("http.route", None), ("n", Some("1"))]), 1);
    assert_eq!(count(&[("http.route", None), ("n", Some("3"))]), 1);
    assert_eq!(count(&[("http.route", None), ("http.response.status_code", None)]), 1);
    let filter = SpanFilter {
        attributes: vec![AttributeFilter::new("http.route", None)],
        ..SpanFilter::default()
    };
    let mut matcher = Matcher::spans(&filter);
    let whole = |key: &str, column: &str| vec![(key.to_owned(), vec![column.to_owned()])];
    matcher.set_columns(&whole("http.route", "string.http.route"));
    assert_eq!(matcher.stages(NOW, NOW), [vec!["string.http.route"]]);
    matcher.set_columns(&whole("error.type", "string.error.type"));
    assert!(matcher.stages(NOW, NOW).concat().contains(&"attributes".to_owned()));
}

#[test]
fn the_most_frequent_attributes_get_columns_as_far_as_the_table_has_room() {
    let counts = |rows| {
        let mut counts = AttributeCounts::default();
        counts.add_rows(rows);
        for number in 0..2000_u64 {
            let column = AttributeColumn::new(ValueKind::Int, &format!("k{number:04}")).unwrap();
            counts.add(&column, 2000 - number);
        }
        let common = AttributeColumn::parse("string.http.route").unwrap();
        counts.add(&common, 1);
        counts
    };
    let columns_of = |rows, values, values_new, declared: &DeclaredColumns| {
        let rows_of_value = ColumnMinimum::ROWS_FLUSHED;
        let minimum = ColumnMinimum { values, values_new, rows_of_value };
        counts(rows).columns(Signal::Spans, minimum, &mut declared.clone())
    };
    let new = DeclaredColumns::default();
    let columns = columns_of(1000, 1, 0, &new);
    let names: Vec<_> = columns.iter().map(AttributeColumn::name).collect();
    assert_eq!(names.len(), COLUMNS_MAX);
    assert_eq!(names[..3], ["string.http.route", "int.k0000", "int.k0001"]);
    let columns = columns_of(15_920, 1, 0, &new);
    assert_eq!(columns.len(), 12, "one in eight rows has it, or every table declares it");
    let rows_of_value = ColumnMinimum::ROWS_MERGED;
    let minimum = ColumnMinimum { values: 1, values_new: 0, rows_of_value };
    let columns = counts(63_680).columns(Signal::Spans, minimum, &mut new.clone());
    assert_eq!(columns.len(), 12, "a merge keeps the columns that one in 32 rows has");
    assert_eq!(columns_of(1000, 1999, 0, &new).len(), 3);
    assert_eq!(columns_of(1000, 1, 1991, &new).len(), 11, "a new column has more values");
    let known = DeclaredColumns::new(["int.k0100"].into_iter());
    assert_eq!(columns_of(1000, 1, 1991, &known).len(), 12);
    let full: Vec<String> = (0..1000).map(|number| format!("int.k{:04}", number + 50)).collect();
    let full = DeclaredColumns::new(full.iter().map(String::as_str));
    let columns = columns_of(1000, 1, 0, &full);
    assert_eq!(columns.len(), COLUMNS_MAX);
    assert_eq!(columns[0].name(), "string.http.route", "every table declares it");
    assert!(
        columns[1..].iter().all(|column| full.contains(column)),
        "a full table gets no more columns"
    );
}
