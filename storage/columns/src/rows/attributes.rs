//! Reads attributes of rows as the sender encoded them.

use std::{borrow::Cow, ops::Range};

use arrow_array::{
    Array, ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::otlp::{AnyValue, Event, KeyValue, Link, Value};

use super::{
    column::{OptionalColumn, downcast},
    entries::AttributeEntries,
};
use crate::packed::EntryValue;

/// A scalar value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// A string.
    Text(&'a str),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
}

impl<'a> Scalar<'a> {
    /// Returns an entry's value, if it is a scalar.
    #[must_use]
    #[inline]
    pub fn from_entry(value: EntryValue<'a>) -> Option<Self> {
        Some(match value {
            EntryValue::Text(text) => Self::Text(text),
            EntryValue::Int(number) => Self::Int(number),
            EntryValue::Double(number) => Self::Double(number),
            EntryValue::Bool(truth) => Self::Bool(truth),
            EntryValue::None | EntryValue::Empty | EntryValue::Nested(_) => return None,
        })
    }

    /// Returns the value as the text that filters of attributes compare.
    #[must_use]
    #[inline]
    pub fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Double(number) => Cow::Owned(number.to_string()),
            Self::Bool(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
        }
    }
}

/// A column of attributes.
#[derive(Debug, Clone)]
pub(crate) struct AttributesColumn(AttributeEntries);

impl AttributesColumn {
    pub(crate) fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        Ok(AttributeEntries::from_batch(batch, name)?.map(Self))
    }

    /// Calls `visit` for each attribute of a row whose value is a scalar.
    pub(crate) fn each_scalar<'a>(
        &'a self,
        row: usize,
        mut visit: impl FnMut(&'a str, Scalar<'a>),
    ) {
        for entry in self.0.of_row(row) {
            if let Some(value) = Scalar::from_entry(self.0.value(entry)) {
                visit(self.0.keys.value(entry), value);
            }
        }
    }

    /// Returns the first attribute of a row with this key as text, if it is a scalar.
    pub(crate) fn text_of(&self, row: usize, key: &str) -> Option<Cow<'_, str>> {
        let entry = self.0.of_row(row).find(|entry| self.0.keys.value(*entry) == key)?;
        Some(Scalar::from_entry(self.0.value(entry))?.to_text())
    }

    /// Returns the attributes of a row.
    pub(crate) fn get(&self, row: usize) -> Vec<KeyValue> {
        let of_entry = |entry| KeyValue {
            key: self.0.keys.value(entry).to_owned(),
            value: any_value(self.0.value(entry)),
        };
        self.0.of_row(row).map(of_entry).collect()
    }
}

fn any_value(value: EntryValue<'_>) -> Option<AnyValue> {
    Some(match value {
        EntryValue::None => return None,
        EntryValue::Empty => AnyValue { value: None },
        EntryValue::Text(text) => Value::String(text.to_owned()).into(),
        EntryValue::Int(number) => Value::Int(number).into(),
        EntryValue::Double(number) => Value::Double(number).into(),
        EntryValue::Bool(truth) => Value::Bool(truth).into(),
        EntryValue::Nested(nested) => AnyValue::decode(&*nested.encoded()).unwrap_or_default(),
    })
}

/// Returns a field of a struct.
fn field<A: Array + Clone + 'static>(array: &StructArray, name: &str) -> Result<A, ArrowError> {
    downcast(column(array, name)?, name)
}

fn column<'a>(array: &'a StructArray, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    let column = array.column_by_name(name);
    column.ok_or_else(|| ArrowError::SchemaError(format!("there is no field {name}")))
}

#[inline]
pub(super) fn range(offsets: &[i32], row: usize) -> Range<usize> {
    let offset = |index: usize| usize::try_from(offsets[index]).unwrap_or_default();
    offset(row)..offset(row + 1)
}

/// A column of events.
#[derive(Debug, Clone)]
pub(crate) struct EventsColumn {
    list: ListArray,
    time: OptionalColumn<Int64Array>,
    name: StringArray,
    attributes: AttributesColumn,
    dropped: OptionalColumn<Int64Array>,
}

impl EventsColumn {
    pub(crate) fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name(name) else { return Ok(None) };
        let list: ListArray = downcast(array, name)?;
        let elements: StructArray = downcast(list.values(), name)?;
        Ok(Some(Self {
            time: OptionalColumn(Some(field(&elements, "time_unix_nanos")?)),
            name: field(&elements, "name")?,
            attributes: AttributesColumn(AttributeEntries::new(
                column(&elements, "attributes")?,
                "attributes",
            )?),
            dropped: OptionalColumn(Some(field(&elements, "dropped_attributes_count")?)),
            list,
        }))
    }

    /// Returns the range of a row's elements.
    fn elements(&self, row: usize) -> Range<usize> {
        range(self.list.value_offsets(), row)
    }

    pub(crate) fn get(&self, row: usize) -> Vec<Event> {
        self.elements(row)
            .map(|element| Event {
                time_unix_nano: self.time.unsigned(element),
                name: self.name.value(element).to_owned(),
                attributes: self.attributes.get(element),
                dropped_attributes_count: self.dropped.count(element),
            })
            .collect()
    }
}

/// A column of links.
#[derive(Debug, Clone)]
pub(crate) struct LinksColumn {
    list: ListArray,
    trace_id: BinaryArray,
    span_id: BinaryArray,
    trace_state: StringArray,
    attributes: AttributesColumn,
    dropped: OptionalColumn<Int64Array>,
    flags: OptionalColumn<Int64Array>,
}

impl LinksColumn {
    pub(crate) fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        let Some(array) = batch.column_by_name(name) else { return Ok(None) };
        let list: ListArray = downcast(array, name)?;
        let elements: StructArray = downcast(list.values(), name)?;
        Ok(Some(Self {
            trace_id: field(&elements, "trace_id")?,
            span_id: field(&elements, "span_id")?,
            trace_state: field(&elements, "trace_state")?,
            attributes: AttributesColumn(AttributeEntries::new(
                column(&elements, "attributes")?,
                "attributes",
            )?),
            dropped: OptionalColumn(Some(field(&elements, "dropped_attributes_count")?)),
            flags: OptionalColumn(Some(field(&elements, "flags")?)),
            list,
        }))
    }

    /// Returns the range of a row's elements.
    fn elements(&self, row: usize) -> Range<usize> {
        range(self.list.value_offsets(), row)
    }

    pub(crate) fn get(&self, row: usize) -> Vec<Link> {
        self.elements(row)
            .map(|element| Link {
                trace_id: self.trace_id.value(element).to_vec(),
                span_id: self.span_id.value(element).to_vec(),
                trace_state: self.trace_state.value(element).to_owned(),
                attributes: self.attributes.get(element),
                dropped_attributes_count: self.dropped.count(element),
                flags: self.flags.count(element),
            })
            .collect()
    }
}
