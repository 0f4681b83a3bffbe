//! The validated columns of the skeleton, and the runs of repeated calls in them: the same
//! operation called repeatedly by one caller.

use std::collections::HashMap;

use tidings_proto::api::SpanColumns;

use super::{NO_ROW, rows_of};

/// Minimum number of calls of the same operation by one span that are drawn as one row.
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

/// Runs of siblings with the same service and operation. Other siblings may stand between them.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Repeats {
    /// For each row, the first row of its run, or [`NO_ROW`].
    pub(super) first: Vec<u32>,
    /// The calls of each run in order, by the first one.
    pub(super) runs: HashMap<u32, Vec<u32>>,
}

impl Repeats {
    pub(super) fn from_columns(columns: &SpanColumns) -> Self {
        let len = columns.span_id.len();
        let mut repeats = Self { first: vec![NO_ROW; len], runs: HashMap::new() };
        for (above, descendants) in (0..).zip(&columns.descendant_count) {
            if *descendants >= REPEATS_MIN {
                repeats.add_calls_of(columns, above);
            }
        }
        repeats
    }

    /// Adds the runs among the calls of a row.
    fn add_calls_of(&mut self, columns: &SpanColumns, above: u32) {
        let mut calls: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        let end = above + 1 + columns.descendant_count[above as usize];
        let mut row = above + 1;
        while row < end {
            let at = row as usize;
            if u32::try_from(columns.parent[at]) == Ok(above) {
                let call = (columns.service[at], columns.operation[at]);
                calls.entry(call).or_default().push(row);
            }
            row += 1 + columns.descendant_count[at];
        }
        for members in calls.into_values() {
            if rows_of(members.len()) >= REPEATS_MIN {
                for member in &members {
                    self.first[*member as usize] = members[0];
                }
                self.runs.insert(members[0], members);
            }
        }
    }
}
