//! Reader of the rows of a data file that match a filter.
//!
//! It reads row groups in the scan's order. The filter's columns are decoded in stages, the cheap
//! ones first, and each stage decodes only the rows that the previous one kept. The other columns
//! are decoded for the matching rows. A few rows that an index names are read at once, because the
//! setup of the stages would cost more than the decoding.

use std::{
    cmp::Reverse,
    collections::HashSet,
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, FieldRef};
use bytes::Bytes;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        RowSelection,
    },
};
use tidings_columns::{Projection, rows::project, schema::SignalSchema};
use tidings_disk::ranges::intersection;
use tidings_files::{StorageError, error::failed, table_file::DataFile, table_store::Readable};
use tidings_index::{
    CandidateRows, IndexBuilder, Sums,
    filter::{Bound, Matcher, TimeOrder},
};
use tidings_proto::{Signal, UnixNanos};

use super::{
    attributes::{FileAttributes, WantedAttributes, columns_of_orders},
    footer::{absent_fields, file_footer, guarded, with_nulls},
    page_reader::{self, ReadPlan, prefetch},
    prune::{Pruner, blooms_may_hold},
    sections::{PORTION, portion_of, whole_portion},
    shred::ATTRIBUTES,
};
use crate::scan::{Progress, Visit, select};

/// Maximum number of rows that are read at once, without stages.
const FEW_ROWS: usize = 128;
/// Maximum gap between rows that costs less to read than to skip.
const GAP_ROWS: usize = 8;
/// Maximum number of rows whose attribute orders are read before their columns.
const ORDERS_READ: usize = 2048;
/// Rows of the first range of a row group in a scan with a dynamic filter. Each further range has
/// four times as many, because each range decodes the dictionaries again.
const STRETCH_ROWS: usize = 2048;
/// Maximum number of log records whose pages are kept for the next read. A search finds records by
/// their texts first, and then reads them. A scan of more rows finds more than are read again.
const KEPT_ROWS: usize = 16_384;

/// Builds the index of a file from its rows.
///
/// # Errors
/// When the file is missing or damaged.
pub fn index_of(signal: Signal, file: &DataFile) -> Result<Bytes, StorageError> {
    let path = &file.path;
    let opened = file.open().map_err(|source| file.open_error(source))?;
    let sums = Sums::of_file(&opened).map_err(failed("read", path))?;
    if sums.bytes() != file.bytes {
        let reason = format!("it has {} bytes and not {}", sums.bytes(), file.bytes);
        return Err(StorageError::Corrupt { path: path.clone(), reason });
    }
    let (footer, attributes) = file_footer(signal, path, &opened)?;
    let mut index = IndexBuilder::new(signal);
    guarded(path, || {
        let wanted = WantedAttributes::All;
        let names: Vec<&str> = IndexBuilder::columns(signal).collect();
        let mask = attributes.mask(&footer, &names, &wanted);
        let is_indexed = |field: &FieldRef| {
            IndexBuilder::columns(signal).any(|column| column == field.name().as_str())
        };
        let absent: Vec<_> =
            absent_fields(signal, &footer).into_iter().filter(is_indexed).collect();
        let portion = whole_portion(&footer, &mask, PORTION);
        let (groups, rows) = (None, None);
        let plan = ReadPlan { mask, groups, rows, batch_rows: portion, keeps_pages: false };
        for batch in page_reader::batches(opened, &footer, plan)? {
            index.push(&with_nulls(attributes.assemble(batch?, &wanted)?, &absent)?)?;
        }
        Ok(())
    })?;
    Ok(index.finish(&sums))
}

/// Returns the rows of a file that are in this row group, counted from the group's start.
pub(super) fn in_group(rows: &[Range<u64>], group: &Range<u64>) -> Vec<Range<usize>> {
    let from = rows.partition_point(|range| range.end <= group.start);
    let inside = rows[from..].iter().take_while(|range| range.start < group.end);
    let place = |row: u64| usize::try_from(row - group.start).unwrap_or(usize::MAX);
    inside
        .map(|range| place(range.start.max(group.start))..place(range.end.min(group.end)))
        .collect()
}

/// Returns ranges that cover these rows and the small gaps between them. The rows are ascending.
fn around(rows: &[usize]) -> Vec<Range<usize>> {
    let near = rows.chunk_by(|left, right| right - left <= GAP_ROWS);
    near.filter_map(|run| Some(*run.first()?..*run.last()? + 1)).collect()
}

/// Returns the positions of these rows in `places`. Both are ascending.
fn positions(places: &[usize], rows: &[usize]) -> Vec<usize> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Vec::new() };
    let rows = &rows[rows.partition_point(|row| row < first)..];
    let rows = &rows[..rows.partition_point(|row| row <= last)];
    rows.iter().filter_map(|row| places.binary_search(row).ok()).collect()
}

