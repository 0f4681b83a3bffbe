//! Adds the rollup buckets of a file that a query covers.
//!
//! In each time range of the query, these are the whole buckets in the file's hour. Calls that do
//! not count there are retracted. When the result of a retraction is unknown, shorter buckets are
//! read. When that fails too, the caller must aggregate the bucket from rows.

use std::{
    collections::{HashMap, HashSet},
    ops::{ControlFlow, Range},
    rc::Rc,
};

use tidings_index::RolledUp;
use tidings_rollup::{
    Calls, LEVELS,
    query_totals::{OTHERS, QueryTotals, UNASKED},
    retraction::{Remainder, RetractedCall, retracted},
    rollup_encoding::{Directory, GroupNumber},
    split_corrections::CorrectionRole,
};

use super::{
    call_query::{aligned, common, of_hour, tiles},
    split_corrections::PairGroups,
};

/// Calls to retract from a file, by group of the answer. The calls of a group are sorted by start.
pub(crate) type RetractedCalls = HashMap<GroupNumber, Vec<RetractedCall>>;

/// Retractions that a pair of files has for the rollup buckets of one of its files.
pub(crate) struct PairRetractions<'a> {
    pub(crate) cells: &'a Directory,
    pub(crate) rollup: &'a RolledUp,
    pub(crate) groups: &'a PairGroups,
    /// Number of the file in the pair, 0 or 1.
    pub place: usize,
}

impl PairRetractions<'_> {
    /// Returns true if the retractions of this level are known. A pair without groups has none.
    fn has_level(&self, level: usize) -> bool {
        self.cells.has_level(level) || !self.cells.has_groups()
    }
}

/// Time bucket whose rollup buckets are not added yet.
#[derive(Debug, Clone)]
pub(crate) struct PendingBucket {
    level: usize,
    start: u64,
    /// Groups of the answer to add. `None` means all groups.
    groups: Option<Rc<HashSet<GroupNumber>>>,
}

impl PendingBucket {
    /// Returns the time range of the bucket.
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(LEVELS[self.level])
    }

    /// Returns true if the calls of the group are not added yet.
    pub(crate) fn includes(&self, group: GroupNumber) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(&group))
    }

    /// Returns true if the call of this group with this start is not added yet.
    pub(crate) fn contains(&self, group: GroupNumber, start: u64) -> bool {
        self.range().contains(&start) && self.includes(group)
    }
}

/// Result of adding a file's rollup buckets.
pub(crate) enum AddOutcome {
    /// The rollup buckets are added, except these buckets, which must be aggregated from rows.
    Added(Vec<PendingBucket>),
    /// The rollup buckets cannot be read.
    Damaged,
    /// The query was cancelled, or the aggregate exceeds its memory.
    Stopped,
}

/// Returns the time ranges between these bounds that the rollup buckets of a file of this hour
/// cover. The file's shortest buckets are of level `finest`. There is at most one range between two
/// bounds. The ranges are ascending.
pub(crate) fn covered(hour: i64, finest: usize, bounds: &[u64]) -> Vec<Range<u64>> {
    let stretches = bounds.windows(2).map(|stretch| stretch[0]..stretch[1]);
    let parts = stretches.map(|stretch| common(&stretch, &of_hour(hour)));
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| aligned(part, LEVELS[finest])).filter(|part| !part.is_empty()).collect()
}

