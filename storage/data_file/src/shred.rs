//! Attribute columns: the writing side.
//!
//! A file has a column for each key and value type that many of its rows have (`counts`). All other
//! entries stay in the map of attributes. If a row has a key more than once, only its first entry
//! of each type is in a column. A row's order has one character for each entry: for its column or
//! for the map. A reader can therefore restore the order of the sender.
//!
//! A file lists its attribute columns, and whether their keys occur in such columns only. A filter
//! on such a key reads only the columns of the key. `attributes` reads all columns.

mod counts;

use std::{collections::HashSet, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, MapArray, RecordBatch, StringArray, StructArray,
    UInt8Array, cast::AsArray, types::Int32Type,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, FieldRef};
use parquet::file::metadata::KeyValue;
use serde_json::json;
use tidings_columns::{
    attribute_column::AttributeColumn,
    packed::{self, ValueKind},
    rows::{column::WordColumn, entries::ElementEntries},
    schema,
};
use tidings_disk::ranges::portions;
use xxhash_rust::xxh3::xxh3_128;

pub(super) use self::counts::{AttributeCounts, ColumnMinimum};
use super::encode::{RowEntry, TextSlices, ValueSource};

/// Column with all attributes of a row.
pub(super) const ATTRIBUTES: &str = "attributes";
/// Metadata key of the list of attribute columns.
pub(super) const LISTED: &str = "tidings.attributes";
/// Character for the next entry of the map.
pub(super) const IN_MAP: char = ' ';
/// Character for the first column. Those of the other columns follow.
const FIRST_COLUMN: u8 = b'!';
/// Maximum number of attribute columns of a file, one for each printable ASCII character. Twice as
/// many would save one byte of a realistic span (decision 0100).
pub(super) const COLUMNS_MAX: usize = 94;
/// Maximum number of resources and scopes to remember after a search for keys.
const SENDERS_MAX: usize = 65_536;
/// Maximum rows to distribute at once. `STEP_BYTES` is the approximate maximum bytes of their
/// values.
const STEP_ROWS: usize = 2048;
const STEP_BYTES: usize = 1 << 20;
/// Number that stands for no column.
const NONE: u8 = u8::MAX;

type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Returns the character of the column of this number.
fn character(column: u8) -> char {
    char::from(FIRST_COLUMN + column)
}

/// Returns the number of the column with this character.
pub(super) fn column_of(character: char) -> Option<usize> {
    let number = u32::from(character).checked_sub(u32::from(FIRST_COLUMN))?;
    usize::try_from(number).ok()
}

/// Distributes entries to the columns of a file.
#[derive(Debug)]
pub(super) struct Shredder {
    columns: Vec<ShreddedColumn>,
    /// Columns of each key, by kind of value.
    places: Map<String, [u8; ValueKind::ALL.len()]>,
    /// Hashes of the resources and scopes that were searched.
    senders: HashSet<u128>,
}

#[derive(Debug)]
struct ShreddedColumn {
    column: AttributeColumn,
    /// Number of rows with a value.
    rows: u64,
    /// True if the map, an event, a link, a resource or a scope has the key too.
    elsewhere: bool,
}

/// Columns of each key of a dictionary, by kind of value.
pub(super) type KeyColumns = Vec<[u8; ValueKind::ALL.len()]>;

/// Attributes of rows, distributed to columns.
pub(super) struct ShreddedRows {
    /// Entries of each column.
    pub(super) entries: Vec<Vec<RowEntry>>,
    /// Map of all other entries.
    pub(super) rest: MapArray,
}

impl Shredder {
    /// Creates a shredder for a file with these columns.
    pub(super) fn new(columns: Vec<AttributeColumn>) -> Self {
        let mut places: Map<String, [u8; ValueKind::ALL.len()]> = Map::default();
        for (number, column) in (0..NONE).zip(&columns) {
            let of_key = places.entry(column.key.clone()).or_insert([NONE; ValueKind::ALL.len()]);
            of_key[usize::from(column.kind.code())] = number;
        }
        let columns = columns.into_iter();
        let columns = columns.map(|column| ShreddedColumn { column, rows: 0, elsewhere: false });
        Self { columns: columns.collect(), places, senders: HashSet::new() }
    }

    /// Returns the fields of the columns in files.
    pub(super) fn fields(&self) -> impl Iterator<Item = FieldRef> {
        self.columns.iter().map(|of| Arc::new(of.column.field()))
    }

