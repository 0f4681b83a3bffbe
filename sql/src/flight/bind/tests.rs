//! Rows of values as Arrow's own writer makes them, and invalid ones.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow_flight::FlightData;
use arrow_ipc::{
    FieldBuilder, MessageBuilder, MessageHeader, MetadataVersion, NullBuilder, SchemaBuilder, Type,
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, WIPOffset};
use proptest::prelude::*;

use super::values;
use crate::{Parameter, flight::ipc};

fn sent(columns: Vec<ArrayRef>) -> Vec<FlightData> {
    let field = |column: &ArrayRef| Field::new("", column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let rows = columns.first().map_or(1, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).unwrap();
    let messages = ipc::messages(&schema, Bytes::new(), std::iter::once(batch));
    messages.map(Result::unwrap).collect()
}

fn every_kind() -> Vec<ArrayRef> {
    vec![
        Arc::new(NullArray::new(1)),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Int8Array::from(vec![-3])),
        Arc::new(Int64Array::from(vec![i64::MIN])),
        Arc::new(UInt64Array::from(vec![7])),
        Arc::new(Float32Array::from(vec![0.5])),
        Arc::new(Float64Array::from(vec![-1e300])),
        Arc::new(StringArray::from(vec!["it's"])),
        Arc::new(LargeStringArray::from(vec!["$1"])),
        Arc::new(StringViewArray::from(vec!["twelve signs"])),
        Arc::new(StringViewArray::from(vec!["more than twelve signs"])),
        Arc::new(TimestampMicrosecondArray::from(vec![-5])),
        Arc::new(Date32Array::from(vec![2])),
        new_null_array(&DataType::Utf8, 1),
        Arc::new(Int32Array::from(vec![i32::MAX])),
    ]
}

#[test]
fn every_kind_of_value_arrives() {
    let text = |text: &str| Parameter::Text(text.to_owned());
    let expected = vec![
        Parameter::Null,
        Parameter::Truth(true),
        Parameter::Whole(-3),
        Parameter::Whole(i64::MIN),
        Parameter::Whole(7),
        Parameter::Number(0.5),
        Parameter::Number(-1e300),
        text("it's"),
        text("$1"),
        text("twelve signs"),
        text("more than twelve signs"),
        Parameter::Time(-5_000),
        Parameter::Time(2 * 86_400 * 1_000_000_000),
        Parameter::Null,
        Parameter::Whole(i32::MAX.into()),
    ];
    assert_eq!(values(&sent(every_kind())).unwrap(), expected);
}

#[test]
fn messages_without_a_row_of_values_are_refused_by_their_fault() {
    let refusal = |messages: &[FlightData]| format!("{:?}", values(messages).unwrap_err());
    let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    assert!(refusal(&sent(vec![two])).contains("several were sent"));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"a"]));
    assert!(refusal(&sent(vec![bytes])).contains("type Binary is not taken"));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    assert!(refusal(&sent(vec![large])).contains("where they are said to"));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let one = sent(vec![column.slice(0, 1)]);
    assert!(refusal(&one[..1]).contains("no row of values"));
    assert!(refusal(&[]).contains("no row of values"));
    assert!(refusal(&one[1..]).contains("where they are said to"));
    let twice = [&one[..], &one[1..]].concat();
    assert!(refusal(&twice).contains("several were sent"));
    assert_eq!(values(&sent(Vec::new())).unwrap(), Vec::new());
}

/// A schema whose field has the same eight fields below it six times over: 6 KB that describe 299,593
/// fields, each with a name of 4 KB.
fn shared_fields() -> Bytes {
    let mut builder = FlatBufferBuilder::new();
    let name = builder.create_string(&"x".repeat(4 << 10));
    let null = NullBuilder::new(&mut builder).finish().as_union_value();
    let mut below: Vec<WIPOffset<arrow_ipc::Field<'_>>> = Vec::new();
    for _ in 0..7 {
        let children = builder.create_vector(&below);
        let mut field = FieldBuilder::new(&mut builder);
        field.add_name(name);
        field.add_type_type(Type::Null);
        field.add_type_(null);
        field.add_children(children);
        below = vec![field.finish(); 8];
    }
    let fields = builder.create_vector(&below[..1]);
    let mut schema = SchemaBuilder::new(&mut builder);
    schema.add_fields(fields);
    let schema = schema.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_header(schema);
    let message = message.finish();
    builder.finish(message, None);
    builder.finished_data().to_vec().into()
}

#[test]
fn a_message_is_not_verified_more_often_than_it_has_bytes() {
    let data_header = shared_fields();
    assert!(data_header.len() < 8 << 10, "{}", data_header.len());
    let message = FlightData { data_header, ..FlightData::default() };
    let refusal = format!("{:?}", values(&[message]).unwrap_err());
    assert!(refusal.contains("no message of Arrow's"), "{refusal}");
}

proptest! {
    /// Bytes that were changed or cut off give other values or a refusal, and never a panic.
    #[test]
    fn bytes_from_outside_are_read_within_their_bounds(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        message in 0..2_usize,
        in_body in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut messages = sent(every_kind());
        let of = &mut messages[message];
        let part = if in_body { &mut of.data_body } else { &mut of.data_header };
        let mut bytes = part.to_vec();
        if !bytes.is_empty() {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        *part = bytes.into();
        let _ = values(&messages);
    }
}
