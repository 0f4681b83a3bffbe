//! Lookup in an index: the rows of a data file that can match a filter.

use std::{io, ops::Range};

use tidings_disk::ranges::{intersection, merged};
use tidings_files::table_file::DataFile;

use super::{CandidateRows, IndexLookup, LegacyTerms, file::Head, terms};

/// Reason why a lookup failed.
pub(super) enum LookupError {
    /// The bytes differ from those written.
    Damaged,
    /// The file could not be opened or read now.
    OutOfReach,
    /// Another file has replaced the index.
    Replaced,
}

pub(super) fn find(
    file: &DataFile,
    head: &Head,
    wanted: &IndexLookup,
) -> Result<CandidateRows, LookupError> {
    let (mut opened, mut why) = (None, LookupError::Damaged);
    let mut fetch = |range| {
        if opened.is_none() {
            match file.open_index() {
                Ok(index) if head.belongs_to(&index) => opened = Some(index),
                Ok(_) => why = LookupError::Replaced,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => why = LookupError::OutOfReach,
            }
        }
        head.page(opened.as_ref()?, range)
    };
    let found = found(head, wanted, &mut fetch);
    found.ok_or(why)
}

/// Returns the candidate rows of an index; `None` when it is damaged.
///
/// Lists of lookups nest no deeper than the filter's condition, whose depth is bounded.
fn found(
    head: &Head,
    wanted: &IndexLookup,
    mut fetch: &mut dyn FnMut(Range<u64>) -> Option<Vec<u8>>,
) -> Option<CandidateRows> {
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
                LegacyTerms::Instead(term) if !head.has_all_terms => std::slice::from_ref(term),
                LegacyTerms::Nothing if !head.has_all_terms => continue,
                _ => any.terms.as_slice(),
            };
            let blocks = directory.find_any(terms.iter().copied(), &mut fetch)?;
            candidates = Some(narrowed(candidates, blocks));
        }
    }
    if let Some(grams) = &head.grams {
        for bits in &wanted.texts {
            if candidates.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
            let blocks = grams.find(bits, &mut fetch)?;
            candidates = Some(narrowed(candidates, blocks));
        }
    }
    for lookups in &wanted.one_of {
        if candidates.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
        let mut rows = Some(Vec::new());
        for lookup in lookups {
            let Some(all) = &mut rows else { break };
            match found(head, lookup, fetch)? {
                Some(of_one) => all.extend(of_one),
                None => rows = None,
            }
        }
        let Some(rows) = rows.map(merged) else { continue };
        candidates = Some(match candidates {
            Some(candidates) => intersection(&candidates, &rows),
            None => rows,
        });
    }
    Some(candidates)
}

/// Intersects the candidates with the rows of these blocks.
fn narrowed(candidates: CandidateRows, blocks: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let size = u64::from(terms::BLOCK_ROWS);
    let rows = blocks.into_iter().map(|blocks| blocks.start * size..blocks.end * size);
    let rows = merged(rows.collect());
    match candidates {
        Some(candidates) => intersection(&candidates, &rows),
        None => rows,
    }
}
