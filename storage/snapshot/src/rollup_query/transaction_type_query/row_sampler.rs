//! Reads the rows that a sample needs, within the limits of its query.

use arrow_array::BinaryArray;
use tidings_columns::rows::column::OptionalColumn;
use tidings_data_file::columns;
use tidings_disk::ranges::merged;
use tidings_proto::{DurationNanos, Signal, TraceId};
use tidings_rollup::{Call, pair_cache::RowRanges, transaction_types::entry_spans::Rank};

use super::{TransactionTypeQuery, rollup_file::TransactionTypeRollupFile, sample::SampleReader};
use crate::rollup_query::QueryFailure;

/// Reader of rows for a sample.
pub(crate) struct RowSampler<'q, 'a, 'r, 'f> {
    question: &'q mut TransactionTypeQuery<'a>,
    rolled: &'r [TransactionTypeRollupFile<'f>],
}

impl<'q, 'a, 'r, 'f> RowSampler<'q, 'a, 'r, 'f> {
    pub(crate) fn new(
        question: &'q mut TransactionTypeQuery<'a>,
        rolled: &'r [TransactionTypeRollupFile<'f>],
    ) -> Self {
        Self { question, rolled }
    }
}

impl SampleReader for RowSampler<'_, '_, '_, '_> {
    type Error = QueryFailure;

    fn ids(&mut self, file: usize, rows: &RowRanges) -> Result<Vec<TraceId>, QueryFailure> {
        let mut ids = Vec::with_capacity(rows.len());
        if rows.is_empty() {
            return Ok(ids);
        }
        self.question.spend(rows.len() as u64)?;
        let file = self.rolled[file].file;
        columns(Signal::Spans, file, &["trace_id"], Some(&merged(rows.clone())), &mut |batch| {
            let of_batch = OptionalColumn::<BinaryArray>::from_batch(batch, "trace_id")?;
            let of_row = |row| of_batch.bytes(row).and_then(TraceId::from_wire);
            ids.extend((0..batch.num_rows()).filter_map(of_row));
            Ok(self.question.goes_on())
        })?;
        if ids.len() == rows.len() { Ok(ids) } else { Err(QueryFailure::Never) }
    }

    fn durations(
        &mut self,
        file: usize,
        rows: &RowRanges,
    ) -> Result<Vec<(TraceId, DurationNanos)>, QueryFailure> {
        let mut entries: Vec<(Rank, TraceId, DurationNanos)> = Vec::with_capacity(rows.len());
        let mut left = rows.iter().map(|rows| rows.end - rows.start);
        let mut of_trace = 0;
        self.question.read(self.rolled[file].file, rows, |_, rows, row| {
            let of = Call::from_row(rows, row).exemplar;
            let found = (Rank::from_row(rows, row), of.trace_id, of.duration_nano);
            if of_trace == 0 {
                of_trace = left.next().unwrap_or(u64::MAX);
                entries.push(found);
            }
            of_trace -= 1;
            if let Some(entry) = entries.last_mut().filter(|entry| found.0 < entry.0) {
                *entry = found;
            }
        })?;
        Ok(entries.into_iter().map(|(_, id, duration)| (id, duration)).collect())
    }
}
