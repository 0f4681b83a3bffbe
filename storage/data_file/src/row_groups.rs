//! Writer of the row groups of a file. Our own encoders write attributes, and columns that have a
//! dictionary and no statistics. Arrow's writer writes the other columns. `shred` distributes
//! attributes to the map and the attribute columns.
//!
//! `write` ends row groups before their maximum of rows, and defines the properties of the file.

use std::{io::Write, sync::Arc};

use arrow_array::{Array, ArrayRef, MapArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::{ParquetError, Result},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::{ColumnDescPtr, ColumnPath},
};
use tidings_columns::schema::ATTRIBUTE_ORDER;

use super::{
    encode::{AttributesEncoder, Codec, FlatEncoder, SparseEncoder, ValueSource},
    shred::{ATTRIBUTES, RowOrders, Shredder, steps},
};

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
    shredder: Shredder,
    /// Encoders of the attribute columns, which follow all other columns.
    sparse: Vec<SparseEncoder>,
    /// Codec of flat columns.
    codec: Codec,
    /// Codec of the attribute columns.
    sparse_codec: Codec,
    /// Encoder of each column, and the number of its leaves in Parquet.
    encoders: Vec<(ColumnEncoder, usize)>,
    rows_max: usize,
    /// Arrow's writers for the row group. Empty when the row group has no rows.
    columns: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
}

impl<W: Write + Send> RowGroups<W> {
    /// Creates a writer of these columns and of attribute columns, in row groups of at most
    /// `rows_max` rows.
    pub(super) fn new(
        sink: W,
        schema: SchemaRef,
        shredder: Shredder,
        properties: WriterProperties,
        rows_max: usize,
    ) -> Result<Self> {
        let all = schema.fields().iter().cloned().chain(shredder.fields());
        let all = Arc::new(Schema::new(all.collect::<Vec<_>>()));
        let parquet = ArrowSchemaConverter::new().convert(&all)?;
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
        let sparse = leaves.iter().map(|leaf| SparseEncoder::new(leaf, &properties)).collect();
        let attributes = attributes.ok_or_else(|| ParquetError::General(NO_COLUMN.to_owned()))?;
        let codec = Codec::new(properties.compression(&ColumnPath::new(Vec::new())))?;
        let of_sparse =
            leaves.first().map_or_else(|| ColumnPath::new(Vec::new()), |leaf| leaf.path().clone());
        let sparse_codec = Codec::new(properties.compression(&of_sparse))?;
        let root = parquet.root_schema_ptr();
        let writer = SerializedFileWriter::new(sink, root, Arc::new(properties))?;
        Ok(Self {
            factory: ArrowRowGroupWriterFactory::new(&writer, all),
            writer,
            schema,
            attributes,
            shredder,
            sparse,
            codec,
            sparse_codec,
            encoders,
            rows_max,
            columns: Vec::new(),
            rows: 0,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When the rows do not have the schema, or when the sink cannot write a row group.
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
        let order = self.push_attributes(rows)?;
        let encoders = self.encoders.iter_mut().zip(&mut self.columns);
        let mut of_rows = rows.columns().iter();
        for (field, ((encoder, _), columns)) in self.schema.fields().iter().zip(encoders) {
            let next = if field.name() == ATTRIBUTE_ORDER { Some(&order) } else { of_rows.next() };
            let Some(column) = next else { return Err(no_column(field)) };
            match encoder {
                ColumnEncoder::Attributes => {}
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

    /// Encodes the attributes of rows, and returns the order of each row.
    fn push_attributes(&mut self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = rows.column_by_name(ATTRIBUTES);
        let column = column.ok_or_else(|| ParquetError::General(NO_COLUMN.to_owned()))?;
        let map = column.as_any().downcast_ref::<MapArray>().ok_or_else(|| no_map(column))?;
        let mut orders = RowOrders::new(map.len());
        let places = self.shredder.places(map)?;
        let sources = (0..self.sparse.len()).map(|number| self.shredder.source(number, map));
        let sources: Option<Vec<ValueSource<'_>>> = sources.collect();
        let sources = sources.ok_or_else(|| no_map(column))?;
        for step in steps(map).ok_or_else(|| no_map(column))? {
            let step = map.slice(step.start, step.len());
            let shredded = self.shredder.shred(&step, &places, &mut orders)?;
            self.attributes.push(&shredded.rest)?;
            let columns = self.sparse.iter_mut().zip(&sources).zip(&shredded.entries);
            for ((encoder, source), entries) in columns {
                encoder.push(source, step.len(), entries, &mut self.sparse_codec)?;
            }
        }
        Ok(orders.finish()?)
    }

    /// Notes keys of attribute columns that occur outside of the attributes of these rows.
    pub(super) fn scan_other_keys(
        &mut self,
        rows: &RecordBatch,
    ) -> std::result::Result<(), ArrowError> {
        self.shredder.scan_other_keys(rows)
    }

    /// Returns the approximate size of the open row group in bytes.
    pub(super) fn unfinished_bytes(&self) -> usize {
        let columns =
            self.columns.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes);
        let flat = self.encoders.iter().map(|(encoder, _)| match encoder {
            ColumnEncoder::Flat(flat) => flat.bytes(),
            ColumnEncoder::Attributes | ColumnEncoder::Arrow => 0,
        });
        let sparse = self.sparse.iter().map(SparseEncoder::bytes);
        columns.chain(flat).chain(sparse).sum::<usize>() + self.attributes.bytes()
    }

    /// Returns the number of bytes written.
    pub(super) fn written_bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Writes the row group unless it is empty.
    ///
    /// # Errors
    /// When the sink cannot write it.
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
        for sparse in &mut self.sparse {
            sparse.append_to(&mut row_group, &mut self.sparse_codec)?;
        }
        row_group.close()?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the sink cannot write the rest.
    pub(super) fn finish(mut self) -> Result<W> {
        self.end_row_group()?;
        if let Some(list) = self.shredder.list() {
            self.writer.append_key_value_metadata(list);
        }
        self.writer.into_inner()
    }
}

fn no_column(field: &Field) -> ParquetError {
    ParquetError::General(format!("rows have no column {}", field.name()))
}

fn no_map(column: &dyn Array) -> ArrowError {
    ArrowError::SchemaError(format!("attributes are {}", column.data_type()))
}
