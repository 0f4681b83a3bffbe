//! A data file of which a part comes from rollups.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow_array::{BinaryArray, Int64Array};
use tidings_proto::TraceId;

use super::GraphKey;
use crate::{
    StorageError,
    data_file::{DataFile, columns},
    index::RolledUp,
    ranges::{merged, without},
    rollup::{
        adder::GroupNumber,
        cells::{Directory, GroupNames},
        covered::{self, Added, TakenCalls},
        splits::Rows,
        tally::{common, of_hour},
        totals::Totals,
    },
    rows::column::Column,
    schema::Signal,
};

/// Such a file.
#[derive(Debug)]
pub(super) struct Rolled<'a> {
    pub(super) file: &'a Arc<DataFile>,
    rollup: RolledUp,
    /// What of the question comes from it, at most one range of each stretch; ascending.
    pub(super) covered: Vec<Range<u64>>,
    /// Rows of traces that are put together with what is elsewhere.
    pub(super) joined: Rows,
    traces: Option<Vec<TraceRows>>,
}

/// The rows of one trace.
#[derive(Debug, Clone)]
struct TraceRows {
    rows: Range<u64>,
    first: u64,
    last: u64,
}

impl<'a> Rolled<'a> {
    /// The file, if of the stretches between these bounds some comes from its rollups, and if
    /// what it has of `visible` began in its hour.
    pub(super) fn of(
        file: &'a Arc<DataFile>,
        rollup: RolledUp,
        visible: &Range<u64>,
        bounds: &[u64],
    ) -> Option<Self> {
        let cells = &rollup.graph().cells;
        let finest = cells.finest()?;
        let is_stray = |period: Range<u64>| {
            common(&period, &of_hour(file.hour)).is_empty() && !common(&period, visible).is_empty()
        };
        let covered = covered::covered(file.hour, finest, bounds);
        let fits = !covered.is_empty() && !cells.periods(finest).any(is_stray);
        fits.then_some(Self { file, rollup, covered, joined: Rows::new(), traces: None })
    }

    fn cells(&self) -> &Directory {
        &self.rollup.graph().cells
    }

    /// The rows of which no cell knows.
    pub(super) fn left_out(&self) -> &Rows {
        &self.rollup.graph().left_out
    }

    /// Joins these rows too, apart from those that are left out.
    pub(super) fn join(&mut self, rows: Rows) {
        let all = self.joined.drain(..).chain(rows).collect();
        self.joined = without(&merged(all), self.left_out());
    }

    /// Joins the traces that the question cuts: some of it in a covered period, some not.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(super) fn join_cut(&mut self, counted: &Range<u64>) -> Result<(), StorageError> {
        let (min, max) = self.file.times();
        let covered = merged(self.covered.clone());
        let is_inside =
            |first, last| covered.iter().any(|range| range.start <= first && last < range.end);
        if is_inside(min.0, max.0) {
            return Ok(());
        }
        let is_cut = |of: &&TraceRows| {
            let is_counted = of.first < counted.end && counted.start <= of.last;
            is_counted && !is_inside(of.first, of.last)
        };
        let cut = self.traces()?.iter().filter(is_cut).map(|of| of.rows.clone()).collect();
        self.join(cut);
        Ok(())
    }

    /// The rows of the traces that have a span in this period, without those that are joined or
    /// left out.
    ///
    /// # Errors
    /// As [`Self::join_cut`].
    pub(super) fn own_rows(&mut self, period: &Range<u64>) -> Result<Rows, StorageError> {
        let touches = |of: &&TraceRows| of.first < period.end && period.start <= of.last;
        let rows = self.traces()?.iter().filter(touches).map(|of| of.rows.clone()).collect();
        Ok(without(&without(&merged(rows), &self.joined), self.left_out()))
    }

    /// The rows and times of each of its traces.
    fn traces(&mut self) -> Result<&[TraceRows], StorageError> {
        if self.traces.is_none() {
            self.traces = Some(traces(self.file)?);
        }
        Ok(self.traces.as_deref().unwrap_or_default())
    }

    /// Adds the calls of the covered periods to `totals`, without what is taken away.
    pub(super) fn add(
        &self,
        taken: &TakenCalls,
        totals: &mut Totals,
        go_on: &mut dyn FnMut(&Totals) -> ControlFlow<()>,
    ) -> Added {
        let cells = self.cells();
        let names = cells.groups(&mut |range| self.rollup.page(range));
        let Some(groups) = names.and_then(|names| numbers(&names, totals)) else {
            return Added::Damaged;
        };
        let cells = (cells, &self.rollup);
        covered::add(cells, &self.covered, &groups, taken, totals, go_on)
    }
}

/// The groups' numbers in the answer, by their numbers in the file.
fn numbers(names: &GroupNames, totals: &mut Totals) -> Option<Vec<GroupNumber>> {
    let known = |group| {
        let key = names.raw(group)?;
        GraphKey::of(key).map(|_| totals.number(key))
    };
    let groups = GroupNumber::try_from(names.len()).ok()?;
    (0..groups).map(known).collect()
}

/// The rows and times of each trace of a file.
fn traces(file: &DataFile) -> Result<Vec<TraceRows>, StorageError> {
    let mut traces: Vec<TraceRows> = Vec::new();
    let (mut before, mut row): (Option<TraceId>, u64) = (None, 0);
    columns(Signal::Spans, file, &["trace_id", "start_unix_nanos"], None, &mut |batch| {
        let ids = Column::<BinaryArray>::of(batch, "trace_id")?;
        let starts = Column::<Int64Array>::of(batch, "start_unix_nanos")?;
        for at in 0..batch.num_rows() {
            let (id, start) = (ids.bytes(at).and_then(TraceId::from_wire), starts.unsigned(at));
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
