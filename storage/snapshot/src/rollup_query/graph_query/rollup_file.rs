//! Data file whose rollups answer a part of a query for the service graph.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow_array::Int64Array;
use tidings_columns::rows::column::OptionalColumn;
use tidings_data_file::columns;
use tidings_disk::ranges::{merged, without};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::RolledUp;
use tidings_proto::Signal;
use tidings_rollup::{
    graph::GraphKey,
    pair_cache::RowRanges,
    query_totals::QueryTotals,
    retraction::Remainder,
    rollup_encoding::{Directory, GroupNames, GroupNumber},
};

use crate::rollup_query::{
    call_query::{common, of_hour},
    file_buckets::{self, AddOutcome, PairRetractions, PendingBucket, RetractedCalls},
    split_corrections::RollupFile,
};

/// File whose rollups answer a part of a query.
#[derive(Debug)]
pub(crate) struct GraphRollupFile<'a> {
    pub file: &'a Arc<DataFile>,
    rollup: RolledUp,
    /// True if the query only counts calls.
    only_counts: bool,
    /// Time ranges of the query that the rollups cover, at most one between two bounds; ascending.
    pub covered: Vec<Range<u64>>,
    /// Rows of traces that are joined with their parts elsewhere.
    pub(crate) joined: RowRanges,
    traces: Option<Vec<TraceRows>>,
}

impl RollupFile for GraphRollupFile<'_> {
    fn file(&self) -> &Arc<DataFile> {
        self.file
    }

    fn rollup(&self) -> &RolledUp {
        &self.rollup
    }

    /// Returns true if the query covers all times of the file. Otherwise, it can cut traces of the
    /// file.
    fn is_whole(&self) -> bool {
        let (min, max) = self.file.times();
        is_inside(&merged(self.covered.clone()), min.0, max.0)
    }

    fn joined(&self) -> &RowRanges {
        &self.joined
    }

    fn join(&mut self, rows: RowRanges) {
        let all = self.joined.drain(..).chain(rows).collect();
        self.joined = without(&merged(all), self.left_out());
    }
}

/// Rows and time range of one trace.
#[derive(Debug, Clone)]
struct TraceRows {
    rows: Range<u64>,
    first: u64,
    last: u64,
}

impl<'a> GraphRollupFile<'a> {
    /// Returns the file if its rollups cover a part of the ranges between these bounds. `None` also
    /// when the file has visible calls outside of its hour.
    pub(crate) fn new(
        file: &'a Arc<DataFile>,
        rollup: RolledUp,
        only_counts: bool,
        visible: &Range<u64>,
        bounds: &[u64],
    ) -> Option<Self> {
        let cells = rollup.graph().cells.for_query(only_counts);
        let finest = cells.finest()?;
        let is_stray = |period: Range<u64>| {
            common(&period, &of_hour(file.hour)).is_empty() && !common(&period, visible).is_empty()
        };
        let covered = file_buckets::covered(file.hour, finest, bounds);
        let fits = !covered.is_empty() && !cells.periods(finest).any(is_stray);
        let joined = RowRanges::new();
        fits.then_some(Self { file, rollup, only_counts, covered, joined, traces: None })
    }

    fn cells(&self) -> &Directory {
        self.rollup.graph().cells.for_query(self.only_counts)
    }

    /// Returns the rows that no rollup bucket counts.
    pub(crate) fn left_out(&self) -> &RowRanges {
        &self.rollup.graph().left_out
    }

    /// Joins the traces that the query cuts: they are partly inside and partly outside of the
    /// covered buckets.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn join_cut(&mut self, counted: &Range<u64>) -> Result<(), StorageError> {
        if self.is_whole() {
            return Ok(());
        }
        let covered = merged(self.covered.clone());
        let is_cut = |of: &&TraceRows| {
            let is_counted = of.first < counted.end && counted.start <= of.last;
            is_counted && !is_inside(&covered, of.first, of.last)
        };
        let cut = self.traces()?.iter().filter(is_cut).map(|of| of.rows.clone()).collect();
        self.join(cut);
        Ok(())
    }

    /// Returns the rows of the traces that have a span in one of these buckets. Joined and omitted
    /// rows are excluded.
    ///
    /// # Errors
    /// As [`Self::join_cut`].
    pub(crate) fn own_rows(
        &mut self,
        periods: &[PendingBucket],
    ) -> Result<RowRanges, StorageError> {
        let touches = |of: &&TraceRows| {
            let touched = |period: Range<u64>| of.first < period.end && period.start <= of.last;
            periods.iter().any(|period| touched(period.range()))
        };
        let rows = self.traces()?.iter().filter(touches).map(|of| of.rows.clone()).collect();
        Ok(without(&without(&merged(rows), &self.joined), self.left_out()))
    }

    /// Returns the rows and times of each trace of the file.
    fn traces(&mut self) -> Result<&[TraceRows], StorageError> {
        if self.traces.is_none() {
            self.traces = Some(traces(self.file)?);
        }
        Ok(self.traces.as_deref().unwrap_or_default())
    }

    /// Adds the calls of these buckets, or of all covered ones, to `totals`, without the
    /// retractions.
    pub(crate) fn add(
        &self,
        periods: Option<Vec<PendingBucket>>,
        taken: (&[PairRetractions<'_>], &RetractedCalls, Remainder),
        totals: &mut QueryTotals,
        go_on: &mut dyn FnMut(&QueryTotals) -> ControlFlow<()>,
    ) -> AddOutcome {
        let cells = self.cells();
        let names = cells.groups(&mut |range| self.rollup.page(range));
        let Some(groups) = names.and_then(|names| numbers(&names, totals)) else {
            return AddOutcome::Damaged;
        };
        let periods = periods.unwrap_or_else(|| file_buckets::all(cells, &self.covered));
        file_buckets::add((cells, &self.rollup), periods, &groups, taken, totals, go_on)
    }
}

/// Returns true if one of these ranges contains both times.
fn is_inside(ranges: &[Range<u64>], first: u64, last: u64) -> bool {
    ranges.iter().any(|range| range.start <= first && last < range.end)
}

/// Returns the numbers of the file's groups in the answer.
fn numbers(names: &GroupNames, totals: &mut QueryTotals) -> Option<Vec<GroupNumber>> {
    let known = |group| {
        let key = GraphKey::decode(names.raw(group)?)?;
        Some(key.group_number(totals))
    };
    let groups = GroupNumber::try_from(names.group_count()).ok()?;
    (0..groups).map(known).collect()
}

/// Reads the rows and times of each trace of a file. Adjacent traces whose ids end with the same 8
/// bytes count as one.
fn traces(file: &DataFile) -> Result<Vec<TraceRows>, StorageError> {
    let mut traces: Vec<TraceRows> = Vec::new();
    let (mut before, mut row): (Option<u64>, u64) = (None, 0);
    columns(Signal::Spans, file, &["trace_id_low64", "start_unix_nanos"], None, &mut |batch| {
        let ids = OptionalColumn::<Int64Array>::from_batch(batch, "trace_id_low64")?;
        let starts = OptionalColumn::<Int64Array>::from_batch(batch, "start_unix_nanos")?;
        for at in 0..batch.num_rows() {
            let (id, start) = (Some(ids.unsigned(at)), starts.unsigned(at));
            match traces.last_mut().filter(|_| before == id) {
                Some(of) => {
                    of.rows.end = row + 1;
                    (of.first, of.last) = (of.first.min(start), of.last.max(start));
                }
                None => {
                    traces.push(TraceRows { rows: row..row + 1, first: start, last: start });
                }
            }
            (before, row) = (id, row + 1);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(traces)
}
