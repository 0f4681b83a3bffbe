//! Runs of repeated calls: the same operation called again and again by one caller.

use std::collections::HashMap;

use tidings_proto::api::SpanColumns;

use super::{NO_ROW, rows_of};

/// So many calls of the same operation in a row are drawn as one row.
const REPEATS_MIN: u32 = 5;

/// Runs of neighbouring siblings with one service and operation.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Repeats {
    /// For each row the first row of its run, or [`NO_ROW`].
    pub(super) first: Vec<u32>,
    /// For the first row of a run the row after its last call.
    pub(super) runs: HashMap<u32, u32>,
}

impl Repeats {
    pub(super) fn from_columns(columns: &SpanColumns) -> Self {
        let len = columns.span_id.len();
        let mut repeats = Self { first: vec![NO_ROW; len], runs: HashMap::new() };
        let mut seen = vec![false; len];
        for start in columns.parent.iter().enumerate().filter_map(|(row, _)| row.try_into().ok()) {
            repeats.run_from(columns, &mut seen, start);
        }
        repeats
    }

    /// Follows the siblings of `start` as long as they are the same call. Each sibling is looked
    /// at once: a member of a run never starts another.
    fn run_from(&mut self, columns: &SpanColumns, seen: &mut [bool], start: u32) {
        let len = columns.span_id.len();
        let call = |row: usize| (columns.parent[row], columns.service[row], columns.operation[row]);
        let start_row = start as usize;
        if seen[start_row] {
            return;
        }
        let (mut count, mut row) = (0_u32, start_row);
        while row < len && call(row) == call(start_row) {
            seen[row] = true;
            count += 1;
            row += 1 + columns.descendant_count[row] as usize;
        }
        if count < REPEATS_MIN || columns.parent[start_row] < 0 {
            return;
        }
        self.runs.insert(start, rows_of(row));
        let mut member = start_row;
        while member < row {
            self.first[member] = start;
            member += 1 + columns.descendant_count[member] as usize;
        }
    }
}
