//! Attributes in columns of their own.
//!
//! Frequent keys with few values are copied from the map of attributes to columns when a file is
//! written, so that filters and other engines need not decode the map for them. The map keeps them
//! all. A file says for which keys its columns tell everything there is; filters read the map for
//! all others, so no answer depends on which keys have a column. `schema` lists them.

use std::{collections::HashSet, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, builder::Int64Builder};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use memchr::memmem;
use parquet::{arrow::arrow_reader::ArrowReaderMetadata, file::metadata::KeyValue};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    columns::WordsBuilder,
    rows::{
        column::WordColumn,
        entries::{AttributeEntries, ElementEntries},
    },
    schema::Signal,
};

/// Under this name a file lists the keys for which its columns tell everything.
const WHOLE: &str = "tidings.columns";
/// Resources and scopes that are remembered as looked at.
const SENDERS_MAX: usize = 65_536;

/// Finds the keys that have a column.
#[derive(Debug)]
pub(super) struct Shredder {
    columns: Vec<Arc<Field>>,
    keys: Vec<ShredKey>,
    /// Places in `keys` by [`cell`].
    cells: Vec<Vec<usize>>,
    /// The hashes of resources and scopes.
    senders: HashSet<u128>,
}

/// A key that fills a column.
#[derive(Debug)]
struct ShredKey {
    key: &'static str,
    column: usize,
    /// Number of row attributes with the key.
    entries: u64,
    /// Number of attributes that were copied to the column.
    copied: u64,
    /// True if an event, a link, a resource or a scope has the key too.
    elsewhere: bool,
}

/// Value for a column of one row: the position of its key, the lowest of the column's keys, and the
/// entry.
type ShredValue = Option<(usize, usize)>;

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
        let mut keys = Vec::new();
        let mut cells = vec![Vec::new(); CELLS];
        for (column, of) in signal.shreds().enumerate() {
            for key in of.keys {
                cells[cell(key)].push(keys.len());
                keys.push(ShredKey { key, column, entries: 0, copied: 0, elsewhere: false });
            }
        }
        let columns = signal.shreds().map(|column| Arc::new(column.read_field())).collect();
        Self { columns, keys, cells, senders: HashSet::new() }
    }

    /// The rows with the columns at the end.
    pub(super) fn widen(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(entries) =
            AttributeEntries::from_batch(rows, "attributes")?.filter(|_| !self.columns.is_empty())
        else {
            return Ok(rows.clone());
        };
        self.look_elsewhere(rows)?;
        let mut builders: Vec<Builder<'_>> =
            self.columns.iter().map(|field| Builder::new(field, rows.num_rows())).collect();
        // The columns that the row has something for, which are few.
        let mut filled = Vec::with_capacity(self.columns.len());
        let places: Vec<Vec<usize>> =
            entries.keys.iter().map(|key| self.places(key).collect()).collect();
        let mut found: Vec<ShredValue> = vec![None; self.columns.len()];
        for row in 0..rows.num_rows() {
            for entry in entries.of_row(row) {
                for place in &places[entries.keys.code(entry)] {
                    filled.push(self.look(*place, &entries, entry, &mut found));
                }
            }
            for column in filled.drain(..) {
                if let Some((key, entry)) = found[column].take() {
                    builders[column].push(&entries, row, entry);
                    self.keys[key].copied += 1;
                }
            }
        }
        let fields = rows.schema_ref().fields().iter().chain(&self.columns).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut columns = rows.columns().to_vec();
        for builder in builders {
            columns.push(builder.finish(rows.num_rows())?);
        }
        RecordBatch::try_new(schema, columns)
    }

    /// Returns the file's metadata entry that lists the complete keys, if there are any.
    pub(super) fn whole(&self) -> Option<KeyValue> {
        let is_alone = |key: &ShredKey| {
            let of_column = self.keys.iter().filter(|other| other.column == key.column);
            of_column.map(|other| other.copied).sum::<u64>() == key.copied
        };
        let is_whole = |key: &&ShredKey| {
            key.copied > 0 && key.copied == key.entries && !key.elsewhere && is_alone(key)
        };
        let keys: Vec<_> = self.keys.iter().filter(is_whole).map(|key| key.key).collect();
        (!keys.is_empty()).then(|| KeyValue::new(WHOLE.to_owned(), keys.join(",")))
    }

    /// The places of a key.
    fn places(&self, key: &str) -> impl Iterator<Item = usize> {
        let places = self.cells[cell(key)].iter().copied();
        places.filter(move |place| self.keys[*place].key == key)
    }

    /// Looks at an entry of the key at this place; the column that it may be for.
    fn look(
        &mut self,
        place: usize,
        entries: &AttributeEntries,
        entry: usize,
        found: &mut [ShredValue],
    ) -> usize {
        let known = &mut self.keys[place];
        known.entries += 1;
        let is_of_type = match self.columns[known.column].data_type() {
            DataType::Int64 => entries.int(entry).is_some(),
            _ => entries.text(entry).is_some(),
        };
        let found = &mut found[known.column];
        if is_of_type && found.is_none_or(|(best, _)| place < best) {
            *found = Some((place, entry));
        }
        known.column
    }

    /// Finds keys where filters look for attributes besides the map.
    fn look_elsewhere(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        for name in ["events", "links"] {
            let Some(elements) = ElementEntries::from_batch(rows, name)? else { continue };
            for entry in elements.of_rows(&(0..rows.num_rows())) {
                let key = elements.entries.keys.value(entry);
                for place in &self.cells[cell(key)] {
                    self.keys[*place].elsewhere |= self.keys[*place].key == key;
                }
            }
        }
        for name in ["resource", "scope"] {
            let Some(words) = WordColumn::from_batch(rows, name)? else { continue };
            for text in words.values.iter().flatten().map(str::as_bytes) {
                if self.senders.len() >= SENDERS_MAX {
                    self.senders.clear();
                }
                if !self.senders.insert(xxh3_128(text)) {
                    continue;
                }
                // What is not JSON is encoded, and may have any key.
                let is_json = text.first() == Some(&b'{');
                for key in &mut self.keys {
                    key.elsewhere |= !is_json || memmem::find(text, key.key.as_bytes()).is_some();
                }
            }
        }
        Ok(())
    }
}

