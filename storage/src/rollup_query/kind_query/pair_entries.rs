//! Entry spans of traces that are split across two files.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use ahash::RandomState;
use tidings_proto::{Signal, TraceId};

use crate::{
    SpanRows, StorageError,
    data_file::columns,
    rollup::{
        kinds::{
            build::COLUMNS,
            entry_spans::{EntrySpan, entry},
        },
        pair_cache::RowRanges,
        retraction::RetractedCall,
        rollup_encoding::{GroupNames, GroupTable},
    },
    rollup_query::{CancellationCheck, split_corrections::PairCorrection},
    table_file::DataFile,
};

/// Entry spans of split traces in two files.
#[derive(Debug)]
pub(crate) struct PairEntries {
    /// File that has the entry span, 0 or 1, by the last half of the trace id.
    pub(crate) places: HashMap<u64, u8>,
    /// Correction of the transactions of both files.
    pub(crate) change: PairCorrection,
    /// Names of the kinds.
    pub(crate) names: GroupNames,
}

/// Returns the entry spans of split traces in these rows of two files. `is_wanted` selects traces
/// by the last half of their id. `None` when the work was cancelled.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) fn entries(
    files: [&Arc<DataFile>; 2],
    rows: &[RowRanges; 2],
    is_wanted: impl Fn(u64) -> bool,
    go_on: &mut CancellationCheck<'_>,
) -> Result<Option<PairEntries>, StorageError> {
    let mut groups = GroupTable::default();
    let mut parts: [HashMap<TraceId, EntrySpan, RandomState>; 2] = Default::default();
    for (part, (file, rows)) in parts.iter_mut().zip(files.into_iter().zip(rows)) {
        let mut flow = ControlFlow::Continue(());
        columns(Signal::Spans, file, &COLUMNS, Some(rows), &mut |batch| {
            let rows = SpanRows::from_batch(batch)?;
            for row in 0..rows.len() {
                let trace = rows.trace_id(row);
                let is_better = || part.get(&trace).is_none_or(|of| of.rank.is_after(&rows, row));
                if is_wanted(trace.low64()) && is_better() {
                    part.insert(trace, entry(&rows, row, |key| groups.number(key.raw())));
                }
            }
            flow = go_on();
            Ok(flow)
        })?;
        if flow.is_break() {
            return Ok(None);
        }
    }
    let mut ids: HashMap<u64, Option<TraceId>> = HashMap::new();
    for id in parts.iter().flat_map(HashMap::keys) {
        let known = ids.entry(id.low64()).or_insert(Some(*id));
        *known = known.filter(|known| known == id);
    }
    let (mut places, mut change) = (HashMap::new(), PairCorrection::default());
    for (low64, id) in ids {
        let both = id.and_then(|id| Some([parts[0].get(&id)?, parts[1].get(&id)?]));
        let Some([one, other]) = both else { continue };
        let place = usize::from(other.rank < one.rank);
        let [entry, loser] = if place == 0 { [one, other] } else { [other, one] };
        let counts = (entry.kind, entry.call) == (loser.kind, loser.call);
        let taken = RetractedCall { call: loser.call, counts, is_away: false };
        change.taken[1 - place].entry(loser.kind).or_default().push(taken);
        places.insert(low64, u8::from(place > 0));
    }
    Ok(Some(PairEntries { places, change, names: groups.names() }))
}
