use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int64Array,
    MapArray, RecordBatch, RecordBatchReader, StringArray, StructArray, UInt8Array, cast::AsArray,
    types::Int32Type,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection},
        arrow_writer::ArrowWriterOptions,
    },
    basic::{Compression, Encoding, PageType, ZstdLevel},
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData},
        properties::{EnabledStatistics, WriterProperties},
    },
};
use proptest::prelude::*;
use tidings_columns::{
    packed::{ValueKind, push_bytes, push_double, push_int, push_truth},
    schema,
};
use tidings_disk::test_effort::random_cases;

use crate::{row_groups::RowGroups, shred::Shredder};

/// Value of an attribute. `None` is an entry without a value.
#[derive(Debug, Clone)]
enum Value {
    None,
    Empty,
    Text(String),
    Long(i64),
    Double(f64),
    Bool(bool),
    Bytes(Vec<u8>),
}

type Row = Vec<(String, Value)>;

/// Page, dictionary and row group limits of a file.
#[derive(Debug, Clone, Copy)]
struct Cut {
    row_group_rows: usize,
    page_rows: usize,
    page_bytes: usize,
    dictionary_bytes: usize,
}

const AS_FILES: Cut = Cut {
    row_group_rows: 131_072,
    page_rows: 2048,
    page_bytes: 128 << 10,
    dictionary_bytes: 128 << 10,
};

impl Cut {
    fn properties(self) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(self.page_rows)
            .set_data_page_size_limit(self.page_bytes)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .set_statistics_enabled(EnabledStatistics::None)
            .build()
    }
}

fn row_groups(cut: Cut, rows_max: usize) -> parquet::errors::Result<RowGroups<Vec<u8>>> {
    let shredder = Shredder::new(Vec::new());
    RowGroups::new(Vec::new(), file_schema(), shredder, cut.properties(), rows_max)
}

fn file_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", arrow_schema::DataType::Int64, false),
        Field::new("attributes", schema::attributes(), false),
        Field::new("behind", arrow_schema::DataType::Int64, false),
    ]))
}

