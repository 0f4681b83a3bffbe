//! Details of the last exceptions of some groups, read from their rows.

use std::{collections::BTreeMap, ops::ControlFlow};

use arrow_array::RecordBatch;
use tidings_columns::{SpanRows, rows::project};
use tidings_data_file::{ScanStats, columns, scan::select};
use tidings_disk::ranges::merged;
use tidings_files::StorageError;
use tidings_proto::{Signal, SpanId, TraceId, UnixNanos, otlp::Event};
use tidings_rollup::exceptions::ExceptionAttributes;

use super::{ExceptionKey, ExceptionSums};
use crate::Snapshot;

const COLUMNS: [&str; 3] = ["trace_id", "span_id", "events"];

/// Last exception of a group. Of several at the same time, this is the greatest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastException {
    /// Span that recorded it.
    pub span_id: SpanId,
    /// Trace of that span.
    pub trace_id: TraceId,
    /// Attributes of the exception.
    pub exception: ExceptionAttributes,
    /// Time of its event; 0 where that is not set.
    pub time: UnixNanos,
}

impl Snapshot {
    /// Reads the last exceptions of these groups, in their order. The groups must come from this
    /// snapshot. Also returns the statistics of the rows and files read.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn last_exceptions(
        &self,
        groups: &[(&ExceptionKey, &ExceptionSums)],
    ) -> Result<(Vec<Option<LastException>>, ScanStats), StorageError> {
        // Numbers of the groups whose last exception may be in a row, by source and row.
        let mut wanted: BTreeMap<usize, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
        for (number, (_, sums)) in groups.iter().enumerate() {
            for place in &sums.places {
                let of_source = wanted.entry(place.source).or_default();
                of_source.entry(place.row).or_default().push(number);
            }
        }
        let mut last: Vec<Option<LastException>> = vec![None; groups.len()];
        let mut stats = ScanStats::NOTHING;
        for (source, rows) in &wanted {
            let mut of_rows = rows.values();
            let mut take = |batch: &RecordBatch| -> Result<(), StorageError> {
                let spans = SpanRows::from_batch(batch)?;
                for (row, numbers) in (0..spans.len()).zip(&mut of_rows) {
                    for number in numbers {
                        let found = latest_exception(&spans, row, groups[*number].0);
                        let known = &mut last[*number];
                        *known = known.take().max(found);
                    }
                }
                Ok(())
            };
            stats.rows += rows.len() as u64;
            if let Some(chunk) = self.spans.chunks.get(*source) {
                let places: Vec<usize> =
                    rows.keys().filter_map(|row| usize::try_from(*row).ok()).collect();
                let batch = project(chunk.batch(), COLUMNS.into_iter())?;
                take(&select(&batch, &places)?)?;
            } else if let Some(file) = self.spans.files.get(source - self.spans.chunks.len()) {
                let ranges = merged(rows.keys().map(|row| *row..*row + 1).collect());
                stats.files += 1;
                columns(Signal::Spans, file, &COLUMNS, Some(&ranges), &mut |batch| {
                    take(batch).map(|()| ControlFlow::Continue(()))
                })?;
            }
        }
        Ok((last, stats))
    }
}

/// Returns the greatest exception of the row that belongs to the group.
fn latest_exception(rows: &SpanRows, row: usize, group: &ExceptionKey) -> Option<LastException> {
    let of_group = |event: &Event| {
        let exception = ExceptionAttributes::from_event(event)?;
        let is_own = exception.exception_type == group.exception_type
            && exception.stack_hash() == group.stack;
        is_own.then_some((exception, UnixNanos(event.time_unix_nano)))
    };
    let (exception, time) = rows.events(row).iter().filter_map(of_group).max()?;
    Some(LastException {
        span_id: rows.span_id(row),
        trace_id: rows.trace_id(row),
        exception,
        time,
    })
}
