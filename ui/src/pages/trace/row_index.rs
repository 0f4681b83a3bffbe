//! Index of log records or events by the row of the trace that they belong to.

use std::ops::Range;

/// Indexes of entries by their row. Entries of one row are in their own order.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct RowIndex {
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl RowIndex {
    /// Indexes entries by their rows in a trace of `len` rows. An entry without a row is left out.
    pub(crate) fn new(len: usize, rows: &[Option<u32>]) -> Self {
        let row_of = |entry: u32| rows.get(entry as usize).copied().flatten();
        let mut order: Vec<u32> =
            (0..).zip(rows).filter_map(|(entry, row)| row.is_some().then_some(entry)).collect();
        order.sort_by_key(|&entry| row_of(entry));
        let mut starts = vec![0_u32; len + 1];
        for row in rows.iter().flatten() {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..len {
            starts[row + 1] += starts[row];
        }
        Self { starts, order }
    }

    /// Returns the indexes of the row's entries.
    pub(crate) fn of_row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(&from), Some(&to)) => &self.order[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Returns the number of entries of these rows.
    pub(crate) fn count(&self, rows: Range<u32>) -> u32 {
        let at = |row: u32| self.starts.get(row as usize).copied().unwrap_or(0);
        at(rows.end).saturating_sub(at(rows.start))
    }
}

#[cfg(test)]
mod tests {
    use super::RowIndex;

    #[test]
    fn entries_are_found_by_their_row_in_their_own_order() {
        let index = RowIndex::new(4, &[Some(2), None, Some(0), Some(2), Some(3)]);
        let of_rows: Vec<&[u32]> = (0..5).map(|row| index.of_row(row)).collect();
        let none: &[u32] = &[];
        assert_eq!(of_rows, [&[2][..], none, &[0, 3], &[4], none]);
        assert_eq!((index.count(0..4), index.count(1..3), index.count(3..4)), (4, 2, 1));
    }

    #[test]
    fn an_index_of_nothing_has_nothing() {
        assert!(RowIndex::default().of_row(0).is_empty());
        assert_eq!(RowIndex::new(3, &[None]).count(0..3), 0);
    }
}