/// Open file with the parameters of a scan.
pub(super) struct FileReader<'a> {
    path: &'a Path,
    signal: Signal,
    file: Readable,
    pub(super) footer: ArrowReaderMetadata,
    pub(super) attributes: Arc<FileAttributes>,
    /// Columns that the file lacks. They are null.
    absent: Vec<FieldRef>,
    detail: Projection,
    candidates: Arc<CandidateRows>,
}

/// Some columns of some rows of a file.
struct ColumnBatches {
    batches: ParquetRecordBatchReader,
    wanted: WantedAttributes,
    /// Columns that the file lacks.
    absent: Vec<FieldRef>,
}

/// Number of a row group and the time range of its rows.
pub(super) type GroupTimes = (usize, (UnixNanos, UnixNanos));

/// Rows of a row group that a scan must read.
pub(super) struct RowGroupPlan {
    group: usize,
    rows: usize,
    /// Ranges of rows that can match, ascending.
    ranges: Vec<Range<usize>>,
    times: (UnixNanos, UnixNanos),
}

impl RowGroupPlan {
    /// Divides the ranges into parts that are read in sequence. A scan for the newest rows begins
    /// with the last rows, which are mostly the newest.
    pub(super) fn stretches(&self, growing: bool, order: TimeOrder) -> Vec<Vec<Range<usize>>> {
        let mut ranges = self.ranges.clone();
        if !growing {
            return vec![ranges];
        }
        if order == TimeOrder::OldestFirst {
            ranges.reverse();
        }
        let mut stretches = vec![Vec::new()];
        let (mut size, mut room) = (STRETCH_ROWS, STRETCH_ROWS);
        while let Some(mut rest) = ranges.pop() {
            while !rest.is_empty() {
                if room == 0 {
                    stretches.push(Vec::new());
                    size = size.saturating_mul(4);
                    room = size;
                }
                let count = rest.len().min(room);
                room -= count;
                let part = match order {
                    TimeOrder::NewestFirst => rest.end - count..rest.end,
                    TimeOrder::OldestFirst => rest.start..rest.start + count,
                };
                match order {
                    TimeOrder::NewestFirst => rest.end = part.start,
                    TimeOrder::OldestFirst => rest.start = part.end,
                }
                stretches.last_mut().expect("invariant: there is one").push(part);
            }
        }
        if order == TimeOrder::NewestFirst {
            stretches.iter_mut().for_each(|ranges| ranges.reverse());
        }
        stretches
    }
}

/// Rows that match.
struct Matching {
    rows: Vec<usize>,
    /// True if the row budget is exhausted, or if the scan must stop.
    spent: bool,
}

impl<'a> FileReader<'a> {
    pub(super) fn open(
        file: &'a DataFile,
        candidates: Arc<CandidateRows>,
        signal: Signal,
        detail: Projection,
    ) -> Result<Self, StorageError> {
        let path = &file.path;
        let opened = file.open_parts().map_err(|source| file.open_error(source))?;
        let (footer, attributes) = file_footer(signal, path, &opened)?;
        let absent = absent_fields(signal, &footer);
        Ok(Self { path, signal, file: opened, footer, attributes, absent, detail, candidates })
    }

    /// Returns the row groups that may match, with the time range of their rows. The order is that
    /// of the sources of a scan.
    pub(super) fn in_order(&self, matcher: &Matcher) -> Result<Vec<GroupTimes>, StorageError> {
        guarded(self.path, || {
            let pruner = Pruner::new(&self.footer, matcher);
            let has_candidates = |group: usize| {
                let candidates = self.candidates.as_ref().as_ref();
                candidates.is_none_or(|rows| !in_group(rows, &pruner.rows(group)).is_empty())
            };
            let mut groups: Vec<_> = (0..self.footer.metadata().num_row_groups())
                .filter(|group| pruner.may_hold(*group) && has_candidates(*group))
                .map(|group| (group, pruner.times(group)))
                .collect();
            groups.sort_by_key(|(group, times)| {
                Reverse((matcher.order.rank(matcher.time, *times), *group))
            });
            Ok(groups)
        })
    }

