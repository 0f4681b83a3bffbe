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
    taken::Taken,
    tally::{aligned, common, of_hour, tiles},
    totals::Totals,
};
use crate::index::RolledUp;

/// What is taken away from a file's calls, by group of the answer.
pub(super) type TakenCalls = HashMap<GroupNumber, Vec<Taken>>;

/// What came of a file's cells.
pub(super) enum Added {
    /// They are added, apart from periods that have to be added up again from rows.
    But(Vec<Range<u64>>),
    /// They cannot be read.
    Damaged,
    /// Nobody waits for them any more.
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

/// Adds the calls of the covered periods to `totals`, without what is taken away. `groups` are the
/// groups' numbers in the answer, by their numbers in the file.
pub(super) fn add(
    (cells, rollup): (&Directory, &RolledUp),
    covered: &[Range<u64>],
    groups: &[GroupNumber],
    taken: &TakenCalls,
    totals: &mut Totals,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Added {
    let mut fetch = |range| rollup.page(range);
    let mut again = Vec::new();
    let longest = LEVELS[LEVELS.len() - 1];
    let tiles = |part| tiles(part, longest, |level| cells.has(level)).collect::<Vec<_>>();
    let mut open: Vec<(usize, u64)> = covered.iter().flat_map(tiles).collect();
    let mut of_period: Vec<(GroupNumber, Calls)> = Vec::new();
    while let Some((level, start)) = open.pop() {
        if go_on().is_break() {
            return Added::Stopped;
        }
        let period = start..start.saturating_add(LEVELS[level]);
        let mut is_known = true;
        of_period.clear();
        let whole = cells.cells(level, start, &mut fetch, |group, cell| {
            let group = *groups.get(group as usize)?;
            let mut calls = cell.decoded()?;
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

fn step(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
