//! The validated columns of the skeleton, and the runs of repeated calls in them, which are the
//! groups of [`tidings_proto::api::repeated_calls()`].

use std::collections::HashMap;

use tidings_proto::api::{RepeatKey, SpanColumns, repeated_calls};

use super::{NO_ROW, rows_of};

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

/// Runs of repeated calls. Other siblings may stand between them.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Repeats {
    /// For each row, the first row of its run, or [`NO_ROW`].
    pub(super) first: Vec<u32>,
    /// The calls of each run in order, by the first one.
    pub(super) runs: HashMap<u32, Vec<u32>>,
}

impl Repeats {
    pub(super) fn from_columns(columns: &SpanColumns) -> Self {
        let calls = (0_u32..).zip(&columns.parent).filter_map(|(row, parent)| {
            let at = row as usize;
            let key = RepeatKey {
                parent_index: u32::try_from(*parent).ok()?,
                service: columns.service[at],
                operation: columns.operation[at],
                kind: columns.kind[at].into(),
            };
            Some((key, row))
        });
        let mut repeats = Self { first: vec![NO_ROW; columns.span_id.len()], runs: HashMap::new() };
        for (_, rows) in repeated_calls(calls.collect()) {
            for row in &rows {
                repeats.first[*row as usize] = rows[0];
            }
            repeats.runs.insert(rows[0], rows);
        }
        repeats
    }
}
