//! Attributes of rows, to be compared and not to be given back: only the parts that are there.

use std::ops::Range;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray, types::Int32Type,
};
use arrow_schema::ArrowError;
use tidings_proto::TraceId;

use super::column::{Column, downcast};

/// The field of a link that says to which trace it leads.
pub(crate) const LINKED_TRACE: &str = "trace_id";

/// The keys of entries: a dictionary, or each for itself where they are those of events or links.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    codes: Option<Int32Array>,
    values: StringArray,
}

impl Keys {
    pub(super) fn of(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let Some(coded) = array.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
            return Ok(Self { codes: None, values: downcast(array, name)? });
        };
        Ok(Self { codes: Some(coded.keys().clone()), values: downcast(coded.values(), name)? })
    }

    /// The distinct keys of a dictionary, or all there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(Option::unwrap_or_default)
    }

    /// The place of the entry's key among those.
    pub(crate) fn code(&self, entry: usize) -> usize {
        let coded = self.codes.as_ref();
        coded.map_or(entry, |codes| usize::try_from(codes.value(entry)).unwrap_or_default())
    }

    pub(crate) fn value(&self, entry: usize) -> &str {
        self.values.value(self.code(entry))
    }
}

/// The entries of a column of attributes. Values of a type that was not read are not there.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    map: MapArray,
    pub(crate) keys: Keys,
    pub(crate) strings: Column<StringArray>,
    pub(crate) ints: Column<Int64Array>,
    pub(crate) doubles: Column<Float64Array>,
    pub(crate) bools: Column<BooleanArray>,
    /// What is none of these, encoded.
    pub(crate) bytes: Column<BinaryArray>,
}

impl Entries {
    pub(crate) fn of(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        batch.column_by_name(name).map(|array| Self::new(array, name)).transpose()
    }

    fn new(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let map: MapArray = downcast(array, name)?;
        let values: StructArray = downcast(map.values(), name)?;
        Ok(Self {
            keys: Keys::of(map.keys(), name)?,
            strings: field(&values, "string")?,
            ints: field(&values, "int")?,
            doubles: field(&values, "double")?,
            bools: field(&values, "bool")?,
            bytes: field(&values, "bytes")?,
            map,
        })
    }

    /// The entries of a row.
    pub(crate) fn of_row(&self, row: usize) -> Range<usize> {
        super::attributes::range(self.map.value_offsets(), row)
    }

    /// The entries of some rows after each other.
    pub(crate) fn of_rows(&self, rows: &Range<usize>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        self.of_row(rows.start).start..self.of_row(rows.end - 1).end
    }
}

/// The traces that the links of rows lead to.
#[derive(Debug, Clone)]
pub(crate) struct Linked {
    list: ListArray,
    trace_ids: BinaryArray,
}

impl Linked {
    /// Those of a batch, if they were read.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name("links") else { return Ok(None) };
        let list: ListArray = downcast(array, "links")?;
        let elements: StructArray = downcast(list.values(), "links")?;
        let Some(trace_ids) = elements.column_by_name(LINKED_TRACE) else { return Ok(None) };
        Ok(Some(Self { trace_ids: downcast(trace_ids, LINKED_TRACE)?, list }))
    }

    /// Those of some rows after each other, each as often as it comes.
    pub(crate) fn of_rows(&self, rows: &Range<usize>) -> impl Iterator<Item = TraceId> {
        let elements = |row| super::attributes::range(self.list.value_offsets(), row);
        let all = if rows.is_empty() {
            0..0
        } else {
            elements(rows.start).start..elements(rows.end - 1).end
        };
        all.filter_map(|element| TraceId::from_wire(self.trace_ids.value(element)))
    }
}

/// The attributes of the elements of a column of events or links, if they were read.
#[derive(Debug, Clone)]
pub(crate) struct ElementEntries {
    list: ListArray,
    pub(crate) entries: Entries,
}

impl ElementEntries {
    pub(crate) fn of(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name(name) else { return Ok(None) };
        let list: ListArray = downcast(array, name)?;
        let elements: StructArray = downcast(list.values(), name)?;
        let Some(attributes) = elements.column_by_name("attributes") else { return Ok(None) };
        Ok(Some(Self { entries: Entries::new(attributes, name)?, list }))
    }

    /// The entries of all elements of some rows after each other.
    pub(crate) fn of_rows(&self, rows: &Range<usize>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        let elements = |row| super::attributes::range(self.list.value_offsets(), row);
        self.entries.of_rows(&(elements(rows.start).start..elements(rows.end - 1).end))
    }
}

/// The field of a struct, if it was read.
fn field<A: Array + Clone + 'static>(
    array: &StructArray,
    name: &str,
) -> Result<Column<A>, ArrowError> {
    array.column_by_name(name).map(|array| downcast(array, name)).transpose().map(Column)
}
