//! Precomputed corrections for traces split across two files, stored in the index of one of them.
//!
//! A file's rollups count its part of a trace as a whole trace ([`super::graph`],
//! [`super::kinds`]). Without corrections, a query has to read the rows of all split traces. Files
//! that are not merged any more get a section with the corrections against each other such file of
//! their hour. It lists the traces that exactly these two files have, and the change of both files'
//! rollups. `make` computes it and `pair_section` encodes it. `role` is the effect of a group's
//! calls. `pairs` selects the pairs a query can use, and the traces it must read anyway.
//!
//! A section is valid while both files exist. Pairs without a section are compared during the
//! query. Corrections change no answer.

mod make;
mod pair_section;
mod pairs;
mod role;

pub(super) use make::PairCorrection;
pub(crate) use make::joined;
pub(crate) use pair_section::{CorrectionBytes, CorrectionSection};
pub(super) use pairs::{PairGroups, Pairs, RollupFile, UsedPair};
pub(super) use role::CorrectionRole;
