//! Builds columns of attributes: maps that keep types, order, duplicates and missing values.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, MapArray, StructArray};
use arrow_buffer::{BooleanBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Fields};
use prost::Message;
use tidings_proto::otlp::{
    AnyValue,
    view::{AnyView, KeyValueView, Odd, Repeated},
};

use super::{
    buffers::{Texts, Words, nulls},
    hash::ContentHash,
};
use crate::schema;

/// Which of an entry's fields has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Empty,
    String,
    Int,
    Double,
    Bool,
    Bytes,
}

/// The keys of a column of attributes.
#[derive(Debug)]
enum Keys<'a> {
    /// As memory has those of rows.
    Coded(Words<'a>),
    /// As memory has those of events and links.
    Plain(Texts),
}

/// Builds one column of attributes.
///
/// Most entries are texts. The other types are kept aside, few as they are, and spread out at the
/// end.
#[derive(Debug)]
pub(super) struct AttributesBuilder<'a> {
    offsets: Vec<i32>,
    keys: Keys<'a>,
    kinds: Vec<Kind>,
    strings: Texts,
    ints: Vec<(usize, i64)>,
    doubles: Vec<(usize, f64)>,
    truths: Vec<usize>,
    nested: Vec<(usize, Vec<u8>)>,
}

impl<'a> AttributesBuilder<'a> {
    /// For this many rows, which take about so many bytes on the wire.
    pub(super) fn new(rows: usize, bytes: usize) -> Self {
        // On the wire an attribute takes some 40 bytes, half of them its key.
        let entries = bytes / 40;
        Self::with(Keys::Coded(Words::new(entries)), rows, entries, bytes)
    }

    /// For events or links.
    pub(super) fn of_elements() -> Self {
        Self::with(Keys::Plain(Texts::new(0, 0)), 0, 0, 0)
    }

    fn with(keys: Keys<'a>, rows: usize, entries: usize, bytes: usize) -> Self {
        Self {
            offsets: super::first_offset(rows),
            keys,
            kinds: Vec::with_capacity(entries),
            strings: Texts::new(entries, bytes / 2),
            ints: Vec::new(),
            doubles: Vec::new(),
            truths: Vec::new(),
            nested: Vec::new(),
        }
    }

    /// Appends one row, and its contents to the hash.
    pub(super) fn append(
        &mut self,
        attributes: Repeated<'a, KeyValueView<'a>>,
        hash: &mut ContentHash,
    ) -> Result<(), Odd> {
        hash.number(attributes.len() as u64);
        for attribute in attributes.iter() {
            let attribute = attribute?;
            match &mut self.keys {
                Keys::Coded(keys) => keys.follow(attribute.key),
                Keys::Plain(keys) => keys.push(attribute.key),
            }
            hash.bytes(attribute.key);
            let kind = self.value(attribute.value, hash)?;
            if kind != Kind::String {
                self.strings.push(b"");
            }
            self.kinds.push(kind);
        }
        self.offsets.push(super::offset(self.kinds.len()));
        Ok(())
    }

    fn value(&mut self, value: Option<AnyView<'_>>, hash: &mut ContentHash) -> Result<Kind, Odd> {
        let entry = self.kinds.len();
        if let Some(AnyView::Nested(encoded)) = value {
            let encoded = canonical(encoded)?;
            hash.value(Some(AnyView::Nested(&encoded)));
            self.nested.push((entry, encoded));
            return Ok(Kind::Bytes);
        }
        hash.value(value);
        Ok(match value {
            None => Kind::None,
            Some(AnyView::Empty | AnyView::Nested(_)) => Kind::Empty,
            Some(AnyView::String(text)) => {
                self.strings.push(text);
                Kind::String
            }
            Some(AnyView::Int(number)) => {
                self.ints.push((entry, number));
                Kind::Int
            }
            Some(AnyView::Double(number)) => {
                self.doubles.push((entry, number));
                Kind::Double
            }
            Some(AnyView::Bool(truth)) => {
                if truth {
                    self.truths.push(entry);
                }
                Kind::Bool
            }
        })
    }

    pub(super) fn finish(self) -> Result<MapArray, ArrowError> {
        let count = self.kinds.len();
        let are = |kind: Kind| nulls(count, |entry| self.kinds[entry] == kind);
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
        let mut bytes = Texts::new(count, 0);
        let mut nested = self.nested.iter().peekable();
        for entry in 0..count {
            let of_entry = nested.next_if(|(at, _)| *at == entry);
            bytes.push(of_entry.map_or(&[], |(_, bytes)| bytes));
        }
        let values = StructArray::try_new(
            schema::value_fields(),
            vec![
                Arc::new(self.strings.finish(are(Kind::String))?),
                Arc::new(Int64Array::try_new(ints.into(), are(Kind::Int))?),
                Arc::new(Float64Array::try_new(doubles.into(), are(Kind::Double))?),
                Arc::new(BooleanArray::new(BooleanBuffer::from(truths), are(Kind::Bool))),
                Arc::new(bytes.finish_binary(are(Kind::Bytes))?),
            ],
            nulls(count, |entry| self.kinds[entry] != Kind::None),
        )?;
        let (keys, fields, map): (ArrayRef, Fields, DataType) = match self.keys {
            Keys::Coded(keys) => {
                (keys.finish()?, schema::coded_entry_fields(), schema::coded_attributes())
            }
            Keys::Plain(keys) => {
                (Arc::new(keys.finish(None)?), schema::entry_fields(), schema::attributes())
            }
        };
        let entries = StructArray::try_new(fields, vec![keys, Arc::new(values)], None)?;
        let DataType::Map(field, ordered) = map else {
            unreachable!("invariant: attributes are a map");
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        MapArray::try_new(field, offsets, entries, None, ordered)
    }
}

/// The one encoding of this value: senders may write its fields in another order.
pub(super) fn canonical(encoded: &[u8]) -> Result<Vec<u8>, Odd> {
    Ok(AnyValue::decode(encoded).map_err(|_| Odd)?.encode_to_vec())
}
