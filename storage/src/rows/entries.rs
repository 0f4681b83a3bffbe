//! Attributes of rows, to be compared and not to be given back: only the parts that are there.

use std::ops::Range;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray, StructArray,
};
use arrow_schema::ArrowError;

use super::column::{Column, downcast};

/// The entries of a column of attributes. Values of a type that was not read are not there.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    map: MapArray,
    pub(crate) keys: StringArray,
    pub(crate) strings: Column<StringArray>,
    pub(crate) ints: Column<Int64Array>,
    pub(crate) doubles: Column<Float64Array>,
    pub(crate) bools: Column<BooleanArray>,
}

impl Entries {
    pub(crate) fn of(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        batch.column_by_name(name).map(|array| Self::new(array, name)).transpose()
    }

    fn new(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let map: MapArray = downcast(array, name)?;
        let values: StructArray = downcast(map.values(), name)?;
        Ok(Self {
            keys: downcast(map.keys(), name)?,
            strings: field(&values, "string")?,
            ints: field(&values, "int")?,
            doubles: field(&values, "double")?,
            bools: field(&values, "bool")?,
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

/// The attributes of the elements of a column of events or links.
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
        let attributes = elements.column_by_name("attributes").ok_or_else(|| {
            ArrowError::SchemaError(format!("the elements of {name} have no attributes"))
        })?;
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
