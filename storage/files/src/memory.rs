//! Immutable chunks of the memtable.
//!
//! A [`Chunk`] is a batch of rows in the memtable's schema, with an index of trace ids and the
//! range of its times. Does not own the list of chunks, which belongs to the store.

use std::sync::Arc;

use arrow_array::{Array, Int64Array, RecordBatch, cast::AsArray, types::Int32Type};
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
            bytes: (column_bytes(&batch) + index_bytes) as u64,
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

/// Returns the memory of the columns in bytes. Codes of words that several columns share count
/// once.
fn column_bytes(batch: &RecordBatch) -> usize {
    let mut met: Vec<*const i32> = Vec::new();
    let mut repeated_bytes = 0;
    let words = batch.columns().iter().filter_map(|column| column.as_dictionary_opt::<Int32Type>());
    for words in words {
        let codes = words.keys();
        let begin = codes.values().as_ptr();
        if met.contains(&begin) {
            repeated_bytes += codes.get_buffer_memory_size();
        } else {
            met.push(begin);
        }
    }
    batch.get_array_memory_size() - repeated_bytes
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

#[cfg(test)]
mod tests {
    use tidings_columns::{conversion::log_rows, random_telemetry::NOW};
    use tidings_proto::{
        Signal,
        otlp::{ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs},
    };

    use super::{Array, AsArray, Int32Type, SignalSchema, column_bytes};

    #[test]
    fn codes_that_columns_share_count_once() {
        let log_records = vec![LogRecord::default(); 1000];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs };
        let batch = log_rows(&request, NOW).unwrap();
        let codes = |name: &str| {
            let words = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
            (words.keys().values().as_ptr(), words.keys().null_count())
        };
        // All records have the same texts, or none.
        assert_eq!(codes("scope_schema_url"), codes("resource_schema_url"));
        assert_eq!(codes("host_name"), codes("k8s_pod_name"));
        assert_eq!((codes("service").1, codes("host_name").1), (0, 1000));
        let words = Signal::Logs.words().count();
        let shared_bytes = batch.get_array_memory_size() - column_bytes(&batch);
        assert!(shared_bytes >= (words - 5) * 4000, "{shared_bytes} bytes, {words} columns");
    }
}
