//! What of a question comes from the cells of a file.
//!
//! Of each stretch that a question asks for, the whole periods in the file's hour. Calls that do
//! not count there are taken away; where what is left is not known, shorter periods are looked at,
//! and in the end whoever asks has to add a period up from rows.

use std::{
    collections::{HashMap, HashSet},
    ops::{ControlFlow, Range},
    rc::Rc,
};

use super::{
    Calls, LEVELS,
    adder::GroupNumber,
    cells::Directory,
    joint::{PairGroups, Role},
    taken::{Left, Taken},
    tally::{aligned, common, of_hour, tiles},
    totals::{OTHERS, Totals, UNASKED},
};
use crate::index::RolledUp;

/// What is taken away from a file's calls, by group of the answer; of each in the order in which they
/// began.
pub(super) type TakenCalls = HashMap<GroupNumber, Vec<Taken>>;

/// What a pair of files takes away of the cells of one of them.
pub(super) struct Less<'a> {
    pub(super) cells: &'a Directory,
    pub(super) rollup: &'a RolledUp,
    pub(super) groups: &'a PairGroups,
    /// The file's place in the pair.
    pub(super) place: usize,
}

/// A period whose cells are not added yet.
#[derive(Debug, Clone)]
pub(super) struct Open {
    level: usize,
    start: u64,
    /// Only those of these groups of the answer; `None`: of all.
    groups: Option<Rc<HashSet<GroupNumber>>>,
}

impl Open {
    /// When its calls began.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(LEVELS[self.level])
    }

    /// Whether the calls of a group are not added yet.
    pub(super) fn is_of(&self, group: GroupNumber) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(&group))
    }

    /// Whether a call of this group that began at this time is not added yet.
    pub(super) fn has(&self, group: GroupNumber, start: u64) -> bool {
        self.range().contains(&start) && self.is_of(group)
    }
}

/// What came of a file's cells.
pub(super) enum Added {
    /// They are added, apart from what has to be added up again from rows.
    But(Vec<Open>),
    /// They cannot be read.
    Damaged,
    /// Nobody waits for them any more, or they take too much memory.
    Stopped,
}

/// What of the stretches between these bounds comes from the cells of a file of this hour, whose
/// shortest periods are of level `finest`: at most one range of each stretch; ascending.
pub(super) fn covered(hour: i64, finest: usize, bounds: &[u64]) -> Vec<Range<u64>> {
    let stretches = bounds.windows(2).map(|stretch| stretch[0]..stretch[1]);
    let parts = stretches.map(|stretch| common(&stretch, &of_hour(hour)));
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| aligned(part, LEVELS[finest])).filter(|part| !part.is_empty()).collect()
}

