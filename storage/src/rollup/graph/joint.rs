//! By what the calls between services change when the parts of traces in two files are put
//! together.

use std::{slice::from_ref, sync::Arc};

use super::{
    pool::{ALWAYS, Pool, Vocabulary},
    rows,
};
use crate::{
    StorageError,
    data_file::DataFile,
    index::Indexes,
    rollup::{
        cells::GroupNames, joint::Change, own_calls::OwnCalls, splits::Rows, totals::Totals,
        unanswered::GoOn,
    },
};

/// What the rows of two files come to together, of the traces that are wanted by the last halves
/// of their ids, and the names of its groups. `None` when it is not wanted any more.
///
/// # Errors
/// When a file is missing or damaged.
pub(in crate::rollup) fn change(
    indexes: &Indexes,
    (files, rows): ([&Arc<DataFile>; 2], &[Rows; 2]),
    is_wanted: impl Fn(u64) -> bool,
    go_on: &mut GoOn<'_>,
) -> Result<Option<(Change, GroupNames)>, StorageError> {
    let (mut words, mut totals) = (Vocabulary::default(), Totals::between(Vec::new()));
    let mut parts = [Pool::default(), Pool::default()];
    for (part, of) in parts.iter_mut().zip(files.into_iter().zip(rows)) {
        let flow = rows::read(indexes, of, &mut words, go_on, |trace, span| {
            if is_wanted(trace.low64()) {
                part.push(trace, span);
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

/// What these parts of traces, each of which a file has counted as if it were all, come to
/// together.
pub(super) fn changed(parts: &[Pool; 2], words: &mut Vocabulary, totals: &mut Totals) -> Change {
    let mut own = OwnCalls::of(parts.len());
    for (place, part) in parts.iter().enumerate() {
        part.count_as_one(from_ref(&ALWAYS), words, totals, |_, group, call| {
            own.push(place, (group, *call))
        });
    }
    let mut change = Change::default();
    Pool::count_together(parts, words, totals, |_, group, call| {
        if !own.stays((group, *call)) {
            change.added.push((group, *call));
        }
    });
    for (place, (taken, stay)) in own.settled().enumerate() {
        (change.taken[place], change.stay[place]) = (taken, stay);
    }
    change
}
