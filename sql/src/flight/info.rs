//! Answers to `CommandGetSqlInfo`: properties of the server and of its dialect.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
    UnionArray, new_empty_array,
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, UnionFields, UnionMode};
use datafusion::arrow::ARROW_VERSION;

use super::catalog::field;
use crate::{
    SqlLimits,
    limits::{COLUMNS_MAX, QUERY_BYTES_MAX, RELATIONS_MAX},
};

/// A property's value, of one of the types that Flight SQL allows.
#[derive(Debug, Clone, Copy)]
enum InfoValue {
    Text(&'static str),
    Truth(bool),
    Large(usize),
    /// An ordinal, or a bit set.
    Bits(i32),
}

use InfoValue::{Bits, Large, Text, Truth};

/// Returns the known properties, by their numbers in `SqlInfo` of `FlightSql.proto`.
fn known(limits: &SqlLimits) -> Vec<(u32, InfoValue)> {
    vec![
        // The server: name, version, Arrow's version, read-only, SQL, Substrait, transactions,
        // cancelling, and the timeouts of statements and transactions.
        (0, Text("Tidings")),
        (1, Text(env!("CARGO_PKG_VERSION"))),
        (2, Text(ARROW_VERSION)),
        (3, Truth(true)),
        (4, Truth(true)),
        (5, Truth(false)),
        (8, Bits(0)),
        (9, Truth(false)),
        (100, Bits(0)),
        (101, Bits(0)),
        // Clients create no catalogs, schemas or tables.
        (500, Truth(false)),
        (501, Truth(false)),
        (502, Truth(false)),
        // Names: in lower case unless quoted; all tables can be read; null is above all values.
        (503, Bits(3)),
        (504, Text("\"")),
        (506, Truth(true)),
        (507, Bits(0)),
        (513, Text("\\")),
        (514, Text("")),
        // The dialect: aliases, null + null, correlation names, ORDER BY, GROUP BY.
        (515, Truth(true)),
        (516, Truth(true)),
        (518, Truth(true)),
        (519, Truth(false)),
        (520, Truth(true)),
        (521, Truth(true)),
        (522, Bits(0b11)),
        // Full outer joins, and the terms for catalogs and schemas.
        (528, Bits(2)),
        (529, Text("schema")),
        (531, Text("catalog")),
        (532, Truth(true)),
        (536, Truth(false)),
        (537, Truth(false)),
        // Subqueries in comparisons, EXISTS and IN, also correlated ones; UNION and UNION ALL.
        (538, Bits(0b111)),
        (539, Truth(true)),
        (540, Bits(0b11)),
        // Bounds: columns, bytes, queries at once, views.
        (547, Large(COLUMNS_MAX)),
        (557, Large(QUERY_BYTES_MAX)),
        (558, Large(limits.running_max)),
        (560, Large(RELATIONS_MAX)),
        // No transactions, no batches of updates, no savepoints, no named parameters.
        (562, Bits(0)),
        (563, Truth(false)),
        (564, Bits(0b1)),
        (572, Truth(false)),
        (573, Truth(false)),
        (574, Truth(false)),
    ]
}

/// Returns rows of the requested properties, or of all of them when the request is empty.
pub(super) fn rows(wanted: &[u32], limits: &SqlLimits) -> Result<RecordBatch, ArrowError> {
    let told = known(limits).into_iter();
    let told: Vec<(u32, InfoValue)> =
        told.filter(|(name, _)| wanted.is_empty() || wanted.contains(name)).collect();
    let (mut texts, mut truths, mut large, mut bits) = (vec![], vec![], vec![], vec![]);
    let (mut types, mut places) = (Vec::new(), Vec::new());
    for (_, value) in &told {
        let (kind, place) = match value {
            Text(text) => (0, push(&mut texts, *text)),
            Truth(truth) => (1, push(&mut truths, *truth)),
            Large(count) => (2, push(&mut large, i64::try_from(*count).unwrap_or(i64::MAX))),
            Bits(number) => (3, push(&mut bits, *number)),
        };
        types.push(kind);
        places.push(place);
    }
    let fields = union_fields();
    let empty = |kind: i8| {
        let found = fields.iter().find(|(known, _)| *known == kind);
        new_empty_array(found.map_or(&DataType::Null, |(_, field)| field.data_type()))
    };
    let children: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts)),
        Arc::new(BooleanArray::from(truths)),
        Arc::new(Int64Array::from(large)),
        Arc::new(Int32Array::from(bits)),
        empty(4),
        empty(5),
    ];
    let values = UnionArray::try_new(fields.clone(), types.into(), Some(places.into()), children)?;
    let schema = Schema::new(vec![
        field("info_name", DataType::UInt32),
        field("value", DataType::Union(fields, UnionMode::Dense)),
    ]);
    let names = UInt32Array::from_iter_values(told.iter().map(|(name, _)| *name));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(names), Arc::new(values)])
}

/// Appends the value and returns its position.
fn push<T>(values: &mut Vec<T>, value: T) -> i32 {
    let place = i32::try_from(values.len()).unwrap_or(i32::MAX);
    values.push(value);
    place
}

/// Returns the types of a value, by their numbers.
fn union_fields() -> UnionFields {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let entry = Fields::from(vec![
        field("keys", DataType::Int32),
        Field::new("values", list(DataType::Int32), true),
    ]);
    let entries = Field::new("entries", DataType::Struct(entry), false);
    let fields = [
        field("string_value", DataType::Utf8),
        field("bool_value", DataType::Boolean),
        field("bigint_value", DataType::Int64),
        field("int32_bitmask", DataType::Int32),
        Field::new("string_list", list(DataType::Utf8), true),
        Field::new("int32_to_int32_list_map", DataType::Map(Arc::new(entries), false), true),
    ];
    (0..).zip(fields.map(Arc::new)).collect()
}
