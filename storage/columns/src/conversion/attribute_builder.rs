//! Builds columns of attributes. They keep types, order, duplicates and missing values.

use std::sync::Arc;

use arrow_array::{BooleanArray, Float64Array, Int64Array, MapArray, StructArray, UInt8Array};
use arrow_buffer::{BooleanBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use prost::Message;
use tidings_proto::otlp::{
    AnyValue,
    view::{AnyView, KeyValueView, NonCanonical, Repeated},
};

use super::{
    buffers::{TextsBuilder, WordsBuilder, nulls},
    hash::ContentHash,
};
use crate::{
    packed::{self, ValueKind},
    schema,
};

/// Builds the attributes of rows in the packed form of the memtable.
#[derive(Debug)]
pub(super) struct AttributesBuilder<'a> {
    offsets: Vec<i32>,
    keys: WordsBuilder<'a>,
    kinds: Vec<u8>,
    texts: TextsBuilder,
}

impl<'a> AttributesBuilder<'a> {
    /// Allocates for this many rows, which take about this many bytes on the wire.
    pub(super) fn new(rows: usize, bytes: usize) -> Self {
        // On the wire an attribute takes some 40 bytes, half of them its key.
        let entries = bytes / 40;
        Self {
            offsets: super::first_offset(rows),
            keys: WordsBuilder::new(entries),
            kinds: Vec::with_capacity(entries),
            texts: TextsBuilder::new(entries, bytes / 2),
        }
    }

    /// Appends the attributes of one row, and adds them to the hash.
    pub(super) fn append(
        &mut self,
        attributes: Repeated<'a, KeyValueView<'a>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        hash.number(attributes.len() as u64);
        for attribute in attributes.iter() {
            let attribute = attribute?;
            self.keys.follow(attribute.key);
            hash.bytes(attribute.key);
            self.push(attribute.value, hash)?;
        }
        self.offsets.push(super::offset(self.kinds.len()));
        Ok(())
    }

    fn push(
        &mut self,
        value: Option<AnyView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        self.kinds.push(kind(value).code());
        if let Some(nested) = nested(value)? {
            hash.value(Some(AnyView::Nested(&nested)));
            self.texts.write(|out| packed::push_bytes(&nested, out));
            return Ok(());
        }
        hash.value(value);
        match value {
            None | Some(AnyView::Empty | AnyView::Nested(_)) => self.texts.push(b""),
            Some(AnyView::String(text)) => self.texts.push(text),
            Some(AnyView::Int(number)) => self.texts.write(|out| packed::push_int(number, out)),
            Some(AnyView::Double(number)) => {
                self.texts.write(|out| packed::push_double(number, out));
            }
            Some(AnyView::Bool(truth)) => self.texts.write(|out| packed::push_truth(truth, out)),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<MapArray, ArrowError> {
        let mut kinds = self.kinds;
        kinds.shrink_to_fit();
        let values = StructArray::try_new(
            schema::packed_fields(),
            vec![Arc::new(UInt8Array::from(kinds)), Arc::new(self.texts.finish(None)?)],
            None,
        )?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        schema::map(schema::packed_attributes(), offsets, self.keys.finish()?, values)
    }
}

/// Builds the attributes of events or links.
#[derive(Debug)]
pub(super) struct ElementAttributesBuilder {
    offsets: Vec<i32>,
    keys: TextsBuilder,
    values: AttributeValuesBuilder,
}

impl ElementAttributesBuilder {
    pub(super) fn new() -> Self {
        let offsets = super::first_offset(0);
        Self { offsets, keys: TextsBuilder::new(0, 0), values: AttributeValuesBuilder::default() }
    }

    /// Appends the attributes of one element, and adds them to the hash.
    pub(super) fn append(
        &mut self,
        attributes: Repeated<'_, KeyValueView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        hash.number(attributes.len() as u64);
        for attribute in attributes.iter() {
            let attribute = attribute?;
            self.keys.push(attribute.key);
            hash.bytes(attribute.key);
            self.values.push(attribute.value, hash)?;
        }
        self.offsets.push(super::offset(self.values.kinds.len()));
        Ok(())
    }

    pub(super) fn finish(self) -> Result<MapArray, ArrowError> {
        let keys = Arc::new(self.keys.finish(None)?);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        schema::map(schema::attributes(), offsets, keys, self.values.finish()?)
    }
}

/// Builds the values of entries.
///
/// Most values are texts. The few values of other types are kept aside, and expanded into columns
/// at the end.
#[derive(Debug)]
struct AttributeValuesBuilder {
    kinds: Vec<ValueKind>,
    strings: TextsBuilder,
    ints: Vec<(usize, i64)>,
    doubles: Vec<(usize, f64)>,
    truths: Vec<usize>,
    nested: Vec<(usize, Vec<u8>)>,
}

impl Default for AttributeValuesBuilder {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            strings: TextsBuilder::new(0, 0),
            ints: Vec::new(),
            doubles: Vec::new(),
            truths: Vec::new(),
            nested: Vec::new(),
        }
    }
}

