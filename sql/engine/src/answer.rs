//! The rows of an answer, collected within their bounds and written in a format.
//!
//! Owns a worker's half of an answer ([`CollectedRows`], [`Rows`]). `value_text` writes single
//! values, `formats` the formats of an answer. The server has the other half.

mod formats;
mod value_text;

use std::{ops::ControlFlow, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidings_proto::api::{SqlColumn, SqlPartialReason};
use tidings_sql::{
    message::{AnswerMetadata, Head},
    width::bytes_of,
};

pub(crate) use formats::{arrow_parts, csv_parts, flight_parts, json_parts};
pub(crate) use value_text::{check_columns, check_rows, type_name};

/// Rows that are written at once.
const ROWS_WRITTEN: usize = 512;

/// The rows of a result so far.
#[derive(Debug)]
pub(crate) struct CollectedRows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    lack: Option<SqlPartialReason>,
}

impl CollectedRows {
    pub(crate) fn new(schema: SchemaRef, rows_max: usize, bytes_max: usize) -> Self {
        let batches = Vec::new();
        Self { schema, batches, rows: 0, bytes: 0, rows_max, bytes_max, lack: None }
    }

    /// Adds rows up to the bounds; breaks when a bound is reached.
    pub(crate) fn add(&mut self, mut batch: RecordBatch) -> ControlFlow<()> {
        let room = self.rows_max - self.rows;
        if batch.num_rows() > room {
            self.lack = Some(SqlPartialReason::Rows);
            batch = batch.slice(0, room);
        }
        while self.bytes + bytes_of(&batch) > self.bytes_max && batch.num_rows() > 0 {
            self.lack = Some(SqlPartialReason::Bytes);
            batch = batch.slice(0, batch.num_rows() / 2);
        }
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.bytes += bytes_of(&batch);
            self.batches.push(batch);
        }
        match self.lack {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Returns the beginning of the answer, for the server.
    pub(crate) fn head(&self) -> Head {
        Head { rows: self.rows, cut: self.lack }
    }

    /// Returns the rows, with the facts that the server knows about them.
    pub(crate) fn rows(self, facts: AnswerMetadata) -> Rows {
        Rows { schema: self.schema, batches: self.batches, count: self.rows, facts }
    }
}

/// A result to be written.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The columns, in order.
    pub(crate) schema: SchemaRef,
    /// The rows, in order.
    batches: Vec<RecordBatch>,
    count: usize,
    pub(crate) facts: AnswerMetadata,
}

impl Rows {
    /// Returns the columns as the API describes them.
    fn columns(&self) -> Vec<SqlColumn> {
        let fields = self.schema.fields().iter();
        let column = |field: &Arc<arrow_schema::Field>| SqlColumn {
            name: field.name().clone(),
            r#type: type_name(field.data_type()).to_owned(),
        };
        fields.map(column).collect()
    }

    /// Returns the rows in pieces that are quickly written.
    pub(crate) fn pieces(self) -> impl Iterator<Item = RecordBatch> + Send {
        self.batches.into_iter().flat_map(|batch| {
            let firsts = (0..batch.num_rows()).step_by(ROWS_WRITTEN);
            let pieces =
                firsts.map(|first| batch.slice(first, ROWS_WRITTEN.min(batch.num_rows() - first)));
            pieces.collect::<Vec<_>>()
        })
    }
}
