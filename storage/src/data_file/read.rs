//! Reads the rows of a data file that match a filter.
//!
//! Row groups newest first. The filter's columns are decoded first, for the pages that can match;
//! the columns that rows carry are decoded after that, for the rows that do match.

use std::{
    fs::File,
    ops::{ControlFlow, Range},
    path::Path,
};

use arrow_array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        RowSelection,
    },
};

use super::{
    DataFile,
    footer::{footer, guarded},
    prune::{Pruner, blooms_may_hold},
};
use crate::{
    Detail, StorageError,
    filter::{Bound, Matcher},
    snapshot::{PORTION_ROWS, Progress, Visit},
};

/// Breaks when `visit` did or the budget ended before the rows.
///
/// # Errors
/// When the file is missing or damaged.
pub(crate) fn scan(
    file: &DataFile,
    matcher: &mut Matcher,
    detail: Detail,
    progress: &mut Progress,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    progress.stats.files += 1;
    let path = &file.path;
    let opened = File::open(path).map_err(|source| io("open", path, source))?;
    let footer = footer(matcher.signal, path, &opened)?;
    let source = Source { path, file: opened, footer, detail };
    for group in (0..source.footer.metadata().num_row_groups()).rev() {
        let Some(plan) = source.plan(matcher, group)? else { continue };
        let flow = if plan.columns.is_empty() {
            source.read_all(matcher, &plan, progress, visit)?
        } else {
            source.read_matching(matcher, &plan, progress, visit)?
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> StorageError {
    StorageError::Io { action, path: path.to_owned(), source }
}

struct Source<'a> {
    path: &'a Path,
    file: File,
    footer: ArrowReaderMetadata,
    detail: Detail,
}

/// What to read of a row group.
struct Plan {
    group: usize,
    rows: usize,
    /// The rows that can match; ascending.
    ranges: Vec<Range<usize>>,
    /// The columns the filter looks at; none when every row matches.
    columns: Vec<&'static str>,
}

impl Source<'_> {
    /// `None` when nothing of the row group can match.
    fn plan(&self, matcher: &Matcher, group: usize) -> Result<Option<Plan>, StorageError> {
        guarded(self.path, || {
            let pruner = Pruner::new(&self.footer, matcher);
            if !pruner.may_hold(group)
                || !blooms_may_hold(&self.builder()?, &self.footer, matcher, group)?
            {
                return Ok(None);
            }
            let ranges = pruner.pages(group);
            if ranges.is_empty() {
                return Ok(None);
            }
            let (min, max) = pruner.times(group);
            let rows = self.footer.metadata().row_group(group).num_rows();
            let rows = usize::try_from(rows).unwrap_or_default();
            Ok(Some(Plan { group, rows, ranges, columns: matcher.columns(min, max) }))
        })
    }

    /// Gives all rows of the plan.
    fn read_all(
        &self,
        matcher: &Matcher,
        plan: &Plan,
        progress: &mut Progress,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let detail = matcher.signal.detail_columns(self.detail).collect::<Vec<_>>();
        let mut batches = self.reader(plan, &detail, plan.ranges.iter().cloned())?;
        while let Some(batch) = self.next(&mut batches)? {
            let granted = progress.spend(batch.num_rows());
            if granted > 0 && self.visit(visit, &batch.slice(0, granted))?.is_break()
                || granted < batch.num_rows()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Gives the rows of the plan that match.
    fn read_matching(
        &self,
        matcher: &mut Matcher,
        plan: &Plan,
        progress: &mut Progress,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let mut batches = self.reader(plan, &plan.columns, plan.ranges.iter().cloned())?;
        let mut positions = plan.ranges.iter().cloned().flatten();
        let mut matching = Vec::new();
        let mut spent = false;
        loop {
            let batch = if spent { None } else { self.next(&mut batches)? };
            let ended = batch.is_none();
            if let Some(batch) = batch {
                let places: Vec<usize> = positions.by_ref().take(batch.num_rows()).collect();
                let granted = progress.spend(batch.num_rows());
                spent = granted < batch.num_rows();
                let mut rows: Vec<usize> = (0..granted).collect();
                guarded(self.path, || {
                    Bound::new(matcher, &batch)?.retain(&mut rows);
                    Ok(())
                })?;
                matching.extend(rows.into_iter().map(|row| places[row]));
            }
            if matching.len() >= PORTION_ROWS || ended {
                let flow = self.read_rows(matcher, plan, &matching, visit)?;
                matching.clear();
                if flow.is_break() || spent {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if ended {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Gives these rows of the row group, which are ascending.
    fn read_rows(
        &self,
        matcher: &Matcher,
        plan: &Plan,
        rows: &[usize],
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let detail = matcher.signal.detail_columns(self.detail).collect::<Vec<_>>();
        let runs = rows.chunk_by(|left, right| left + 1 == *right);
        let ranges = runs.map(|run| run[0]..run[0] + run.len());
        let mut batches = self.reader(plan, &detail, ranges)?;
        while let Some(batch) = self.next(&mut batches)? {
            if self.visit(visit, &batch)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn visit(
        &self,
        visit: &mut Visit<'_>,
        batch: &RecordBatch,
    ) -> Result<ControlFlow<()>, StorageError> {
        // Not guarded: a panic in there is the visitor's.
        visit(batch).map_err(|error| StorageError::Corrupt {
            path: self.path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, StorageError> {
        let file = self.file.try_clone().map_err(|source| io("open", self.path, source))?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone()))
    }

    fn reader(
        &self,
        plan: &Plan,
        columns: &[&str],
        ranges: impl Iterator<Item = Range<usize>>,
    ) -> Result<ParquetRecordBatchReader, StorageError> {
        guarded(self.path, || {
            let mask =
                ProjectionMask::columns(self.footer.parquet_schema(), columns.iter().copied());
            let selection = RowSelection::from_consecutive_ranges(ranges, plan.rows);
            Ok(self
                .builder()?
                .with_row_groups(vec![plan.group])
                .with_projection(mask)
                .with_row_selection(selection)
                .with_batch_size(PORTION_ROWS)
                .build()?)
        })
    }

    fn next(
        &self,
        batches: &mut ParquetRecordBatchReader,
    ) -> Result<Option<RecordBatch>, StorageError> {
        guarded(self.path, || Ok(batches.next().transpose()?))
    }
}