/// Adds the calls of these periods to `totals`, without what is taken away, by pairs and besides.
/// `groups` are the groups' numbers in the answer, by their numbers in the file; of those that are
/// not told apart only how many calls there are is looked at. Groups of which less is known than is
/// `wanted` are looked at in shorter periods, and in the end have to be added up again.
pub(super) fn add(
    (cells, rollup): (&Directory, &RolledUp),
    mut open: Vec<Open>,
    groups: &[GroupNumber],
    (pairs, taken, wanted): (&[Less<'_>], &TakenCalls, Left),
    totals: &mut Totals,
    go_on: &mut dyn FnMut(&Totals) -> ControlFlow<()>,
) -> Added {
    let mut fetch = |range| rollup.page(range);
    let mut again = Vec::new();
    let mut of_period: Vec<(GroupNumber, Calls)> = Vec::new();
    while let Some(of) = open.pop() {
        if go_on(totals).is_break() {
            return Added::Stopped;
        }
        let (level, start, period) = (of.level, of.start, of.range());
        // Where a pair has no shorter periods nothing more is known in them.
        let is_there = |of: &Less<'_>, level| of.cells.has(level) || !of.cells.has_groups();
        let has = |level| cells.has(level) && pairs.iter().all(|of| is_there(of, level));
        let finer = (0..level).rev().find(|finer| has(*finer));
        let (mut unsettled, mut others) = (HashSet::new(), 0_u64);
        of_period.clear();
        let Some(mut less) = OfPeriod::of(pairs, level, start) else { return Added::Damaged };
        less.calls.retain(|group, _| of.is_of(*group));
        let whole = cells.cells(level, start, &mut fetch, |group, cell| {
            let group = *groups.get(group as usize)?;
            if group == OTHERS || group == UNASKED {
                others = others.checked_add(if group == OTHERS { cell.count() } else { 0 })?;
                return Some(());
            }
            if !of.is_of(group) {
                return Some(());
            }
            let of_pairs = less.calls.remove(&group);
            let taken = began_in(taken.get(&group).map_or(&[], Vec::as_slice), &period);
            if of_pairs.is_none() && taken.is_empty() && !less.is_unknown {
                return totals.merge_cell(group, &cell);
            }
            let mut calls = cell.decoded()?;
            let left = calls.take_away(&of_pairs.unwrap_or_default(), taken);
            // Of shorter periods more may be known.
            match left == Left::Exact || left <= wanted && finer.is_none() {
                true => of_period.push((group, calls)),
                false => _ = unsettled.insert(group),
            }
            Some(())
        });
        if whole.is_none() {
            return Added::Damaged;
        }
        // What is to be taken away must be there.
        unsettled.extend(less.calls.into_keys());
        let rest = if less.is_unknown {
            Some(of.groups)
        } else {
            let calls = of_period
                .drain(..)
                .filter(|(group, calls)| calls.count > 0 && !unsettled.contains(group));
            calls.for_each(|(group, calls)| totals.merge(group, start, &calls));
            if of.groups.is_none() {
                let taken = began_in(taken.get(&OTHERS).map_or(&[], Vec::as_slice), &period);
                let taken = taken.iter().filter(|of| !of.is_away).count();
                totals.add_others(others.saturating_sub(taken as u64).saturating_sub(less.others));
            }
            (!unsettled.is_empty()).then(|| Some(Rc::new(unsettled)))
        };
        match (rest, finer) {
            (None, _) => {}
            (Some(groups), None) => again.push(Open { level, start, groups }),
            (Some(groups), Some(level)) => {
                let parts = (period.start..period.end).step_by(step(LEVELS[level]));
                open.extend(parts.map(|start| Open { level, start, groups: groups.clone() }));
            }
        }
    }
    Added::But(again)
}

/// Those of these, which are in the order in which they began, that began in this period.
fn began_in<'a>(taken: &'a [Taken], period: &Range<u64>) -> &'a [Taken] {
    let start = |of: &Taken| of.call.exemplar.start_unix_nano.0;
    let first = taken.partition_point(|of| start(of) < period.start);
    let count = taken[first..].partition_point(|of| start(of) < period.end);
    &taken[first..][..count]
}

/// What pairs take away of a period.
#[derive(Default)]
struct OfPeriod {
    /// By group: the calls that are none, and those that count elsewhere too.
    calls: HashMap<GroupNumber, [Calls; 2]>,
    /// How many of groups that are not told apart.
    others: u64,
    /// Whether a pair does not say it of such periods.
    is_unknown: bool,
}

impl OfPeriod {
    /// `None` when a pair's cells are damaged.
    fn of(pairs: &[Less<'_>], level: usize, start: u64) -> Option<Self> {
        let mut less = Self::default();
        for Less { cells, rollup, groups, place } in pairs {
            if !cells.has(level) {
                less.is_unknown |= cells.has_groups();
                continue;
            }
            cells.cells(level, start, &mut |range| rollup.page(range), |group, cell| {
                let (role, group) = *groups.get(group as usize)?;
                let kept = [Role::Gone(*place), Role::Doubled(*place)];
                let Some(which) = kept.iter().position(|kept| *kept == role) else {
                    return Some(());
                };
                match group {
                    UNASKED => {}
                    OTHERS => less.others = less.others.checked_add(cell.count())?,
                    _ => cell.add_to(&mut less.calls.entry(group).or_default()[which])?,
                }
                Some(())
            })?;
        }
        Some(less)
    }
}

/// Gives `visit` how many calls of the groups with these numbers in the file there are in the
/// covered periods, as it has counted them.
pub(super) fn count(
    (cells, rollup): (&Directory, &RolledUp),
    covered: &[Range<u64>],
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
    mut visit: impl FnMut(GroupNumber, u64),
) -> Added {
    for Open { level, start, .. } in all(cells, covered) {
        if go_on().is_break() {
            return Added::Stopped;
        }
        if cells.counts(level, start, &mut |range| rollup.page(range), &mut visit).is_none() {
            return Added::Damaged;
        }
    }
    Added::But(Vec::new())
}

/// The periods that the covered ones consist of, each as long as possible.
pub(super) fn all(cells: &Directory, covered: &[Range<u64>]) -> Vec<Open> {
    let longest = LEVELS[LEVELS.len() - 1];
    let tiles = |part| tiles(part, longest, |level| cells.has(level)).collect::<Vec<_>>();
    let periods = covered.iter().flat_map(tiles);
    periods.map(|(level, start)| Open { level, start, groups: None }).collect()
}

fn step(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
