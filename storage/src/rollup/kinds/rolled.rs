//! A data file of which a part of the transactions comes from rollups.

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range, RangeInclusive},
    sync::Arc,
};

use super::{
    KindKey, KindSection,
    section::{HOUR_MINUTES, Summary},
    told::Told,
};
use crate::{
    data_file::DataFile,
    index::{HashedRun, Indexes, RUNS_PAGE, RolledUp},
    ranges::{merged, without},
    rollup::{
        LEVELS,
        adder::GroupNumber,
        cells::GroupNames,
        covered::{self, Added, Less, Open, TakenCalls},
        joint::{Joining, Pairs, Used},
        splits::Rows,
        taken::Left,
        tally::{HOUR, common},
        unanswered::Unanswered,
    },
};

/// Some minutes of an hour, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Minutes(u64);

impl Minutes {
    fn of(is_in: impl Fn(u64) -> bool) -> Self {
        Self((0..HOUR_MINUTES).filter(|minute| is_in(*minute)).fold(0, |all, at| all | 1 << at))
    }

    pub(super) fn has(self, minute: u8) -> bool {
        self.0 >> minute & 1 > 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Such a file.
#[derive(Debug)]
pub(super) struct Rolled<'a> {
    pub(super) file: &'a Arc<DataFile>,
    rollup: RolledUp,
    /// What of the question comes from it, at most one range of each stretch; ascending.
    pub(super) covered: Vec<Range<u64>>,
    /// The minutes that are covered,
    pub(super) told: Minutes,
    /// and those that are not, of which something is asked.
    cut: Minutes,
    /// Rows of traces that are put together with what is elsewhere.
    pub(super) joined: Rows,
    /// The last halves of the ids of traces of which a pair says that their entry is elsewhere.
    pub(super) elsewhere: HashSet<u64>,
}

impl Joining for Rolled<'_> {
    fn file(&self) -> &Arc<DataFile> {
        self.file
    }

    fn rollup(&self) -> &RolledUp {
        &self.rollup
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn joined(&self) -> &Rows {
        &self.joined
    }

    fn join(&mut self, rows: Rows) {
        let all = self.joined.drain(..).chain(rows).collect();
        self.joined = without(&merged(all), self.left_out());
    }
}

impl<'a> Rolled<'a> {
    /// The file, if its rollups can be of use for the stretches between these bounds.
    pub(super) fn of(file: &'a Arc<DataFile>, rollup: RolledUp, bounds: &[u64]) -> Option<Self> {
        let section = rollup.kinds();
        let finest = section.cells.finest()?;
        if u64::try_from(file.hour).ok()? != section.hour {
            return None;
        }
        let covered = covered::covered(file.hour, finest, bounds);
        let minute = |minute: u64| {
            let start = section.hour.saturating_mul(HOUR).saturating_add(minute * LEVELS[0]);
            start..start.saturating_add(LEVELS[0])
        };
        let told = Minutes::of(|at| {
            let minute = minute(at);
            covered.iter().any(|part| part.start <= minute.start && minute.end <= part.end)
        });
        let asked = *bounds.first()?..*bounds.last()?;
        let cut = Minutes::of(|at| {
            let at = minute(at);
            !common(&at, &asked).is_empty()
        });
        let cut = Minutes(cut.0 & !told.0);
        let (joined, elsewhere) = (Rows::new(), HashSet::new());
        Some(Self { file, rollup, covered, told, cut, joined, elsewhere })
    }

    fn section(&self) -> &KindSection {
        self.rollup.kinds()
    }

    /// Whether transactions of it can be in the answer.
    pub(super) fn is_asked(&self) -> bool {
        !self.told.is_empty() || !self.cut.is_empty()
    }

    /// The rows of which no cell knows.
    pub(super) fn left_out(&self) -> &Rows {
        &self.section().left_out
    }

    /// Joins the traces that began in a minute of which only a part is asked for. `None` when the
    /// file's index is damaged.
    pub(super) fn join_cut(&mut self) -> Option<()> {
        if !self.cut.is_empty() {
            let is_cut = |of: Summary| Some(of.kind.is_some() && self.cut.has(of.minute));
            let rows = self.rows_of(is_cut)?;
            self.join(rows);
        }
        Some(())
    }

    /// The rows of the traces that began in one of these periods, are of kinds of which these are
    /// open, and are not joined; as [`Self::join_cut`].
    pub(super) fn own_rows(&self, open: &[Open], told: &mut Told<'_>) -> Option<Rows> {
        let (kinds, start) = (self.numbers(told)?, self.section().hour.saturating_mul(HOUR));
        let minutes = (0..HOUR_MINUTES).map(|minute| {
            let at = start.saturating_add(minute * LEVELS[0]);
            open.iter().filter(|open| open.range().contains(&at)).collect()
        });
        let minutes: Vec<Vec<&Open>> = minutes.collect();
        let rows = self.rows_of(|summary| {
            let Some(kind) = summary.kind else { return Some(false) };
            let kind = *kinds.get(kind as usize)?;
            Some(minutes.get(usize::from(summary.minute))?.iter().any(|open| open.is_of(kind)))
        })?;
        Some(without(&rows, &self.joined))
    }

