//! TraceQL, Tempo's language of queries for traces: the text of a query to a tree whose types are
//! checked, and the values of its expressions.
//!
//! ```text
//! text ─► lexer ─► parser (types checked on the way) ─► syntax ─► compiled ─► runtime_value
//!                       normal_form (names of values) ◄─────────────┘
//! a text that is being typed ─► incomplete_query ─► syntax
//! ```
//!
//! Owns the syntax, the types, the values that an expression has over a row of values, and the text
//! of errors. Recursion is bounded by `DEPTH_MAX`, which the lexer and the parser enforce. Chains
//! are lists of at most `TERMS_MAX` elements. Texts are bounded by `TEXT_BYTES_MAX`; the patterns
//! of a query share one bound. Does not know rows of storage, traces or HTTP: `query` finds the
//! spans and answers.

mod compiled;
mod incomplete_query;
mod lexer;
mod normal_form;
mod operator;
mod parser;
mod runtime_value;
pub mod suggest;
mod syntax;
mod types;

use std::fmt;

pub use self::{
    compiled::{CompiledScalar, CompiledSpansets, CompiledStage, Fields, Node, compile},
    incomplete_query::parse_incomplete,
    operator::Operator,
    parser::{parse, parse_with},
    runtime_value::{Value, apply},
    syntax::{
        Expression, Field, Fold, INTRINSICS, Intrinsic, Join, Measure, Metrics, Name, Query,
        Relation, Root, Scalar, Scope, Side, Spansets, Stage, Static, Step,
    },
    types::Type,
};

/// Maximum length of a query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Maximum depth of nested brackets, and of a query's tree.
const DEPTH_MAX: u32 = 100;
/// Maximum length of a chain of numbers, spansets or metrics with operators between them.
const TERMS_MAX: usize = 1_000;

/// Error in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceqlError {
    /// Fault, and a valid form.
    pub message: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Position in characters, counted from 1.
    pub column: usize,
}

impl TraceqlError {
    /// Creates an error at this byte of the text.
    #[must_use]
    pub fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let (line, column) = tidings_pattern::line_and_column(text, byte);
        Self { message: message.into(), line, column }
    }
}

impl fmt::Display for TraceqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {}: {}", self.line, self.column, self.message)
    }
}

#[cfg(test)]
mod tests;
