//! Adds up calls by period and group while a data file is written.
//!
//! Owns how much of them is held: where there is too much, calls are added up over longer periods,
//! and in the end not at all.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;

use super::{
    Call, Calls, LEVELS,
    cells::{Encoded, Groups, Keep},
    tally::HOUR,
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

/// The calls by period and group.
type Cells = HashMap<(u64, GroupNumber), Calls, RandomState>;

/// The calls of a file as they are added up.
#[derive(Debug, Default)]
pub(super) struct Adder {
    /// The level whose periods are counted; beyond the last one nothing is.
    level: usize,
    pub(super) groups: Groups,
    cells: Cells,
}

impl Adder {
    /// One that adds nothing up.
    pub(super) fn nothing() -> Self {
        Self { level: LEVELS.len(), ..Self::default() }
    }

    /// Whether it adds nothing up any more.
    pub(super) fn is_full(&self) -> bool {
        self.level >= LEVELS.len()
    }

    /// One call more.
    pub(super) fn add(&mut self, group: GroupNumber, call: &Call) {
        let Some(length) = LEVELS.get(self.level) else { return };
        let period = call.exemplar.start_unix_nano.0 / length;
        self.cells.entry((period, group)).or_default().add(call);
    }

    /// Forgets the calls that did not begin in this hour, counted from 1970.
    pub(super) fn retain_hour(&mut self, hour: u64) {
        let Some(length) = LEVELS.get(self.level) else { return };
        self.cells.retain(|(period, _), _| period.saturating_mul(*length) / HOUR == hour);
    }

    /// Keeps to what may be held for a file that has so many rows so far.
    pub(super) fn shrink(&mut self, rows: usize) {
        let cells_max = (CELLS_MIN + rows / ROWS_OF_CELL).min(CELLS_MAX);
        while self.cells.len() > cells_max && !self.is_full() {
            self.level += 1;
            if let Some(length) = LEVELS.get(self.level) {
                let factor = length / LEVELS[self.level - 1];
                self.cells = longer(std::mem::take(&mut self.cells), factor);
            }
        }
        if self.groups.len() > GROUPS_MAX {
            self.level = LEVELS.len();
        }
        if self.is_full() {
            (self.cells, self.groups) = Default::default();
        }
    }

    /// The bytes of the section and of its pages, which will start at this offset of the file,
    /// which has so many rows.
    pub(super) fn finish(self, rows: usize, keep: Keep, offset: u64) -> (Vec<u8>, Vec<u8>) {
        let mut encoded = Encoded::new(&self.groups, rows, keep, offset);
        let mut cells = self.cells;
        for (level, length) in LEVELS.iter().enumerate().skip(self.level) {
            let sorted: BTreeMap<_, _> = cells.into_iter().collect();
            if keep.has(level) {
                encoded.push_level(level, &sorted);
            }
            let factor = LEVELS.get(level + 1).map_or(1, |longer| longer / length);
            cells = longer(sorted, factor);
        }
        encoded.finish()
    }
}

/// The same calls over periods that are so many times as long.
fn longer(cells: impl IntoIterator<Item = ((u64, GroupNumber), Calls)>, factor: u64) -> Cells {
    let mut sum = Cells::default();
    for ((period, group), calls) in cells {
        sum.entry((period / factor, group)).or_default().merge(&calls);
    }
    sum
}
