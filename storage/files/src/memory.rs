//! Immutable chunks of the memtable.
//!
//! A [`Chunk`] is a batch of rows in the memtable's schema, with an index of trace ids and the
//! range of its times. Does not own the list of chunks, which belongs to the store.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_select::concat::concat_batches;
use tidings_columns::{
    rows::column::{OptionalColumn, TraceColumn},
    schema::SignalSchema,
};
use tidings_proto::{Signal, UnixNanos};

use crate::StorageError;

/// A chunk of the memtable.
#[derive(Debug)]
pub struct Chunk {
    batch: RecordBatch,
    signal: Signal,
    bytes: u64,
    time_min: UnixNanos,
    time_max: UnixNanos,
    /// The low halves of the rows' trace ids, ascending, and the row of each.
    trace_low64s: Vec<u64>,
    trace_rows: Vec<u32>,
}

impl Chunk {
    /// Creates a chunk from rows in the memtable's schema, of either table.
    ///
    /// # Errors
    /// When the batch does not have the columns.
    pub fn new(batch: RecordBatch) -> Result<Self, StorageError> {
        let is_spans = batch.column_by_name(Signal::Spans.time_column()).is_some();
        let signal = if is_spans { Signal::Spans } else { Signal::Logs };
        let times = OptionalColumn::<Int64Array>::from_batch(&batch, signal.time_column())?;
        let traces = TraceColumn::from_batch(signal, &batch)?;
        let rows = 0..batch.num_rows();
        let times = rows.clone().map(|row| times.time(row));
        let mut index: Vec<(u64, u32)> = (0..batch.num_rows())
            .zip(0_u32..)
            .filter_map(|(row, number)| Some((traces.low64(row)?, number)))
            .collect();
        index.sort_unstable();
        let (trace_low64s, trace_rows): (Vec<u64>, Vec<u32>) = index.into_iter().unzip();
        let index_bytes = trace_low64s.len() * (size_of::<u64>() + size_of::<u32>());
        Ok(Self {
            signal,
            bytes: (batch.get_array_memory_size() + index_bytes) as u64,
            time_min: times.clone().min().unwrap_or(UnixNanos(u64::MAX)),
            time_max: times.max().unwrap_or(UnixNanos(0)),
            trace_low64s,
            trace_rows,
            batch,
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.batch.num_rows() as u64
    }

    /// Returns its memory in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the rows.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Returns the table that the rows belong to.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Returns the earliest and the latest time of its rows.
    pub fn times(&self) -> (UnixNanos, UnixNanos) {
        (self.time_min, self.time_max)
    }

    /// Returns the low halves of its rows' trace ids, ascending.
    pub fn trace_low64s(&self) -> &[u64] {
        &self.trace_low64s
    }

    /// Returns the rows whose trace ids end with one of these, ascending.
    pub fn rows_of(&self, low64s: &[u64]) -> Vec<usize> {
        let mut rows = Vec::new();
        for low64 in low64s {
            let first = self.trace_low64s.partition_point(|of_row| of_row < low64);
            let same = self.trace_low64s[first..].iter().take_while(|of_row| *of_row == low64);
            rows.extend(self.trace_rows[first..].iter().zip(same).map(|(row, _)| *row as usize));
        }
        rows.sort_unstable();
        rows
    }
}

/// Concatenates chunks of one table, in their order.
///
/// # Errors
/// When Arrow cannot join the columns.
pub fn merge(chunks: &[Arc<Chunk>]) -> Result<Chunk, StorageError> {
    let signal = chunks.first().map_or(Signal::Spans, |chunk| chunk.signal);
    let batches = chunks.iter().map(|chunk| &chunk.batch);
    Chunk::new(concat_batches(&signal.memory_schema(), batches)?)
}
