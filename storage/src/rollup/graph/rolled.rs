//! A data file of which a part comes from rollups.

use std::{
    collections::HashMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow_array::{BinaryArray, Int64Array};
use tidings_proto::TraceId;

use super::{GraphKey, pool::Totals, splits::Rows, taken::Taken};
use crate::{
    Calls, StorageError,
    data_file::{DataFile, columns},
    index::RolledUp,
    ranges::merged,
    rollup::{
        LEVELS,
        adder::GroupNumber,
        cells::{Directory, GroupNames},
        tally::{aligned, common, of_hour, tiles},
    },
    rows::column::Column,
    schema::Signal,
};

/// What is taken away from a file's calls, by group of the answer.
pub(super) type TakenCalls = HashMap<GroupNumber, Vec<Taken>>;

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

/// What came of a file's cells.
pub(super) enum Added {
    /// They are added, apart from periods that have to be added up again from rows.
    But(Vec<Range<u64>>),
    /// They cannot be read.
    Damaged,
    /// Nobody waits for them any more.
    Stopped,
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
        let stretches = bounds.windows(2).map(|stretch| stretch[0]..stretch[1]);
        let covered = stretches.map(|stretch| common(&stretch, &of_hour(file.hour)));
        let covered = covered.filter(|part| !part.is_empty());
        let covered: Vec<_> = covered
            .map(|part| aligned(part, LEVELS[finest]))
            .filter(|part| !part.is_empty())
            .collect();
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
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Added {
        let cells = self.cells();
        let mut fetch = |range| self.rollup.page(range);
        let Some(groups) = cells.groups(&mut fetch).and_then(|names| numbers(&names, totals))
        else {
            return Added::Damaged;
        };
        let mut again = Vec::new();
        let longest = LEVELS[LEVELS.len() - 1];
        let tiles = |part| tiles(part, longest, |level| cells.has(level)).collect::<Vec<_>>();
        let mut open: Vec<(usize, u64)> = self.covered.iter().flat_map(tiles).collect();
        let mut of_period: Vec<(GroupNumber, Calls)> = Vec::new();
        while let Some((level, start)) = open.pop() {
            if go_on().is_break() {
                return Added::Stopped;
            }
            let period = start..start.saturating_add(LEVELS[level]);
            let mut is_known = true;
            of_period.clear();
            let whole = cells.cells(level, start, &mut fetch, |group, decode| {
                let group = *groups.get(group as usize)?;
                let mut calls = decode()?;
                let began = |of: &&Taken| period.contains(&of.call.exemplar.start_unix_nano.0);
                if let Some(all) = taken.get(&group) {
                    let taken: Vec<Taken> = all.iter().filter(began).copied().collect();
                    is_known &= taken.is_empty() || calls.take_away(&taken);
                }
                of_period.push((group, calls));
                Some(())
            });
            if whole.is_none() {
                return Added::Damaged;
            }
            if is_known {
                let calls = of_period.drain(..).filter(|(_, calls)| calls.count > 0);
                calls.for_each(|(group, calls)| totals.of(group, start).merge(&calls));
            } else if let Some(finer) = (0..level).rev().find(|finer| cells.has(*finer)) {
                let parts = (period.start..period.end).step_by(step(LEVELS[finer]));
                open.extend(parts.map(|start| (finer, start)));
            } else {
                again.push(period);
            }
        }
        Added::But(again)
    }
}

fn step(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
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

/// Those of the rows that are not among the others; both are ascending and apart.
fn without(rows: &Rows, others: &Rows) -> Rows {
    let mut left = Rows::new();
    let mut others = others.iter().peekable();
    for range in rows {
        let mut start = range.start;
        while let Some(other) = others.peek().filter(|other| other.start < range.end) {
            if start < other.start {
                left.push(start..other.start);
            }
            start = start.max(other.end);
            if other.end > range.end {
                break;
            }
            others.next();
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn rows_without_others_are_those_that_are_in_none_of_them() {
        for (rows, others) in [
            (vec![0..10, 12..13], vec![]),
            (vec![0..10, 12..14], vec![0..10, 12..14]),
            (vec![2..4, 6..9], vec![0..3, 8..12]),
            (vec![0..3, 4..9, 10..20], vec![1..2, 5..6, 7..15, 16..17]),
            (vec![5..6, 9..10], vec![0..1, 2..3, 7..8]),
        ] {
            let left = without(&rows, &others);
            for row in 0..25 {
                let is_in = |ranges: &[std::ops::Range<u64>]| {
                    ranges.iter().any(|range| range.contains(&row))
                };
                let expected = is_in(&rows) && !is_in(&others);
                assert_eq!(is_in(&left), expected, "{rows:?} {others:?} {row}");
            }
        }
    }
}