    /// Plans the read of a row group. `None` when no row of it can match.
    pub(super) fn plan(
        &self,
        matcher: &Matcher,
        group: usize,
        times: (UnixNanos, UnixNanos),
    ) -> Result<Option<RowGroupPlan>, StorageError> {
        guarded(self.path, || {
            let pruner = Pruner::new(&self.footer, matcher);
            if !pruner.may_hold(group) {
                return Ok(None);
            }
            let rows = pruner.rows(group);
            let ranges = match self.candidates.as_ref() {
                Some(candidates) => {
                    intersection(&in_group(candidates, &rows), &pruner.pages(group))
                }
                // Without candidates from an index, the file's bloom filters are checked.
                None if !blooms_may_hold(&self.builder(), &self.footer, matcher, group)? => {
                    return Ok(None);
                }
                None => pruner.pages(group),
            };
            if ranges.is_empty() {
                return Ok(None);
            }
            let rows = usize::try_from(rows.end - rows.start).unwrap_or_default();
            Ok(Some(RowGroupPlan { group, rows, ranges, times }))
        })
    }

    /// Passes the matching rows in these ranges of the plan to `visit`.
    pub(super) fn read(
        &self,
        matcher: &mut Matcher,
        plan: &RowGroupPlan,
        ranges: &[Range<usize>],
        progress: &mut Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let stages = matcher.stages(plan.times.0, plan.times.1);
        if stages.is_empty() {
            return self.read_all(matcher, plan, ranges, progress, visit);
        }
        let count: usize = ranges.iter().map(Range::len).sum();
        if count <= FEW_ROWS && self.candidates.is_some() {
            return self.read_few(matcher, plan, ranges, &stages.concat(), progress, visit);
        }
        let matching = self.matching(matcher, plan, ranges, &stages, progress)?;
        let flow = self.read_rows(matcher, plan, &matching.rows, visit)?;
        Ok(if matching.spent { ControlFlow::Break(()) } else { flow })
    }