impl AttributeValuesBuilder {
    /// Appends the value of an entry, and adds it to the hash.
    fn push(
        &mut self,
        value: Option<AnyView<'_>>,
        hash: &mut ContentHash,
    ) -> Result<(), NonCanonical> {
        let entry = self.kinds.len();
        let nested = nested(value)?;
        hash.value(nested.as_deref().map(AnyView::Nested).or(value));
        match value {
            None | Some(AnyView::Empty) => {}
            Some(AnyView::String(text)) => self.strings.push(text),
            Some(AnyView::Int(number)) => self.ints.push((entry, number)),
            Some(AnyView::Double(number)) => self.doubles.push((entry, number)),
            Some(AnyView::Bool(true)) => self.truths.push(entry),
            Some(AnyView::Bool(false)) => {}
            Some(AnyView::Nested(_)) => self.nested.extend(nested.map(|nested| (entry, nested))),
        }
        let kind = kind(value);
        if kind != ValueKind::Text {
            self.strings.push(b"");
        }
        self.kinds.push(kind);
        Ok(())
    }

    fn finish(self) -> Result<StructArray, ArrowError> {
        let count = self.kinds.len();
        let are = |kind: ValueKind| nulls(count, |entry| self.kinds[entry] == kind);
        let mut ints = vec![0; count];
        for (entry, number) in self.ints {
            ints[entry] = number;
        }
        let mut doubles = vec![0.0; count];
        for (entry, number) in self.doubles {
            doubles[entry] = number;
        }
        let mut truths = vec![false; count];
        for entry in self.truths {
            truths[entry] = true;
        }
        let mut bytes = TextsBuilder::new(count, 0);
        let mut nested = self.nested.iter().peekable();
        for entry in 0..count {
            let of_entry = nested.next_if(|(at, _)| *at == entry);
            bytes.push(of_entry.map_or(&[], |(_, bytes)| bytes));
        }
        StructArray::try_new(
            schema::value_fields(),
            vec![
                Arc::new(self.strings.finish(are(ValueKind::Text))?),
                Arc::new(Int64Array::try_new(ints.into(), are(ValueKind::Int))?),
                Arc::new(Float64Array::try_new(doubles.into(), are(ValueKind::Double))?),
                Arc::new(BooleanArray::new(BooleanBuffer::from(truths), are(ValueKind::Bool))),
                Arc::new(bytes.finish_binary(are(ValueKind::Nested))?),
            ],
            nulls(count, |entry| self.kinds[entry] != ValueKind::None),
        )
    }
}

fn kind(value: Option<AnyView<'_>>) -> ValueKind {
    match value {
        None => ValueKind::None,
        Some(AnyView::Empty) => ValueKind::Empty,
        Some(AnyView::String(_)) => ValueKind::Text,
        Some(AnyView::Int(_)) => ValueKind::Int,
        Some(AnyView::Double(_)) => ValueKind::Double,
        Some(AnyView::Bool(_)) => ValueKind::Bool,
        Some(AnyView::Nested(_)) => ValueKind::Nested,
    }
}

/// Returns the canonical encoding of a nested value.
fn nested(value: Option<AnyView<'_>>) -> Result<Option<Vec<u8>>, NonCanonical> {
    match value {
        Some(AnyView::Nested(encoded)) => canonical(encoded).map(Some),
        _ => Ok(None),
    }
}

/// Returns the canonical encoding of this value. Senders may write its fields in another order.
pub(super) fn canonical(encoded: &[u8]) -> Result<Vec<u8>, NonCanonical> {
    Ok(AnyValue::decode(encoded).map_err(|_| NonCanonical)?.encode_to_vec())
}
