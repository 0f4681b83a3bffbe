//! Reads the hours of one thread.

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tidings_proto::UnixNanos;

use super::{
    Question, Tallies, Tally,
    plan::{Hour, Plan, Rolled, overlaps},
    tiles,
};
use crate::{
    Detail, ScanStats, SpanFilter, SpanRows, StorageError, TimeRange,
    data_file::DataFile,
    filter::Matcher,
    rollup::{
        Call, CallKey, Cell, LEVELS, Seen,
        adder::GroupNumber,
        cells::GroupNames,
        repeats::{self, Repeat},
    },
    snapshot::{SPANS, TableView},
};

/// How many rows may still be read.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub(super) fn of(rows_max: u64) -> Self {
        Self(AtomicU64::new(rows_max))
    }

    /// So many were read; whether there is nothing left.
    fn spend(&self, rows: u64) -> bool {
        let less = |left: u64| Some(left.saturating_sub(rows));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.is_ok_and(|before| before <= rows)
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    WithAll,
    /// There was no more time, or no more budget.
    Early,
    /// The rollups of this file cannot be read.
    Damaged(Arc<DataFile>),
}

/// What one thread reads.
pub(super) struct Share<'a, T: Tallies> {
    question: &'a Question<'a, T>,
    budget: &'a Budget,
    /// The rows that came in no order.
    before: Option<&'a Seen>,
    pub(super) seen: Seen,
    pub(super) tally: T::Tally,
    pub(super) stats: ScanStats,
    pub(super) ended: Ended,
}

impl<'a, T: Tallies> Share<'a, T> {
    pub(super) fn new(
        question: &'a Question<'a, T>,
        budget: &'a Budget,
        before: Option<&'a Seen>,
        remembered_max: usize,
        tally: T::Tally,
    ) -> Self {
        let stats = ScanStats::NOTHING;
        let seen = Seen::new(remembered_max);
        Self { question, budget, before, seen, tally, stats, ended: Ended::WithAll }
    }

    /// Reads what has rows of more than one hour.
    pub(super) fn read_unordered(&mut self, plan: &Plan) -> Result<(), StorageError> {
        if plan.unordered.chunks.is_empty() && plan.unordered.files.is_empty() {
            return Ok(());
        }
        let mut counted = HashSet::new();
        for hour in plan.hours.iter().filter(|hour| !hour.covered.is_empty()) {
            self.add_counted(hour, &plan.unordered, &mut counted)?;
        }
        let range = self.question.range.clone();
        self.read_rows(&range, &plan.unordered, &counted)
    }

    /// Reads what began in these hours, as long as none of the other threads has stopped.
    pub(super) fn read_hours(
        &mut self,
        hours: &[Hour],
        stop: &AtomicBool,
    ) -> Result<(), StorageError> {
        for hour in hours {
            // A span came again only if it began in the same hour.
            self.seen.begin();
            let mut counted = HashSet::new();
            self.add_counted(hour, &hour.rows, &mut counted)?;
            for (range, view) in hour.parts() {
                self.read_rows(&range, &view, &counted)?;
            }
            for rolled in &hour.rolled {
                if matches!(self.ended, Ended::WithAll) {
                    self.add_cells(rolled, hour, stop)?;
                }
            }
            if !matches!(self.ended, Ended::WithAll) {
                return Ok(());
            }
            self.tally.settle(UnixNanos(hour.range.start));
        }
        Ok(())
    }

    fn read_rows(
        &mut self,
        range: &Range<u64>,
        view: &TableView,
        counted: &HashSet<u64>,
    ) -> Result<(), StorageError> {
        if !matches!(self.ended, Ended::WithAll) {
            return Ok(());
        }
        let question = self.question;
        let Question { snapshot, filter, range: asked, bounds, .. } = question;
        // An end that is not there stays so: a time may be the last there is.
        let end = (range.end < asked.end).then_some(UnixNanos(range.end));
        let start = TimeRange {
            start: (range.start > 0).then_some(UnixNanos(range.start)),
            end: end.or(filter.start.end),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..(*filter).clone() });
        let left = self.budget.0.load(Ordering::Relaxed).min(bounds.rows_max);
        let progress = snapshot.progress(left, SPANS);
        let Self { seen, before, tally, .. } = self;
        let is_new = |seen: &mut Seen, hash| {
            !counted.contains(&hash) && before.is_none_or(|of| !of.has(hash)) && seen.is_new(hash)
        };
        let mut flow = ControlFlow::Continue(());
        let stats =
            view.scan(&snapshot.indexes, matcher, Detail::Facts, progress, &mut |batch| {
                let rows = SpanRows::of(batch)?;
                let mut known: Option<(CallKey<'_>, u32)> = None;
                for row in 0..rows.len() {
                    if !is_new(seen, rows.content_hash(row)) {
                        continue;
                    }
                    let key = CallKey::of(&rows, row);
                    let group = match known {
                        Some((same, group)) if same == key => group,
                        _ => tally.group(key),
                    };
                    known = Some((key, group));
                    tally.call(group, &Call::of(&rows, row));
                }
                let goes_on = tally.wants_more() && !question.is_stopped();
                flow = if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                Ok(flow)
            })?;
        self.stats += stats;
        let spent = self.budget.spend(stats.rows);
        if flow.is_break() || question.is_stopped() || spent && !stats.complete {
            self.ended = Ended::Early;
        }
        Ok(())
    }

