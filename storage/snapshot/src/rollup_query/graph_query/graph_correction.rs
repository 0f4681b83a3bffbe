//! Corrections of the edges of two files, for the traces that are split across them.

use std::{slice::from_ref, sync::Arc};

use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::Indexes;
use tidings_rollup::{
    pair_cache::RowRanges, query_totals::QueryTotals, rollup_encoding::GroupNames,
};

use super::{
    pool::{ALWAYS, TracePool, Vocabulary},
    rows,
};
use crate::rollup_query::{
    CancellationCheck, counted_calls::CountedCalls, split_corrections::PairCorrection,
};

/// Computes the correction for split traces in two files, and the names of its groups. `is_wanted`
/// selects traces by the last half of their id. `None` when the work was cancelled.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) fn change(
    indexes: &Indexes,
    (files, rows): ([&Arc<DataFile>; 2], &[RowRanges; 2]),
    is_wanted: impl Fn(u64) -> bool,
    go_on: &mut CancellationCheck<'_>,
) -> Result<Option<(PairCorrection, GroupNames)>, StorageError> {
    let (mut words, mut totals) = (Vocabulary::default(), QueryTotals::between(Vec::new()));
    let mut parts = [TracePool::default(), TracePool::default()];
    for (part, of) in parts.iter_mut().zip(files.into_iter().zip(rows)) {
        let flow = rows::read(indexes, of, &mut words, go_on, |trace, run| {
            if is_wanted(trace.low64()) {
                part.extend(trace, run.iter().map(|(_, span)| *span));
            }
        })?;
        if flow.is_break() {
            return Ok(None);
        }
    }
    let change = changed(&parts, &mut words, &mut totals);
    let (names, _) = totals.finish();
    Ok(Some((change, names)))
}

/// Computes the correction for parts of traces that each file has counted as whole traces.
pub(crate) fn changed(
    parts: &[TracePool; 2],
    words: &mut Vocabulary,
    totals: &mut QueryTotals,
) -> PairCorrection {
    let mut own = CountedCalls::new(parts.len());
    for (place, part) in parts.iter().enumerate() {
        part.count_as_one(from_ref(&ALWAYS), words, totals, |_, group, call| {
            own.push(place, (group, *call))
        });
    }
    let mut change = PairCorrection::default();
    TracePool::count_pools(parts, words, totals, |_, group, call| {
        if !own.stays((group, *call)) {
            change.added.push((group, *call));
        }
    });
    for (place, (taken, stay)) in own.into_retractions().enumerate() {
        (change.taken[place], change.stay[place]) = (taken, stay);
    }
    change
}
