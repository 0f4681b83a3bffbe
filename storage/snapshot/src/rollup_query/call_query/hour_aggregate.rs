//! Aggregates the rollups of the files of one or more hours, for [`tidings_rollup::hours`]
//! to cache.
//!
//! [`DistinctRollup`] reads the rollups of one file, here and where queries go file by file. Both
//! uses omit the same repeated calls.

use std::{ops::Range, sync::Arc};

use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::Indexes;
use tidings_proto::UnixNanos;
use tidings_rollup::{
    Call, Calls, HOUR, LEVELS, RollupBucket,
    hours::HourAggregate,
    pair_cache::Repeat,
    rollup_bucket,
    rollup_encoding::{
        GroupNames, GroupNumber, GroupTable, each_rollup_bucket, push_rollup_bucket,
    },
};

use super::{
    call_plan::{CallRollupFile, Hour},
    tiles,
};
use crate::rollup_query::repeats::find_repeats;

/// Level with the longest buckets.
pub(super) const COARSEST: usize = LEVELS.len() - 1;
/// Lengths of time that are aggregated as a unit, longest first. A step uses the longest that
/// divides it.
const STRETCHES: [u64; 2] = [12 * HOUR, 4 * HOUR];

/// Returns the length of time that is aggregated as a unit for this step.
pub(super) fn stretch(step: u64) -> Option<u64> {
    STRETCHES.into_iter().find(|stretch| step.is_multiple_of(*stretch))
}

/// Result of an aggregation.
#[derive(Debug)]
pub(super) enum AggregateResult {
    Complete(HourAggregate),
    /// No caller needs the result any more.
    Stopped,
    /// The rollups of this file cannot be read.
    Damaged(Arc<DataFile>),
}

/// Rollups of a file without the calls that another file of its hour counts.
#[derive(Debug)]
pub(super) struct DistinctRollup<'a> {
    rolled: &'a CallRollupFile,
    pub(super) names: GroupNames,
    /// Calls to omit, by group. Empty when there are none.
    repeats: Vec<Vec<Call>>,
}

impl<'a> DistinctRollup<'a> {
    /// Opens the rollups of a file. `None` when they are damaged.
    pub(super) fn open(
        indexes: &Indexes,
        rolled: &'a CallRollupFile,
        hour: &Hour,
    ) -> Result<Option<Self>, StorageError> {
        let mut fetch = |range| rolled.rollup.page(range);
        let names = rolled.rollup.directory().groups(&mut fetch);
        let Some(names) = names else { return Ok(None) };
        let repeats = repeats(indexes, rolled, hour, &names)?;
        Ok(Some(Self { rolled, names, repeats }))
    }

