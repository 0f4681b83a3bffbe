//! Encoders for some columns of data files (decision 0034): attributes in the map and in columns of
//! their own, dictionary-encoded texts ("words"), and numbers that have a dictionary.
//!
//! Arrow's writer looks up every value in the dictionary and computes the levels of every column.
//! Memory already holds words and attribute keys as dictionaries. The levels of attributes follow
//! from offsets and the packed kinds of values. `levels` computes and packs levels. `values`
//! gathers values, plain or as codes of a `dictionary`. `chunk` joins pages, and `pages` combines
//! these steps for one column.
//!
//! The output is standard Parquet: data pages of version 1. Sizes of pages and dictionaries and the
//! compression follow the file's properties. `row_groups` joins the chunks to row groups.

mod attribute_encoder;
mod chunk;
mod dictionary;
mod flat;
mod levels;
mod pages;
mod sparse;
mod values;

use parquet::{
    basic::{Encoding, EncodingMask},
    errors::ParquetError,
    file::metadata::ColumnChunkMetaData,
};

pub(super) use self::{
    attribute_encoder::AttributesEncoder,
    chunk::Codec,
    flat::FlatEncoder,
    sparse::{RowEntry, SparseEncoder},
    values::{TextSlices, ValueSource},
};

fn unexpected(what: &str) -> ParquetError {
    ParquetError::General(format!("rows that are to be written have {what}"))
}

/// Returns true if all pages are dictionary-encoded.
pub(super) fn is_coded(chunk: &ColumnChunkMetaData) -> bool {
    let is_only = |only: &EncodingMask| {
        only.is_only(Encoding::RLE_DICTIONARY) || only.is_only(Encoding::PLAIN_DICTIONARY)
    };
    chunk.page_encoding_stats_mask().is_some_and(is_only)
}