/// Returns the rows with a column for each type of value, and with number columns around the
/// attributes. Keys are plain texts or dictionary codes.
fn batch(rows: &[Row], has_codes: bool) -> RecordBatch {
    let entries = || rows.iter().flatten();
    let values = || entries().map(|(_, value)| value);
    let keys: Vec<&str> = entries().map(|(key, _)| key.as_str()).collect();
    let keys: ArrayRef = match has_codes {
        true => Arc::new(keys.into_iter().collect::<DictionaryArray<Int32Type>>()),
        false => Arc::new(StringArray::from_iter_values(keys)),
    };
    let texts = values().map(|value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let longs = values().map(|value| match value {
        Value::Long(long) => Some(*long),
        _ => None,
    });
    let doubles = values().map(|value| match value {
        Value::Double(double) => Some(*double),
        _ => None,
    });
    let bools = values().map(|value| match value {
        Value::Bool(bool) => Some(*bool),
        _ => None,
    });
    let bytes = values().map(|value| match value {
        Value::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(texts.collect::<StringArray>()),
        Arc::new(longs.collect::<Int64Array>()),
        Arc::new(doubles.collect::<Float64Array>()),
        Arc::new(bools.collect::<BooleanArray>()),
        Arc::new(bytes.collect::<BinaryArray>()),
    ];
    let is_there: NullBuffer = values().map(|value| !matches!(value, Value::None)).collect();
    let is_there = (is_there.null_count() > 0).then_some(is_there);
    let values = StructArray::new(schema::value_fields(), columns, is_there);
    let key = Field::new("key", keys.data_type().clone(), false);
    let value = Field::new("value", values.data_type().clone(), true);
    let fields = vec![key, value].into();
    let entries = StructArray::new(fields, vec![keys, Arc::new(values)], None);
    let entry = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    let map = MapArray::new(entry, offsets, entries, None, false);
    let numbers = || Arc::new((0..).take(rows.len()).collect::<Int64Array>());
    let columns: [(&str, ArrayRef); 3] =
        [("number", numbers()), ("attributes", Arc::new(map)), ("behind", numbers())];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Returns the same rows in the memory format.
fn packed(rows: &[Row]) -> RecordBatch {
    let coded = batch(rows, true);
    let (mut kinds, mut texts) = (Vec::new(), Vec::new());
    for (_, value) in rows.iter().flatten() {
        let mut text = Vec::new();
        kinds.push(match value {
            Value::None => ValueKind::None,
            Value::Empty => ValueKind::Empty,
            Value::Text(of) => {
                text.extend_from_slice(of.as_bytes());
                ValueKind::Text
            }
            Value::Long(long) => {
                push_int(*long, &mut text);
                ValueKind::Int
            }
            Value::Double(double) => {
                push_double(*double, &mut text);
                ValueKind::Double
            }
            Value::Bool(bool) => {
                push_truth(*bool, &mut text);
                ValueKind::Bool
            }
            Value::Bytes(bytes) => {
                push_bytes(bytes, &mut text);
                ValueKind::Nested
            }
        });
        texts.push(String::from_utf8(text).unwrap());
    }
    let kinds = UInt8Array::from_iter_values(kinds.into_iter().map(ValueKind::code));
    let texts = StringArray::from_iter_values(texts);
    let values =
        StructArray::new(schema::packed_fields(), vec![Arc::new(kinds), Arc::new(texts)], None);
    let map = coded["attributes"].as_map();
    let (offsets, keys) = (map.offsets().clone(), Arc::clone(map.keys()));
    let map = schema::map(schema::packed_attributes(), offsets, keys, values).unwrap();
    let columns: [(&str, ArrayRef); 3] = [
        ("number", Arc::clone(&coded["number"])),
        ("attributes", Arc::new(map)),
        ("behind", Arc::clone(&coded["behind"])),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Writes these rows to a file in portions of these sizes, which repeat.
fn written(rows: &RecordBatch, portions: &[usize], cut: Cut) -> Bytes {
    let mut writer = row_groups(cut, cut.row_group_rows).unwrap();
    let mut begin = 0;
    for portion in portions.iter().cycle() {
        if begin == rows.num_rows() {
            break;
        }
        let count = (*portion).min(rows.num_rows() - begin);
        writer.push(&rows.slice(begin, count)).unwrap();
        begin += count;
    }
    Bytes::from(writer.finish().unwrap())
}

fn written_by_arrow(rows: &RecordBatch, cut: Cut) -> Bytes {
    let options =
        ArrowWriterOptions::new().with_properties(cut.properties()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), file_schema(), options).unwrap();
    writer.write(rows).unwrap();
    Bytes::from(writer.into_inner().unwrap())
}

fn builder(file: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let options = ArrowReaderOptions::new()
        .with_encoding_stats_as_mask(false)
        .with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap()
}

fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
    Arc::clone(builder(file).metadata())
}

/// Reads these leaves of these rows of the file.
fn read(file: &Bytes, ranges: &[Range<usize>], leaves: &[usize]) -> RecordBatch {
    let builder = builder(file);
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap();
    let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves.iter().copied());
    let selection = RowSelection::from_consecutive_ranges(ranges.iter().cloned(), rows);
    let reader = builder.with_projection(mask).with_row_selection(selection).build().unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// Leaf columns of the attributes.
const LEAVES: Range<usize> = 1..7;

/// Checks that a reader gets the same rows, all or some of them, as from the file that Arrow
/// writes.
fn check(rows: &[Row], portions: &[usize], cut: Cut, ranges: &[Range<usize>]) {
    let expected = written_by_arrow(&batch(rows, false), cut);
    let file = written(&packed(rows), portions, cut);
    let all = 0..rows.len();
    let whole = read(&file, std::slice::from_ref(&all), &ALL);
    assert_eq!(whole, read(&expected, std::slice::from_ref(&all), &ALL));
    assert_eq!(read(&file, ranges, &ALL), read(&expected, ranges, &ALL));
    for leaf in LEAVES.skip(1) {
        let leaves = [0, LEAVES.start, leaf];
        assert_eq!(read(&file, ranges, &leaves), read(&expected, ranges, &leaves));
    }
    check_pages(&file, &expected, cut);
}

/// Checks that pages end at their limits, and that the footer describes the columns as Arrow's
/// does.
fn check_pages(file: &Bytes, expected: &Bytes, cut: Cut) {
    let (found, expected) = (metadata(file), metadata(expected));
    assert_eq!(found.num_row_groups(), expected.num_row_groups());
    for group in 0..found.num_row_groups() {
        let rows = found.row_group(group).num_rows();
        assert_eq!(rows, expected.row_group(group).num_rows());
        for leaf in LEAVES {
            let column = found.row_group(group).column(leaf);
            let alike = expected.row_group(group).column(leaf);
            assert_eq!(column.num_values(), alike.num_values());
            assert_eq!(column.compression(), alike.compression());
            assert_eq!(column.statistics(), alike.statistics());
            let index = |file: &ParquetMetaData| file.offset_index().unwrap()[group][leaf].clone();
            let text_bytes = |file: &ParquetMetaData| {
                let pages = index(file).unencoded_byte_array_data_bytes().cloned();
                pages.map(|pages| pages.iter().sum::<i64>())
            };
            assert_eq!(text_bytes(&found), text_bytes(&expected), "of leaf {leaf}");
            let mut ends: Vec<i64> =
                index(&found).page_locations().iter().map(|page| page.first_row_index).collect();
            ends.push(rows);
            for page in ends.windows(2) {
                assert!(page[0] < page[1], "a page without rows");
                assert!(page[1] - page[0] <= i64::try_from(cut.page_rows).unwrap());
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::None),
        1 => Just(Value::Empty),
        5 => "[a-c]{0,2}".prop_map(Value::Text),
        2 => "[a-zä-ü]{0,80}".prop_map(Value::Text),
        1 => (100..3000_usize).prop_map(|length| Value::Text("x".repeat(length))),
        3 => (-3..4_i64).prop_map(Value::Long),
        1 => any::<i64>().prop_map(Value::Long),
        2 => prop_oneof![Just(0.0), Just(0.5), any::<i32>().prop_map(f64::from)]
            .prop_map(Value::Double),
        2 => any::<bool>().prop_map(Value::Bool),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Value::Bytes),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let key = || prop_oneof![9 => "[a-e]{1,2}", 1 => "[a-z]{0,40}"];
    prop_oneof![
        1 => Just(Vec::new()),
        8 => prop::collection::vec((key(), value()), 0..12),
        1 => prop::collection::vec((key(), value()), 12..90),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    (1..80_usize, 1..20_usize, 16..2000_usize, 16..2000_usize).prop_map(
        |(row_group_rows, page_rows, page_bytes, dictionary_bytes)| Cut {
            row_group_rows,
            page_rows,
            page_bytes,
            dictionary_bytes,
        },
    )
}

fn ranges(rows: usize, picks: &[prop::sample::Index]) -> Vec<Range<usize>> {
    let mut places: Vec<usize> = picks.iter().map(|pick| pick.index(rows + 1)).collect();
    places.sort_unstable();
    places.chunks_exact(2).map(|pair| pair[0]..pair[1]).filter(|range| !range.is_empty()).collect()
}

proptest! {
    #![proptest_config(random_cases(96))]

    #[test]
    fn any_attributes_are_read_as_those_that_arrow_writes(
        rows in prop::collection::vec(row(), 1..150),
        portions in prop::collection::vec(1..60_usize, 1..4),
        cut in cut(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let ranges = ranges(rows.len(), &picks);
        check(&rows, &portions, cut, &ranges);
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

#[test]
fn rows_of_any_size_are_read_as_those_that_arrow_writes() {
    let many = |entries: usize| -> Row {
        let value = |number: usize| match number % 3 {
            0 => text(format!("{number}")),
            1 => Value::Long(number.cast_signed() as i64),
            _ => Value::Bool(number.is_multiple_of(2)),
        };
        (0..entries).map(|number| (format!("key {}", number % 700), value(number))).collect()
    };
    let long = |length: usize| vec![("long".to_owned(), text("y".repeat(length)))];
    let rows = [many(1), many(200_000), many(0), long(1 << 20), many(30), long(100_000), many(9)];
    check(&rows, &[3], AS_FILES, &[0..1, 2..3, 5..7]);
    let small = Cut { page_bytes: 1, dictionary_bytes: 1, page_rows: 1, ..AS_FILES };
    check(&rows, &[100], small, &[0..1, 2..3, 5..7]);
}

#[test]
fn a_row_that_the_page_has_no_room_for_begins_another() {
    let rows: Vec<Row> =
        (0..20).map(|row| vec![(format!("{row:050}"), text(format!("{row:090}")))]).collect();
    let cut = Cut { page_bytes: 300, dictionary_bytes: 10, ..AS_FILES };
    let file = metadata(&written(&packed(&rows), &[20], cut));
    let pages = |leaf: usize| file.offset_index().unwrap()[0][leaf].page_locations().len();
    assert_eq!((pages(1), pages(2), pages(3)), (4, 7, 1));
}

#[test]
fn columns_go_on_plain_when_their_dictionary_is_full() {
    let rows: Vec<Row> = (0..30_000_i64)
        .map(|row| {
            vec![
                (format!("key {}", row % 10), text(format!("value {row}"))),
                (format!("another {row}"), Value::Long(row)),
                ("same".to_owned(), Value::Bytes(vec![7])),
            ]
        })
        .collect();
    let file = metadata(&written(&packed(&rows), &[10_000], AS_FILES));
    let encodings = |leaf: usize| -> Vec<(PageType, Encoding)> {
        let stats = file.row_group(0).column(leaf).page_encoding_stats().cloned().unwrap();
        stats.iter().map(|stats| (stats.page_type, stats.encoding)).collect()
    };
    let dictionary = (PageType::DICTIONARY_PAGE, Encoding::PLAIN);
    let coded = (PageType::DATA_PAGE, Encoding::RLE_DICTIONARY);
    let plain = (PageType::DATA_PAGE, Encoding::PLAIN);
    for leaf in [1, 2, 3] {
        assert_eq!(encodings(leaf), [dictionary, coded, plain], "leaf {leaf}");
    }
    assert_eq!(encodings(5), [plain], "of bools");
    assert_eq!(encodings(6), [dictionary, coded], "of bytes");
    check(&rows, &[10_000], AS_FILES, &[0..1, 3_000..3_001, 29_000..30_000]);
}

#[test]
fn numbers_keep_their_bits() {
    let doubles = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 0.0, -0.0];
    let rows: Vec<Row> =
        doubles.iter().map(|double| vec![("d".to_owned(), Value::Double(*double))]).collect();
    for dictionary_bytes in [1000, 1] {
        let cut = Cut { dictionary_bytes, ..AS_FILES };
        let file = written(&packed(&rows), &[8], cut);
        let read = read(&file, std::slice::from_ref(&(0..8)), &ALL);
        let map = read.column(1).as_any().downcast_ref::<MapArray>().unwrap().clone();
        let values = map.values().as_any().downcast_ref::<StructArray>().unwrap().clone();
        let read = values.column(2).as_any().downcast_ref::<Float64Array>().unwrap();
        let bits = |doubles: &[f64]| doubles.iter().map(|d| d.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read.values()), bits(&doubles));
    }
}

#[test]
fn a_row_group_in_the_making_is_as_large_as_what_was_taken() {
    let rows: Vec<Row> = (0..1000_u64)
        .map(|row| {
            vec![("k".to_owned(), text(format!("{:x}", row.wrapping_mul(0x9e37_79b9_7f4a_7c15))))]
        })
        .collect();
    let rows = packed(&rows);
    // The numbers of an open page take many bytes.
    let cut = Cut { dictionary_bytes: 100, page_bytes: 2000, page_rows: 500, ..AS_FILES };
    let mut writer = row_groups(cut, 5000).unwrap();
    let mut before = 0;
    for _ in 0..4 {
        writer.push(&rows).unwrap();
        assert!(writer.unfinished_bytes() > before + 5000, "{}", writer.unfinished_bytes());
        before = writer.unfinished_bytes();
    }
    assert!(writer.written_bytes() < 10, "only the magic number");
    writer.end_row_group().unwrap();
    assert!(writer.unfinished_bytes() < 100);
    assert!(writer.written_bytes() > 20_000);
}

#[test]
fn rows_without_a_map_are_refused() {
    let rows = packed(&[vec![], vec![]]);
    let map = rows.column(1).as_any().downcast_ref::<MapArray>().unwrap();
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let (field, offsets, entries, _, ordered) = map.clone().into_parts();
    let map = MapArray::new(field, offsets, entries, nulls, ordered);
    let columns: [(&str, ArrayRef); 3] = [
        ("number", Arc::clone(rows.column(0))),
        ("attributes", Arc::new(map)),
        ("behind", Arc::clone(rows.column(2))),
    ];
    let rows =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
    let mut writer = row_groups(AS_FILES, 5000).unwrap();
    assert!(writer.push(&rows).is_err());
}

proptest! {
    #[test]
    fn entries_of_a_kind_are_those_with_its_code(kinds in prop::collection::vec(any::<u8>(), 0..40)) {
        let few: Vec<u8> = kinds.iter().map(|kind| kind % 7).collect();
        for (kinds, kind) in [(&kinds, ValueKind::None), (&few, ValueKind::Text), (&few, ValueKind::None)] {
            let are_it: Vec<bool> = super::which(kinds, kind).iter().collect();
            let expected: Vec<bool> = kinds.iter().map(|of| *of == kind.code()).collect();
            prop_assert_eq!(are_it, expected);
        }
    }
}
