//! The static types of values, and the operators that accept them.

use std::fmt;

use super::operator::Operator;

/// Static type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`Display` describes them")]
pub enum Type {
    /// Type of an attribute's value, known only at run time.
    Dynamic,
    Nil,
    Int,
    Float,
    Duration,
    Text,
    Bool,
    Status,
    Kind,
    Severity,
    /// A reference to another span.
    Reference,
}

impl Type {
    pub(crate) fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }

    /// Reports whether an operator can have operands of these two types.
    pub(crate) fn matches(self, other: Self) -> bool {
        let dynamic = self == Self::Dynamic || other == Self::Dynamic;
        dynamic || self == other || (self.is_numeric() && other.is_numeric())
    }

    /// Reports whether the operator accepts this type.
    pub(crate) fn allows(self, operator: Operator) -> bool {
        use Operator::{And, Equal, NotEqual, NotRegex, Or, Regex};
        let equality = matches!(operator, Equal | NotEqual);
        match self {
            Self::Dynamic => true,
            Self::Bool => equality || matches!(operator, And | Or),
            Self::Int | Self::Float | Self::Duration => {
                operator.is_arithmetic() || operator.is_comparison()
            }
            Self::Text | Self::Severity => {
                operator.is_comparison() || matches!(operator, Regex | NotRegex)
            }
            Self::Status | Self::Kind => equality,
            Self::Nil | Self::Reference => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dynamic => "an attribute",
            Self::Nil => "nil",
            Self::Int | Self::Float => "a number",
            Self::Duration => "a duration",
            Self::Text => "text",
            Self::Bool => "true or false",
            Self::Status => "a status",
            Self::Kind => "a kind",
            Self::Severity => "a severity",
            Self::Reference => "a span",
        })
    }
}
