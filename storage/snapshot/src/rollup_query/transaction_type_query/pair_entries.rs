//! Entry spans of traces that are split across two files.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use ahash::RandomState;
use tidings_columns::SpanRows;
use tidings_data_file::columns;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_proto::{Signal, TraceId};
use tidings_rollup::{
    pair_cache::RowRanges,
    retraction::RetractedCall,
    rollup_encoding::{GroupNames, GroupTable},
    transaction_types::{
        build::COLUMNS,
        entry_spans::{EntrySpan, entry},
    },
};

use crate::rollup_query::{CancellationCheck, split_corrections::PairCorrection};

/// Entry spans of split traces in two files.
#[derive(Debug)]
pub(crate) struct PairEntries {
    /// File that has the entry span, 0 or 1, by the last half of the trace id.
    pub places: HashMap<u64, u8>,
    /// Correction of the transactions of both files.
    pub change: PairCorrection,
    /// Names of the transaction types.
    pub names: GroupNames,
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
        let counts = (entry.transaction_type, entry.call) == (loser.transaction_type, loser.call);
        let taken = RetractedCall { call: loser.call, counts, is_away: false };
        change.taken[1 - place].entry(loser.transaction_type).or_default().push(taken);
        places.insert(low64, u8::from(place > 0));
    }
    Ok(Some(PairEntries { places, change, names: groups.names() }))
}
