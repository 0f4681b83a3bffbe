//! Reads stored attributes as columns of text, for readers that do not go row by row.

use std::{fmt, fmt::Write};

use arrow_array::{Array, ArrayRef, StringArray, builder::StringBuilder, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::otlp::AnyValue;

use super::entries::AttributeEntries;
use crate::{conversion::json_text, packed::EntryValue};

/// Attributes of rows, one row after the other.
#[derive(Debug, Clone)]
pub struct AttributeTexts {
    /// End offset of each row's entries.
    pub ends: OffsetBuffer<i32>,
    /// Keys, as texts or as a dictionary of texts.
    pub keys: ArrayRef,
    /// Values. Numbers and booleans have the text that filters compare. Lists, maps and bytes are
    /// JSON. A missing value, and one without a type, is null.
    pub values: StringArray,
}

impl AttributeTexts {
    /// Reads a stored column of attributes.
    ///
    /// # Errors
    /// When the column does not hold attributes.
    pub fn decode(stored: &ArrayRef) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("stored attributes are no map".to_owned());
        let map = stored.as_map_opt().ok_or_else(wrong)?;
        let column = AttributeEntries::new(stored, "attributes")?;
        // Decodes only the entries of these rows, because the column may have many more.
        let entries = column.of_rows(&(0..map.len()));
        let mut values = StringBuilder::with_capacity(entries.len(), entries.len() * 16);
        for entry in entries.clone() {
            match column.value(entry) {
                EntryValue::Text(text) => values.append_value(text),
                EntryValue::Int(number) => append(&mut values, number),
                EntryValue::Double(number) => append(&mut values, number),
                EntryValue::Bool(truth) => append(&mut values, truth),
                EntryValue::Nested(nested) => {
                    let nested = AnyValue::decode(&*nested.encoded()).unwrap_or_default();
                    values.append_value(json_text(&nested));
                }
                EntryValue::None | EntryValue::Empty => values.append_null(),
            }
        }
        let lengths = map.offsets().lengths();
        Ok(Self {
            ends: OffsetBuffer::from_lengths(lengths),
            keys: map.keys().slice(entries.start, entries.len()),
            values: values.finish(),
        })
    }
}

fn append(texts: &mut StringBuilder, value: impl fmt::Display) {
    // Writing to the builder cannot fail. The empty value ends the text that was written.
    let _ = write!(texts, "{value}");
    texts.append_value("");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, ArrayRef, StringArray};
    use arrow_buffer::ArrowNativeType;
    use arrow_cast::cast;
    use arrow_schema::DataType;
    use proptest::prelude::*;

    use super::AttributeTexts;
    use crate::{conversion::span_rows, random_telemetry};

    /// Returns keys and values of each row.
    fn rows_of(column: &ArrayRef) -> Vec<Vec<(String, Option<String>)>> {
        let AttributeTexts { ends, keys, values } = AttributeTexts::decode(column).unwrap();
        let keys = cast(&keys, &DataType::Utf8).unwrap();
        let keys: &StringArray = keys.as_any().downcast_ref().unwrap();
        assert_eq!((keys.len(), values.len()), (ends.last().unwrap().as_usize(), keys.len()));
        assert_eq!(ends.len(), column.len() + 1);
        let of_entry = |entry: usize| {
            let value = values.is_valid(entry).then(|| values.value(entry).to_owned());
            (keys.value(entry).to_owned(), value)
        };
        let rows = ends.windows(2).map(|row| row[0].as_usize()..row[1].as_usize());
        rows.map(|row| row.map(of_entry).collect()).collect()
    }

    proptest! {
        #[test]
        fn texts_are_the_same_of_memory_and_of_files(
            request in random_telemetry::traces(), from in 0..4_usize, to in 0..4_usize
        ) {
            let batch = span_rows(&request, random_telemetry::NOW).unwrap();
            let packed = Arc::clone(&batch["attributes"]);
            let typed: ArrayRef = Arc::new(random_telemetry::typed(&packed));
            let from = from.min(packed.len());
            let count = packed.len() - from - to.min(packed.len() - from);
            prop_assert_eq!(rows_of(&packed.slice(from, count)), rows_of(&typed.slice(from, count)));
            prop_assert_eq!(&rows_of(&packed)[from..from + count], &rows_of(&typed.slice(from, count)));
        }
    }
}