    /// Passes the rollup buckets of a time bucket to `visit`, by group. `start` is the start of the
    /// bucket. `None` when the rollup buckets are damaged.
    pub(super) fn cells(
        &self,
        level: usize,
        start: u64,
        mut visit: impl FnMut(GroupNumber, &RollupBucket<'_>) -> Option<()>,
    ) -> Option<()> {
        let period = start..start.saturating_add(LEVELS[level]);
        let (rollup, repeats) = (&self.rolled.rollup, &self.repeats);
        let mut fetch = |range| rollup.page(range);
        rollup.directory().cells(level, start, &mut fetch, |group, cell| {
            let taken = repeats.get(group as usize).filter(|taken| !taken.is_empty());
            let Some(taken) = taken else { return visit(group, &cell) };
            let mut calls = cell.decoded()?;
            let began = |call: &&Call| period.contains(&call.exemplar.start_unix_nano.0);
            taken.iter().filter(began).for_each(|call| calls.remove(call));
            if calls.count == 0 {
                return Some(());
            }
            visit(group, &RollupBucket::of_calls(&calls, cell.start()))
        })
    }
}

/// Returns the calls of a file that a larger file of its hour has too, by group. Of the files with
/// such a call, the largest counts it and the others omit it.
fn repeats(
    indexes: &Indexes,
    rolled: &CallRollupFile,
    hour: &Hour,
    names: &GroupNames,
) -> Result<Vec<Vec<Call>>, StorageError> {
    let size = |file: &DataFile| (file.rows, file.path.clone());
    let file = &rolled.file;
    let others = hour.rolled.iter().map(|other| &other.file);
    let others: Vec<_> = others.filter(|other| size(other) > size(file)).collect();
    let repeats = find_repeats(indexes, (file, names), &others)?;
    if repeats.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_group = vec![Vec::new(); names.group_count()];
    for Repeat { group, call, .. } in repeats {
        if let Some(of_group) = by_group.get_mut(group as usize) {
            of_group.push(call);
        }
    }
    Ok(by_group)
}

/// Merges hours into one period that begins with the first of them. `None` when an aggregate is
/// damaged.
pub(super) fn joined(hours: &[Arc<HourAggregate>]) -> Option<HourAggregate> {
    let (mut groups, mut all) = (GroupTable::default(), Period::default());
    for (place, sums) in hours.iter().enumerate() {
        let numbers = numbers(&sums.names, &mut groups);
        for (start, page) in &sums.pages {
            each_rollup_bucket(page, UnixNanos(*start), |group, cell| {
                all.push(*numbers.get(group as usize)?, place, &cell);
                Some(())
            })?;
        }
    }
    let starts = hours.iter().flat_map(|sums| &sums.pages).map(|(start, _)| *start);
    let start = starts.min()?;
    let page = all.page(UnixNanos(start)).ok()?;
    Some(HourAggregate { names: groups.names(), pages: vec![(start, page)] })
}

/// Returns the numbers of groups in `groups`, by their numbers in `names`.
fn numbers(names: &GroupNames, groups: &mut GroupTable) -> Vec<GroupNumber> {
    (0..).map_while(|group| names.raw(group)).map(|key| groups.number(key)).collect()
}

/// Aggregates the files of an hour, all of which have the longest buckets. Stops when `is_wanted`
/// returns false.
pub(super) fn made(
    indexes: &Indexes,
    hour: &Hour,
    is_wanted: impl Fn() -> bool,
) -> Result<AggregateResult, StorageError> {
    let damaged = |rolled: &CallRollupFile| Ok(AggregateResult::Damaged(Arc::clone(&rolled.file)));
    let (mut groups, mut files) = (GroupTable::default(), Vec::new());
    for rolled in &hour.rolled {
        if !is_wanted() {
            return Ok(AggregateResult::Stopped);
        }
        let once =
            DistinctRollup::open(indexes, rolled, hour)?.filter(|once| once.names.are_calls());
        let Some(once) = once else { return damaged(rolled) };
        let numbers = numbers(&once.names, &mut groups);
        files.push((once, numbers));
    }
    let mut pages = Vec::new();
    for (level, start) in tiles(&hour.covered, LEVELS[COARSEST], |level| level == COARSEST) {
        let mut period = Period::default();
        for (place, (once, numbers)) in files.iter().enumerate() {
            if !is_wanted() {
                return Ok(AggregateResult::Stopped);
            }
            let read = once.cells(level, start, |group, cell| {
                period.push(*numbers.get(group as usize)?, place, cell);
                Some(())
            });
            if read.is_none() {
                return damaged(once.rolled);
            }
        }
        match period.page(UnixNanos(start)) {
            Ok(page) => pages.push((start, page)),
            Err(DamagedSource(place)) => return damaged(&hour.rolled[place]),
        }
    }
    Ok(AggregateResult::Complete(HourAggregate { names: groups.names(), pages }))
}

/// Encoded rollup buckets of all files of a time bucket. Rollup buckets are decoded one group at a
/// time, because decoded rollup buckets take many times as much memory.
#[derive(Debug, Default)]
struct Period {
    cells: Vec<SourceBucket>,
    bytes: Vec<u8>,
}

/// Rollup bucket of one source.
#[derive(Debug)]
struct SourceBucket {
    group: GroupNumber,
    /// Index of the file in the hour, or of the hour among several.
    place: usize,
    /// Start of the rollup bucket's time bucket.
    start: UnixNanos,
    /// Range of the rollup bucket's bytes.
    bytes: Range<usize>,
}

/// Index of the source with a damaged rollup bucket.
struct DamagedSource(usize);

impl Period {
    fn push(&mut self, group: GroupNumber, place: usize, cell: &RollupBucket<'_>) {
        let start = self.bytes.len();
        cell.push_to(&mut self.bytes);
        let bytes = start..self.bytes.len();
        self.cells.push(SourceBucket { group, place, start: cell.start(), bytes });
    }

    /// Returns the aggregates by group, encoded like a page of a file. `start` is the start of the
    /// time bucket.
    fn page(mut self, start: UnixNanos) -> Result<Box<[u8]>, DamagedSource> {
        let mut page = Vec::new();
        self.cells.sort_unstable_by_key(|cell| (cell.group, cell.place));
        for of_group in self.cells.chunk_by(|one, next| one.group == next.group) {
            let mut calls = Calls::default();
            for SourceBucket { place, start, bytes, .. } in of_group {
                let cell = RollupBucket::decode(&self.bytes[bytes.clone()], *start);
                let added = cell.and_then(|cell| cell.add_to(&mut calls));
                added.ok_or(DamagedSource(*place))?;
            }
            let cell = rollup_bucket::encoded(&calls, start);
            push_rollup_bucket(&mut page, of_group[0].group, &cell);
        }
        Ok(page.into())
    }
}
