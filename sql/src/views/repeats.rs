//! Tells rows that came before.

use std::collections::HashSet;

use arrow_array::{RecordBatch, UInt64Array, cast::AsArray, types::Int64Type};
use arrow_select::take::take_record_batch;

use crate::{SqlError, scan::Out};

/// A hash with its place in a table of them.
const BYTES_EACH: usize = 16;

/// Deduplication set of a scan: content hashes of its rows so far.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    seen: HashSet<i64>,
    full: bool,
}

impl Repeats {
    /// The rows of `of` that say what none before said; `stored` are the same rows with their
    /// hashes. Once there are too many to tell apart the answer says so.
    pub(super) fn without(
        &mut self,
        stored: &RecordBatch,
        of: RecordBatch,
        out: &mut Out<'_>,
    ) -> Result<RecordBatch, SqlError> {
        let hashes = stored.column_by_name("content_hash");
        let Some(hashes) = hashes.and_then(|hashes| hashes.as_primitive_opt::<Int64Type>()) else {
            return Err(SqlError::Defect { reason: "rows have no hash".to_owned() });
        };
        if self.full || self.seen.len() + hashes.len() > out.meter.limits.remembered_max {
            self.full = true;
            out.meter.count_repeats();
            return Ok(of);
        }
        let new: Vec<u64> = (0..hashes.len())
            .filter(|row| self.seen.insert(hashes.value(*row)))
            .map(|row| row as u64)
            .collect();
        out.keep(self.seen.capacity() * BYTES_EACH)?;
        if new.len() == hashes.len() {
            return Ok(of);
        }
        if of.num_columns() == 0 {
            return Ok(of.slice(0, new.len()));
        }
        take_record_batch(&of, &UInt64Array::from(new))
            .map_err(|error| SqlError::Defect { reason: error.to_string() })
    }
}
