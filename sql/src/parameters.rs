//! Values of a query's placeholders.
//!
//! Values replace placeholders in the parsed query as literals. Checks, filters of scans and bounds
//! therefore apply as to any other query. No text of a value is ever parsed.

use std::ops::ControlFlow;

use arrow_array::temporal_conversions::timestamp_ns_to_datetime;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Statement, TimezoneInfo, TypedString, UnaryOperator,
    Value, visit_expressions_mut,
};

use serde::{Deserialize, Serialize};

use crate::{SqlError, limits::QUERY_BYTES_MAX};

/// The value of a placeholder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Parameter {
    /// No value.
    Null,
    /// True or false.
    Truth(bool),
    /// A whole number.
    Whole(i64),
    /// Any number.
    Number(#[serde(with = "bits")] f64),
    /// A text.
    Text(String),
    /// A moment in UTC, in nanoseconds since 1970.
    Time(i64),
}

/// Refuses values that are too long together.
pub(crate) fn check_length(values: &[Parameter]) -> Result<(), SqlError> {
    let (got, max) = (values.iter().map(Parameter::bytes).sum::<usize>(), QUERY_BYTES_MAX);
    match got <= max {
        true => Ok(()),
        false => {
            Err(SqlError::TooComplex { what: "bytes of values".into(), got, max, place: None })
        }
    }
}

/// Replaces the placeholders with the values; `$1` is the first.
pub(crate) fn bind(statement: &mut Statement, values: &[Parameter]) -> Result<(), SqlError> {
    check_length(values)?;
    let bound = visit_expressions_mut(statement, |expr| {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let place = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        match place.and_then(|place| values.get(place.checked_sub(1)?)).map(Parameter::literal) {
            Some(Some(literal)) => *expr = literal,
            _ => return ControlFlow::Break(name.clone()),
        }
        ControlFlow::Continue(())
    });
    match bound {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => {
            Err(SqlError::parameter("query", format!("there is no value for {name}")))
        }
    }
}

impl Parameter {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => size_of::<Self>(),
        }
    }

    /// Returns the value as a literal; `None` when there is no literal for it.
    fn literal(&self) -> Option<Expr> {
        let value = |value: Value| Expr::Value(value.into());
        let text = |text: String| value(Value::SingleQuotedString(text));
        Some(match self {
            Self::Null => value(Value::Null),
            Self::Truth(truth) => value(Value::Boolean(*truth)),
            Self::Whole(number) => signed(number.unsigned_abs().to_string(), number.is_negative()),
            Self::Number(number) if number.is_finite() => {
                signed(format!("{:e}", number.abs()), number.is_sign_negative())
            }
            Self::Number(number) => Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(text(number.to_string())),
                data_type: DataType::Double(ExactNumberInfo::None),
                array: false,
                format: None,
            },
            Self::Text(content) => text(content.clone()),
            Self::Time(nanos) => Expr::TypedString(TypedString {
                data_type: DataType::Timestamp(None, TimezoneInfo::None),
                value: Value::SingleQuotedString(timestamp_ns_to_datetime(*nanos)?.to_string())
                    .into(),
                uses_odbc_syntax: false,
            }),
        })
    }
}

fn signed(digits: String, is_negative: bool) -> Expr {
    let number = Expr::Value(Value::Number(digits, false).into());
    match is_negative {
        true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) },
        false => number,
    }
}

/// Encodes numbers by their bits, because JSON has no NaN or infinity.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(number.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}
