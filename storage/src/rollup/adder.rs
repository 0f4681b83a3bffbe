//! Adds up calls by period and group while a data file is written.
//!
//! Owns how much of them is held: where there is too much, calls are added up over longer periods,
//! and in the end not at all.

use std::collections::HashMap;

use ahash::RandomState;

use super::{
    Call, Calls, LEVELS,
    call_query::HOUR,
    cells::{Encoded, GroupTable, LevelLimits},
    number_cache::{Recent, SlotHash, joined},
};

/// Cells that are held while a file is written: so many, and one more for every eight rows, but no
/// more than the last. When there are more, they are added up over longer periods.
const CELLS_MIN: usize = 16_384;
const ROWS_OF_CELL: usize = 8;
const CELLS_MAX: usize = 262_144;
/// A file with more groups has no rollups.
const GROUPS_MAX: usize = 65_536;

/// The number of a group in its file.
pub(super) type GroupNumber = u32;

/// A period and a group.
pub(super) type CellKey = (u64, GroupNumber);

/// The calls by period and group.
#[derive(Debug, Default)]
struct CellAccumulator {
    /// Where each cell is in `calls`.
    places: HashMap<CellKey, u32, RandomState>,
    calls: Vec<Calls>,
    recent: Recent<CellKey>,
}

impl SlotHash for CellKey {
    fn spread(&self) -> u64 {
        let (period, group) = *self;
        joined([period, group.into()])
    }
}

impl CellAccumulator {
    fn len(&self) -> usize {
        self.calls.len()
    }

    fn at(&mut self, key: CellKey) -> &mut Calls {
        let Self { places, calls, recent } = self;
        let place = recent.number(key, || {
            *places.entry(key).or_insert_with(|| {
                calls.push(Calls::default());
                u32::try_from(calls.len() - 1).expect("invariant: cells are bounded")
            })
        });
        &mut calls[place as usize]
    }

    /// They in order.
    fn sorted(mut self) -> Vec<(CellKey, Calls)> {
        let mut places: Vec<(CellKey, u32)> = self.places.into_iter().collect();
        places.sort_unstable();
        let mut take = |place: u32| std::mem::take(&mut self.calls[place as usize]);
        places.into_iter().map(|(key, place)| (key, take(place))).collect()
    }
}

/// The calls of a file as they are added up.
#[derive(Debug, Default)]
pub(super) struct Adder {
    /// The level whose periods are counted; beyond the last one nothing is.
    level: usize,
    pub(super) groups: GroupTable,
    cells: CellAccumulator,
}

impl Adder {
    /// Returns an adder that aggregates nothing.
    pub(super) fn nothing() -> Self {
        Self { level: LEVELS.len(), ..Self::default() }
    }

    /// Returns true when the adder has given up.
    pub(super) fn is_full(&self) -> bool {
        self.level >= LEVELS.len()
    }

    /// One call more.
    pub(super) fn add(&mut self, group: GroupNumber, call: &Call) {
        let Some(length) = LEVELS.get(self.level) else { return };
        let period = call.exemplar.start_unix_nano.0 / length;
        self.cells.at((period, group)).add(call);
    }

    /// Forgets the calls that did not begin in this hour, counted from 1970.
    pub(super) fn retain_hour(&mut self, hour: u64) {
        let Some(length) = LEVELS.get(self.level) else { return };
        let is_in = |period: u64| period.saturating_mul(*length) / HOUR == hour;
        self.cells.places.retain(|(period, _), _| is_in(*period));
        self.cells.recent.clear();
    }

    /// Keeps to what may be held for a file that has so many rows so far.
    pub(super) fn shrink(&mut self, rows: usize) {
        let cells_max = (CELLS_MIN + rows / ROWS_OF_CELL).min(CELLS_MAX);
        while self.cells.len() > cells_max && !self.is_full() {
            self.level += 1;
            if let Some(length) = LEVELS.get(self.level) {
                let factor = length / LEVELS[self.level - 1];
                let mut cells = CellAccumulator::default();
                for (key, calls) in longer(std::mem::take(&mut self.cells).sorted(), factor) {
                    *cells.at(key) = calls;
                }
                self.cells = cells;
            }
        }
        if self.groups.len() > GROUPS_MAX || self.groups.are_too_large() {
            self.level = LEVELS.len();
        }
        if self.is_full() {
            (self.cells, self.groups) = Default::default();
        }
    }

    /// The bytes of the section and of its pages, which will start at this offset of the file,
    /// which has so many rows.
    pub(super) fn finish(self, rows: usize, keep: LevelLimits, offset: u64) -> (Vec<u8>, Vec<u8>) {
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

/// The same calls over periods that are so many times as long; both in order.
fn longer(mut cells: Vec<(CellKey, Calls)>, factor: u64) -> Vec<(CellKey, Calls)> {
    let of = |((period, group), _): &(CellKey, Calls)| (period / factor, *group);
    let mut order: Vec<(CellKey, usize)> = cells.iter().map(of).zip(0..).collect();
    order.sort_unstable();
    let mut sums: Vec<(CellKey, Calls)> = Vec::new();
    for (key, place) in order {
        let calls = std::mem::take(&mut cells[place].1);
        match sums.last_mut() {
            Some((last, sum)) if *last == key => sum.merge(&calls),
            _ => sums.push((key, calls)),
        }
    }
    sums
}
