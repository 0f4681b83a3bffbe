//! Single values as text.
//!
//! Owns the text of a value, the same in JSON and CSV. Times are in UTC, with nanoseconds when they
//! are not zero; numbers are written in full; ids are hex. Other types are written as the engine
//! writes them.

use std::fmt::Write;

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    timezone::Tz,
    types::{Float16Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Schema, TimeUnit};
use tidings_sql::SqlError;

/// Maximum depth of nested values that are written as JSON.
const DEPTH_MAX: usize = 8;

/// Returns the name of a type in answers.
pub(crate) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "integer"
        }
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Map(..) => "map",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "list",
        DataType::Struct(_) => "struct",
        DataType::Dictionary(_, values) => type_name(values),
        _ if data_type.is_numeric() => "decimal",
        _ => "binary",
    }
}

/// Refuses columns whose values could not be written: times in unknown time zones.
pub(crate) fn check_columns(schema: &Schema) -> Result<(), SqlError> {
    let mut types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    while let Some(data_type) = types.pop() {
        match data_type {
            DataType::Timestamp(_, Some(zone)) => {
                zone.parse::<Tz>().map_err(|_| {
                    let zone: String = zone.chars().take(100).collect();
                    SqlError::syntax(format!("there is no time zone `{zone}`"))
                })?;
            }
            DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
                types.push(field.data_type());
            }
            DataType::Struct(fields) => types.extend(fields.iter().map(|field| field.data_type())),
            DataType::Dictionary(_, values) => types.push(values),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses rows with a time outside of the calendar. Every time in nanoseconds of 64 bits is
/// inside.
pub(crate) fn check_rows(batch: &RecordBatch) -> Result<(), SqlError> {
    for column in batch.columns() {
        let may_be_beyond = match column.data_type() {
            DataType::Timestamp(unit, _) => *unit != TimeUnit::Nanosecond,
            other => other.is_temporal(),
        };
        if !may_be_beyond {
            continue;
        }
        let options = FormatOptions::new().with_display_error(false);
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(|_| defect())?;
        let mut written = String::new();
        for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
            written.clear();
            if formatter.value(row).write(&mut written).is_err() {
                let reason = "a time is beyond what a calendar has".to_owned();
                return Err(SqlError::Evaluation { reason });
            }
        }
    }
    Ok(())
}

/// Form of a value in JSON.
enum JsonQuoting {
    /// As it is.
    Bare,
    /// As a text.
    Quoted,
}

/// Writes the value as JSON.
pub(super) fn write_json(out: &mut String, column: &ArrayRef, row: usize) -> Result<(), SqlError> {
    write_nested(out, column, row, DEPTH_MAX)
}

/// Writes the value as text; nothing for null.
pub(super) fn write_text(out: &mut String, column: &ArrayRef, row: usize) -> Result<(), SqlError> {
    if is_null(column, row) {
        return Ok(());
    }
    match column.data_type() {
        DataType::Map(..) | DataType::List(_) | DataType::Struct(_) => {
            write_nested(out, column, row, DEPTH_MAX)
        }
        _ => write_flat(out, column, row).map(drop),
    }
}

/// Reports whether the value is null; a column of type null has no null buffer.
pub(super) fn is_null(column: &ArrayRef, row: usize) -> bool {
    column.data_type() == &DataType::Null || column.is_null(row)
}

fn write_nested(
    out: &mut String,
    column: &ArrayRef,
    row: usize,
    depth: usize,
) -> Result<(), SqlError> {
    if is_null(column, row) {
        out.push_str("null");
        return Ok(());
    }
    let Some(depth) = depth.checked_sub(1) else {
        let reason = "a value is too deep to be written".to_owned();
        return Err(SqlError::Evaluation { reason });
    };
    match column.data_type() {
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            out.push('[');
            for place in 0..values.len() {
                separate(out, place);
                write_nested(out, &values, place, depth)?;
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            out.push('{');
            for place in 0..entries.len() {
                separate(out, place);
                write_quoted(out, keys, place)?;
                out.push(':');
                write_nested(out, values, place, depth)?;
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (place, field) in fields.iter().enumerate() {
                separate(out, place);
                push_quoted(out, field.name());
                out.push(':');
                write_nested(out, column.as_struct().column(place), row, depth)?;
            }
            out.push('}');
        }
        _ => {
            let mut text = String::new();
            match write_flat(&mut text, column, row)? {
                JsonQuoting::Bare => out.push_str(&text),
                JsonQuoting::Quoted => push_quoted(out, &text),
            }
        }
    }
    Ok(())
}

fn separate(out: &mut String, place: usize) {
    if place > 0 {
        out.push(',');
    }
}

fn write_quoted(out: &mut String, column: &ArrayRef, row: usize) -> Result<(), SqlError> {
    let mut text = String::new();
    write_flat(&mut text, column, row)?;
    push_quoted(out, &text);
    Ok(())
}

pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("invariant: text is always valid JSON"));
}