/// Adds the calls of these buckets to `totals`, without the retractions in `pairs` and `taken`.
/// `groups` maps the file's group numbers to those of the answer. Groups in [`OTHERS`] are only
/// counted. Groups whose remainder is less exact than `wanted` are read in shorter buckets, and
/// finally returned for aggregation from rows.
pub(crate) fn add(
    (cells, rollup): (&Directory, &RolledUp),
    mut open: Vec<PendingBucket>,
    groups: &[GroupNumber],
    (pairs, taken, wanted): (&[PairRetractions<'_>], &RetractedCalls, Remainder),
    totals: &mut QueryTotals,
    go_on: &mut dyn FnMut(&QueryTotals) -> ControlFlow<()>,
) -> AddOutcome {
    let mut fetch = |range| rollup.page(range);
    let mut again = Vec::new();
    let mut of_period: Vec<(GroupNumber, Calls)> = Vec::new();
    while let Some(of) = open.pop() {
        if go_on(totals).is_break() {
            return AddOutcome::Stopped;
        }
        let (level, start, period) = (of.level, of.start, of.range());
        // A level that a pair lacks cannot refine the result.
        let has = |level| cells.has_level(level) && pairs.iter().all(|of| of.has_level(level));
        let finer = (0..level).rev().find(|finer| has(*finer));
        let (mut unsettled, mut others) = (HashSet::new(), 0_u64);
        of_period.clear();
        let Some(mut less) = PeriodRetractions::read(pairs, level, start) else {
            return AddOutcome::Damaged;
        };
        less.calls.retain(|group, _| of.includes(*group));
        let whole = cells.cells(level, start, &mut fetch, |group, cell| {
            let group = *groups.get(group as usize)?;
            if group == OTHERS || group == UNASKED {
                others = others.checked_add(if group == OTHERS { cell.count() } else { 0 })?;
                return Some(());
            }
            if !of.includes(group) {
                return Some(());
            }
            let of_pairs = less.calls.remove(&group);
            let taken = began_in(taken.get(&group).map_or(&[], Vec::as_slice), &period);
            if of_pairs.is_none() && taken.is_empty() && !less.is_unknown {
                return totals.merge_bucket(group, &cell);
            }
            let of_pairs = of_pairs.unwrap_or_default();
            let only_counts = totals.only_counts_of(group);
            let (calls, left) = retracted(&cell, &of_pairs, taken, only_counts)?;
            // A shorter bucket may still have an exemplar that this one lost.
            let is_finest = finer.is_none() || only_counts;
            match left == Remainder::Exact || left <= wanted && is_finest {
                true => of_period.push((group, calls)),
                false => _ = unsettled.insert(group),
            }
            Some(())
        });
        if whole.is_none() {
            return AddOutcome::Damaged;
        }
        // Retractions remain for groups without a rollup bucket.
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
            (Some(groups), None) => again.push(PendingBucket { level, start, groups }),
            (Some(groups), Some(level)) => {
                let parts = (period.start..period.end).step_by(step(LEVELS[level]));
                let bucket = |start| PendingBucket { level, start, groups: groups.clone() };
                open.extend(parts.map(bucket));
            }
        }
    }
    AddOutcome::Added(again)
}

/// Returns the calls that began in this period, from a list ordered by start.
fn began_in<'a>(taken: &'a [RetractedCall], period: &Range<u64>) -> &'a [RetractedCall] {
    let start = |of: &RetractedCall| of.call.exemplar.start_unix_nano.0;
    let first = taken.partition_point(|of| start(of) < period.start);
    let count = taken[first..].partition_point(|of| start(of) < period.end);
    &taken[first..][..count]
}

/// Retractions that pairs have for a time bucket.
#[derive(Default)]
struct PeriodRetractions {
    /// Calls to retract by group: first calls that do not exist, then calls that the other file
    /// counts.
    calls: HashMap<GroupNumber, [Calls; 2]>,
    /// Number of calls of groups that are only counted.
    others: u64,
    /// True if a pair has no buckets of this length.
    is_unknown: bool,
}

impl PeriodRetractions {
    /// Reads the retractions. `None` when a pair's rollup buckets are damaged.
    fn read(pairs: &[PairRetractions<'_>], level: usize, start: u64) -> Option<Self> {
        let mut less = Self::default();
        for PairRetractions { cells, rollup, groups, place } in pairs {
            if !cells.has_level(level) {
                less.is_unknown |= cells.has_groups();
                continue;
            }
            cells.cells(level, start, &mut |range| rollup.page(range), |group, cell| {
                let (role, group) = *groups.get(group as usize)?;
                let kept = [CorrectionRole::Gone(*place), CorrectionRole::Doubled(*place)];
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

/// Passes the number of calls of each group in the covered buckets to `visit`, as the file counts
/// them. Groups have the numbers of the file.
pub(crate) fn count(
    (cells, rollup): (&Directory, &RolledUp),
    covered: &[Range<u64>],
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
    mut visit: impl FnMut(GroupNumber, u64),
) -> AddOutcome {
    for PendingBucket { level, start, .. } in all(cells, covered) {
        if go_on().is_break() {
            return AddOutcome::Stopped;
        }
        if cells.counts(level, start, &mut |range| rollup.page(range), &mut visit).is_none() {
            return AddOutcome::Damaged;
        }
    }
    AddOutcome::Added(Vec::new())
}

/// Returns the buckets that make up the covered ranges, each as long as possible.
pub(crate) fn all(cells: &Directory, covered: &[Range<u64>]) -> Vec<PendingBucket> {
    let longest = LEVELS[LEVELS.len() - 1];
    let tiles = |part| tiles(part, longest, |level| cells.has_level(level)).collect::<Vec<_>>();
    let periods = covered.iter().flat_map(tiles);
    periods.map(|(level, start)| PendingBucket { level, start, groups: None }).collect()
}

fn step(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
