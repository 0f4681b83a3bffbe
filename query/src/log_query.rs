//! The query language of log records: the text of a query to a condition of a scan.
//!
//! ```text
//! text ─► parser (and, or, not, parentheses) ─► terms (words, phrases, patterns, ranges)
//!      ─► fields (the column or attribute that a term is about) ─► storage's LogExpression
//! ```
//!
//! Owns the syntax, the names of fields and the text of errors; `docs/logs-query.md` describes
//! them. Does not evaluate anything: storage does, over rows in memory and in files alike. The
//! depth, the number of terms and the length of a query are bounded here.

mod error;
mod fields;
mod parser;
mod terms;

pub(crate) use error::LogQueryError;
pub(crate) use fields::Field;
pub(crate) use parser::parse;

/// The longest query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// How deep parentheses nest. Each is at most three levels of the tree: or, and, not.
const DEPTH_MAX: usize = tidings_storage::LogExpression::DEPTH_MAX / 3 - 1;
/// Maximum number of terms.
const TERMS_MAX: usize = 200;
/// Memory of all regular expressions of a query.
const PATTERNS_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests;
