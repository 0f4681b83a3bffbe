//! Attributes in columns of their own.
//!
//! Frequent keys with few values are copied from the map of attributes to columns when a file is
//! written, so that engines that read the files can group and filter by them without decoding the
//! map. The map keeps them all: nothing here reads these columns, so no answer depends on which
//! keys have one. `schema` lists them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, builder::Int64Builder};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::{columns::WordsBuilder, rows::entries::Entries, schema::Signal};

/// Finds the keys that have a column.
#[derive(Debug)]
pub(super) struct Shredder {
    columns: Vec<Arc<Field>>,
    /// Keys by [`cell`].
    keys: Vec<Vec<Key>>,
}

/// A key that fills a column.
#[derive(Debug)]
struct Key {
    key: &'static str,
    column: usize,
    /// Of the keys of a column, the lowest that is there fills it.
    rank: usize,
}

/// What fills a column of one row: the rank of its key, and the entry.
type Found = Option<(usize, usize)>;

const CELLS: usize = 256;

/// Most keys are nobody's: this says so without comparing them.
fn cell(key: &str) -> usize {
    let key = key.as_bytes();
    let middle = key.get(key.len() / 2).copied().unwrap_or_default();
    let last = key.last().copied().unwrap_or_default();
    (key.len() * 37 + usize::from(middle) * 11 + usize::from(last)) % CELLS
}

impl Shredder {
    pub(super) fn new(signal: Signal) -> Self {
        let mut keys: Vec<Vec<Key>> = (0..CELLS).map(|_| Vec::new()).collect();
        for (column, of) in signal.shreds().enumerate() {
            for (rank, key) in of.keys.iter().enumerate() {
                keys[cell(key)].push(Key { key, column, rank });
            }
        }
        Self {
            columns: signal.shreds().map(|column| Arc::new(column.memory_field())).collect(),
            keys,
        }
    }

    /// The rows with the columns at the end.
    pub(super) fn widen(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(entries) = Entries::of(rows, "attributes")?.filter(|_| !self.columns.is_empty())
        else {
            return Ok(rows.clone());
        };
        let mut builders: Vec<Builder<'_>> =
            self.columns.iter().map(|field| Builder::new(field, rows.num_rows())).collect();
        let mut found: Vec<Found> = vec![None; self.columns.len()];
        for row in 0..rows.num_rows() {
            found.fill(None);
            for entry in entries.of_row(row) {
                self.look(&entries, entry, &mut found);
            }
            for (builder, found) in builders.iter_mut().zip(&found) {
                builder.push(&entries, found.map(|(_, entry)| entry));
            }
        }
        let fields = rows.schema_ref().fields().iter().chain(&self.columns).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut columns = rows.columns().to_vec();
        for builder in builders {
            columns.push(builder.finish()?);
        }
        RecordBatch::try_new(schema, columns)
    }

    fn look(&self, entries: &Entries, entry: usize, found: &mut [Found]) {
        let key = entries.keys.value(entry);
        for Key { key: of_column, column, rank } in &self.keys[cell(key)] {
            let is_better = || found[*column].is_none_or(|(best, _)| *rank < best);
            let is_of_type = || match self.columns[*column].data_type() {
                DataType::Int64 => entries.ints.valid(entry).is_some(),
                _ => entries.strings.valid(entry).is_some(),
            };
            if key == *of_column && is_better() && is_of_type() {
                found[*column] = Some((*rank, entry));
            }
        }
    }
}

/// A column under construction.
enum Builder<'a> {
    Words(WordsBuilder<'a>),
    Longs(Int64Builder),
}

impl<'a> Builder<'a> {
    fn new(field: &Field, rows: usize) -> Self {
        match field.data_type() {
            DataType::Int64 => Self::Longs(Int64Builder::with_capacity(rows)),
            _ => Self::Words(WordsBuilder::new(rows)),
        }
    }

    fn push(&mut self, entries: &'a Entries, entry: Option<usize>) {
        match self {
            Self::Words(words) => {
                let text = entry.and_then(|entry| entries.strings.text(entry));
                words.push(text.map(str::as_bytes), 1);
            }
            Self::Longs(longs) => longs.append_option(
                entry.and_then(|entry| Some(entries.ints.valid(entry)?.value(entry))),
            ),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Words(words) => words.finish(),
            Self::Longs(mut longs) => Ok(Arc::new(longs.finish())),
        }
    }
}

#[cfg(test)]
mod tests;
