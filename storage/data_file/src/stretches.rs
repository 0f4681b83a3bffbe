//! Stretches of a row group: the parts in which a scan with a dynamic filter reads its rows.
//!
//! The filter narrows between stretches, so that a short stretch reads few rows in vain. Each
//! stretch decodes the dictionaries again, so that a long one costs less per row.

use std::{collections::VecDeque, ops::Range};

use tidings_index::filter::TimeOrder;

/// Rows of the first stretch of a row group.
const FIRST_ROWS: usize = 2048;
/// Minimum number of rows of a stretch with an expected length.
const MIN_ROWS: usize = 1024;
/// Maximum length of a stretch, in lengths of the one before.
const GROWTH: usize = 4;

/// Ranges of rows that are still to be read, in the order of a scan.
pub(crate) struct Stretches {
    /// Ranges that are left, ascending.
    left: VecDeque<Range<usize>>,
    order: TimeOrder,
    /// Maximum number of rows of the next stretch.
    rows_max: usize,
    /// Number of rows of all stretches so far.
    taken_rows: usize,
}

impl Stretches {
    /// Creates the stretches of these ranges, which are ascending. A scan that does not narrow reads
    /// them at once. A scan for the newest rows begins with the last rows, which are mostly the
    /// newest.
    pub(crate) fn new(ranges: Vec<Range<usize>>, narrows: bool, order: TimeOrder) -> Self {
        let rows_max = if narrows { FIRST_ROWS } else { usize::MAX };
        Self { left: ranges.into(), order, rows_max, taken_rows: 0 }
    }

    /// Returns the next stretch: ranges of rows, ascending. It has about as many rows as the scan
    /// is expected to need, if that is known, and at least half as many as all before, so that the
    /// number of stretches is logarithmic.
    pub(crate) fn next(&mut self, expected_rows: Option<usize>) -> Option<Vec<Range<usize>>> {
        let rows_min = MIN_ROWS.max(self.taken_rows / 2);
        let rows = expected_rows.map_or(self.rows_max, |rows| rows.max(rows_min));
        let mut room = rows.min(self.rows_max);
        self.rows_max = room.saturating_mul(GROWTH);
        let mut stretch = Vec::new();
        while room > 0 {
            let Some(part) = self.take(room) else { break };
            room -= part.len();
            self.taken_rows += part.len();
            stretch.push(part);
        }
        if self.order == TimeOrder::NewestFirst {
            stretch.reverse();
        }
        Some(stretch).filter(|stretch| !stretch.is_empty())
    }

    /// Takes rows of the first range in the order, at most this many.
    fn take(&mut self, rows_max: usize) -> Option<Range<usize>> {
        match self.order {
            TimeOrder::NewestFirst => {
                let Range { start, end } = self.left.pop_back()?;
                let first = start.max(end.saturating_sub(rows_max));
                if first > start {
                    self.left.push_back(start..first);
                }
                Some(first..end)
            }
            TimeOrder::OldestFirst => {
                let Range { start, end } = self.left.pop_front()?;
                let last = end.min(start.saturating_add(rows_max));
                if last < end {
                    self.left.push_front(last..end);
                }
                Some(start..last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ranges: &[Range<usize>], order: TimeOrder, expected: &[Option<usize>]) -> Vec<usize> {
        let mut stretches = Stretches::new(ranges.to_vec(), true, order);
        let mut expected = expected.iter().copied().chain(std::iter::repeat(None));
        let (mut rows, mut sizes) = (Vec::new(), Vec::new());
        while let Some(stretch) = stretches.next(expected.next().flatten()) {
            assert!(stretch.is_sorted_by(|one, next| one.end <= next.start), "{stretch:?}");
            sizes.push(stretch.iter().map(Range::len).sum());
            let mut of_stretch: Vec<_> = stretch.into_iter().flatten().collect();
            if order == TimeOrder::NewestFirst {
                of_stretch.reverse();
            }
            rows.extend(of_stretch);
        }
        let mut given: Vec<_> = ranges.iter().cloned().flatten().collect();
        if order == TimeOrder::NewestFirst {
            given.reverse();
        }
        assert_eq!(rows, given, "each row once, in the order of the scan");
        sizes
    }

    #[test]
    fn stretches_grow_unless_fewer_rows_are_expected() {
        let ranges = [3..2_000, 2_128..2_129, 5_000..60_000];
        let rows: usize = ranges.iter().map(Range::len).sum();
        for order in [TimeOrder::NewestFirst, TimeOrder::OldestFirst] {
            assert_eq!(all(&ranges, order, &[]), [2_048, 8_192, 32_768, rows - 43_008]);
            let expected = [Some(1), Some(3_000), Some(1 << 20), Some(1_500)];
            assert_eq!(
                all(&ranges, order, &expected),
                [1_024, 3_000, 12_000, 8_012, 32_048, rows - 56_084],
            );
        }
    }

    #[test]
    fn a_scan_that_does_not_narrow_reads_everything_at_once() {
        let ranges = vec![0..100_000, 200_000..200_001];
        let mut stretches = Stretches::new(ranges.clone(), false, TimeOrder::NewestFirst);
        assert_eq!(stretches.next(None), Some(ranges));
        assert_eq!(stretches.next(None), None);
    }
}
