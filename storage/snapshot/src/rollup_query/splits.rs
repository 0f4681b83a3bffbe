//! Traces that are split across two data files.
//!
//! Only files of the same hour and of adjacent hours are compared. A trace in hours that are
//! further apart is also in the hours between them, or counts as several traces (`SILENCE` of
//! `tidings_rollup`). `tidings_rollup::pair_cache` caches the results.

use std::{ops::ControlFlow, sync::Arc};

use tidings_disk::ranges::merged;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{IndexLookup, Indexes};
use tidings_proto::Signal;
use tidings_rollup::pair_cache::RowRanges;

use super::{repeats::low64s, split_corrections::Pairs};

/// Returns, for each file, the rows of traces that another file has too. The rows may include
/// some other traces. Compares two files only if one of them is `asked` for and they are not in
/// `pairs`. `None` when the work was cancelled.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) fn find_splits(
    indexes: &Indexes,
    files: &[&Arc<DataFile>],
    pairs: &Pairs,
    asked: impl Fn(&DataFile) -> bool,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Vec<RowRanges>>, StorageError> {
    let mut rows = vec![RowRanges::new(); files.len()];
    for (at, one) in files.iter().enumerate() {
        let is_larger = |other: &DataFile| (one.rows, &one.path) < (other.rows, &other.path);
        let mut traces = None;
        for (other_at, other) in files.iter().enumerate() {
            let is_near = one.hour.abs_diff(other.hour) <= 1;
            let is_open = is_larger(other) && !pairs.has_compared(at, other_at);
            if !is_near || !is_open || !asked(one) && !asked(other) {
                continue;
            }
            if go_on().is_break() {
                return Ok(None);
            }
            let both = match indexes.splits.get(one, other) {
                Some(both) => both,
                None => {
                    let traces = match &mut traces {
                        Some(traces) => traces,
                        empty => empty.insert(low64s(one, None)?),
                    };
                    let both = Arc::new(compared(indexes, one, traces, other)?);
                    indexes.splits.keep(one, other, Arc::clone(&both));
                    both
                }
            };
            rows[at].extend(both[0].iter().cloned());
            rows[other_at].extend(both[1].iter().cloned());
        }
    }
    Ok(Some(rows.into_iter().map(merged).collect()))
}

/// Returns the rows of the traces that both files have, for each file. `traces` are those of the
/// first.
fn compared(
    indexes: &Indexes,
    one: &Arc<DataFile>,
    traces: &[u64],
    other: &Arc<DataFile>,
) -> Result<[RowRanges; 2], StorageError> {
    let there = rows_of(indexes, other, traces);
    if there.is_empty() {
        return Ok([RowRanges::new(), there]);
    }
    let both = low64s(other, Some(&there))?;
    Ok([rows_of(indexes, one, &both), there])
}

/// Returns all rows of these traces in a file, and possibly some rows of other traces.
pub(crate) fn rows_of(indexes: &Indexes, file: &Arc<DataFile>, low64s: &[u64]) -> RowRanges {
    if low64s.is_empty() {
        return RowRanges::new();
    }
    let wanted = IndexLookup::new(Signal::Spans, Some(low64s));
    let candidates = indexes.candidates(indexes.begin_scan(), file, &wanted);
    candidates.unwrap_or_else(|| std::iter::once(0..file.rows).collect())
}
