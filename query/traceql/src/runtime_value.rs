//! Runtime values of a query, and the operators on them.
//!
//! Owns the rules for values that are missing or of another type than the operator takes: no
//! comparison with them holds, and arithmetic with them has no value. A list (an array, or values
//! of a span's events) is compared by its elements. One of them must match, or all of them for `!=`
//! and `!~`.

use std::{cmp::Ordering, fmt::Write, sync::Arc};

use tidings_proto::otlp::{self, AnyValue, ArrayValue, Severity, SpanKind, StatusCode, ValueForm};

use super::{operator::Operator, syntax::Static};

/// A value of a span.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the types")]
pub enum Value {
    /// The value depends on the rest of the trace.
    Unknown,
    Nil,
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bool(bool),
    /// A duration in nanoseconds.
    Duration(i64),
    Status(StatusCode),
    Kind(SpanKind),
    Severity(Severity),
    Many(Arc<[Self]>),
}

impl Value {
    /// Creates a text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Approximate length of its text in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Many(many) => many.iter().map(Self::bytes).sum(),
            _ => size_of::<u64>(),
        }
    }

    /// Creates a duration, or nil when it does not fit.
    #[must_use]
    pub fn nanos(nanos: u64) -> Self {
        Self::Duration(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Converts the value of an attribute. Maps and bytes are shown as JSON.
    #[must_use]
    pub fn from_otlp(value: Option<&otlp::Value>) -> Self {
        let Some(value) = value else { return Self::Nil };
        match value.form() {
            ValueForm::Text(text) => Self::text(text),
            ValueForm::Bool(truth) => Self::Bool(truth),
            ValueForm::Int(number) => Self::Int(number),
            ValueForm::Double(number) => Self::Float(number),
            ValueForm::List(values) => {
                // Nested arrays cannot be compared.
                let single = |value: &AnyValue| match value.form() {
                    Some(ValueForm::List(_)) => Self::Nil,
                    _ => Self::from_otlp(value.value.as_ref()),
                };
                Self::Many(values.iter().map(single).collect())
            }
            ValueForm::Map(_) | ValueForm::Bytes(_) => {
                serde_json::to_string(value).map_or(Self::Nil, |json| Self::text(&json))
            }
        }
    }

    /// Reports whether there is no value, or none that is known.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::Unknown)
    }

    /// Returns the value as a number; a duration as nanoseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a float is what was asked for")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) | Self::Duration(number) => Some(*number as f64),
            Self::Float(number) => Some(*number).filter(|number| !number.is_nan()),
            _ => None,
        }
    }

    /// Returns the value in OTLP's form; durations, statuses, kinds and severities are text.
    #[must_use]
    pub fn to_otlp(&self) -> AnyValue {
        let value = match self {
            Self::Int(number) => otlp::Value::Int(*number),
            Self::Float(number) => otlp::Value::Double(*number),
            Self::Bool(truth) => otlp::Value::Bool(*truth),
            Self::Many(values) => {
                let values = values.iter().map(Self::to_otlp).collect();
                otlp::Value::Array(ArrayValue { values })
            }
            other => otlp::Value::String(other.display_text()),
        };
        AnyValue { value: Some(value) }
    }

    /// Returns the value as text, without quotes.
    #[must_use]
    pub fn display_text(&self) -> String {
        match self {
            Self::Unknown | Self::Nil => "nil".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::Duration(nanos) => duration_text(*nanos),
            Self::Status(status) => status.word().to_owned(),
            Self::Kind(kind) => kind.word().to_owned(),
            Self::Severity(severity) => severity.word().to_owned(),
            Self::Many(values) => {
                let texts: Vec<String> = values.iter().map(Self::display_text).collect();
                format!("[{}]", texts.join(", "))
            }
        }
    }

    /// Appends a text that is unique to the value.
    pub fn key(&self, key: &mut String) {
        let kind = match self {
            Self::Unknown | Self::Nil => 'n',
            Self::Int(_) => 'i',
            Self::Float(_) => 'f',
            Self::Text(_) => 't',
            Self::Bool(_) => 'b',
            Self::Duration(_) => 'd',
            Self::Status(_) => 's',
            Self::Kind(_) => 'k',
            Self::Severity(_) => 'l',
            Self::Many(_) => 'm',
        };
        let shown = self.display_text();
        // Writing to a string does not fail.
        let _ = write!(key, "{kind}{}:{shown}", shown.len());
    }
}

impl From<&Static> for Value {
    fn from(value: &Static) -> Self {
        match value {
            Static::Nil => Self::Nil,
            Static::Int(number) => Self::Int(*number),
            Static::Float(number) => Self::Float(*number),
            Static::Text(text) => Self::text(text),
            Static::Bool(truth) => Self::Bool(*truth),
            Static::Duration(nanos) => Self::Duration(*nanos),
            Static::Status(status) => Self::Status(*status),
            Static::Kind(kind) => Self::Kind(*kind),
            Static::Severity(severity) => Self::Severity(*severity),
        }
    }
}