    /// Passes all rows of the ranges to `visit`.
    fn read_all(
        &self,
        matcher: &Matcher,
        plan: &RowGroupPlan,
        ranges: &[Range<usize>],
        progress: &mut Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let detail = matcher.signal.detail_columns(self.detail).collect::<Vec<_>>();
        let mut batches = self.reader(plan, &detail, ranges.iter().cloned())?;
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

    /// Passes the matching ones of a few rows to `visit`. The columns of the filter and those of
    /// the result are read together.
    fn read_few(
        &self,
        matcher: &mut Matcher,
        plan: &RowGroupPlan,
        ranges: &[Range<usize>],
        filter_columns: &[String],
        progress: &mut Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let detail = matcher.signal.detail_columns(self.detail).collect::<Vec<_>>();
        let filter_columns = filter_columns.iter().map(String::as_str);
        let columns: Vec<&str> = filter_columns.chain(detail.iter().copied()).collect();
        let mut batches = self.reader(plan, &columns, ranges.iter().cloned())?;
        while let Some(batch) = self.next(&mut batches)? {
            let granted = progress.spend(batch.num_rows());
            let mut rows: Vec<usize> = (0..granted).collect();
            let found = guarded(self.path, || {
                Bound::new(matcher, &batch)?.retain(&mut rows);
                Ok(select(&project(&batch, detail.iter().copied())?, &rows)?)
            })?;
            if !rows.is_empty() && self.visit(visit, &found)?.is_break()
                || granted < batch.num_rows()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the rows of the ranges that match.
    fn matching(
        &self,
        matcher: &mut Matcher,
        plan: &RowGroupPlan,
        ranges: &[Range<usize>],
        stages: &[Vec<String>],
        progress: &mut Progress<'_>,
    ) -> Result<Matching, StorageError> {
        let (mut left, mut spent) = (Vec::new(), false);
        for (number, columns) in stages.iter().enumerate() {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let over = if number == 0 { ranges.to_vec() } else { around(&left) };
            let before = std::mem::take(&mut left);
            let mut places = over.iter().cloned().flatten();
            let mut batches = self.filter_reader(matcher, plan, &columns, over.iter().cloned())?;
            while let Some(batch) = self.next(&mut batches)? {
                let places: Vec<usize> = places.by_ref().take(batch.num_rows()).collect();
                let mut rows: Vec<usize> = if number == 0 {
                    let granted = progress.spend(places.len());
                    spent |= granted < places.len();
                    (0..granted).collect()
                } else {
                    spent |= progress.is_stopped();
                    positions(&places, &before)
                };
                guarded(self.path, || {
                    Bound::new(matcher, &batch)?.retain(&mut rows);
                    Ok(())
                })?;
                left.extend(rows.into_iter().map(|row| places[row]));
                if spent && (number == 0 || progress.is_stopped()) {
                    break;
                }
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(Matching { rows: left, spent })
    }

    /// Passes these rows of the row group to `visit`. The rows are ascending.
    fn read_rows(
        &self,
        matcher: &Matcher,
        plan: &RowGroupPlan,
        rows: &[usize],
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let detail = matcher.signal.detail_columns(self.detail).collect::<Vec<_>>();
        let over = around(rows);
        let mut places = over.iter().cloned().flatten();
        let mut batches = self.reader(plan, &detail, over.iter().cloned())?;
        while let Some(batch) = self.next(&mut batches)? {
            let places: Vec<usize> = places.by_ref().take(batch.num_rows()).collect();
            let found = select(&batch, &positions(&places, rows))?;
            if found.num_rows() > 0 && self.visit(visit, &found)?.is_break() {
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
        // The call is not guarded, because a panic in it is a fault of the visitor.
        visit(batch).map_err(|error| self.corrupt(&error))
    }

    fn corrupt(&self, error: &ArrowError) -> StorageError {
        StorageError::Corrupt { path: self.path.to_owned(), reason: error.to_string() }
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<Readable> {
        let file = self.file.clone();
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone())
    }

    /// Returns a reader of whole columns.
    fn reader(
        &self,
        plan: &RowGroupPlan,
        columns: &[&str],
        ranges: impl Iterator<Item = Range<usize>>,
    ) -> Result<ColumnBatches, StorageError> {
        let ranges: Vec<_> = ranges.collect();
        let wanted = self.wanted(plan, columns, &ranges)?;
        let mask = self.attributes.mask(&self.footer, columns, &wanted);
        self.masked(plan, columns, mask, wanted, ranges)
    }

    /// Returns the attribute columns that rows of these ranges have. The orders of a few rows
    /// determine them, because each column costs more to open than to decode.
    fn wanted(
        &self,
        plan: &RowGroupPlan,
        columns: &[&str],
        ranges: &[Range<usize>],
    ) -> Result<WantedAttributes, StorageError> {
        let rows: usize = ranges.iter().map(Range::len).sum();
        // A remote file answers one request for all columns faster than two requests.
        if rows > ORDERS_READ || self.file.is_remote() || !columns.contains(&ATTRIBUTES) {
            return Ok(WantedAttributes::All);
        }
        let Some(mask) = self.attributes.order_mask(&self.footer) else {
            return Ok(WantedAttributes::All);
        };
        let mut orders = self.masked(plan, &[], mask, WantedAttributes::All, ranges.to_vec())?;
        let mut numbers = HashSet::new();
        while let Some(batch) = self.next(&mut orders)? {
            columns_of_orders(&batch, &mut numbers);
        }
        Ok(WantedAttributes::Columns(numbers))
    }

    /// Returns a reader of the parts of columns that a filter compares. For attributes, these are
    /// its keys and the types of its values.
    fn filter_reader(
        &self,
        matcher: &Matcher,
        plan: &RowGroupPlan,
        columns: &[&str],
        ranges: impl Iterator<Item = Range<usize>>,
    ) -> Result<ColumnBatches, StorageError> {
        let mut fields = matcher.value_fields();
        if fields.is_empty() {
            // A map cannot be read without any value column. Booleans take the least space.
            fields.insert("bool");
        }
        let keys = matcher.attribute_keys();
        let linked_traces = matcher.links_to.is_some();
        let wanted = WantedAttributes::Filtered { keys, fields, linked_traces };
        let mask = self.attributes.mask(&self.footer, columns, &wanted);
        self.masked(plan, columns, mask, wanted, ranges.collect())
    }

    fn masked(
        &self,
        plan: &RowGroupPlan,
        columns: &[&str],
        mask: ProjectionMask,
        wanted: WantedAttributes,
        ranges: Vec<Range<usize>>,
    ) -> Result<ColumnBatches, StorageError> {
        let is_wanted = |field: &&FieldRef| columns.contains(&field.name().as_str());
        let absent = self.absent.iter().filter(is_wanted).cloned().collect();
        guarded(self.path, || {
            prefetch(&self.file, &self.footer, &mask, plan.group, &ranges)?;
            let portion = portion_of(&self.footer, &mask, plan.group, &ranges, PORTION);
            let rows: usize = ranges.iter().map(Range::len).sum();
            let keeps_pages = self.signal == Signal::Logs && rows <= KEPT_ROWS;
            let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), plan.rows);
            let plan = ReadPlan {
                mask,
                groups: Some(vec![plan.group]),
                rows: Some(selection),
                batch_rows: portion,
                keeps_pages,
            };
            let batches = page_reader::batches(self.file.clone(), &self.footer, plan)?;
            Ok(ColumnBatches { batches, wanted, absent })
        })
    }

    fn next(&self, columns: &mut ColumnBatches) -> Result<Option<RecordBatch>, StorageError> {
        guarded(self.path, || match columns.batches.next().transpose()? {
            Some(batch) => {
                let batch = self.attributes.assemble(batch, &columns.wanted)?;
                Ok(Some(with_nulls(batch, &columns.absent)?))
            }
            None => Ok(None),
        })
    }
}
