//! Builds columns of attributes: maps that keep types, order, duplicates and missing values.

use std::sync::Arc;

use arrow_array::{
    MapArray, StructArray,
    builder::{BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};
use prost::Message;
use tidings_proto::otlp::{AnyValue, KeyValue, Value};

use crate::schema;

/// Builds one column of attributes.
#[derive(Debug)]
pub(super) struct AttributesBuilder {
    offsets: Vec<i32>,
    keys: StringBuilder,
    with_value: NullBufferBuilder,
    strings: StringBuilder,
    ints: Int64Builder,
    doubles: Float64Builder,
    bools: BooleanBuilder,
    bytes: BinaryBuilder,
    encoded: Vec<u8>,
}

impl AttributesBuilder {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            offsets: super::first_offset(rows),
            keys: StringBuilder::with_capacity(rows, 0),
            with_value: NullBufferBuilder::new(rows),
            strings: StringBuilder::with_capacity(rows, 0),
            ints: Int64Builder::with_capacity(rows),
            doubles: Float64Builder::with_capacity(rows),
            bools: BooleanBuilder::with_capacity(rows),
            bytes: BinaryBuilder::with_capacity(rows, 0),
            encoded: Vec::new(),
        }
    }

    /// Appends one row.
    pub(super) fn append(&mut self, attributes: &[KeyValue]) {
        for attribute in attributes {
            self.keys.append_value(&attribute.key);
            self.append_value(attribute.value.as_ref());
        }
        self.offsets.push(super::offset(self.with_value.len()));
    }

    fn append_value(&mut self, any: Option<&AnyValue>) {
        self.with_value.append(any.is_some());
        let value = any.and_then(|any| any.value.as_ref());
        match value {
            Some(Value::String(text)) => self.strings.append_value(text),
            _ => self.strings.append_null(),
        }
        match value {
            Some(Value::Int(number)) => self.ints.append_value(*number),
            _ => self.ints.append_null(),
        }
        match value {
            Some(Value::Double(number)) => self.doubles.append_value(*number),
            _ => self.doubles.append_null(),
        }
        match value {
            Some(Value::Bool(truth)) => self.bools.append_value(*truth),
            _ => self.bools.append_null(),
        }
        match (value, any) {
            (Some(Value::Array(_) | Value::Kvlist(_) | Value::Bytes(_)), Some(any)) => {
                self.encoded.clear();
                any.encode_raw(&mut self.encoded);
                self.bytes.append_value(&self.encoded);
            }
            _ => self.bytes.append_null(),
        }
    }

    pub(super) fn finish(mut self) -> Result<MapArray, ArrowError> {
        let values = StructArray::try_new(
            schema::value_fields(),
            vec![
                Arc::new(self.strings.finish()),
                Arc::new(self.ints.finish()),
                Arc::new(self.doubles.finish()),
                Arc::new(self.bools.finish()),
                Arc::new(self.bytes.finish()),
            ],
            self.with_value.finish(),
        )?;
        let entries = StructArray::try_new(
            schema::entry_fields(),
            vec![Arc::new(self.keys.finish()), Arc::new(values)],
            None,
        )?;
        let DataType::Map(field, ordered) = schema::attributes() else {
            unreachable!("invariant: attributes are a map");
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        MapArray::try_new(field, offsets, entries, None, ordered)
    }
}
