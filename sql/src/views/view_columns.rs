//! Columns of views, made of stored columns.
//!
//! Owns the conversion of each column; `spans` and `logs` list their columns. Times become
//! timestamps, ids become text in hex, and numbers of kinds, statuses and severities become words.

use std::{
    collections::HashMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    builder::StringBuilder,
    cast::AsArray,
    new_null_array,
    types::{Int32Type, Int64Type},
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use tidings_proto::otlp::{InstrumentationScope, Resource, SpanKind, StatusCode};
use tidings_query::severity_name;
use tidings_storage::{LogRows, Projection, SpanRows, text_portions};

use super::attribute_maps;
use crate::{SqlError, scan::BATCH_BYTES_MAX};

/// A column of a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) origin: Origin,
    /// The least detail of a scan that has the column.
    pub(super) detail: Projection,
}

/// Defines a column of this name.
pub(super) const fn column(name: &'static str, origin: Origin, detail: Projection) -> Column {
    Column { name, origin, detail }
}

/// Sources of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nanoseconds since 1970; 0 is null.
    Time(&'static str),
    /// Duration of a span that has ended.
    Duration,
    Hex(&'static str),
    Word(&'static str),
    Long(&'static str),
    Int(&'static str),
    Truth(&'static str),
    Kind,
    Status,
    /// The name of a severity's number.
    Severity,
    IsRoot,
    Attributes,
    Resource,
    ScopeName,
    ScopeVersion,
}

/// Returns the engine's type of times.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

impl Origin {
    fn data_type(self) -> DataType {
        match self {
            Self::Time(_) => timestamp(),
            Self::Duration | Self::Long(_) => DataType::Int64,
            Self::Int(_) => DataType::Int32,
            Self::Truth(_) | Self::IsRoot => DataType::Boolean,
            Self::Attributes | Self::Resource => attribute_maps::data_type(),
            Self::Hex(_)
            | Self::Word(_)
            | Self::Kind
            | Self::Status
            | Self::Severity
            | Self::ScopeName
            | Self::ScopeVersion => DataType::Utf8,
        }
    }
}

/// Returns the schema of these columns.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.origin.data_type(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Fields>()))
}

/// Stored rows of spans or of log records.
pub(super) trait Rows {
    fn columns(&self) -> &RecordBatch;
    fn slice(&self, rows: Range<usize>) -> Self
    where
        Self: Sized;
    fn resource_key(&self, row: usize) -> &str;
    fn resource(&self, row: usize) -> Option<Resource>;
    fn scope_key(&self, row: usize) -> &str;
    fn scope(&self, row: usize) -> Option<InstrumentationScope>;
}

macro_rules! rows {
    ($rows:ty) => {
        impl Rows for $rows {
            fn columns(&self) -> &RecordBatch {
                self.columns()
            }

            fn slice(&self, rows: Range<usize>) -> Self {
                self.slice(rows)
            }

            fn resource_key(&self, row: usize) -> &str {
                self.resource_key(row)
            }

            fn resource(&self, row: usize) -> Option<Resource> {
                self.resource(row)
            }

            fn scope_key(&self, row: usize) -> &str {
                self.scope_key(row)
            }

            fn scope(&self, row: usize) -> Option<InstrumentationScope> {
                self.scope(row)
            }
        }
    };
}

rows!(SpanRows);
rows!(LogRows);

/// Returns the rows in portions, so that a batch of texts does not exceed the maximum of a batch.
pub(super) fn in_portions<R: Rows>(
    rows: &R,
    mut push_rows: impl FnMut(&R) -> Result<ControlFlow<()>, SqlError>,
) -> Result<ControlFlow<()>, SqlError> {
    let portions = text_portions(rows.columns(), BATCH_BYTES_MAX);
    if portions.len() == 1 {
        return push_rows(rows);
    }
    for portion in portions {
        if push_rows(&rows.slice(portion))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns these columns of the rows.
pub(super) fn batch(
    rows: &dyn Rows,
    columns: &[Column],
    schema: SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.iter().map(|column| array(rows, column.origin));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = arrow_array::RecordBatchOptions::new();
    let options = options.with_row_count(Some(rows.columns().num_rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options)
}

fn array(rows: &dyn Rows, origin: Origin) -> Result<ArrayRef, ArrowError> {
    let batch = rows.columns();
    let stored = |name: &str| match batch.column_by_name(name) {
        Some(array) => Ok(Arc::clone(array)),
        None => Err(ArrowError::SchemaError(format!("there is no column {name}"))),
    };
    Ok(match origin {
        Origin::Time(name) => Arc::new(times(&stored(name)?)?),
        Origin::Duration => durations(
            &stored("duration_nanos")?,
            &stored("end_unix_nanos")?,
            &stored("start_unix_nanos")?,
        )?,
        Origin::Hex(name) => hex(&stored(name)?)?,
        Origin::Word(name) => arrow_cast::cast(&stored(name)?, &DataType::Utf8)?,
        Origin::Long(name) | Origin::Int(name) | Origin::Truth(name) => stored(name)?,
        Origin::Kind => words(&stored("kind")?, |kind| {
            SpanKind::try_from(kind).unwrap_or(SpanKind::Unspecified).word()
        })?,
        Origin::Status => words(&stored("status_code")?, |code| {
            StatusCode::try_from(code).unwrap_or(StatusCode::Unset).word()
        })?,
        Origin::Severity => {
            let names = stored("severity_number")?;
            let numbers = names.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong(&names))?;
            let names = numbers.iter().map(|number| {
                let name = severity_name(number.unwrap_or_default());
                (!name.is_empty()).then_some(name)
            });
            Arc::new(names.collect::<StringArray>())
        }
        Origin::IsRoot => {
            let parents = stored("parent_span_id")?;
            let is_root = (0..parents.len()).map(|row| Some(parents.is_null(row)));
            Arc::new(is_root.collect::<BooleanArray>())
        }
        Origin::Attributes => attribute_maps::texts(&stored("attributes")?)?,
        Origin::Resource => attribute_maps::of_resources(rows)?,
        Origin::ScopeName => scopes(rows, |scope| scope.name)?,
        Origin::ScopeVersion => scopes(rows, |scope| scope.version)?,
    })
}

fn wrong(array: &ArrayRef) -> ArrowError {
    ArrowError::SchemaError(format!("a stored column is {}", array.data_type()))
}

fn longs(array: &ArrayRef) -> Result<&Int64Array, ArrowError> {
    array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(array))
}

/// Returns times as timestamps; null for a time that is unknown or after 2262.
pub(super) fn times(array: &ArrayRef) -> Result<TimestampNanosecondArray, ArrowError> {
    let known = longs(array)?.iter().map(|time| time.filter(|time| *time > 0));
    Ok(known.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

fn durations(
    durations: &ArrayRef,
    ends: &ArrayRef,
    starts: &ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let (durations, ends, starts) = (longs(durations)?, longs(ends)?, longs(starts)?);
    let known = (0..durations.len()).map(|row| {
        let is_known = ends.value(row) != 0 && starts.value(row) != 0;
        is_known.then(|| durations.value(row))
    });
    Ok(Arc::new(known.collect::<Int64Array>()))
}

fn hex(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let ids = array.as_binary_opt::<i32>().ok_or_else(|| wrong(array))?;
    let mut texts = StringBuilder::with_capacity(ids.len(), ids.len() * 32);
    let mut text = String::with_capacity(32);
    for id in ids {
        text.clear();
        for byte in id.unwrap_or_default() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(DIGITS[usize::from(digit)]));
            }
        }
        texts.append_option((!text.is_empty()).then_some(text.as_str()));
    }
    Ok(Arc::new(texts.finish()))
}

fn words(array: &ArrayRef, word: impl Fn(i32) -> &'static str) -> Result<ArrayRef, ArrowError> {
    let numbers = array.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong(array))?;
    let words = numbers.iter().map(|number| Some(word(number.unwrap_or_default())));
    Ok(Arc::new(words.collect::<StringArray>()))
}

fn scopes(
    rows: &dyn Rows,
    part: impl Fn(InstrumentationScope) -> String,
) -> Result<ArrayRef, ArrowError> {
    let len = rows.columns().num_rows();
    if rows.columns().column_by_name("scope").is_none() {
        return Ok(new_null_array(&DataType::Utf8, len));
    }
    let mut known: HashMap<&str, Option<String>> = HashMap::new();
    let mut texts = StringBuilder::new();
    for row in 0..len {
        let said = known
            .entry(rows.scope_key(row))
            .or_insert_with(|| rows.scope(row).map(&part).filter(|text| !text.is_empty()));
        texts.append_option(said.as_deref());
    }
    Ok(Arc::new(texts.finish()))
}
