//! [PromQL](https://prometheus.io/docs/prometheus/latest/querying/basics/), Prometheus's query
//! language: the text of a query to a tree whose types are checked.
//!
//! ```text
//! text ─► lexer ─► parser (types checked on the way) ─► syntax
//! ```
//!
//! Owns the syntax, the types, the labels of series with their matchers, the text forms of numbers
//! and durations, and the text of errors. Recursion is bounded by `DEPTH_MAX`, which the parser
//! enforces. Chains are lists of at most `TERMS_MAX` elements. Texts are bounded by
//! `TEXT_BYTES_MAX`; the patterns of a query share one bound. Does not know metrics, storage or
//! HTTP: `prometheus` of `tidings-apis` evaluates the tree and answers.

pub mod labels;
mod lexer;
pub mod number;
mod parser;
mod syntax;

use std::fmt;

pub use self::{
    parser::{parse, parse_with},
    syntax::{
        Aggregate, Aggregation, AtModifier, ChainLink, Expression, Function, FunctionCall,
        Grouping, ManySide, Matching, Operator, Selector, Subquery, TimeModifier, ValueType,
    },
};

/// Maximum length of a query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Maximum depth of a query.
const DEPTH_MAX: usize = 64;
/// Maximum number of expressions in a chain of operators.
const TERMS_MAX: usize = 1_000;

/// Error of a text that is not a valid query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Fault, and a valid form.
    pub message: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Position in characters, counted from 1.
    pub column: usize,
}

impl SyntaxError {
    /// Creates an error at this byte of the text.
    fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let (line, column) = tidings_pattern::line_and_column(text, byte);
        Self { message: message.into(), line, column }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

#[cfg(test)]
mod tests;