/// Formats a duration as Go does: `1h2m3.5s`, `1.5ms`.
fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let scaled = |unit: u64, name: &str| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let fraction = format!("{rest:0width$}", width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        (whole, format!("{dot}{fraction}{name}"))
    };
    let joined = |unit, name| {
        let (whole, rest) = scaled(unit, name);
        format!("{whole}{rest}")
    };
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => joined(1_000, "µs"),
        1_000_000..1_000_000_000 => joined(1_000_000, "ms"),
        _ => {
            let (seconds, rest) = scaled(1_000_000_000, "s");
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}{rest}"),
                (0, minutes) => format!("{minutes}m{seconds}{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}{rest}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Applies a binary operator to two values.
#[must_use]
pub fn apply(operator: Operator, left: &Value, right: &Value) -> Value {
    if matches!(left, Value::Unknown) || matches!(right, Value::Unknown) {
        return Value::Unknown;
    }
    if operator.is_arithmetic() {
        return arithmetic(operator, left, right);
    }
    Value::Bool(match (left, right) {
        (Value::Many(left), Value::Many(right)) => match operator {
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
            _ => false,
        },
        (Value::Many(many), one) => {
            fits(operator == Operator::NotEqual, many, |each| holds(operator, each, one))
        }
        (one, Value::Many(many)) => {
            fits(operator == Operator::NotEqual, many, |each| holds(operator, one, each))
        }
        (left, right) => holds(operator, left, right),
    })
}

/// Reports whether all elements match (`all`), or at least one.
pub(crate) fn fits(all: bool, many: &[Value], fit: impl Fn(&Value) -> bool) -> bool {
    if all { many.iter().all(fit) } else { many.iter().any(fit) }
}

/// Compares two single values.
fn holds(operator: Operator, left: &Value, right: &Value) -> bool {
    let ordering = match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => return equality(operator, left == right),
        (Value::Status(left), Value::Status(right)) => return equality(operator, left == right),
        (Value::Kind(left), Value::Kind(right)) => return equality(operator, left == right),
        (Value::Severity(left), Value::Severity(right)) => Some(left.cmp(right)),
        (Value::Int(left) | Value::Duration(left), Value::Int(right) | Value::Duration(right)) => {
            Some(left.cmp(right))
        }
        (left, right) => match (left.number(), right.number()) {
            (Some(left), Some(right)) => left.partial_cmp(&right),
            _ => None,
        },
    };
    let Some(ordering) = ordering else { return false };
    match operator {
        Operator::Equal => ordering == Ordering::Equal,
        Operator::NotEqual => ordering != Ordering::Equal,
        Operator::Less => ordering == Ordering::Less,
        Operator::LessEqual => ordering != Ordering::Greater,
        Operator::Greater => ordering == Ordering::Greater,
        Operator::GreaterEqual => ordering != Ordering::Less,
        _ => false,
    }
}

fn equality(operator: Operator, equal: bool) -> bool {
    match operator {
        Operator::Equal => equal,
        Operator::NotEqual => !equal,
        _ => false,
    }
}

fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Value {
    use Operator::{Add, Div, Mod, Mul, Pow, Sub};
    let exact = match (left, right) {
        (Value::Int(left), Value::Int(right)) => match operator {
            Add => left.checked_add(*right),
            Sub => left.checked_sub(*right),
            Mul => left.checked_mul(*right),
            // A division by zero has no value.
            Div | Mod if *right == 0 => return Value::Nil,
            Div => left.checked_div(*right),
            Mod => left.checked_rem(*right),
            Pow => u32::try_from(*right).ok().and_then(|right| left.checked_pow(right)),
            _ => None,
        }
        .map(Value::Int),
        (Value::Duration(left), Value::Duration(right)) => match operator {
            Add => left.checked_add(*right).map(Value::Duration),
            Sub => left.checked_sub(*right).map(Value::Duration),
            _ => None,
        },
        _ => None,
    };
    if let Some(exact) = exact {
        return exact;
    }
    let (Some(left), Some(right)) = (left.number(), right.number()) else { return Value::Nil };
    let number = match operator {
        Add => left + right,
        Sub => left - right,
        Mul => left * right,
        Div => left / right,
        Mod => left % right,
        Pow => left.powf(right),
        _ => f64::NAN,
    };
    if number.is_nan() { Value::Nil } else { Value::Float(number) }
}

/// Negates a value.
pub(crate) fn negative(value: &Value) -> Value {
    match value {
        Value::Unknown => Value::Unknown,
        Value::Int(number) => number.checked_neg().map_or(Value::Nil, Value::Int),
        Value::Duration(nanos) => nanos.checked_neg().map_or(Value::Nil, Value::Duration),
        Value::Float(number) => Value::Float(-number),
        _ => Value::Nil,
    }
}

#[cfg(test)]
mod tests {
    use super::duration_text;

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        let cases = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_000_000_000, "1s"),
            (61_500_000_000, "1m1.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_000_000, "-1ms"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(duration_text(nanos), expected);
        }
    }
}