/// Writes a value that is not null and not made of others.
fn write_flat(out: &mut String, column: &ArrayRef, row: usize) -> Result<JsonQuoting, SqlError> {
    macro_rules! number {
        ($type:ty) => {{
            let written = write!(out, "{}", column.as_primitive::<$type>().value(row));
            written.map(|()| JsonQuoting::Bare).map_err(|_| defect())
        }};
    }
    match column.data_type() {
        DataType::Boolean => {
            out.push_str(if column.as_boolean().value(row) { "true" } else { "false" });
            Ok(JsonQuoting::Bare)
        }
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float64 => Ok(write_double(out, column.as_primitive::<Float64Type>().value(row))),
        // A 32-bit float is written with its own digits: the double nearest to it has others.
        DataType::Float32 if !column.as_primitive::<Float32Type>().value(row).is_finite() => {
            Ok(write_double(out, column.as_primitive::<Float32Type>().value(row).into()))
        }
        DataType::Float16 if !column.as_primitive::<Float16Type>().value(row).is_finite() => {
            Ok(write_double(out, column.as_primitive::<Float16Type>().value(row).into()))
        }
        DataType::Utf8 => {
            out.push_str(column.as_string::<i32>().value(row));
            Ok(JsonQuoting::Quoted)
        }
        DataType::LargeUtf8 => {
            out.push_str(column.as_string::<i64>().value(row));
            Ok(JsonQuoting::Quoted)
        }
        DataType::Utf8View => {
            out.push_str(column.as_string_view().value(row));
            Ok(JsonQuoting::Quoted)
        }
        other => write_other(out, column, row, other),
    }
}

/// Writes a double. JSON has no NaN or infinity, so these are quoted.
fn write_double(out: &mut String, number: f64) -> JsonQuoting {
    if number.is_finite() {
        out.push_str(
            &serde_json::Number::from_f64(number).map(|n| n.to_string()).unwrap_or_default(),
        );
        return JsonQuoting::Bare;
    }
    out.push_str(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    });
    JsonQuoting::Quoted
}

fn write_other(
    out: &mut String,
    column: &ArrayRef,
    row: usize,
    data_type: &DataType,
) -> Result<JsonQuoting, SqlError> {
    const TIME: &str = "%Y-%m-%dT%H:%M:%S%.f";
    const TIME_IN_ZONE: &str = "%Y-%m-%dT%H:%M:%S%.fZ";
    let mut options = FormatOptions::new().with_display_error(false);
    // Times of the views are in UTC. A time that was cast to another zone is written in that zone.
    match data_type {
        DataType::Timestamp(_, Some(zone)) if zone.as_ref() == "UTC" => {
            options = options.with_timestamp_tz_format(Some(TIME_IN_ZONE));
        }
        DataType::Timestamp(_, None) => options = options.with_timestamp_format(Some(TIME)),
        _ => {}
    }
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(|_| defect())?;
    // `check_rows` has refused times outside of the calendar before the head of the answer was
    // sent.
    let text = formatter.value(row).try_to_string().map_err(|_| defect())?;
    let is_number = data_type.is_numeric();
    // A decimal of negative scale has its zeros behind the digits, and so has zero.
    let is_zero = is_number && text.len() > 1 && text.bytes().all(|digit| digit == b'0');
    out.push_str(if is_zero { "0" } else { &text });
    Ok(if is_number { JsonQuoting::Bare } else { JsonQuoting::Quoted })
}

fn defect() -> SqlError {
    SqlError::Defect { reason: "a value could not be written".to_owned() }
}
