//! Queries for root operations, with samples of their traces.
//!
//! `rolled` is a file that answers from rollups, and `kind_query` answers queries. `sample` picks
//! example traces, and `row_sampler` reads their rows. `pair_entries` computes corrections for a
//! pair of files.

mod kind_query;
mod pair_entries;
mod rolled;
mod row_sampler;
mod sample;

pub use kind_query::KindAnswer;

pub(super) use pair_entries::entries;

#[cfg(test)]
mod tests;
