//! Entropy bound of a column: how small its values could be if their order told nothing.
//!
//! The bound is the order-0 entropy of the values' codes, plus the distinct values once, sorted and
//! compressed hard (numbers as differences). It is no more than the plain values. Levels are not
//! in it. A column whose neighbours are alike can be smaller.

use std::{collections::HashMap, io::Write};

use anyhow::{Context, Result};
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{AsBytes, DataType},
    file::reader::{FileReader, SerializedFileReader},
};

/// Distinct values are compressed at this level of zstd.
const LEVEL: i32 = 12;
/// Records that are read at once.
const PORTION: usize = 65_536;

/// How often each value of a column occurs.
#[derive(Debug, Default)]
struct ValueCounts {
    counts: HashMap<Vec<u8>, u64>,
    plain_bytes: u64,
    /// True if values are little-endian numbers.
    are_numbers: bool,
}

/// The entropy bound in bytes of every column of a file, in the file's order.
pub(crate) fn bounds(file: &SerializedFileReader<std::fs::File>) -> Result<Vec<f64>> {
    let columns = file.metadata().file_metadata().schema_descr().num_columns();
    (0..columns).map(|column| bound(file, column)).collect()
}

fn bound(file: &SerializedFileReader<std::fs::File>, column: usize) -> Result<f64> {
    let mut values = ValueCounts::default();
    for group in 0..file.num_row_groups() {
        match file.get_row_group(group)?.get_column_reader(column)? {
            ColumnReader::BoolColumnReader(reader) => values.read(reader)?,
            ColumnReader::Int32ColumnReader(reader) => values.read_numbers(reader)?,
            ColumnReader::Int64ColumnReader(reader) => values.read_numbers(reader)?,
            ColumnReader::Int96ColumnReader(reader) => values.read(reader)?,
            ColumnReader::FloatColumnReader(reader) => values.read(reader)?,
            ColumnReader::DoubleColumnReader(reader) => values.read(reader)?,
            ColumnReader::ByteArrayColumnReader(reader) => values.read(reader)?,
            ColumnReader::FixedLenByteArrayColumnReader(reader) => values.read(reader)?,
        }
    }
    values.bound()
}

impl ValueCounts {
    fn read_numbers<T: DataType>(&mut self, reader: ColumnReaderImpl<T>) -> Result<()> {
        self.are_numbers = true;
        self.read(reader)
    }

    fn read<T: DataType>(&mut self, mut reader: ColumnReaderImpl<T>) -> Result<()> {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            values.clear();
            definitions.clear();
            repetitions.clear();
            let (records, ..) = reader.read_records(
                PORTION,
                Some(&mut definitions),
                Some(&mut repetitions),
                &mut values,
            )?;
            if records == 0 {
                return Ok(());
            }
            for value in &values {
                let bytes = value.as_bytes();
                self.plain_bytes += bytes.len() as u64;
                match self.counts.get_mut(bytes) {
                    Some(count) => *count += 1,
                    None => {
                        self.counts.insert(bytes.to_vec(), 1);
                    }
                }
            }
        }
    }

    fn bound(self) -> Result<f64> {
        let all = self.counts.values().sum::<u64>() as f64;
        let bits: f64 =
            self.counts.values().map(|count| *count as f64 * (all / *count as f64).log2()).sum();
        let mut compressor = zstd::Encoder::new(Vec::new(), LEVEL)?;
        if self.are_numbers {
            let mut numbers = self.counts.keys().map(|bytes| number(bytes)).collect::<Vec<_>>();
            numbers.sort_unstable();
            let mut last = 0_i64;
            for number in numbers {
                let difference = number.wrapping_sub(last).cast_unsigned().to_be_bytes();
                let leading = difference.iter().take_while(|byte| **byte == 0).count();
                compressor.write_all(&[u8::try_from(leading)?])?;
                compressor.write_all(difference.get(leading..).context("eight bytes")?)?;
                last = number;
            }
        } else {
            let mut texts: Vec<&Vec<u8>> = self.counts.keys().collect();
            texts.sort_unstable();
            for text in texts {
                compressor.write_all(&u32::try_from(text.len())?.to_le_bytes())?;
                compressor.write_all(text)?;
            }
        }
        let distinct = compressor.finish()?.len() as f64;
        Ok((bits / 8.0 + distinct).min(self.plain_bytes as f64))
    }
}

/// A little-endian number of 4 or 8 bytes.
fn number(bytes: &[u8]) -> i64 {
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [sign; 8];
    whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    i64::from_le_bytes(whole)
}
