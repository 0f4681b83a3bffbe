//! TraceQL: the text of a query to an answer about stored traces.
//!
//! ```text
//! text ─► lexer ─► parser (types checked on the way) ─► syntax ─► compiled
//!     log records ─► records (logs of spans, for conditions on logs)
//!     rows ─► candidates ─► traces, assembled ─► evaluate ─► search   (Tempo's and the native API)
//!                        └► matched_spans ─► observe ──────► metrics
//!                                         └────────────────► heatmaps, explanations
//! ```
//!
//! Owns the language: syntax, semantics and the text of errors. Recursion is bounded by
//! [`DEPTH_MAX`], which the lexer and the parser enforce. Chains are lists of at most [`TERMS_MAX`]
//! elements. Texts are bounded by [`TEXT_BYTES_MAX`]; the patterns of a query share one bound. Some
//! queries that Tempo parses but refuses to run (`parent.`, aggregate against aggregate) run here.

mod candidate_scan;
mod candidates;
mod compiled;
pub(crate) mod display;
mod evaluate;
pub(crate) mod filter;
mod incomplete_query;
mod lexer;
pub(crate) mod matched_spans;
pub(crate) mod metrics_query;
pub(crate) mod native;
mod normal_form;
pub(crate) mod overlap;
mod parser;
pub(crate) mod pattern;
mod read;
pub(crate) mod read_budget;
mod records;
mod relations;
pub(crate) mod runtime_value;
pub(crate) mod spanset_search;
pub(crate) mod syntax;
pub(crate) mod tags;
mod trace_extents;
mod types;

use std::fmt;

use crate::QueryError;

pub(crate) use parser::{parse, parse_with};

/// Maximum length of a query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Maximum depth of nested brackets, and of a query's tree.
const DEPTH_MAX: u32 = 100;
/// Maximum length of a chain of numbers, spansets or metrics with operators between them.
const TERMS_MAX: usize = 1_000;

/// Error in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceqlError {
    /// Fault, and a valid form.
    pub(crate) message: String,
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// Position in characters, counted from 1.
    pub(crate) column: usize,
}

impl TraceqlError {
    /// Creates an error at this byte of the text.
    pub(crate) fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            message: message.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for TraceqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl From<TraceqlError> for QueryError {
    fn from(error: TraceqlError) -> Self {
        Self::parameter("q", format!("invalid TraceQL query: {error}"))
    }
}

#[cfg(test)]
mod tests;