    /// Returns the columns of the keys of these attributes. `shred` takes slices of the same map.
    pub(super) fn places(&self, map: &MapArray) -> Result<KeyColumns, ArrowError> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let codes = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(not_packed)?;
        let keys: &StringArray = codes.values().as_string_opt().ok_or_else(not_packed)?;
        Ok(keys.iter().map(|key| self.place(key.unwrap_or_default())).collect())
    }

    /// Distributes the attributes of rows. Entries that stay in the map are copied.
    pub(super) fn shred(
        &mut self,
        map: &MapArray,
        places: &KeyColumns,
        orders: &mut RowOrders,
    ) -> Result<ShreddedRows, ArrowError> {
        if self.columns.is_empty() {
            orders.skip(map.len());
            return Ok(ShreddedRows { entries: Vec::new(), rest: map.clone() });
        }
        let codes = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(not_packed)?;
        let (kinds, _) =
            map.values().as_struct_opt().and_then(packed::parts).ok_or_else(not_packed)?;
        let mut dealt = DealtEntries::new(map.len(), self.columns.len());
        for row in 0..map.len() {
            let before = dealt.rest.len();
            for entry in packed_range(map, row) {
                let of_key = &places[usize::try_from(codes.keys().value(entry)).unwrap_or(0)];
                let column = of_key[usize::from(kinds.value(entry))];
                let column = dealt.push(row, entry, column);
                if column == NONE {
                    self.mark_other_key(*of_key);
                }
                orders.push(column);
            }
            dealt.rest_lengths.push(dealt.rest.len() - before);
            orders.end_row();
        }
        for (column, entries) in self.columns.iter_mut().zip(&dealt.entries) {
            column.rows += entries.len() as u64;
        }
        let rest = rest(map, &dealt.rest, dealt.rest_lengths)?;
        Ok(ShreddedRows { entries: dealt.entries, rest })
    }

    fn place(&self, key: &str) -> [u8; ValueKind::ALL.len()] {
        self.places.get(key).copied().unwrap_or([NONE; ValueKind::ALL.len()])
    }

    /// Marks the columns of a key that also occurs elsewhere. [`NONE`] is ignored.
    fn mark_other_key(&mut self, places: [u8; ValueKind::ALL.len()]) {
        for place in places {
            if let Some(column) = self.columns.get_mut(usize::from(place)) {
                column.elsewhere = true;
            }
        }
    }

    /// Returns the values of a column in the attributes of rows.
    pub(super) fn source<'a>(&self, column: usize, map: &'a MapArray) -> Option<ValueSource<'a>> {
        let (_, texts) = packed::parts(map.values().as_struct_opt()?)?;
        let texts =
            TextSlices { codes: None, offsets: texts.value_offsets(), bytes: texts.value_data() };
        Some(match self.columns.get(column)?.column.kind {
            ValueKind::Int => ValueSource::PackedLongs(texts),
            ValueKind::Double => ValueSource::PackedDoubles(texts),
            ValueKind::Bool => ValueSource::PackedBools(texts),
            ValueKind::Nested => ValueSource::PackedBytes(texts),
            ValueKind::Text | ValueKind::None | ValueKind::Empty => ValueSource::Texts(texts),
        })
    }

    /// Returns the file's metadata entry that lists the columns, if there are any.
    pub(super) fn list(&self) -> Option<KeyValue> {
        let of_column = |of: &ShreddedColumn| json!([of.column.name(), of.rows, !of.elsewhere]);
        let list: Vec<_> = self.columns.iter().map(of_column).collect();
        (!list.is_empty()).then(|| KeyValue::new(LISTED.to_owned(), json!(list).to_string()))
    }

    /// Searches the columns' keys wherever filters look for attributes besides those of the row.
    pub(super) fn scan_other_keys(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        for name in ["events", "links"] {
            let Some(elements) = ElementEntries::from_batch(rows, name)? else { continue };
            for entry in elements.of_rows(&(0..rows.num_rows())) {
                self.mark_other_key(self.place(elements.entries.keys.value(entry)));
            }
        }
        for name in ["resource", "scope"] {
            let Some(words) = WordColumn::from_batch(rows, name)? else { continue };
            words.values.iter().flatten().for_each(|text| self.scan_sender(text));
        }
        Ok(())
    }

    fn scan_sender(&mut self, text: &str) {
        if self.senders.len() >= SENDERS_MAX {
            self.senders.clear();
        }
        if !self.senders.insert(xxh3_128(text.as_bytes())) {
            return;
        }
        // A text that is not JSON is binary, and may have any key.
        let is_json = text.starts_with('{');
        for of in &mut self.columns {
            of.elsewhere |= !is_json || !of.column.key.bytes().all(is_plain_in_json);
        }
        // A key in JSON is between two quotes and contains none.
        for quoted in text.split('"') {
            self.mark_other_key(self.place(quoted));
        }
    }
}

/// Returns true if JSON does not escape the byte.
fn is_plain_in_json(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte == b' ') && !b"\"\\".contains(&byte)
}

