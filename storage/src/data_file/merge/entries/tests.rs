use std::{fs::File, io::Write, ops::Range, os::unix::fs::FileExt, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use prost::Message;
use tidings_proto::otlp::ExportTraceServiceRequest;

use super::{EntriesReader, hybrid::decode};
use crate::{columns::span_rows, rows::attributes::Attributes, samples, schema::coded_attributes};

/// The attributes of these spans as a file of them alone.
fn file(requests: &[ExportTraceServiceRequest], layout: WriterPropertiesBuilder) -> File {
    let schema = Schema::new(vec![Field::new("attributes", coded_attributes(), false)]);
    let schema = Arc::new(schema);
    let layout = Some(layout.build());
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), layout).unwrap();
    for request in requests {
        let rows = span_rows(request, samples::NOW).unwrap();
        let attributes = Arc::clone(rows.column_by_name("attributes").unwrap());
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
    let attributes = Attributes::of(&batch, "attributes").unwrap().unwrap();
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

#[test]
fn what_others_lay_out_in_another_way_is_left_to_arrow() {
    let mut runner = TestRunner::deterministic();
    let mut request = || samples::traces().new_tree(&mut runner).unwrap().current();
    let requests: Vec<_> = (0..20).map(|_| request()).collect();
    let layout = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0);
    let file = file(&requests, layout.set_dictionary_enabled(false));
    assert!(EntriesReader::open(&file, &footer(&file), None).unwrap().is_none());
}