    /// The rows of the traces that are wanted.
    fn rows_of(&self, is_wanted: impl Fn(Summary) -> Option<bool>) -> Option<Rows> {
        let mut numbers = Vec::new();
        self.each(|number, summary| {
            if is_wanted(summary)? {
                numbers.push(number);
            }
            Some(())
        })?;
        let runs = self.runs(&numbers)?;
        Some(merged(runs.into_iter().map(|(_, rows)| rows).collect()))
    }

    /// Gives `visit` each trace by its number; as [`Self::join_cut`].
    pub(super) fn each(&self, visit: impl FnMut(u64, Summary) -> Option<()>) -> Option<()> {
        self.section().each(&mut |range| self.rollup.page(range), visit)
    }

    /// The traces with these numbers, which are ascending: where they are in the order of a sample,
    /// and their rows; as [`Self::join_cut`].
    pub(super) fn runs(&self, numbers: &[u64]) -> Option<Vec<HashedRun>> {
        let mut found = Vec::with_capacity(numbers.len());
        for of_page in numbers.chunk_by(|left, right| left / RUNS_PAGE == right / RUNS_PAGE) {
            let runs = self.rollup.trace_runs(of_page.first()? / RUNS_PAGE)?;
            for number in of_page {
                let at = usize::try_from(number % RUNS_PAGE).ok()?;
                found.push(runs.get(at)?.clone());
            }
        }
        Some(found)
    }

    /// Where the trace with this number is at the least and at the most in the order of a sample;
    /// as [`Self::join_cut`].
    pub(super) fn places(&self, number: u64) -> Option<RangeInclusive<u64>> {
        self.rollup.trace_places(number / RUNS_PAGE)
    }

    /// Whether the trace with these rows is put together with what is elsewhere.
    pub(super) fn is_joined(&self, rows: &Range<u64>) -> bool {
        let after = self.joined.partition_point(|joined| joined.end <= rows.start);
        self.joined.get(after).is_some_and(|joined| joined.start < rows.end)
    }

    /// Its kinds, by number; as [`Self::join_cut`].
    pub(super) fn kinds(&self) -> Option<GroupNames> {
        self.section().cells.groups(&mut |range| self.rollup.page(range))
    }

    /// Adds what the covered periods count to `told`, without what is taken away.
    pub(super) fn add(
        &self,
        (less, taken): (&[Less<'_>], &TakenCalls),
        told: &mut Told<'_>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Added {
        let Some(kinds) = self.numbers(told) else { return Added::Damaged };
        let cells = &self.section().cells;
        let Told { bounds, totals, .. } = told;
        covered::add(
            (cells, &self.rollup),
            covered::all(cells, &self.covered),
            &kinds,
            (less, taken, Left::Exact),
            totals,
            &mut |totals| {
                if totals.bytes() > bounds.bytes_max { ControlFlow::Break(()) } else { go_on() }
            },
        )
    }

    /// Gives `visit` how many transactions the covered periods count of kinds with these numbers.
    pub(super) fn count(
        &self,
        told: &mut Told<'_>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
        mut visit: impl FnMut(GroupNumber, u64),
    ) -> Added {
        let Some(kinds) = self.numbers(told) else { return Added::Damaged };
        let cells = (&self.section().cells, &self.rollup);
        covered::count(cells, &self.covered, go_on, |kind, count| {
            if let Some(kind) = kinds.get(kind as usize) {
                visit(*kind, count);
            }
        })
    }

    /// The numbers of its kinds in the answer, by their numbers here; as [`Self::join_cut`].
    fn numbers(&self, told: &mut Told<'_>) -> Option<Vec<GroupNumber>> {
        if self.covered.is_empty() {
            return Some(Vec::new());
        }
        let names = self.kinds()?;
        let numbers = 0..GroupNumber::try_from(names.len()).unwrap_or(GroupNumber::MAX);
        let keys = numbers.map_while(|kind| names.raw(kind)).map(KindKey::of);
        Some(keys.map(|key| told.number(key)).collect())
    }
}

/// Finds out of which traces of these files pairs say that their entry is elsewhere.
pub(super) fn find_elsewhere(
    indexes: &Indexes,
    files: &mut [Rolled<'_>],
    pairs: &Pairs,
) -> Result<(), Unanswered> {
    let is_asked = |used: &&Used| used.files.iter().any(|file| files[*file].is_asked());
    let asked: Vec<&Used> = pairs.used.iter().filter(is_asked).collect();
    for used in asked {
        let settled = used.settled(files).ok_or_else(|| used.damaged(indexes, files))?;
        for (place, file) in used.files.into_iter().enumerate() {
            files[file].elsewhere.extend(settled.without_entry(place));
        }
    }
    Ok(())
}