/// Entries of rows, by destination.
struct DealtEntries {
    entries: Vec<Vec<RowEntry>>,
    /// Last row with an entry in the column, counted from 1. 0 without any.
    last_rows: Vec<usize>,
    rest: Vec<usize>,
    rest_lengths: Vec<usize>,
}

impl DealtEntries {
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            entries: vec![Vec::new(); columns],
            last_rows: vec![0; columns],
            rest: Vec::new(),
            rest_lengths: Vec::with_capacity(rows),
        }
    }

    /// Adds an entry to this column or else to the map. Returns the column, or [`NONE`] for the
    /// map.
    fn push(&mut self, row: usize, entry: usize, column: u8) -> u8 {
        let place = usize::from(column);
        let is_first = self.last_rows.get(place).is_some_and(|last| *last <= row);
        if !is_first {
            self.rest.push(entry);
            return NONE;
        }
        self.last_rows[place] = row + 1;
        self.entries[place].push(RowEntry { row, entry });
        column
    }
}

/// Orders of rows: a text for each row that names the column of each entry.
pub(super) struct RowOrders {
    /// Columns of the entries of the current row.
    now: Vec<u8>,
    codes: Vec<Option<i32>>,
    texts: Vec<String>,
    known: Map<Vec<u8>, i32>,
}

impl RowOrders {
    /// Allocates room for the orders of this many rows.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            now: Vec::new(),
            codes: Vec::with_capacity(rows),
            texts: Vec::new(),
            known: Map::default(),
        }
    }

    /// Adds rows whose entries are all in the map.
    fn skip(&mut self, rows: usize) {
        self.codes.resize(self.codes.len() + rows, None);
    }

    fn push(&mut self, column: u8) {
        self.now.push(column);
    }

    /// Ends the row. Its order has the entries that were added since the previous row.
    fn end_row(&mut self) {
        // Trailing map entries are omitted: the rest of the map always follows.
        let length = self.now.iter().rposition(|column| *column != NONE).map_or(0, |at| at + 1);
        self.now.truncate(length);
        let code = match self.known.get(&self.now) {
            _ if length == 0 => None,
            Some(code) => Some(*code),
            None => {
                let code = i32::try_from(self.texts.len()).unwrap_or(i32::MAX);
                let of_entry = |column: &u8| match *column {
                    NONE => IN_MAP,
                    column => character(column),
                };
                self.texts.push(self.now.iter().map(of_entry).collect());
                self.known.insert(self.now.clone(), code);
                Some(code)
            }
        };
        self.codes.push(code);
        self.now.clear();
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let texts = Arc::new(StringArray::from(self.texts));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(self.codes), texts)?))
    }
}

/// Divides rows into steps that are distributed in sequence, because entries that stay in the map
/// are copied. `None` when the attributes are not packed.
pub(super) fn steps(map: &MapArray) -> Option<Vec<Range<usize>>> {
    let (_, texts) = packed::parts(map.values().as_struct_opt()?)?;
    let bytes = |row: usize| {
        let entries = packed_range(map, row);
        let ends = texts.value_offsets();
        usize::try_from(ends[entries.end] - ends[entries.start]).unwrap_or_default()
    };
    Some(portions((0..map.len()).map(bytes), STEP_ROWS, STEP_BYTES))
}

/// Returns the entries of a row.
fn packed_range(map: &MapArray, row: usize) -> Range<usize> {
    let offset = |row: usize| usize::try_from(map.value_offsets()[row]).unwrap_or_default();
    offset(row)..offset(row + 1)
}

fn not_packed() -> ArrowError {
    ArrowError::SchemaError("attributes are not as memory has them".to_owned())
}

/// Returns a map of these entries. `lengths` has the number of entries of each row.
fn rest(map: &MapArray, entries: &[usize], lengths: Vec<usize>) -> Result<MapArray, ArrowError> {
    let codes = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(not_packed)?;
    let (kinds, texts) =
        map.values().as_struct_opt().and_then(packed::parts).ok_or_else(not_packed)?;
    let of_entries = entries.iter().map(|entry| codes.keys().value(*entry));
    let keys = DictionaryArray::<Int32Type>::try_new(
        Int32Array::from_iter_values(of_entries),
        Arc::clone(codes.values()),
    )?;
    let kinds = UInt8Array::from_iter_values(entries.iter().map(|entry| kinds.value(*entry)));
    let texts = StringArray::from_iter_values(entries.iter().map(|entry| texts.value(*entry)));
    let fields: Vec<ArrayRef> = vec![Arc::new(kinds), Arc::new(texts)];
    let values = StructArray::try_new(schema::packed_fields(), fields, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    schema::map(schema::packed_attributes(), offsets, Arc::new(keys), values)
}

#[cfg(test)]
mod tests;
