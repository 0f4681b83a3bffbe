//! Conditions on rows of a view, as plain values.
//!
//! A condition holds for every row that the query uses. The worker reads conditions out of the
//! engine's expressions, and the server, which knows no expressions, gets them; there `pushdown`
//! turns them into filters of the store.

use serde::{Deserialize, Serialize};

/// A condition that holds for all rows that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The value that it tests.
    pub subject: Subject,
    /// The test of the value.
    pub predicate: Predicate,
}

/// The value that a condition tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A column, by its name.
    Column(String),
    /// An attribute of the record or of its resource, by its key.
    Attribute(String),
}

/// The test of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Predicate {
    /// It is equal to one of these.
    OneOf(Vec<Literal>),
    /// It is this or more.
    Least(Literal),
    /// It is this or less.
    Most(Literal),
    /// It is not null.
    There,
    /// It contains this text; a match may ignore the case of letters.
    Contains(String),
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A time in nanoseconds since 1970.
    Nanos(i64),
    /// A constant of another type, or null.
    Other,
}

impl Subject {
    /// Returns the column's name if it is a column.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::Attribute(_) => None,
        }
    }

    /// Returns the attribute's key if it is an attribute.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(key) => Some(key),
            Self::Column(_) => None,
        }
    }
}

impl Literal {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, unless it is negative.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text().map_or(0, str::len)
    }
}

impl Condition {
    /// A condition on this value.
    #[must_use]
    pub fn new(subject: Subject, predicate: Predicate) -> Self {
        Self { subject, predicate }
    }

    /// Returns the bytes of its texts and constants.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let subject = match &self.subject {
            Subject::Column(text) | Subject::Attribute(text) => text.len(),
        };
        let predicate = match &self.predicate {
            Predicate::OneOf(values) => values.iter().map(Literal::bytes).sum(),
            Predicate::Least(value) | Predicate::Most(value) => value.bytes(),
            Predicate::There => 0,
            Predicate::Contains(part) => part.len(),
        };
        subject + predicate
    }
}
