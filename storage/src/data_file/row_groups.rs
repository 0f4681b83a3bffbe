//! Row groups of a file: the columns of rows, attributes by an encoder of ours, all others by
//! Arrow's.
//!
//! `write` says when a row group ends, besides at its most rows, and what the properties of the
//! file are.

use std::{io::Write, ops::Range, sync::Arc};

use arrow_array::{Array, MapArray, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::Result,
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
};

use super::attributes::AttributesEncoder;

/// The column that has an encoder of its own.
const ATTRIBUTES: &str = "attributes";

/// Writes row groups.
pub(super) struct RowGroups<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    attributes: AttributesEncoder,
    /// The columns of the file that are attributes.
    leaves: Range<usize>,
    rows_max: usize,
    /// All other columns of the row group; none when it has no rows.
    columns: Vec<ArrowColumnWriter>,
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
        let is_of_attributes = |leaf: usize| parquet.get_column_root(leaf).name() == ATTRIBUTES;
        let first = (0..parquet.num_columns()).take_while(|leaf| !is_of_attributes(*leaf)).count();
        let after = (first..parquet.num_columns()).take_while(|leaf| is_of_attributes(*leaf));
        let leaves = first..first + after.count();
        let attributes = AttributesEncoder::new(&parquet.columns()[leaves.clone()], &properties)?;
        let root = parquet.root_schema_ptr();
        let writer = SerializedFileWriter::new(sink, root, Arc::new(properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
        let columns = Vec::new();
        Ok(Self { writer, factory, schema, attributes, leaves, rows_max, columns, rows: 0 })
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
            self.columns = self.factory.create_column_writers(number)?;
            self.columns.drain(self.leaves.clone());
        }
        let mut columns = self.columns.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            if field.name() == ATTRIBUTES {
                let map = column.as_any().downcast_ref::<MapArray>();
                self.attributes.push(map.ok_or_else(|| no_map(column))?)?;
                continue;
            }
            for (leaf, column) in compute_leaves(field, column)?.iter().zip(&mut columns) {
                column.write(leaf)?;
            }
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    /// About how large the row group is that is not written yet.
    pub(super) fn unfinished_bytes(&self) -> usize {
        let columns = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes);
        columns.sum::<usize>() + self.attributes.bytes()
    }

    /// What was written.
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
        for (number, column) in std::mem::take(&mut self.columns).into_iter().enumerate() {
            if number == self.leaves.start {
                self.attributes.append_to(&mut row_group)?;
            }
            column.close()?.append_to_row_group(&mut row_group)?;
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
