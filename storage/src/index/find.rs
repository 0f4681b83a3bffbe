//! Which rows of a data file an index says can match.

use std::{io, ops::Range};

use super::{Candidates, Earlier, Wanted, file::Head, terms};
use crate::{
    data_file::DataFile,
    ranges::{intersection, merged},
};

/// Why an index says nothing.
pub(super) enum Unusable {
    /// It is not what was written.
    Damaged,
    /// It cannot be read just now.
    OutOfReach,
    /// Another has taken its place.
    Replaced,
}

pub(super) fn find(file: &DataFile, head: &Head, wanted: &Wanted) -> Result<Candidates, Unusable> {
    let (mut opened, mut why) = (None, Unusable::Damaged);
    let mut fetch = |range| {
        if opened.is_none() {
            match file.open_index() {
                Ok(index) if head.is_of(&index) => opened = Some(index),
                Ok(_) => why = Unusable::Replaced,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => why = Unusable::OutOfReach,
            }
        }
        head.page(opened.as_ref()?, range)
    };
    let found = found(head, wanted, &mut fetch);
    found.ok_or(why)
}

/// What an index says; `None` when it is damaged.
fn found(
    head: &Head,
    wanted: &Wanted,
    mut fetch: &mut dyn FnMut(Range<u64>) -> Option<Vec<u8>>,
) -> Option<Candidates> {
    let mut candidates = None;
    if let (Some(hashes), Some(directory)) = (&wanted.traces, &head.traces) {
        let filter = head.trace_filter.as_ref();
        let is_possible = |hash: &u64| filter.is_none_or(|filter| filter.may_have(*hash));
        let possible = hashes.iter().copied().filter(is_possible);
        candidates = Some(merged(directory.find_any(possible, &mut fetch)?));
    }
    if let Some(directory) = &head.terms {
        for any in &wanted.terms {
            if candidates.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
            let terms = match &any.earlier {
                Earlier::Instead(term) if !head.has_elements => std::slice::from_ref(term),
                Earlier::Nothing if !head.has_elements => continue,
                _ => any.terms.as_slice(),
            };
            let blocks = directory.find_any(terms.iter().copied(), &mut fetch)?;
            candidates = Some(narrowed(candidates, blocks));
        }
    }
    if let Some(grams) = head.grams.as_ref().filter(|_| !wanted.text.is_empty())
        && candidates.as_ref().is_none_or(|candidates| !candidates.is_empty())
    {
        let blocks = grams.find(&wanted.text, &mut fetch)?;
        candidates = Some(narrowed(candidates, blocks));
    }
    Some(candidates)
}

/// Those of the candidates that are in these blocks.
fn narrowed(candidates: Candidates, blocks: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let size = u64::from(terms::BLOCK_ROWS);
    let rows = blocks.into_iter().map(|blocks| blocks.start * size..blocks.end * size);
    let rows = merged(rows.collect());
    match candidates {
        Some(candidates) => intersection(&candidates, &rows),
        None => rows,
    }
}
