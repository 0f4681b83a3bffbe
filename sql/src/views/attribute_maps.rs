//! Attributes as a map of text to text.
//!
//! Storage defines the text of attribute values: see [`AttributeTexts`].

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, MapArray, StringArray, StructArray, builder::StringBuilder};
use arrow_buffer::OffsetBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use tidings_proto::otlp::KeyValue;
use tidings_storage::{AttributeTexts, json_text};

use super::view_columns::Rows;

/// Reports whether this may be the text of a list, a map or bytes, which filters of the store never
/// match.
pub(super) fn may_be_nested(text: &str) -> bool {
    text.is_empty() || text.starts_with(['[', '{', '"'])
}

fn entry_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ])
}

pub(super) fn data_type() -> DataType {
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry_fields()), false)), false)
}

fn map(
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(entry, sorted) = data_type() else {
        return Err(ArrowError::SchemaError("attributes are a map".to_owned()));
    };
    let entries = StructArray::try_new(entry_fields(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(entry, offsets, entries, None, sorted)?))
}

/// Returns the stored attributes with their values as text.
pub(super) fn texts(stored: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let AttributeTexts { ends, keys, values } = AttributeTexts::decode(stored)?;
    map(ends, cast(&keys, &DataType::Utf8)?, Arc::new(values))
}

/// Returns the attributes of the resources that sent the rows.
pub(super) fn of_resources(rows: &dyn Rows) -> Result<ArrayRef, ArrowError> {
    let len = rows.columns().num_rows();
    let mut known: HashMap<&str, Vec<(String, Option<String>)>> = HashMap::new();
    let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
    let mut lengths = Vec::with_capacity(len);
    for row in 0..len {
        let said = known.entry(rows.resource_key(row)).or_insert_with(|| {
            let resource = rows.resource(row).unwrap_or_default();
            resource.attributes.into_iter().map(entry).collect()
        });
        for (key, value) in said.iter() {
            keys.append_value(key);
            values.append_option(value.as_deref());
        }
        lengths.push(said.len());
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let (keys, values): (StringArray, StringArray) = (keys.finish(), values.finish());
    map(offsets, Arc::new(keys), Arc::new(values))
}

fn entry(attribute: KeyValue) -> (String, Option<String>) {
    let text = attribute.value.and_then(|any| {
        let scalar = any.value.as_ref()?.scalar_text();
        Some(scalar.map_or_else(|| json_text(&any), Cow::into_owned))
    });
    (attribute.key, text)
}
