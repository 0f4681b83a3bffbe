//! What a query gives: rows, and what has to be known about them.
//!
//! Owns the bounds of an answer: it is whole or says what it lacks. `value` writes single values,
//! `csv`, `json` and `arrow` the three forms an answer can have.

mod arrow;
mod csv;
mod json;
mod value;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tidings_proto::{
    DurationNanos,
    api::{SqlColumn, SqlLack, SqlRead},
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{SqlError, guard::bytes_of, meter::Meter};

pub(crate) use value::{check_columns, check_rows};

/// Rows that are written at once: a thread that serves others has to go on.
const ROWS_WRITTEN: usize = 512;

/// The rows of a query.
#[derive(Debug)]
pub struct Answer {
    /// The columns, in order.
    pub schema: SchemaRef,
    /// The rows, in order.
    pub batches: Vec<RecordBatch>,
    /// What the answer lacks; empty when it is whole.
    pub lacks: Vec<SqlLack>,
    /// Whether a span or record that was sent twice may have counted twice.
    pub repeats_counted: bool,
    /// What was read.
    pub read: SqlRead,
    /// How long it took.
    pub elapsed: Duration,
    /// The query's place among those that run.
    place: Arc<OwnedSemaphorePermit>,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object with columns, rows and what was read.
    Json,
    /// [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), with a head.
    Csv,
    /// Arrow's streaming format.
    Arrow,
}

impl Answer {
    /// How many rows there are.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there are all.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lacks.is_empty()
    }

    /// The answer in this form, part by part.
    pub fn parts(self, form: Form) -> Box<dyn Iterator<Item = Result<Bytes, SqlError>> + Send> {
        match form {
            Form::Json => Box::new(json::parts(self)),
            Form::Csv => Box::new(csv::parts(self)),
            Form::Arrow => Box::new(arrow::parts(self)),
        }
    }

    /// The columns as the API describes them.
    #[must_use]
    pub fn columns(&self) -> Vec<SqlColumn> {
        let fields = self.schema.fields().iter();
        let column = |field: &Arc<arrow_schema::Field>| SqlColumn {
            name: field.name().clone(),
            r#type: value::type_name(field.data_type()).to_owned(),
        };
        fields.map(column).collect()
    }

    /// The rows in pieces that are quickly written, with what holds the query's place.
    pub(crate) fn pieces(self) -> impl Iterator<Item = RecordBatch> + Send {
        let place = self.place;
        self.batches.into_iter().flat_map(move |batch| {
            let _still_here = &place;
            let firsts = (0..batch.num_rows()).step_by(ROWS_WRITTEN);
            let pieces =
                firsts.map(|first| batch.slice(first, ROWS_WRITTEN.min(batch.num_rows() - first)));
            pieces.collect::<Vec<_>>()
        })
    }
}

/// An answer as its rows come.
#[derive(Debug)]
pub(crate) struct Collected {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    lack: Option<SqlLack>,
}

impl Collected {
    pub(crate) fn new(schema: SchemaRef, rows_max: usize, bytes_max: usize) -> Self {
        let batches = Vec::new();
        Self { schema, batches, rows: 0, bytes: 0, rows_max, bytes_max, lack: None }
    }

    /// Takes rows, as far as there may be more; breaks when there may not.
    pub(crate) fn add(&mut self, mut batch: RecordBatch) -> ControlFlow<()> {
        let room = self.rows_max - self.rows;
        if batch.num_rows() > room {
            self.lack = Some(SqlLack::Rows);
            batch = batch.slice(0, room);
        }
        while self.bytes + bytes_of(&batch) > self.bytes_max && batch.num_rows() > 0 {
            self.lack = Some(SqlLack::Bytes);
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

    pub(crate) fn answer(
        self,
        meter: &Meter,
        elapsed: Duration,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Answer {
        let unread = (!meter.is_complete()).then_some(SqlLack::Unread);
        Answer {
            schema: self.schema,
            batches: self.batches,
            lacks: self.lack.into_iter().chain(unread).collect(),
            repeats_counted: meter.counts_repeats(),
            read: SqlRead { rows: meter.watch.rows(), files: meter.watch.files() },
            elapsed,
            place,
        }
    }
}

fn nanos(duration: Duration) -> DurationNanos {
    DurationNanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
