//! The answer to a query: its rows, and facts about them.
//!
//! Owns the two halves of an answer. The worker collects rows within their bounds and writes them
//! ([`Collected`], [`Rows`]). `value_text` writes single values; `formats` and the messages of
//! Flight write the formats of an answer. In the server an [`Answer`] has the facts that are known
//! before a format is chosen, and passes on the worker's bytes.

mod formats;
mod value_text;

use std::{fmt, ops::ControlFlow, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidings_proto::{
    DurationNanos,
    api::{SqlColumn, SqlPartialReason, SqlRead},
};
use tokio::sync::oneshot;

use crate::{
    AnswerFormat,
    guard::bytes_of,
    handover::AnswerParts,
    message::{AnswerMetadata, Head},
};

pub(crate) use formats::{arrow_parts, csv_parts, json_parts};
pub(crate) use value_text::{check_columns, check_rows, type_name};

/// Rows that are written at once.
const ROWS_WRITTEN: usize = 512;

/// The answer to a query. Its worker has the rows.
pub struct Answer {
    /// The number of rows.
    rows: usize,
    /// Reasons why the answer is partial; empty when it is complete.
    pub lacks: Vec<SqlPartialReason>,
    /// True when a repeated span or record may have been counted twice.
    pub repeats_counted: bool,
    /// Statistics of the scans.
    pub read: SqlRead,
    /// Duration of the query.
    pub elapsed: Duration,
    lines: Lines,
}

/// The channel to the worker that has the rows.
pub(crate) struct Lines {
    pub(crate) form: oneshot::Sender<AnswerFormat>,
    pub(crate) parts: AnswerParts,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, lacks, read, elapsed, .. } = self;
        let mut debug = f.debug_struct("Answer");
        debug.field("rows", rows).field("lacks", lacks).field("read", read);
        debug.field("elapsed", elapsed).finish_non_exhaustive()
    }
}

impl Answer {
    pub(crate) fn new(
        rows: usize,
        facts: &AnswerMetadata,
        elapsed: Duration,
        lines: Lines,
    ) -> Self {
        let (lacks, repeats_counted) = (facts.lacks.clone(), facts.repeats_counted);
        Self { rows, lacks, repeats_counted, read: facts.read, elapsed, lines }
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Reports whether the answer is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lacks.is_empty()
    }

    /// Returns the answer in this format, part by part.
    #[must_use]
    pub fn parts(self, form: AnswerFormat) -> AnswerParts {
        let Lines { form: asked, parts } = self.lines;
        if asked.send(form).is_err() {
            // The parts of the answer report this as well.
            tracing::debug!("the process of an answer has ended before it was read");
        }
        parts
    }
}

/// The rows of a result so far.
#[derive(Debug)]
pub(crate) struct Collected {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    lack: Option<SqlPartialReason>,
}

impl Collected {
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

/// Returns a duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> DurationNanos {
    DurationNanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
