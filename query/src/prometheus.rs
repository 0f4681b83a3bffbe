//! [PromQL](https://prometheus.io/docs/prometheus/latest/querying/basics/) over the metrics that
//! dashboards expect of traces: calls by service and operation, calls between services.
//!
//! ```text
//! text ─► lexer ─► parser ─► syntax ─► plan (which metrics, at which times) ─► counted (one scan)
//!                                                                     └─► evaluate, time by time
//! ```
//!
//! No series are stored: counters are computed from the stored spans at query time. So `increase`
//! and `rate` are exact, while Prometheus extrapolates between scrapes. Owns the language and the
//! metrics. Does not own the definition of a call, which is in [`crate::analysis`], or HTTP.

mod evaluate;
mod labels;
mod lexer;
pub(crate) mod metric_names;
mod number;
mod parser;
mod plan;
pub(crate) mod query;
pub(crate) mod series;
mod series_data;
mod syntax;

use std::fmt;

use crate::QueryError;

pub(crate) use labels::Labels;
pub(crate) use number::{duration_of, millis, number_text, seconds};
pub(crate) use parser::{parse, parse_with};
use syntax::Selector;
pub(crate) use syntax::{Expression, ValueType};

/// Errors of a PromQL query.
#[derive(Debug)]
pub(crate) enum PromqlError {
    /// The text is not a valid query.
    Syntax {
        /// Fault, and a valid form.
        message: String,
        /// Line, counted from 1.
        line: usize,
        /// Position in characters, counted from 1.
        column: usize,
    },
    /// The query cannot be evaluated over the stored data.
    Execution(String),
    /// Errors that any query can return.
    Query(QueryError),
}

impl PromqlError {
    /// Creates an error at this byte of the text.
    fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Syntax {
            message: message.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for PromqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message, line, column } => {
                write!(f, "{line}:{column}: parse error: {message}")
            }
            Self::Execution(message) => f.write_str(message),
            Self::Query(error) => error.fmt(f),
        }
    }
}

impl From<QueryError> for PromqlError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

#[cfg(test)]
mod tests;