/// Keys for which a file's columns tell everything, each with its column.
pub(super) type CompleteKeys = Vec<(&'static str, &'static str)>;

/// Returns the keys whose columns are complete in a file, with their columns.
pub(super) fn whole(signal: Signal, footer: &ArrowReaderMetadata) -> CompleteKeys {
    let said = footer.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let said = said.filter(|said| said.key == WHOLE).find_map(|said| said.value.as_deref());
    let listed: HashSet<&str> = said.unwrap_or_default().split(',').collect();
    let is_there = |name: &str| footer.schema().field_with_name(name).is_ok();
    signal
        .shreds()
        .filter(|column| is_there(column.name))
        .flat_map(|column| column.keys.iter().map(|key| (*key, column.name)))
        .filter(|(key, _)| listed.contains(key))
        .collect()
}

/// A column under construction.
struct Builder<'a> {
    values: ColumnValues<'a>,
    /// Number of rows in it.
    rows: usize,
}

enum ColumnValues<'a> {
    Words(WordsBuilder<'a>),
    Longs(Int64Builder),
}

impl<'a> Builder<'a> {
    fn new(field: &Field, rows: usize) -> Self {
        let values = match field.data_type() {
            DataType::Int64 => ColumnValues::Longs(Int64Builder::with_capacity(rows)),
            _ => ColumnValues::Words(WordsBuilder::new(rows)),
        };
        Self { values, rows: 0 }
    }

    /// Gives the row the entry's value; those before it that have none stay without.
    fn push(&mut self, entries: &'a AttributeEntries, row: usize, entry: usize) {
        self.skip_to(row);
        self.rows += 1;
        match &mut self.values {
            ColumnValues::Words(words) => {
                words.push(entries.text(entry).map(str::as_bytes), 1);
            }
            ColumnValues::Longs(longs) => {
                longs.append_option(entries.int(entry));
            }
        }
    }

    fn skip_to(&mut self, row: usize) {
        let nothing = row - self.rows;
        self.rows = row;
        match &mut self.values {
            ColumnValues::Words(words) => words.push(None, nothing),
            ColumnValues::Longs(longs) => longs.append_nulls(nothing),
        }
    }

    /// The column of so many rows.
    fn finish(mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.skip_to(rows);
        match self.values {
            ColumnValues::Words(words) => words.finish(),
            ColumnValues::Longs(mut longs) => Ok(Arc::new(longs.finish())),
        }
    }
}

#[cfg(test)]
mod tests;
