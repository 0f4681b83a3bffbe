//! What of a question comes from the cells of a file.
//!
//! Of each stretch that a question asks for, the whole periods in the file's hour. Calls that do
//! not count there are taken away; where what is left is not known, shorter periods are looked at,
//! and in the end whoever asks has to add a period up from rows.

use std::{
    collections::HashMap,
    ops::{ControlFlow, Range},
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

/// What is taken away from a file's calls, by group of the answer.
pub(super) type TakenCalls = HashMap<GroupNumber, Vec<Taken>>;

/// What a pair of files takes away of the cells of one of them.
pub(super) struct Less<'a> {
    pub(super) cells: &'a Directory,
    pub(super) rollup: &'a RolledUp,
    pub(super) groups: &'a PairGroups,
    /// The file's place in the pair.
    pub(super) place: usize,
}

/// What came of a file's cells.
pub(super) enum Added {
    /// They are added, apart from periods that have to be added up again from rows.
    But(Vec<Range<u64>>),
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

/// Adds the calls of the covered periods to `totals`, without what is taken away, by pairs and
/// besides. `groups` are the groups' numbers in the answer, by their numbers in the file; of those
/// that are not told apart only how many calls there are is looked at. Periods of which less is known
/// than is `wanted` have to be added up again.
pub(super) fn add(
    (cells, rollup): (&Directory, &RolledUp),
    covered: &[Range<u64>],
    groups: &[GroupNumber],
    (pairs, taken, wanted): (&[Less<'_>], &TakenCalls, Left),
    totals: &mut Totals,
    go_on: &mut dyn FnMut(&Totals) -> ControlFlow<()>,
) -> Added {
    let mut fetch = |range| rollup.page(range);
    let mut again = Vec::new();
    let mut open = periods(cells, covered);
    let mut of_period: Vec<(GroupNumber, Calls)> = Vec::new();
    while let Some((level, start)) = open.pop() {
        if go_on(totals).is_break() {
            return Added::Stopped;
        }
        let period = start..start.saturating_add(LEVELS[level]);
        let began = |of: &&Taken| period.contains(&of.call.exemplar.start_unix_nano.0);
        let (mut left, mut others) = (Left::Exact, 0_u64);
        of_period.clear();
        let Some(mut less) = OfPeriod::of(pairs, level, start) else { return Added::Damaged };
        if less.is_unknown {
            left = Left::Unknown;
        }
        let whole = cells.cells(level, start, &mut fetch, |group, cell| {
            let group = *groups.get(group as usize)?;
            if group == OTHERS || group == UNASKED {
                others = others.checked_add(if group == OTHERS { cell.count() } else { 0 })?;
                return Some(());
            }
            let mut calls = cell.decoded()?;
            let of_pairs = less.calls.remove(&group);
            let taken = taken.get(&group).into_iter().flatten();
            let taken: Vec<Taken> = taken.filter(began).copied().collect();
            if of_pairs.is_some() || !taken.is_empty() {
                left = left.max(calls.take_away(&of_pairs.unwrap_or_default(), &taken));
            }
            of_period.push((group, calls));
            Some(())
        });
        if whole.is_none() {
            return Added::Damaged;
        }
        // What is to be taken away must be there.
        if !less.calls.is_empty() {
            left = Left::Unknown;
        }
        let finer = (0..level).rev().find(|finer| cells.has(*finer));
        // Of shorter periods more may be known.
        if left == Left::Exact || left <= wanted && finer.is_none() {
            let calls = of_period.drain(..).filter(|(_, calls)| calls.count > 0);
            calls.for_each(|(group, calls)| totals.merge(group, start, &calls));
            let is_there = |of: &&Taken| began(of) && !of.is_away;
            let taken = taken.get(&OTHERS).map_or(0, |all| all.iter().filter(is_there).count());
            totals.add_others(others.saturating_sub(taken as u64).saturating_sub(less.others));
        } else if let Some(finer) = finer {
            let parts = (period.start..period.end).step_by(step(LEVELS[finer]));
            open.extend(parts.map(|start| (finer, start)));
        } else {
            again.push(period);
        }
    }
    Added::But(again)
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
    for (level, start) in periods(cells, covered) {
        if go_on().is_break() {
            return Added::Stopped;
        }
        if cells.counts(level, start, &mut |range| rollup.page(range), &mut visit).is_none() {
            return Added::Damaged;
        }
    }
    Added::But(Vec::new())
}

/// The periods that the covered ones consist of, each as long as possible: level and start.
fn periods(cells: &Directory, covered: &[Range<u64>]) -> Vec<(usize, u64)> {
    let longest = LEVELS[LEVELS.len() - 1];
    let tiles = |part| tiles(part, longest, |level| cells.has(level)).collect::<Vec<_>>();
    covered.iter().flat_map(tiles).collect()
}

fn step(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
