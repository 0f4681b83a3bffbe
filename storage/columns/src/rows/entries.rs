//! Reads attributes of rows for comparison, without decoding them. Only the fields that were read
//! are present.

use std::ops::Range;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray, UInt8Array,
    types::Int32Type,
};
use arrow_schema::ArrowError;
use tidings_proto::TraceId;

use super::column::{OptionalColumn, downcast};
use crate::packed::{self, EntryValue, Nested, ValueKind};

/// Field of a link with the id of the linked trace.
const LINKED_TRACE: &str = "trace_id";

/// Keys of entries: a dictionary, or plain texts for entries of events and links.
#[derive(Debug, Clone)]
pub struct EntryKeys {
    codes: Option<Int32Array>,
    values: StringArray,
}

impl EntryKeys {
    pub(super) fn from_array(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let Some(coded) = array.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
            return Ok(Self { codes: None, values: downcast(array, name)? });
        };
        Ok(Self { codes: Some(coded.keys().clone()), values: downcast(coded.values(), name)? })
    }

    /// Returns the distinct keys of a dictionary, or the keys of all entries.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(Option::unwrap_or_default)
    }

    /// Returns the index of the entry's key in [`Self::iter`].
    #[must_use]
    #[inline]
    pub fn code(&self, entry: usize) -> usize {
        let coded = self.codes.as_ref();
        coded.map_or(entry, |codes| usize::try_from(codes.value(entry)).unwrap_or_default())
    }

    /// Returns the key of an entry.
    #[must_use]
    #[inline]
    pub fn value(&self, entry: usize) -> &str {
        self.values.value(self.code(entry))
    }
}

/// Entries of an attribute column, from the memtable or from a file. A value is missing if its type
/// was not read.
#[derive(Debug, Clone)]
pub struct AttributeEntries {
    map: MapArray,
    /// Keys of the entries.
    pub keys: EntryKeys,
    values: EntryValues,
}

#[derive(Debug, Clone)]
enum EntryValues {
    /// Values of rows in the memtable.
    Packed(Box<PackedValues>),
    /// Values of rows in files, and of events and links anywhere.
    Typed(Box<Typed>),
}

/// Kinds and texts of packed values: see [`packed`].
#[derive(Debug, Clone)]
struct PackedValues {
    kinds: UInt8Array,
    texts: StringArray,
}

impl PackedValues {
    #[inline]
    fn is(&self, entry: usize, kind: ValueKind) -> bool {
        self.kinds.value(entry) == kind.code()
    }
}

/// Values with one column per type.
#[derive(Debug, Clone)]
struct Typed {
    all: StructArray,
    strings: OptionalColumn<StringArray>,
    ints: OptionalColumn<Int64Array>,
    doubles: OptionalColumn<Float64Array>,
    bools: OptionalColumn<BooleanArray>,
    /// Encoded values of all other types.
    bytes: OptionalColumn<BinaryArray>,
}

impl Typed {
    #[inline]
    fn value(&self, entry: usize) -> EntryValue<'_> {
        if let Some(text) = self.strings.text(entry) {
            EntryValue::Text(text)
        } else if let Some(ints) = self.ints.valid(entry) {
            EntryValue::Int(ints.value(entry))
        } else if let Some(doubles) = self.doubles.valid(entry) {
            EntryValue::Double(doubles.value(entry))
        } else if let Some(bools) = self.bools.valid(entry) {
            EntryValue::Bool(bools.value(entry))
        } else if let Some(bytes) = self.bytes.bytes(entry) {
            EntryValue::Nested(Nested::Plain(bytes))
        } else if self.all.is_valid(entry) {
            EntryValue::Empty
        } else {
            EntryValue::None
        }
    }
}

