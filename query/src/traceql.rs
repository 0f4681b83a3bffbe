//! TraceQL: the text of a query to an answer about stored traces.
//!
//! ```text
//! text ─► lexer ─► parser (types checked on the way) ─► syntax ─► compiled
//!     log records ─► records (whose spans say what the query asks of logs)
//!     rows ─► candidates ─► traces, assembled ─► evaluate ─► search   (Tempo's and the native API)
//!                        └► observe ───────────────────────► metrics
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
mod read;
mod records;
mod relations;
pub(crate) mod search;
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
/// Maximum length of a chain of numbers, spansets or metrics with operators between them.
const TERMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
