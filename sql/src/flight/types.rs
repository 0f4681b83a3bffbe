//! The types of columns in views and answers, as `CommandGetXdbcTypeInfo` describes them.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::catalog::{field, optional};

/// A type in terms of ODBC and JDBC.
struct TypeInfo {
    name: &'static str,
    code: i32,
    /// Maximum number of digits or letters.
    size: Option<i32>,
    quote: Option<&'static str>,
    /// True for unsigned numbers; `None` for types that are not numbers.
    is_unsigned: Option<bool>,
    scale_max: Option<i32>,
    /// Radix of its precision: 2 or 10.
    radix: Option<i32>,
    /// For a time: the code of its family and its own number in that family.
    time: Option<(i32, i32)>,
}

const PLAIN: TypeInfo = TypeInfo {
    name: "",
    code: 0,
    size: None,
    quote: None,
    is_unsigned: None,
    scale_max: None,
    radix: None,
    time: None,
};
const WHOLE: TypeInfo =
    TypeInfo { is_unsigned: Some(false), scale_max: Some(0), radix: Some(10), ..PLAIN };
const DATETIME: i32 = 9;

/// The known types in the order of their codes.
const KNOWN: [TypeInfo; 7] = [
    TypeInfo { name: "boolean", code: -7, size: Some(1), ..PLAIN },
    TypeInfo { name: "bigint", code: -5, size: Some(19), ..WHOLE },
    TypeInfo { name: "integer", code: 4, size: Some(10), ..WHOLE },
    TypeInfo {
        name: "double",
        code: 8,
        size: Some(53),
        is_unsigned: Some(false),
        radix: Some(2),
        ..PLAIN
    },
    TypeInfo { name: "text", code: 12, quote: Some("'"), ..PLAIN },
    TypeInfo { name: "date", code: 91, size: Some(10), time: Some((DATETIME, 1)), ..PLAIN },
    TypeInfo {
        name: "timestamp",
        code: 93,
        size: Some(29),
        scale_max: Some(9),
        time: Some((DATETIME, 3)),
        ..PLAIN
    },
];

/// Returns rows of all types, or of the one with this code.
pub(super) fn rows(wanted: Option<i32>) -> Result<RecordBatch, ArrowError> {
    const NULLABLE: i32 = 1;
    const SEARCHABLE_FULL: i32 = 3;
    let known: Vec<&TypeInfo> =
        KNOWN.iter().filter(|known| wanted.is_none_or(|code| code == known.code)).collect();
    let text = |of: fn(&TypeInfo) -> Option<&'static str>| -> ArrayRef {
        Arc::new(known.iter().map(|known| of(known)).collect::<StringArray>())
    };
    let number = |of: fn(&TypeInfo) -> Option<i32>| -> ArrayRef {
        Arc::new(known.iter().map(|known| of(known)).collect::<Int32Array>())
    };
    let truth = |of: fn(&TypeInfo) -> Option<bool>| -> ArrayRef {
        Arc::new(known.iter().map(|known| of(known)).collect::<BooleanArray>())
    };
    use DataType::{Boolean, Int32, Utf8};
    let parameters = DataType::List(Arc::new(Field::new("item", Utf8, false)));
    let none = |data_type: &DataType| new_null_array(data_type, known.len());
    let columns = [
        (field("type_name", Utf8), text(|known| Some(known.name))),
        (field("data_type", Int32), number(|known| Some(known.code))),
        (optional("column_size", Int32), number(|known| known.size)),
        (optional("literal_prefix", Utf8), text(|known| known.quote)),
        (optional("literal_suffix", Utf8), text(|known| known.quote)),
        (optional("create_params", parameters.clone()), none(&parameters)),
        (field("nullable", Int32), number(|_| Some(NULLABLE))),
        (field("case_sensitive", Boolean), truth(|known| Some(known.quote.is_some()))),
        (field("searchable", Int32), number(|_| Some(SEARCHABLE_FULL))),
        (optional("unsigned_attribute", Boolean), truth(|known| known.is_unsigned)),
        (field("fixed_prec_scale", Boolean), truth(|_| Some(false))),
        (optional("auto_increment", Boolean), truth(|known| known.is_unsigned.map(|_| false))),
        (optional("local_type_name", Utf8), text(|known| Some(known.name))),
        (optional("minimum_scale", Int32), number(|known| known.scale_max.map(|_| 0))),
        (optional("maximum_scale", Int32), number(|known| known.scale_max)),
        (
            field("sql_data_type", Int32),
            number(|known| Some(known.time.map_or(known.code, |(family, _)| family))),
        ),
        (optional("datetime_subcode", Int32), number(|known| known.time.map(|(_, code)| code))),
        (optional("num_prec_radix", Int32), number(|known| known.radix)),
        (optional("interval_precision", Int32), number(|_| None)),
    ];
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