    /// Adds the contents of spans that the rollups of an hour have counted and that may be among
    /// these rows.
    fn add_counted(
        &self,
        hour: &Hour,
        rows: &TableView,
        counted: &mut HashSet<u64>,
    ) -> Result<(), StorageError> {
        if hour.rolled.is_empty() || self.question.is_stopped() {
            return Ok(());
        }
        let covered = &hour.covered;
        let chunks = rows.chunks.iter().filter(|chunk| overlaps(covered, chunk.times()));
        let mut low64s: Vec<u64> = chunks.flat_map(|chunk| chunk.trace_low64s()).copied().collect();
        for file in rows.files.iter().filter(|file| overlaps(covered, file.times())) {
            low64s.extend(repeats::low64s(file, None)?);
        }
        if low64s.is_empty() {
            return Ok(());
        }
        low64s.sort_unstable();
        low64s.dedup();
        for rolled in &hour.rolled {
            let indexes = &self.question.snapshot.indexes;
            repeats::each_of(indexes, &rolled.file, &low64s, |hash, start| {
                if covered.contains(&start) {
                    counted.insert(hash);
                }
            })?;
        }
        Ok(())
    }

    fn add_cells(
        &mut self,
        rolled: &Rolled,
        hour: &Hour,
        stop: &AtomicBool,
    ) -> Result<(), StorageError> {
        let (rollup, directory) = (&rolled.rollup, rolled.rollup.directory());
        let mut fetch = |range| rollup.page(range);
        let Some((names, groups)) = directory.groups(&mut fetch).and_then(|names| {
            let groups = self.numbers(&names)?;
            Some((names, groups))
        }) else {
            self.ended = Ended::Damaged(Arc::clone(&rolled.file));
            return Ok(());
        };
        let repeats = self.repeats(rolled, hour, &names)?;
        let has = |level| directory.has(level);
        for (level, start) in tiles(&hour.covered, self.question.step, has) {
            let is_stopped = stop.load(Ordering::Relaxed) || self.question.is_stopped();
            if is_stopped || !self.tally.wants_more() {
                self.ended = Ended::Early;
                return Ok(());
            }
            let period = start..start.saturating_add(LEVELS[level]);
            let tally = &mut self.tally;
            let whole = directory.cells(level, start, &mut fetch, |number, cell| {
                let Some(group) = *groups.get(number as usize)? else { return Some(()) };
                let taken = repeats.get(number as usize).filter(|taken| !taken.is_empty());
                let Some(taken) = taken else { return tally.cell(group, &cell) };
                let mut calls = cell.decoded()?;
                let began = |call: &&Call| period.contains(&call.exemplar.start_unix_nano.0);
                taken.iter().filter(began).for_each(|call| calls.remove(call));
                if calls.count == 0 {
                    return Some(());
                }
                tally.cell(group, &Cell::of_calls(&calls, cell.start()))
            });
            if whole.is_none() {
                self.ended = Ended::Damaged(Arc::clone(&rolled.file));
                return Ok(());
            }
        }
        Ok(())
    }

    /// The numbers of a file's groups in the answer; none of those that do not match. `None` when
    /// they are damaged.
    fn numbers(&mut self, names: &GroupNames) -> Option<Vec<Option<u32>>> {
        let SpanFilter { services, operation, kind, status, .. } = self.question.filter;
        let matches = |key: CallKey<'_>| {
            services.as_ref().is_none_or(|any| any.iter().any(|service| service == key.service))
                && operation.as_ref().is_none_or(|operation| operation == key.operation)
                && kind.is_none_or(|kind| kind == key.kind)
                && status.is_none_or(|status| status == key.status)
        };
        let keys = (0..names.len()).map(|group| names.key(GroupNumber::try_from(group).ok()?));
        let number = |key: Option<CallKey<'_>>| {
            let key = key?;
            Some(if matches(key) { Some(self.tally.group(key)) } else { None })
        };
        keys.map(number).collect()
    }

    /// The calls of a file that others of its hour take part in counting, by group: of the files
    /// that have one, all but the greatest take it away.
    fn repeats(
        &self,
        rolled: &Rolled,
        hour: &Hour,
        names: &GroupNames,
    ) -> Result<Vec<Vec<Call>>, StorageError> {
        let size = |file: &DataFile| (file.rows, file.path.clone());
        let file = &rolled.file;
        let others = hour.rolled.iter().map(|other| &other.file);
        let others: Vec<_> = others.filter(|other| size(other) > size(file)).collect();
        let indexes = &self.question.snapshot.indexes;
        let repeats = indexes.repeats.of(indexes, (file, names), &others)?;
        if repeats.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_group = vec![Vec::new(); names.len()];
        for Repeat { group, call, .. } in repeats {
            if let Some(of_group) = by_group.get_mut(group as usize) {
                of_group.push(call);
            }
        }
        Ok(by_group)
    }
}
