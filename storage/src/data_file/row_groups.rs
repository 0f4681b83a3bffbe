//! Row groups of a file: the columns of rows, attributes and what has a dictionary and no
//! statistics by encoders of ours, all others by Arrow's.
//!
//! `write` says when a row group ends, besides at its most rows, and what the properties of the
//! file are.

use std::{io::Write, sync::Arc};

use arrow_array::{Array, MapArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::{ParquetError, Result},
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::{ColumnDescPtr, ColumnPath},
};

use super::encode::{AttributesEncoder, Codec, FlatEncoder};

/// The column that has an encoder of its own.
const ATTRIBUTES: &str = "attributes";
const NO_COLUMN: &str = "there is no column of attributes";

/// Writer of a column.
enum ColumnEncoder {
    Attributes,
    Flat(Box<FlatEncoder>),
    Arrow,
}

/// Writes row groups.
pub(super) struct RowGroups<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    attributes: AttributesEncoder,
    /// Of flat columns.
    codec: Codec,
    /// Of each column, with how many columns of Parquet it is.
    encoders: Vec<(ColumnEncoder, usize)>,
    rows_max: usize,
    /// Arrow's, of the row group; none when it has no rows.
    columns: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
}

impl<W: Write + Send> RowGroups<W> {
    /// Of rows of this schema, each row group of so many at most.
    pub(super) fn new(
        sink: W,
        schema: SchemaRef,
        properties: WriterProperties,
        rows_max: usize,
    ) -> Result<Self> {
        let parquet = ArrowSchemaConverter::new().convert(&schema)?;
        let mut leaves = parquet.columns();
        let (mut encoders, mut attributes) = (Vec::new(), None);
        for field in schema.fields() {
            let is_of = |leaf: &ColumnDescPtr| leaf.path().parts().first() == Some(field.name());
            let (own, rest) = leaves.split_at(leaves.iter().take_while(|leaf| is_of(leaf)).count());
            leaves = rest;
            let encoder = match (field.data_type(), own) {
                _ if field.name() == ATTRIBUTES => {
                    attributes = Some(AttributesEncoder::new(own, &properties)?);
                    ColumnEncoder::Attributes
                }
                (DataType::Dictionary(..) | DataType::Int32 | DataType::Int64, [leaf]) => {
                    FlatEncoder::new(leaf, &properties)
                        .map_or(ColumnEncoder::Arrow, |flat| ColumnEncoder::Flat(Box::new(flat)))
                }
                _ => ColumnEncoder::Arrow,
            };
            encoders.push((encoder, own.len()));
        }
        let attributes = attributes.ok_or_else(|| ParquetError::General(NO_COLUMN.to_owned()))?;
        let codec = Codec::new(properties.compression(&ColumnPath::new(Vec::new())))?;
        let root = parquet.root_schema_ptr();
        let writer = SerializedFileWriter::new(sink, root, Arc::new(properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
        let columns = Vec::new();
        let rows = 0;
        Ok(Self { writer, factory, schema, attributes, codec, encoders, rows_max, columns, rows })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When they are not those of the schema, or the sink cannot take a row group.
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut begin = 0;
        while begin < rows.num_rows() {
            let count = (rows.num_rows() - begin).min(self.rows_max - self.rows);
            self.push_to_row_group(&rows.slice(begin, count))?;
            begin += count;
            if self.rows >= self.rows_max {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    fn push_to_row_group(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            let number = self.writer.flushed_row_groups().len();
            let mut columns = self.factory.create_column_writers(number)?.into_iter();
            for (encoder, leaves) in &self.encoders {
                let mut columns: Vec<_> = columns.by_ref().take(*leaves).collect();
                if !matches!(encoder, ColumnEncoder::Arrow) {
                    columns.clear();
                }
                self.columns.push(columns);
            }
        }
        let encoders = self.encoders.iter_mut().zip(&mut self.columns);
        let fields = self.schema.fields().iter().zip(rows.columns());
        for ((field, column), ((encoder, _), columns)) in fields.zip(encoders) {
            match encoder {
                ColumnEncoder::Attributes => {
                    let map = column.as_any().downcast_ref::<MapArray>();
                    self.attributes.push(map.ok_or_else(|| no_map(column))?)?;
                }
                ColumnEncoder::Flat(flat) => flat.push(column, &mut self.codec)?,
                ColumnEncoder::Arrow => {
                    for (leaf, column) in compute_leaves(field, column)?.iter().zip(columns) {
                        column.write(leaf)?;
                    }
                }
            }
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    /// About how large the row group is that is not written yet.
    pub(super) fn unfinished_bytes(&self) -> usize {
        let columns =
            self.columns.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes);
        let flat = self.encoders.iter().map(|(encoder, _)| match encoder {
            ColumnEncoder::Flat(flat) => flat.bytes(),
            ColumnEncoder::Attributes | ColumnEncoder::Arrow => 0,
        });
        columns.sum::<usize>() + flat.sum::<usize>() + self.attributes.bytes()
    }

    /// Returns the number of bytes written.
    pub(super) fn written_bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Writes the row group, if there are rows for it.
    ///
    /// # Errors
    /// When the sink cannot take it.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let mut row_group = self.writer.next_row_group()?;
        let columns = std::mem::take(&mut self.columns);
        for ((encoder, _), columns) in self.encoders.iter_mut().zip(columns) {
            match encoder {
                ColumnEncoder::Attributes => self.attributes.append_to(&mut row_group)?,
                ColumnEncoder::Flat(flat) => flat.append_to(&mut row_group, &mut self.codec)?,
                ColumnEncoder::Arrow => {
                    for column in columns {
                        column.close()?.append_to_row_group(&mut row_group)?;
                    }
                }
            }
        }
        row_group.close()?;
        Ok(())
    }

    /// Has this in the footer too.
    pub(super) fn say(&mut self, what: KeyValue) {
        self.writer.append_key_value_metadata(what);
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the sink cannot take the rest.
    pub(super) fn finish(mut self) -> Result<W> {
        self.end_row_group()?;
        self.writer.into_inner()
    }
}

fn no_map(column: &dyn Array) -> ArrowError {
    ArrowError::SchemaError(format!("attributes are {}", column.data_type()))
}
