//! Aggregates calls by time bucket and group while a data file is written.
//!
//! Owns the memory limit: when there are too many rollup buckets, calls are aggregated in longer
//! buckets, and finally not at all.

use std::collections::HashMap;

use ahash::RandomState;

use super::{
    Call, Calls, HOUR, LEVELS, limit,
    number_cache::{NumberCache, SlotHash, joined},
    rollup_encoding::{BucketKey, Encoded, GroupNumber, GroupTable, LevelLimits},
};

/// Minimum limit of the rollup buckets in memory while a file is written. The limit is one more for
/// every eight rows, up to `CELLS_MAX`. Beyond the limit, calls are aggregated in longer buckets.
const CELLS_MIN: usize = 16_384;
const ROWS_OF_CELL: usize = 8;
const CELLS_MAX: usize = 262_144;
/// Maximum number of groups. A file with more has no rollups.
const GROUPS_MAX: usize = 65_536;

/// Calls by time bucket and group.
#[derive(Debug, Default)]
struct BucketAccumulator {
    /// Position of each rollup bucket in `calls`.
    places: HashMap<BucketKey, u32, RandomState>,
    calls: Vec<Calls>,
    recent: NumberCache<BucketKey>,
}

impl SlotHash for BucketKey {
    fn spread(&self) -> u64 {
        let (period, group) = *self;
        joined([period, group.into()])
    }
}

impl BucketAccumulator {
    fn len(&self) -> usize {
        self.calls.len()
    }

    fn at(&mut self, key: BucketKey) -> &mut Calls {
        let Self { places, calls, recent } = self;
        let place = recent.number(key, || {
            *places.entry(key).or_insert_with(|| {
                calls.push(Calls::default());
                u32::try_from(calls.len() - 1).expect("invariant: rollup buckets are bounded")
            })
        });
        &mut calls[place as usize]
    }

    /// Returns the rollup buckets in order.
    fn sorted(mut self) -> Vec<(BucketKey, Calls)> {
        let mut places: Vec<(BucketKey, u32)> = self.places.into_iter().collect();
        places.sort_unstable();
        let mut take = |place: u32| std::mem::take(&mut self.calls[place as usize]);
        places.into_iter().map(|(key, place)| (key, take(place))).collect()
    }
}

/// Aggregate of the calls of a file.
#[derive(Debug, Default)]
pub struct FileAggregate {
    /// Level whose buckets are aggregated. Beyond the last level, nothing is aggregated.
    level: usize,
    /// Groups of the calls.
    pub groups: GroupTable,
    cells: BucketAccumulator,
}

impl FileAggregate {
    /// Returns an aggregate that drops all calls.
    pub fn disabled() -> Self {
        Self { level: LEVELS.len(), ..Self::default() }
    }

    /// Returns true if it exceeded its limits and dropped the aggregate.
    pub fn is_full(&self) -> bool {
        self.level >= LEVELS.len()
    }

    /// Adds a call.
    pub fn add(&mut self, group: GroupNumber, call: &Call) {
        let Some(length) = LEVELS.get(self.level) else { return };
        let period = call.exemplar.start_unix_nano.0 / length;
        self.cells.at((period, group)).add(call);
    }

    /// Drops the calls that did not begin in this hour. Hours are counted from 1970.
    pub(crate) fn retain_hour(&mut self, hour: u64) {
        let Some(length) = LEVELS.get(self.level) else { return };
        let is_in = |period: u64| period.saturating_mul(*length) / HOUR == hour;
        self.cells.places.retain(|(period, _), _| is_in(*period));
        self.cells.recent.clear();
    }

    /// Enforces the memory limit of a file with this many rows so far.
    pub fn shrink(&mut self, rows: usize) {
        let cells_max = (CELLS_MIN + rows / ROWS_OF_CELL).min(CELLS_MAX);
        while self.cells.len() > cells_max && !self.is_full() {
            self.level += 1;
            if let Some(length) = LEVELS.get(self.level) {
                let factor = length / LEVELS[self.level - 1];
                let mut cells = BucketAccumulator::default();
                for (key, calls) in longer(std::mem::take(&mut self.cells).sorted(), factor) {
                    *cells.at(key) = calls;
                }
                self.cells = cells;
            }
        }
        if self.groups.group_count() > limit(GROUPS_MAX) || self.groups.are_too_large() {
            self.level = LEVELS.len();
        }
        if self.is_full() {
            (self.cells, self.groups) = Default::default();
        }
    }

    /// Returns the bytes of the section and of its pages. The pages start at `offset`, and the file
    /// has `rows` rows.
    pub fn finish(self, rows: usize, keep: LevelLimits, offset: u64) -> (Vec<u8>, Vec<u8>) {
        let mut encoded = Encoded::new(&self.groups, rows, keep, offset);
        let mut cells = self.cells.sorted();
        for (level, length) in LEVELS.iter().enumerate().skip(self.level) {
            if keep.keeps(level) {
                encoded.push_level(level, &cells);
            }
            if let Some(next) = LEVELS.get(level + 1) {
                cells = longer(cells, next / length);
            }
        }
        encoded.finish()
    }
}

/// Merges rollup buckets into time buckets that are `factor` times as long. Both lists are in
/// order.
fn longer(mut cells: Vec<(BucketKey, Calls)>, factor: u64) -> Vec<(BucketKey, Calls)> {
    let of = |((period, group), _): &(BucketKey, Calls)| (period / factor, *group);
    let mut order: Vec<(BucketKey, usize)> = cells.iter().map(of).zip(0..).collect();
    order.sort_unstable();
    let mut sums: Vec<(BucketKey, Calls)> = Vec::new();
    for (key, place) in order {
        let calls = std::mem::take(&mut cells[place].1);
        match sums.last_mut() {
            Some((last, sum)) if *last == key => sum.merge(&calls),
            _ => sums.push((key, calls)),
        }
    }
    sums
}
