//! Columns of data files that have encoders of their own (decision 0034): attributes, words, and
//! numbers that have a dictionary.
//!
//! Arrow's writer finds out for each value what it is called in the dictionary, and for each column
//! what its levels are. Memory has words and the keys of attributes as dictionaries already, and
//! the levels of attributes follow from offsets and from validity or what memory says values are. `levels` makes and packs levels,
//! `values` gathers what there is, plain or as codes of a `dictionary`, `chunk` puts pages together, and `pages` is all
//! of that for one column.
//! What is written is what any reader of Parquet reads: data pages of version 1. Sizes of pages and
//! dictionaries and the compression are those of the properties of the file. `row_groups` puts the
//! chunks into row groups.

mod attributes;
mod chunk;
mod dictionary;
mod flat;
mod levels;
mod pages;
mod values;

use parquet::errors::ParquetError;

pub(super) use self::{attributes::AttributesEncoder, chunk::Codec, flat::FlatEncoder};

fn unexpected(what: &str) -> ParquetError {
    ParquetError::General(format!("rows that are to be written have {what}"))
}
