//! What traces that two data files have say together, kept beside one of the two.
//!
//! A file's rollups count its part of a trace as if it were all ([`super::graph`],
//! [`super::kinds`]). Without more, whoever asks reads the rows of all traces in two files. So the
//! index of a file that will not be merged any more gets a section that says, for every other such
//! file of its hour: which traces exactly these two have, and by how much the sums of both change
//! when those are put together. `make` finds that out, `section` is its bytes, `role` says what a
//! group of it is about, `pairs` which pairs a question can use, and which of their traces it has
//! to read all the same.
//!
//! A section is true as long as both files are there; a pair of which one has gone is compared
//! again, as are files that have no section yet. It changes no answer.

mod make;
mod pairs;
mod role;
mod section;

pub(super) use make::Change;
pub(crate) use make::joined;
pub(super) use pairs::{Joining, PairGroups, Pairs, Used};
pub(super) use role::Role;
pub(crate) use section::{JointBytes, JointSection};
