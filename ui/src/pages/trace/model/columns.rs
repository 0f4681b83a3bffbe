//! The skeleton's columns as the model may rely on them.

use tidings_proto::api::SpanColumns;

use super::rows_of;

/// Columns of one length whose rows point only to rows that exist: parents before their rows,
/// descendants within their parent's.
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

    // The ends of the rows that are open at this row, outermost first.
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
