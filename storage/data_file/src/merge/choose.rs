//! Selection of the rows that a merge keeps.

use std::{collections::HashSet, sync::Arc};

use arrow_array::{BinaryArray, RecordBatch};
use tidings_columns::rows::column::OptionalColumn;
use tidings_files::StorageError;
use tidings_index::filter::{Bound, Matcher};
use tidings_proto::TraceId;

/// Selects the rows that a merge keeps.
#[derive(Debug)]
pub struct Choice {
    traces: Arc<HashSet<TraceId>>,
    matchers: Vec<Matcher>,
    keep: bool,
}

impl Choice {
    /// Keeps the rows of these traces and the rows that match one of the matchers.
    pub fn keep(traces: Arc<HashSet<TraceId>>, matchers: Vec<Matcher>) -> Self {
        Self { traces, matchers, keep: true }
    }

    /// Keeps all rows except those that the matcher matches.
    pub fn drop(matcher: Matcher) -> Self {
        Self { traces: Arc::default(), matchers: vec![matcher], keep: false }
    }

    /// Returns the keys of the attributes whose rows are dropped.
    pub(super) fn erased_keys(&self) -> HashSet<String> {
        let matchers = self.matchers.iter().filter(|_| !self.keep);
        matchers.flat_map(Matcher::attribute_keys).collect()
    }

    /// Returns the kept rows, ascending.
    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<usize>, StorageError> {
        let mut found = vec![false; batch.num_rows()];
        if !self.traces.is_empty() {
            let ids = OptionalColumn::<BinaryArray>::from_batch(batch, "trace_id")?;
            for (row, found) in found.iter_mut().enumerate() {
                let id = ids.bytes(row).and_then(TraceId::from_wire);
                *found = id.is_some_and(|id| self.traces.contains(&id));
            }
        }
        for matcher in &mut self.matchers {
            let mut rows: Vec<usize> = (0..batch.num_rows()).filter(|row| !found[*row]).collect();
            Bound::new(matcher, batch)?.retain(&mut rows);
            rows.into_iter().for_each(|row| found[row] = true);
        }
        let kept = found.iter().enumerate().filter(|(_, found)| **found == self.keep);
        Ok(kept.map(|(row, _)| row).collect())
    }
}
