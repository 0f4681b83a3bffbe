//! Runs that are read ahead of their turn.
//!
//! All of them are in memory until the merge ends. Here it is said how many that are: runs for
//! which there is no room any more stay where they are.

use std::{ops::Range, vec};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{
    places::Run,
    source::{Decoded, Keys, Opened},
};
use crate::{
    StorageError,
    data_file::{gather, sections::Portion, sizes},
};

/// Rows of all files that are read ahead.
pub(super) struct Moved<'a> {
    columns: &'a [&'a str],
    schema: &'a SchemaRef,
    portion: Portion,
    /// Memory that is left for more.
    bytes_left: usize,
    batches: Vec<RecordBatch>,
    /// The slot of each row of each of them.
    slots: Vec<Vec<i64>>,
}

/// The same rows, in the order of a file.
pub(super) struct InOrder {
    schema: SchemaRef,
    portion: usize,
    batches: Vec<RecordBatch>,
    slots: Vec<Vec<i64>>,
    /// Of each row its batch and its place there.
    places: vec::IntoIter<(usize, usize)>,
}

impl<'a> Moved<'a> {
    pub(super) fn new(
        columns: &'a [&'a str],
        schema: &'a SchemaRef,
        portion: Portion,
        bytes_max: usize,
    ) -> Self {
        let (batches, slots) = (Vec::new(), Vec::new());
        Self { columns, schema, portion, bytes_left: bytes_max, batches, slots }
    }

    /// Reads the runs of a file that move, as many of them as there is room for; the others do not
    /// move then.
    pub(super) fn read(&mut self, file: &Opened, runs: &mut [Run]) -> Result<(), StorageError> {
        let ranges: Vec<Range<usize>> =
            ranges(runs).filter(|(_, run)| run.moved_to.is_some()).map(|(rows, _)| rows).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let (mut read, mut rows) = (Vec::new(), 0);
        let mut reader = file.reader(self.columns, Some(&ranges), self.portion)?;
        while self.bytes_left > 0 {
            let Some(batch) = file.next_as(self.schema, &mut reader)? else { break };
            let bytes = sizes::bytes(&batch, &(0..batch.num_rows()));
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            rows += batch.num_rows();
            read.push(batch);
        }
        let mut slots = Vec::new();
        let mut is_full = false;
        for run in runs.iter_mut() {
            let Some(slot) = run.moved_to else { continue };
            let end = slots.len() + run.rows as usize;
            is_full |= end > rows;
            match is_full {
                true => run.moved_to = None,
                false => slots.resize(end, slot),
            }
        }
        let mut slots = slots.into_iter();
        for batch in read {
            let whole = batch.num_rows().min(slots.len());
            if whole > 0 {
                self.batches.push(batch.slice(0, whole));
                self.slots.push(slots.by_ref().take(whole).collect());
            }
        }
        Ok(())
    }

    /// In the order of a file; `None` when there are no rows.
    pub(super) fn sorted(self) -> Result<Option<InOrder>, StorageError> {
        let Self { schema, portion, batches, slots, .. } = self;
        let keys = batches.iter().zip(&slots).map(|(batch, slots)| {
            let keys = Keys::of(batch, Some(slots.clone()))?;
            Ok(keys)
        });
        let keys = keys.collect::<Result<Vec<_>, StorageError>>()?;
        let of_batch =
            |(batch, slots): (usize, &Vec<i64>)| (0..slots.len()).map(move |row| (batch, row));
        let mut places: Vec<_> = slots.iter().enumerate().flat_map(of_batch).collect();
        let key = |(batch, row): &(usize, usize)| keys[*batch].at(*row);
        places.sort_by(|one, other| key(one).cmp(&key(other)));
        let (schema, portion, places) =
            (SchemaRef::clone(schema), portion.rows, places.into_iter());
        let is_any = !batches.is_empty();
        Ok(is_any.then_some(InOrder { schema, portion, batches, slots, places }))
    }
}

impl InOrder {
    /// The next rows and their slots.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>, StorageError> {
        let places: Vec<_> = self.places.by_ref().take(self.portion).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let rows = gather::rows(&self.schema, &self.batches, &places)?;
        let slots = places.iter().map(|(batch, row)| self.slots[*batch][*row]).collect();
        Ok(Some((rows, Some(slots))))
    }
}

/// The rows of each run.
pub(super) fn ranges(runs: &[Run]) -> impl Iterator<Item = (Range<usize>, &Run)> {
    let mut end = 0;
    runs.iter().map(move |run| {
        let first = end;
        end += run.rows as usize;
        (first..end, run)
    })
}
