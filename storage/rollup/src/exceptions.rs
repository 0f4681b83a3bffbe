//! Exceptions of spans, listed beside every data file.
//!
//! Stack traces are most of the bytes of a span with an exception, and grouping needs them. The
//! index of a file therefore lists its exceptions: group, start of the span, and content hash.
//! Queries aggregate the lists. Only the last exception of each displayed group is read from its
//! row.
//!
//! `exception_attributes` has the attributes of one exception, and `stack` normalises stack traces.
//! `build` lists the exceptions of some rows, and `exception_section` encodes the list.
//! `tidings_snapshot::rollup_query` answers from the lists of files, and from lists built from rows
//! where a file has none. Each span counts once. Log records are not included.

pub mod build;
mod exception_attributes;
pub mod exception_section;
mod stack;

use tidings_proto::UnixNanos;

pub use build::{COLUMNS, ExceptionBuilder};
pub use exception_attributes::ExceptionAttributes;
pub use exception_section::{ExceptionSection, Listing as ExceptionListing};

/// Group key of exceptions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionKey {
    /// `service.name`.
    pub service: String,
    /// Name of the span. Empty for log records.
    pub operation: String,
    /// `exception.type`.
    pub exception_type: String,
    /// Hash of [`ExceptionAttributes::normalised_stack`].
    pub stack: u128,
}

impl ExceptionKey {
    /// Returns the length of the names in bytes.
    pub fn bytes(&self) -> usize {
        self.service.len() + self.operation.len() + self.exception_type.len()
    }
}

/// Exception in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedException {
    /// Row of the span.
    pub row: u64,
    /// Number of the group in the list.
    pub group: u32,
    /// Start of the span.
    pub start: UnixNanos,
    /// Hash of the span's content, for deduplication.
    pub content_hash: u64,
}

/// Exceptions in the order of their rows.
#[derive(Debug, Default)]
pub struct List {
    /// Groups of the exceptions, in the order of their numbers.
    pub groups: Vec<ExceptionKey>,
    /// Exceptions of the rows.
    pub exceptions: Vec<ListedException>,
}
