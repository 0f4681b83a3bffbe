//! The door from wire to rows: OTLP's messages to Arrow columns, nothing lost.
//!
//! [`span_rows`] and [`log_rows`] make one batch of a request, in memory's form of the schema.
//! [`crate::SpanRows::span`] and [`crate::LogRows::log_record`] are the way back. Resource and
//! scope become one text per distinct value (`sender`), attributes keep their types and order
//! (`attributes`). Checks nothing but ids: what a request may contain is the collector's business.

mod attributes;
mod logs;
mod sender;
mod spans;
mod text;

pub(crate) use logs::log_rows;
pub(crate) use sender::load;
pub(crate) use spans::span_rows;

use arrow_array::{builder::StringDictionaryBuilder, types::Int32Type};

/// Builds a column of repetitive text.
type WordBuilder = StringDictionaryBuilder<Int32Type>;

/// Arrow's builders reserve 1024 rows unless told; most requests have fewer.
fn words(rows: usize) -> WordBuilder {
    WordBuilder::with_capacity(rows, 0, 0)
}

/// The offsets of a list column before its first row.
fn first_offset(rows: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    offsets
}

/// A count of elements as Arrow's offset.
fn offset(count: usize) -> i32 {
    i32::try_from(count).expect("invariant: a request has fewer than 2^31 elements")
}

#[cfg(test)]
mod tests;
