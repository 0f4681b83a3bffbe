//! Attributes as a map of text to text.
//!
//! Numbers and truth values are written as the API's filters match them; lists, maps and bytes as
//! JSON.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use arrow_array::{
    Array, ArrayRef, MapArray, StringArray, StructArray,
    builder::StringBuilder,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use prost::Message;
use tidings_proto::otlp::{AnyValue, KeyValue, Value};
use tidings_storage::json_text;

use super::columns::Rows;

/// Whether a list, a map or bytes may have this text: filters of the store never match those.
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

/// The stored attributes, their values as text.
pub(super) fn texts(stored: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::SchemaError("stored attributes are no map".to_owned());
    let stored = stored.as_map_opt().ok_or_else(wrong)?;
    let fields = stored.values().as_struct_opt().ok_or_else(wrong)?;
    let field = |name: &str| fields.column_by_name(name).ok_or_else(wrong);
    let strings = field("string")?.as_string_opt::<i32>().ok_or_else(wrong)?;
    let ints = field("int")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let doubles = field("double")?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
    let bools = field("bool")?.as_boolean_opt().ok_or_else(wrong)?;
    let bytes = field("bytes")?.as_binary_opt::<i32>().ok_or_else(wrong)?;
    // Only the entries of these rows: the others may be many more.
    let offsets = stored.value_offsets();
    let first = offsets.first().copied().unwrap_or_default();
    let end = offsets.last().copied().unwrap_or_default();
    let place = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let entries = place(first)..place(end);
    let mut texts = StringBuilder::with_capacity(entries.len(), entries.len() * 16);
    for entry in entries.clone() {
        if strings.is_valid(entry) {
            texts.append_value(strings.value(entry));
        } else if ints.is_valid(entry) {
            append(&mut texts, ints.value(entry));
        } else if doubles.is_valid(entry) {
            append(&mut texts, doubles.value(entry));
        } else if bools.is_valid(entry) {
            append(&mut texts, bools.value(entry));
        } else if bytes.is_valid(entry) {
            let nested = AnyValue::decode(bytes.value(entry)).unwrap_or_default();
            texts.append_value(json_text(&nested));
        } else {
            texts.append_null();
        }
    }
    let moved: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    let keys = stored.keys().slice(entries.start, entries.len());
    let keys = cast(&keys, &DataType::Utf8)?;
    map(OffsetBuffer::new(moved.into()), keys, Arc::new(texts.finish()))
}

fn append(texts: &mut StringBuilder, value: impl std::fmt::Display) {
    // Writing into the builder cannot fail; the empty value ends what was written.
    let _ = write!(texts, "{value}");
    texts.append_value("");
}

/// The attributes of who sent the rows.
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
    let text = attribute.value.and_then(|any| match &any.value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Bool(truth)) => Some(truth.to_string()),
        Some(Value::Int(number)) => Some(number.to_string()),
        Some(Value::Double(number)) => Some(number.to_string()),
        Some(Value::Array(_) | Value::Kvlist(_) | Value::Bytes(_)) => Some(json_text(&any)),
        None => None,
    });
    (attribute.key, text)
}