impl AttributeEntries {
    /// Reads the column with this name, if it exists.
    ///
    /// # Errors
    /// When the column does not hold attributes.
    pub fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        batch.column_by_name(name).map(|array| Self::new(array, name)).transpose()
    }

    /// Reads the entries of an array. The name is for the error.
    ///
    /// # Errors
    /// When the array does not hold attributes.
    pub fn new(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let map: MapArray = downcast(array, name)?;
        let all: StructArray = downcast(map.values(), name)?;
        let values = match packed::parts(&all) {
            Some((kinds, texts)) => {
                let (kinds, texts) = (kinds.clone(), texts.clone());
                EntryValues::Packed(Box::new(PackedValues { kinds, texts }))
            }
            None => EntryValues::Typed(Box::new(Typed {
                strings: field(&all, "string")?,
                ints: field(&all, "int")?,
                doubles: field(&all, "double")?,
                bools: field(&all, "bool")?,
                bytes: field(&all, "bytes")?,
                all,
            })),
        };
        Ok(Self { keys: EntryKeys::from_array(map.keys(), name)?, values, map })
    }

    /// Returns the value of an entry.
    #[must_use]
    #[inline]
    pub fn value(&self, entry: usize) -> EntryValue<'_> {
        match &self.values {
            EntryValues::Packed(of) => packed::value(of.kinds.value(entry), of.texts.value(entry)),
            EntryValues::Typed(typed) => typed.value(entry),
        }
    }

    /// Returns the text of an entry, if its value is a string.
    #[must_use]
    #[inline]
    pub fn text(&self, entry: usize) -> Option<&str> {
        match &self.values {
            EntryValues::Packed(of) => of.is(entry, ValueKind::Text).then(|| of.texts.value(entry)),
            EntryValues::Typed(typed) => typed.strings.text(entry),
        }
    }

    /// Returns the range of a row's entries.
    #[must_use]
    #[inline]
    pub fn of_row(&self, row: usize) -> Range<usize> {
        super::attributes::range(self.map.value_offsets(), row)
    }

    /// Returns the range of the entries of adjacent rows.
    #[must_use]
    #[inline]
    pub fn of_rows(&self, rows: &Range<usize>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        self.of_row(rows.start).start..self.of_row(rows.end - 1).end
    }
}

/// Ids of the traces that rows link to.
#[derive(Debug, Clone)]
pub struct Linked {
    list: ListArray,
    trace_ids: BinaryArray,
}

impl Linked {
    /// Reads the links of a batch, if it has the column.
    ///
    /// # Errors
    /// When the column does not hold links.
    pub fn from_batch(batch: &RecordBatch) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name("links") else { return Ok(None) };
        let list: ListArray = downcast(array, "links")?;
        let elements: StructArray = downcast(list.values(), "links")?;
        let Some(trace_ids) = elements.column_by_name(LINKED_TRACE) else { return Ok(None) };
        Ok(Some(Self { trace_ids: downcast(trace_ids, LINKED_TRACE)?, list }))
    }

    /// Returns the linked traces of adjacent rows, repetitions included.
    #[inline]
    pub fn of_rows(&self, rows: &Range<usize>) -> impl Iterator<Item = TraceId> {
        let elements = |row| super::attributes::range(self.list.value_offsets(), row);
        let all = if rows.is_empty() {
            0..0
        } else {
            elements(rows.start).start..elements(rows.end - 1).end
        };
        all.filter_map(|element| TraceId::from_wire(self.trace_ids.value(element)))
    }
}

/// Attributes of the elements in a column of events or links, if they were read.
#[derive(Debug, Clone)]
pub struct ElementEntries {
    list: ListArray,
    /// Entries of all elements.
    pub entries: AttributeEntries,
}

impl ElementEntries {
    /// Reads the column with this name, if it exists and its attributes were read.
    ///
    /// # Errors
    /// When the column does not hold events or links.
    pub fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name(name) else { return Ok(None) };
        let list: ListArray = downcast(array, name)?;
        let elements: StructArray = downcast(list.values(), name)?;
        let Some(attributes) = elements.column_by_name("attributes") else { return Ok(None) };
        Ok(Some(Self { entries: AttributeEntries::new(attributes, name)?, list }))
    }

    /// Returns the range of the entries of all elements of adjacent rows.
    #[must_use]
    #[inline]
    pub fn of_rows(&self, rows: &Range<usize>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        let elements = |row| super::attributes::range(self.list.value_offsets(), row);
        self.entries.of_rows(&(elements(rows.start).start..elements(rows.end - 1).end))
    }
}

/// Returns a field of a struct, if it was read.
fn field<A: Array + Clone + 'static>(
    array: &StructArray,
    name: &str,
) -> Result<OptionalColumn<A>, ArrowError> {
    array.column_by_name(name).map(|array| downcast(array, name)).transpose().map(OptionalColumn)
}
