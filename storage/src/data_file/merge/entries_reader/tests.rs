use std::{fs::File, io::Write, ops::Range, os::unix::fs::FileExt, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray, types::Int32Type};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    basic::Encoding,
    file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use prost::Message;
use tidings_proto::otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span};

use super::{EntriesReader, hybrid::decode, leaf::Leaf};
use crate::{
    columns::span_rows, rows::attributes::AttributesColumn, samples, schema::coded_attributes,
};

/// The attributes of these spans as a file of them alone.
fn file(requests: &[ExportTraceServiceRequest], layout: WriterPropertiesBuilder) -> File {
    let schema = Schema::new(vec![Field::new("attributes", coded_attributes(), false)]);
    let schema = Arc::new(schema);
    let layout = Some(layout.build());
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), layout).unwrap();
    for request in requests {
        let rows = span_rows(request, samples::NOW).unwrap();
        let attributes: ArrayRef = Arc::new(samples::typed(&rows["attributes"]));
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), vec![attributes]).unwrap())
            .unwrap();
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&writer.into_inner().unwrap()).unwrap();
    file
}

fn footer(file: &File) -> ArrowReaderMetadata {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(file, options).unwrap()
}

/// Each row's attributes, encoded: what is not a number equals nothing.
fn said(column: &ArrayRef) -> Vec<Vec<Vec<u8>>> {
    let schema = Schema::new(vec![Field::new("attributes", column.data_type().clone(), false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(column)]).unwrap();
    let attributes = AttributesColumn::from_batch(&batch, "attributes").unwrap().unwrap();
    let of_row = |row| attributes.get(row).iter().map(Message::encode_to_vec).collect();
    (0..batch.num_rows()).map(of_row).collect()
}

/// As Arrow reads them.
fn all(file: &File) -> Vec<Vec<Vec<u8>>> {
    let reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone().unwrap(), footer(file));
    reader.build().unwrap().flat_map(|batch| said(batch.unwrap().column(0))).collect()
}

/// Ranges that are ascending and apart.
fn ranges(lengths: &[(usize, usize)], rows: usize) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut ranges = Vec::new();
    for (gap, length) in lengths {
        let start = (at + gap).min(rows);
        at = (start + length).min(rows);
        if start < at {
            ranges.push(start..at);
        }
    }
    ranges
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn attributes_are_those_that_arrow_reads(
        requests in prop::collection::vec(samples::traces(), 1..6),
        (page_rows, group_rows, dictionary_bytes) in (1..6_usize, 1..9_usize, 0..200_usize),
        lengths in prop::collection::vec((0..3_usize, 1..5_usize), 0..8),
        (portion, version) in (1..7_usize, any::<bool>()),
    ) {
        let version =
            if version { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
        let layout = WriterProperties::builder()
            .set_writer_version(version)
            .set_data_page_row_count_limit(page_rows)
            .set_write_batch_size(page_rows)
            .set_max_row_group_row_count(Some(group_rows))
            .set_dictionary_page_size_limit(dictionary_bytes);
        let file = file(&requests, layout);
        let all = all(&file);
        let some = ranges(&lengths, all.len());
        for ranges in [None, Some(some.as_slice())] {
            let expected: Vec<_> = match ranges {
                None => all.clone(),
                Some(ranges) => ranges.iter().flat_map(|rows| all[rows.clone()].to_vec()).collect(),
            };
            let opened = EntriesReader::open(&file, &footer(&file), ranges).unwrap();
            if version == WriterVersion::PARQUET_2_0 && opened.is_none() {
                continue; // Texts that are no dictionary are differences there.
            }
            let mut reader = opened.unwrap();
            let mut read = Vec::new();
            while read.len() < expected.len() {
                let rows = portion.min(expected.len() - read.len());
                let column = reader.next(rows).unwrap();
                prop_assert_eq!(column.len(), rows);
                prop_assert_eq!(column.data_type(), &coded_attributes());
                read.extend(said(&column));
            }
            prop_assert_eq!(&read, &expected);
            prop_assert!(reader.next(1).is_err(), "there are no more rows");
        }
    }

    #[test]
    fn damage_is_an_error_and_never_more(
        request in samples::traces(), places in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4)
    ) {
        let whole = file(&[request], WriterProperties::builder());
        let footer = footer(&whole);
        let data: usize = footer.metadata().row_groups().iter()
            .map(|group| usize::try_from(group.compressed_size()).unwrap()).sum();
        let length = usize::try_from(whole.metadata().unwrap().len()).unwrap();
        let mut bytes = vec![0; length];
        whole.read_exact_at(&mut bytes, 0).unwrap();
        for (place, value) in places {
            let at = 4 + place.index(data.max(1));
            bytes[at] ^= value;
        }
        let mut damaged = tempfile::tempfile().unwrap();
        damaged.write_all(&bytes).unwrap();
        let rows = usize::try_from(footer.metadata().file_metadata().num_rows()).unwrap();
        if let Ok(Some(mut reader)) = EntriesReader::open(&damaged, &footer, None) {
            // What it says is either an error or rows of the right number.
            if let Ok(read) = reader.next(rows) {
                prop_assert_eq!(read.len(), rows);
            }
        }
    }

    #[test]
    fn numbers_are_what_was_packed(
        runs in prop::collection::vec((any::<bool>(), 0..40_u64, 1..60_usize), 1..12), width in 6..9_u32
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (packed, value, count) in runs {
            if packed {
                let groups = count.div_ceil(8);
                bytes.push(u8::try_from(groups << 1 | 1).unwrap());
                let (mut bits, mut have) = (0_u64, 0);
                for number in 0..groups as u64 * 8 {
                    let number = (value + number) % 40;
                    expected.push(u32::try_from(number).unwrap());
                    bits |= number << have;
                    have += width;
                    while have >= 8 {
                        bytes.push((bits & 0xff) as u8);
                        bits >>= 8;
                        have -= 8;
                    }
                }
            } else {
                bytes.push(u8::try_from(count << 1).unwrap());
                bytes.push(u8::try_from(value).unwrap());
                expected.extend(std::iter::repeat_n(u32::try_from(value).unwrap(), count));
            }
        }
        let mut read: Vec<u32> = Vec::new();
        prop_assert!(decode(&bytes, width, expected.len(), &mut read).is_some());
        prop_assert_eq!(&read, &expected);
        read.clear();
        prop_assert!(decode(&bytes, width, expected.len() + 8, &mut read).is_none());
    }
}

