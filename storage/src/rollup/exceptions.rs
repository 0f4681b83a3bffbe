//! The exceptions of spans, listed beside every data file.
//!
//! Stack traces are most of what a span with an exception has, and which exceptions are the same
//! only they tell. So the index of a file lists its exceptions: what group each is of, when its
//! span began, and the hash that tells spans apart. Questions add up the lists; only the last of
//! a group that is shown is read from its row.
//!
//! `thrown` is what one exception says, `stack` what stays the same of stacks, `build` makes the
//! list of some rows, `section` is its bytes in the index, `tally` answers: from the lists of files
//! and of what has none, made from rows. Each span counts once. Log records are not looked at.

mod build;
mod section;
mod stack;
mod tally;
mod thrown;

use tidings_proto::UnixNanos;

pub use tally::{ExceptionBounds, ExceptionSums, ExceptionTallied, LastException};
pub use thrown::ExceptionSaid;

pub(super) use build::COLUMNS;
pub(crate) use build::ExceptionBuilder;
pub(crate) use section::{ExceptionSection, Listing as ExceptionListing};

/// What exceptions of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionKey {
    /// `service.name`.
    pub service: String,
    /// The span's name; empty for log records.
    pub operation: String,
    /// `exception.type`.
    pub exception_type: String,
    /// The hash of [`ExceptionSaid::normalised_stack`].
    pub stack: u128,
}

impl ExceptionKey {
    /// How long its names are together.
    fn bytes(&self) -> usize {
        self.service.len() + self.operation.len() + self.exception_type.len()
    }
}

/// An exception of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    /// The row of its span.
    row: u64,
    /// The number of its group in the list.
    group: u32,
    /// When its span began.
    start: UnixNanos,
    /// What tells spans apart.
    content_hash: u64,
}

/// Exceptions in the order of their rows.
#[derive(Debug, Default)]
struct List {
    groups: Vec<ExceptionKey>,
    exceptions: Vec<Listed>,
}

#[cfg(test)]
mod tests;
