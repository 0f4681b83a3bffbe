//! Puts the values of placeholders into a query.
//!
//! Values replace placeholders in the parsed query as literals. Checks, filters of scans and bounds
//! therefore apply as to any other query. No text of a value is ever parsed.

use std::ops::ControlFlow;

use arrow_array::temporal_conversions::timestamp_ns_to_datetime;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Statement, TimezoneInfo, TypedString, UnaryOperator,
    Value, visit_expressions_mut,
};
use tidings_sql::{Parameter, SqlError, parameters::check_length};

/// Replaces the placeholders with the values; `$1` is the first.
pub(crate) fn bind(statement: &mut Statement, values: &[Parameter]) -> Result<(), SqlError> {
    check_length(values)?;
    let bound = visit_expressions_mut(statement, |expr| {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let place = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        match place.and_then(|place| values.get(place.checked_sub(1)?)).map(literal) {
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

/// Returns the value as a literal; `None` when there is no literal for it.
fn literal(parameter: &Parameter) -> Option<Expr> {
    let value = |value: Value| Expr::Value(value.into());
    let text = |text: String| value(Value::SingleQuotedString(text));
    Some(match parameter {
        Parameter::Null => value(Value::Null),
        Parameter::Truth(truth) => value(Value::Boolean(*truth)),
        Parameter::Whole(number) => signed(number.unsigned_abs().to_string(), number.is_negative()),
        Parameter::Number(number) if number.is_finite() => {
            signed(format!("{:e}", number.abs()), number.is_sign_negative())
        }
        Parameter::Number(number) => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(text(number.to_string())),
            data_type: DataType::Double(ExactNumberInfo::None),
            array: false,
            format: None,
        },
        Parameter::Text(content) => text(content.clone()),
        Parameter::Time(nanos) => Expr::TypedString(TypedString {
            data_type: DataType::Timestamp(None, TimezoneInfo::None),
            value: Value::SingleQuotedString(timestamp_ns_to_datetime(*nanos)?.to_string()).into(),
            uses_odbc_syntax: false,
        }),
    })
}

fn signed(digits: String, is_negative: bool) -> Expr {
    let number = Expr::Value(Value::Number(digits, false).into());
    match is_negative {
        true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) },
        false => number,
    }
}
