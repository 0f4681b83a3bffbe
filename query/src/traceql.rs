//! TraceQL: the text of a query to an answer about stored traces.
//!
//! ```text
//! text ─► lexer ─► parser (types checked on the way) ─► syntax ─► compiled
//!     log records ─► records (whose spans say what the query asks of logs)
//!     rows ─► candidates ─► traces, assembled ─► evaluate ─► search   (Tempo's and the native API)
//!                        └► observe ───────────────────────► metrics
//! ```
//!
//! Owns the language: what is a query, what it means, and what is said about one that is none.
//! Nothing here recurses deeper than [`DEPTH_MAX`], because depth is bounded while tokens are read
//! and while the tree is built, and what stands in a row is a list of at most [`TERMS_MAX`]; texts
//! are bounded by [`TEXT_BYTES_MAX`], and patterns by what all of a query need. Where Tempo parses a query
//! but refuses to run it (`parent.`, aggregate against aggregate), it runs here.

mod candidates;
mod compiled;
mod error;
mod evaluate;
pub(crate) mod filter;
mod lenient;
mod lexer;
pub(crate) mod metrics;
pub(crate) mod native;
mod normal;
pub(crate) mod overlap;
mod parser;
pub(crate) mod pattern;
mod places;
mod read;
mod records;
mod relations;
pub(crate) mod search;
pub(crate) mod shown;
pub(crate) mod syntax;
pub(crate) mod tags;
mod types;
pub(crate) mod value;

pub(crate) use error::TraceqlError;
pub(crate) use parser::{parse, parse_with};

/// The longest query, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// How deep brackets may nest and how deep the tree of a query may be.
const DEPTH_MAX: u32 = 100;
/// How many numbers, spansets or metrics may stand in a row, with operators between them.
const TERMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
