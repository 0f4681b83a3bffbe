use std::sync::Arc;

use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{
        metadata::PageIndexPolicy,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use proptest::prelude::*;
use tidings_columns::schema::{self, coded_attributes, packed_attributes, packed_fields, word};
use tidings_disk::test_effort::random_cases;

use crate::{row_groups::RowGroups, shred::Shredder};

type Words = Vec<Option<String>>;

/// Returns words in the memory format. A row without a word has no code. Without any word, the
/// column has no dictionary.
fn column(words: &[Option<String>]) -> ArrayRef {
    let mut texts: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    let code = |word: &String| texts.iter().position(|text| text == word).unwrap();
    let code =
        |word: &Option<String>| word.as_ref().map_or(-1, |word| i32::try_from(code(word)).unwrap());
    let codes: Vec<i32> = words.iter().map(code).collect();
    let is_there: NullBuffer = words.iter().map(Option::is_some).collect();
    let codes = Int32Array::new(codes.into(), Some(is_there));
    let texts = Arc::new(StringArray::from(texts));
    Arc::new(DictionaryArray::<Int32Type>::try_new(codes, texts).unwrap())
}

fn no_attributes(rows: usize) -> ArrayRef {
    let keys = column(&[]);
    let values = StructArray::from(RecordBatch::new_empty(Arc::new(Schema::new(packed_fields()))));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(0, rows));
    Arc::new(schema::map(packed_attributes(), offsets, keys, values).unwrap())
}

/// Writes a file of these portions of rows. Each column is written beside attributes.
fn file(
    columns: &[Field],
    portions: &[Vec<ArrayRef>],
    properties: WriterProperties,
    row_group_rows: usize,
) -> Bytes {
    let with = |attributes| {
        let mut fields = columns.to_vec();
        fields.insert(1, Field::new("attributes", attributes, false));
        Arc::new(Schema::new(fields))
    };
    let (schema, in_memory) = (with(coded_attributes()), with(packed_attributes()));
    let shredder = Shredder::new(Vec::new());
    let mut writer =
        RowGroups::new(Vec::new(), schema, shredder, properties, row_group_rows).unwrap();
    for portion in portions {
        let mut columns = portion.clone();
        columns.insert(1, no_attributes(portion[0].len()));
        writer.push(&RecordBatch::try_new(Arc::clone(&in_memory), columns).unwrap()).unwrap();
    }
    writer.finish().unwrap().into()
}

fn portions_file(portions: &[Words], properties: WriterProperties, rows_max: usize) -> Bytes {
    let columns = [Field::new("before", word(), true), Field::new("word", word(), true)];
    let portions: Vec<_> = portions.iter().map(|of| vec![column(of), column(of)]).collect();
    file(&columns, &portions, properties, rows_max)
}

fn read(file: Bytes, name: &str) -> Words {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let texts = |batch: RecordBatch| {
        let texts = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let texts: Words = texts.iter().map(|text| text.map(str::to_owned)).collect();
        texts
    };
    reader.flat_map(|batch| texts(batch.unwrap())).collect()
}

fn words() -> impl Strategy<Value = Words> {
    let word = prop_oneof![Just(None), "[ab]{0,2}".prop_map(Some), "[a-f]{9,40}".prop_map(Some)];
    prop_oneof![
        4 => prop::collection::vec(word, 1..30),
        1 => (1..30_usize).prop_map(|rows| vec![None; rows]),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<Option<i64>>> {
    let number = prop_oneof![Just(None), (0..3_i64).prop_map(Some), any::<i64>().prop_map(Some)];
    prop_oneof![
        4 => prop::collection::vec(number, 1..30),
        1 => (1..30_usize).prop_map(|rows| vec![Some(7); rows]),
    ]
}

proptest! {
    #![proptest_config(random_cases(256))]

    #[test]
    fn words_are_those_that_were_written(
        portions in prop::collection::vec(words(), 1..8),
        (page_rows, page_bytes) in (1..9_usize, 8..300_usize),
        (dictionary_bytes, row_group_rows) in (0..200_usize, 1..60_usize),
    ) {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_data_page_row_count_limit(page_rows)
            .set_data_page_size_limit(page_bytes)
            .set_dictionary_page_size_limit(dictionary_bytes)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let file = portions_file(&portions, properties, row_group_rows);
        prop_assert_eq!(read(file.clone(), "word"), portions.concat());
        prop_assert_eq!(read(file, "before"), portions.concat());
    }

    #[test]
    fn numbers_are_those_that_were_written(
        portions in prop::collection::vec(numbers(), 1..8),
        (page_rows, page_bytes) in (1..9_usize, 8..300_usize),
        (dictionary_bytes, row_group_rows) in (0..80_usize, 1..60_usize),
        is_compressed in any::<bool>(),
    ) {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
        let of_column = if is_compressed { zstd } else { Compression::UNCOMPRESSED };
        let mut properties = WriterProperties::builder()
            .set_compression(zstd)
            .set_data_page_row_count_limit(page_rows)
            .set_data_page_size_limit(page_bytes)
            .set_dictionary_page_size_limit(dictionary_bytes)
            .set_statistics_enabled(EnabledStatistics::None);
        for name in ["long", "int", "there"] {
            properties = properties.set_column_compression(name.into(), of_column);
        }
        let columns = [
            Field::new("long", DataType::Int64, true),
            Field::new("int", DataType::Int32, true),
            Field::new("there", DataType::Int64, false),
        ];
        let small = |number: i64| i32::try_from(number >> 32).unwrap();
        let there = |number: &Option<i64>| Some(number.unwrap_or_default());
        let arrays = portions.iter().map(|numbers| -> Vec<ArrayRef> {
            let ints: Int32Array = numbers.iter().map(|number| number.map(small)).collect();
            let there: Int64Array = numbers.iter().map(there).collect();
            vec![Arc::new(Int64Array::from(numbers.clone())), Arc::new(ints), Arc::new(there)]
        });
        let arrays: Vec<_> = arrays.collect();
        let file = file(&columns, &arrays, properties.build(), row_group_rows);
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let (mut longs, mut ints, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for batch in reader {
            let batch = batch.unwrap();
            longs.extend(batch["long"].as_primitive::<Int64Type>().iter());
            ints.extend(batch["int"].as_primitive::<Int32Type>().iter());
            all.extend(batch["there"].as_primitive::<Int64Type>().iter());
        }
        let expected = portions.concat();
        prop_assert_eq!(&longs, &expected);
        prop_assert_eq!(ints, expected.iter().map(|of| of.map(small)).collect::<Vec<_>>());
        prop_assert_eq!(all, expected.iter().map(there).collect::<Vec<_>>());
    }
}

#[test]
fn equal_rows_share_a_page() {
    let words = |count: usize, word: Option<&str>| vec![word.map(str::to_owned); count];
    let portions =
        [words(50, Some("a")), words(3, Some("b")), words(40, None), words(99, Some("a"))];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_data_page_row_count_limit(4)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = portions_file(&portions, properties, 1000);
    assert_eq!(read(file.clone(), "word"), portions.concat());
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let columns = &reader.metadata().offset_index().unwrap()[0];
    let pages = columns.last().unwrap().page_locations();
    let starts: Vec<i64> = pages.iter().map(|page| page.first_row_index).collect();
    // A page ends with the first four rows that differ, and after 64 rows.
    assert_eq!(starts, [0, 52, 56, 96, 160]);
}
