//! Scans that look for the newest rows first. Rows without a time are read first, because an order
//! by time puts them before or behind all others. The scan then goes back in time until no more
//! rows are needed.

use std::ops::ControlFlow;

use tidings_proto::UnixNanos;
use tidings_storage::{RowsNeeded, TimeRange};

use crate::{SqlError, dynamic_filters::Since};

/// The first time: before it, none is known.
const FIRST: UnixNanos = UnixNanos(1);

/// The part of the range where rows have no time, when it has one, and the rest.
pub(super) fn split(range: TimeRange) -> (Option<TimeRange>, TimeRange) {
    let timeless = TimeRange { start: range.start, end: Some(FIRST) };
    let timeless = Some(timeless).filter(|_| range.contains(UnixNanos(0)));
    (
        timeless,
        TimeRange { start: Some(range.start.map_or(FIRST, |start| start.max(FIRST))), ..range },
    )
}

/// Rows that a scan still has to return after some were handed on.
pub(super) fn need(handed_on: &Result<ControlFlow<()>, SqlError>, since: Since) -> RowsNeeded {
    if !matches!(handed_on, Ok(ControlFlow::Continue(()))) {
        return RowsNeeded::Nothing;
    }
    match since {
        Since::Ever => RowsNeeded::All,
        // Times before the first are those of nobody.
        Since::Time(nanos) => RowsNeeded::Since(
            u64::try_from(nanos).map_or(FIRST, |nanos| UnixNanos(nanos).max(FIRST)),
        ),
        Since::Never => RowsNeeded::Nothing,
    }
}
