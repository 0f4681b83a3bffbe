//! Names and counts of calls, without their latency. They are the choices for a filter.
//!
//! Rollups list the calls of a file without reading its rows. The counts are those of the files: a
//! span in two files counts twice, and the range is widened to whole time buckets.

use std::{
    ops::{ControlFlow, Range},
    sync::{Arc, atomic::Ordering},
};

use tidings_columns::{Projection, SpanRows};
use tidings_data_file::{ScanStats, TableView};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{RolledUp, SpanFilter, TimeRange, filter::Matcher};
use tidings_proto::Signal;
use tidings_rollup::{CallKey, rollup_encoding::GroupNames};

use super::call_query::common;
use crate::{Snapshot, snapshot::SPANS};

/// Visitor of calls: their group key and count.
pub type CountVisit<'a> = dyn FnMut(CallKey<'_>, u64) -> ControlFlow<()> + 'a;

/// Content to read from rollups.
#[derive(Debug, Clone, Copy)]
enum NameQuery {
    /// Group keys.
    Keys,
    /// Counts of calls that begin in this range.
    Counts(TimeRange),
}

impl Snapshot {
    /// Calls `visit` with the number of spans of every service, operation, kind and status that
    /// begin in this range. Counts arrive in any order and in parts. Where rollups answer, the
    /// range is widened to whole buckets, half an hour at most, and repeated spans count each time.
    /// At most `rows_max` other rows are read.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn count_calls(
        &self,
        start: TimeRange,
        rows_max: u64,
        visit: &mut CountVisit<'_>,
    ) -> Result<ScanStats, StorageError> {
        self.each_call(NameQuery::Counts(start), rows_max, visit)
    }

    /// Calls `visit` with every service, operation, kind and status, possibly repeatedly. The
    /// counts have no meaning. At most `rows_max` rows are read, of files that do not list them.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn call_keys(
        &self,
        rows_max: u64,
        visit: &mut CountVisit<'_>,
    ) -> Result<ScanStats, StorageError> {
        self.each_call(NameQuery::Keys, rows_max, visit)
    }

    fn each_call(
        &self,
        wanted: NameQuery,
        rows_max: u64,
        visit: &mut CountVisit<'_>,
    ) -> Result<ScanStats, StorageError> {
        let start = match wanted {
            NameQuery::Keys => TimeRange::default(),
            NameQuery::Counts(start) => start,
        };
        let range = start.start.map_or(0, |start| start.0)..start.end.map_or(u64::MAX, |end| end.0);
        let mut view = TableView { chunks: self.spans.chunks.clone(), files: Vec::new() };
        let number = self.indexes.begin_scan();
        for file in &self.spans.files {
            let (min, max) = file.times();
            if max.0 < range.start || range.end <= min.0 {
                continue;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(ScanStats::default());
            }
            let rollup = self.indexes.rollup(number, file);
            let rollup = rollup.filter(|rollup| has_content(rollup, wanted));
            let counted = rollup.as_ref().map(|rollup| counted(file, rollup, wanted, &range));
            if matches!(counted, Some(None)) {
                self.indexes.damaged(Signal::Spans, number, file);
            }
            let Some((names, counts)) = counted.flatten() else {
                view.files.push(Arc::clone(file));
                continue;
            };
            for (group, count) in (0..).zip(counts) {
                let Some(key) = names.key(group).filter(|_| count > 0) else { continue };
                if visit(key, count).is_break() {
                    return Ok(ScanStats::default());
                }
            }
        }
        self.each_row(start, &view, rows_max, visit)
    }

    fn each_row(
        &self,
        start: TimeRange,
        view: &TableView,
        rows_max: u64,
        visit: &mut CountVisit<'_>,
    ) -> Result<ScanStats, StorageError> {
        let matcher = Matcher::spans(&SpanFilter { start, ..SpanFilter::default() });
        let progress = self.progress(rows_max, SPANS);
        view.scan(&self.indexes, matcher, Projection::Facts, progress, &mut |batch| {
            let rows = SpanRows::from_batch(batch)?;
            let mut row = 0;
            while row < rows.len() {
                let key = CallKey::from_row(&rows, row);
                let same =
                    (row..rows.len()).take_while(|row| CallKey::from_row(&rows, *row) == key);
                let count = same.count();
                row += count;
                if visit(key, count as u64).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Returns true if a file's rollups have the content. A file may list names without counts if they
/// are rare, and it lists no names if there are too many.
fn has_content(rollup: &RolledUp, wanted: NameQuery) -> bool {
    let directory = rollup.directory();
    let adds_up = matches!(wanted, NameQuery::Keys) || directory.finest().is_some();
    directory.has_groups() && adds_up
}

/// Reads the groups of a file and the number of calls of each. `None` when they cannot be read.
fn counted(
    file: &DataFile,
    rollup: &RolledUp,
    wanted: NameQuery,
    range: &Range<u64>,
) -> Option<(GroupNames, Vec<u64>)> {
    let directory = rollup.directory();
    let mut fetch = |range| rollup.page(range);
    let names = directory.groups(&mut fetch).filter(GroupNames::are_calls)?;
    if matches!(wanted, NameQuery::Keys) {
        let counts = vec![1; names.group_count()];
        return Some((names, counts));
    }
    let (min, max) = file.times();
    let is_whole = range.start <= min.0 && max.0 < range.end;
    let level = if is_whole { directory.coarsest() } else { directory.finest() };
    let mut counts = vec![0_u64; names.group_count()];
    for (level, period) in level
        .into_iter()
        .flat_map(|level| directory.periods(level).map(move |period| (level, period)))
    {
        if common(&period, range).is_empty() {
            continue;
        }
        directory.counts(level, period.start, &mut fetch, |group, count| {
            if let Some(counted) = counts.get_mut(group as usize) {
                *counted += count;
            }
        })?;
    }
    Some((names, counts))
}

#[cfg(test)]
mod tests;