/// Spans of which each has a key of its own.
fn keyed(count: usize) -> ExportTraceServiceRequest {
    let entry = |key: String| KeyValue { key, ..KeyValue::default() };
    let span = |n: usize| Span {
        trace_id: vec![1; 16],
        span_id: (n as u64 + 1).to_be_bytes().to_vec(),
        attributes: vec![entry("known".to_owned()), entry(format!("{n}"))],
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..count).map(span).collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }
}

#[test]
fn a_portion_has_its_own_keys_and_no_others() {
    // Few rows are a page, and only the first of them have codes.
    let layout = WriterProperties::builder()
        .set_data_page_row_count_limit(30)
        .set_write_batch_size(30)
        .set_dictionary_page_size_limit(500);
    let file = file(&[keyed(400)], layout);
    let all = all(&file);
    for ranges in [std::slice::from_ref(&(0..400)), &[90..100, 310..400]] {
        let mut expected: Vec<_> =
            ranges.iter().flat_map(|rows| all[rows.clone()].to_vec()).collect();
        let mut reader = EntriesReader::open(&file, &footer(&file), Some(ranges)).unwrap().unwrap();
        while !expected.is_empty() {
            let column = reader.next(10).unwrap();
            assert_eq!(said(&column), expected.drain(..10).collect::<Vec<_>>());
            let keys = column.as_map().keys().as_dictionary::<Int32Type>().values().len();
            assert_eq!(keys, 1 + 10);
        }
    }
}

#[test]
fn a_page_may_have_all_of_its_row_group_and_no_more() {
    let file = file(&[keyed(1)], WriterProperties::builder());
    let footer = footer(&file);
    let group = footer.metadata().row_group(0);
    // As many rows with as many attributes as others have put into one page.
    let places = (1 << 26) + 8;
    let columns = group
        .columns()
        .iter()
        .map(|column| column.clone().into_builder().set_num_values(places).build().unwrap());
    let group = group.clone().into_builder().set_column_metadata(columns.collect());
    let group = group.build().unwrap();
    let bytes = group.num_columns() - 1;
    let mut leaf = Leaf::open(&Arc::new(file), &group, bytes, false).unwrap();
    // One run of nothing, of so many.
    let mut levels = Vec::new();
    prost::encoding::encode_varint(1 << 28, &mut levels);
    levels.push(0);
    let places = usize::try_from(places).unwrap();
    let mut read = |places| leaf.read((&[], &levels, Bytes::new()), places, Encoding::PLAIN);
    assert!(read(places).is_ok());
    assert!(read(places + 1).is_err());
}

#[test]
fn what_others_lay_out_in_another_way_is_left_to_arrow() {
    let mut runner = TestRunner::deterministic();
    let mut request = || samples::traces().new_tree(&mut runner).unwrap().current();
    let requests: Vec<_> = (0..20).map(|_| request()).collect();
    let layout = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0);
    let file = file(&requests, layout.set_dictionary_enabled(false));
    assert!(EntriesReader::open(&file, &footer(&file), None).unwrap().is_none());
}
