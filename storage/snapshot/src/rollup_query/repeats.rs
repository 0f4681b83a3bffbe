//! Spans that two data files have. The rollups of both count them, so one file must retract them.
//!
//! A repeated span has the same time and trace in both places, so both files are of the same hour.
//! The index of one file locates the rows that can belong to traces of the other, and those rows
//! are compared. `tidings_rollup::pair_cache` caches the results.

use std::{
    collections::{HashMap, HashSet},
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow_array::Int64Array;
use tidings_columns::{SpanRows, rows::column::OptionalColumn};
use tidings_data_file::columns;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{IndexLookup, Indexes};
use tidings_proto::Signal;
use tidings_rollup::{
    Call, CallKey, build::COLUMNS, pair_cache::Repeat, rollup_encoding::GroupNames,
};

/// Returns the spans of a file that at least one of the others has too, each once. `names` are
/// the names of the file's groups.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) fn find_repeats(
    indexes: &Indexes,
    (file, names): (&Arc<DataFile>, &GroupNames),
    others: &[&Arc<DataFile>],
) -> Result<Vec<Repeat>, StorageError> {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for other in others {
        match indexes.repeats.get(file, other) {
            Some(repeats) => found.push(repeats),
            None => unknown.push(*other),
        }
    }
    for (other, repeats) in unknown.iter().zip(compared(indexes, file, names, &unknown)?) {
        indexes.repeats.keep(file, other, Arc::clone(&repeats));
        found.push(repeats);
    }
    let mut seen = HashSet::new();
    let all = found.iter().flat_map(|repeats| repeats.iter());
    Ok(all.filter(|repeat| seen.insert(repeat.content_hash)).copied().collect())
}

/// Returns, for each of the other files, the spans of the file that it has too.
fn compared(
    indexes: &Indexes,
    file: &Arc<DataFile>,
    names: &GroupNames,
    others: &[&Arc<DataFile>],
) -> Result<Vec<Arc<[Repeat]>>, StorageError> {
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let low64s = low64s(file, None)?;
    // Numbers of the other files that have a span, by content hash.
    let mut shared: HashMap<u64, Vec<usize>> = HashMap::new();
    for (number, other) in others.iter().enumerate() {
        each_of(indexes, other, &low64s, |hash, _| {
            let have = shared.entry(hash).or_default();
            if have.last() != Some(&number) {
                have.push(number);
            }
        })?;
    }
    let mut repeats = vec![Vec::new(); others.len()];
    let rows = rows_with(file, &mut shared.keys().copied().collect())?;
    if !rows.is_empty() {
        let numbers = names.numbers();
        columns(Signal::Spans, file, &COLUMNS, Some(&rows), &mut |batch| {
            let spans = SpanRows::from_batch(batch)?;
            for row in 0..spans.len() {
                let content_hash = spans.content_hash(row);
                let group = numbers.get(&CallKey::from_row(&spans, row)).copied();
                let (Some(group), Some(have)) = (group, shared.get(&content_hash)) else {
                    continue;
                };
                let repeat = Repeat { content_hash, group, call: Call::from_row(&spans, row) };
                have.iter().for_each(|number| repeats[*number].push(repeat));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(repeats.into_iter().map(Arc::from).collect())
}

/// Returns the last halves of the trace ids of these rows of a file, or of all. They are ascending
/// and distinct.
pub(crate) fn low64s(
    file: &DataFile,
    rows: Option<&[Range<u64>]>,
) -> Result<Vec<u64>, StorageError> {
    let mut low64s: Vec<u64> = Vec::new();
    columns(Signal::Spans, file, &["trace_id_low64"], rows, &mut |batch| {
        let column = OptionalColumn::<Int64Array>::from_batch(batch, "trace_id_low64")?;
        low64s.extend((0..batch.num_rows()).map(|row| column.unsigned(row)));
        low64s.dedup();
        Ok(ControlFlow::Continue(()))
    })?;
    low64s.sort_unstable();
    low64s.dedup();
    Ok(low64s)
}

/// Passes the content hash and the start of rows of a file to `visit`. They include all rows of
/// these traces, and possibly some of other traces.
pub(crate) fn each_of(
    indexes: &Indexes,
    file: &Arc<DataFile>,
    low64s: &[u64],
    mut visit: impl FnMut(u64, u64),
) -> Result<(), StorageError> {
    let wanted = IndexLookup::new(Signal::Spans, Some(low64s));
    let candidates = indexes.candidates(indexes.begin_scan(), file, &wanted);
    if candidates.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let names = ["content_hash", "start_unix_nanos"];
    columns(Signal::Spans, file, &names, candidates.as_deref(), &mut |batch| {
        let hashes = OptionalColumn::<Int64Array>::from_batch(batch, "content_hash")?;
        let starts = OptionalColumn::<Int64Array>::from_batch(batch, "start_unix_nanos")?;
        (0..batch.num_rows()).for_each(|row| visit(hashes.unsigned(row), starts.unsigned(row)));
        Ok(ControlFlow::Continue(()))
    })
}

/// Returns the first row of a file with each of these content hashes.
fn rows_with(
    file: &DataFile,
    contents: &mut HashSet<u64>,
) -> Result<Vec<Range<u64>>, StorageError> {
    let (mut rows, mut first) = (Vec::new(), 0);
    if contents.is_empty() {
        return Ok(rows);
    }
    columns(Signal::Spans, file, &["content_hash"], None, &mut |batch| {
        let hashes = OptionalColumn::<Int64Array>::from_batch(batch, "content_hash")?;
        for (row, at) in (0..batch.num_rows()).zip(first..) {
            if contents.remove(&hashes.unsigned(row)) {
                rows.push(at..at + 1);
            }
        }
        first += batch.num_rows() as u64;
        Ok(if contents.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(rows)
}
