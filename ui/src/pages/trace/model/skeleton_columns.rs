//! The validated columns of the skeleton, and the runs of repeated calls in them: the same
//! operation called repeatedly by one caller.

use std::collections::HashMap;

use tidings_proto::api::SpanColumns;

use super::{NO_ROW, rows_of};

/// Minimum number of successive calls of the same operation that are drawn as one row.
const REPEATS_MIN: u32 = 5;

/// Returns columns of equal length whose rows refer only to existing rows. Parents come before
/// their rows, and descendants are within their parent's.
pub(super) fn repaired(mut columns: SpanColumns) -> SpanColumns {
    let SpanColumns {
        span_id,
        parent,
        depth,
        descendant_count,
        start_offset_nano,
        duration_nano,
        self_nano,
        critical_nano,
        service,
        operation,
        kind,
        flags,
    } = &mut columns;
    let lengths = [
        parent.len(),
        depth.len(),
        descendant_count.len(),
        start_offset_nano.len(),
        duration_nano.len(),
        self_nano.len(),
        critical_nano.len(),
        service.len(),
        operation.len(),
        kind.len(),
        flags.len(),
        i32::MAX as usize,
    ];
    let len = lengths.into_iter().fold(span_id.len(), usize::min);
    span_id.truncate(len);
    parent.truncate(len);
    depth.truncate(len);
    descendant_count.truncate(len);
    start_offset_nano.truncate(len);
    duration_nano.truncate(len);
    self_nano.truncate(len);
    critical_nano.truncate(len);
    service.truncate(len);
    operation.truncate(len);
    kind.truncate(len);
    flags.truncate(len);

    // The ends of the open subtrees at this row, outermost first.
    let mut open: Vec<usize> = Vec::new();
    for row in 0..len {
        open.retain_last(|&end| end > row);
        let end_max = open.last().copied().unwrap_or(len);
        let end = (row + 1).saturating_add(descendant_count[row] as usize).min(end_max);
        descendant_count[row] = rows_of(end - row - 1);
        if usize::try_from(parent[row]).is_ok_and(|above| above >= row) {
            parent[row] = -1;
        }
        if end > row + 1 {
            open.push(end);
        }
    }
    columns
}

/// Pops from the end while the test fails.
trait RetainLast<T> {
    fn retain_last(&mut self, keep: impl Fn(&T) -> bool);
}

impl<T> RetainLast<T> for Vec<T> {
    fn retain_last(&mut self, keep: impl Fn(&T) -> bool) {
        while self.last().is_some_and(|last| !keep(last)) {
            self.pop();
        }
    }
}

/// Runs of adjacent siblings with the same service and operation.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Repeats {
    /// For each row, the first row of its run, or [`NO_ROW`].
    pub(super) first: Vec<u32>,
    /// For the first row of a run, the row after its last call.
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

    /// Follows the siblings of `start` while they are the same call. Each sibling is visited once:
    /// a member of a run never starts another.
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
