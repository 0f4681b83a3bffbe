//! The query language of log records: translates the text of a query to a condition of a scan.
//!
//! ```text
//! text ─► parser (and, or, not, parentheses) ─► term_syntax (words, phrases, patterns, ranges)
//!      ─► fields (the column or attribute that a term is about) ─► storage's LogExpression
//! ```
//!
//! `equality` reads `name=value` without quotes and Loki's pipes. `foreign_syntax` reads or refuses
//! the forms of other tools.
//!
//! Owns the syntax, the names of fields and the text of errors; `docs/logs-query.md` describes
//! them. Does not evaluate anything: storage does, over rows in memory and in files alike. The
//! depth, the number of terms and the length of a query are bounded here.

mod equality;
mod fields;
mod foreign_syntax;
mod parser;
mod term_syntax;

use std::fmt;

pub use self::{fields::LogField, parser::parse};

/// Maximum length of a query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Maximum depth of parentheses. Each is at most three levels of the tree: or, and, not. A term is
/// at most five: the absence of a label or its emptiness, negated.
const DEPTH_MAX: usize = tidings_storage::LogExpression::DEPTH_MAX / 3 - 2;
/// Maximum number of terms.
const TERMS_MAX: usize = 200;
/// Maximum memory of all regular expressions of a query, in bytes.
const PATTERNS_BYTES_MAX: usize = 16 << 20;

/// Error in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQueryError {
    /// Fault, and a valid form.
    pub message: String,
    /// Position in characters, counted from 1.
    pub character: usize,
}

impl LogQueryError {
    /// Creates an error at this byte of the text.
    fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        Self { message: message.into(), character: before.chars().count() + 1 }
    }
}

impl fmt::Display for LogQueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.character, self.message)
    }
}

#[cfg(test)]
mod tests;
