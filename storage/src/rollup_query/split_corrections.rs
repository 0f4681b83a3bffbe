//! Corrections for traces split across two files: computed for a section, and used by a query.
//!
//! `make` computes the section. `pairs` selects the pairs that a query can use, and the traces that
//! it must read anyway. `crate::rollup` has the section's format.

mod make;
mod pairs;

pub(super) use make::PairCorrection;
pub(crate) use make::build_corrections;
pub(super) use pairs::{PairGroups, Pairs, RollupFile, UsedPair};
