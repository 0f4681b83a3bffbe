//! Makes the index of a data file from its rows, in the order they have there.

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use bytes::Bytes;

use super::{
    file::{self, Parts},
    runs::Run,
    trace_hash,
};
use crate::rows::column::Column;

/// Rows beyond this number have no index: it counts them in 32 bits.
const ROWS_MAX: u64 = u32::MAX as u64;

/// Takes the rows of one data file and gives its index. Needs about 16 bytes a trace.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    rows: u64,
    traces: Vec<Run>,
}

impl IndexBuilder {
    /// Adds the next rows of the file, in memory's or in the file's form.
    ///
    /// # Errors
    /// When the batch does not have the columns.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let before = self.rows;
        self.rows += batch.num_rows() as u64;
        if self.rows > ROWS_MAX {
            return Ok(());
        }
        self.push_traces(batch, u32::try_from(before).unwrap_or(u32::MAX))
    }

    fn push_traces(&mut self, batch: &RecordBatch, first: u32) -> Result<(), ArrowError> {
        let Some(low64s) = Column::<Int64Array>::of(batch, "trace_id_low64")?.0 else {
            return Ok(());
        };
        for (row, low64) in (first..).zip(low64s.iter()) {
            let Some(low64) = low64 else { continue };
            let hash = trace_hash(low64.cast_unsigned());
            match self.traces.last_mut() {
                Some(run) if run.hash == hash && run.first + run.count == row => run.count += 1,
                _ => self.traces.push(Run { hash, first: row, count: 1 }),
            }
        }
        Ok(())
    }

    /// The bytes of the index of a data file that is so long.
    pub(crate) fn finish(mut self, data_bytes: u64) -> Bytes {
        if self.rows > ROWS_MAX {
            self.traces.clear();
        }
        file::encode(Parts { traces: self.traces }, data_bytes, self.rows)
    }
}
