//! The rows of a file that its rollups leave out, as the index says them.

use std::ops::Range;

use crate::index::{Bytes, push_varint};

/// Adds these rows, which are ascending and apart, to a section.
pub(super) fn push(section: &mut Vec<u8>, rows: &[Range<u64>]) {
    push_varint(section, rows.len() as u64);
    let mut end = 0;
    for rows in rows {
        push_varint(section, rows.start - end);
        push_varint(section, rows.end - rows.start);
        end = rows.end;
    }
}

/// Takes the rows off the front of a section; `None` when they are not there.
pub(super) fn take(section: &mut Bytes<'_>) -> Option<Vec<Range<u64>>> {
    let (mut rows, mut end) = (Vec::new(), 0_u64);
    for _ in 0..section.varint()? {
        let start = end.checked_add(section.varint()?)?;
        end = start.checked_add(section.varint()?)?;
        rows.push(start..end);
    }
    Some(rows)
}

/// Adds rows that follow those that are there already.
pub(super) fn extend(rows: &mut Vec<Range<u64>>, more: Range<u64>) {
    match rows.last_mut().filter(|last| last.end == more.start) {
        Some(last) => last.end = more.end,
        None => rows.push(more),
    }
}
