//! Keeps the tables small and fast to read: fewer, larger files, and nothing that nobody needs.
//!
//! `plan` decides from the list of files alone what is worth doing; `rewrite` makes new files of
//! old ones, in pieces, so that whoever drives it can let other work go first. Owns no state and
//! commits nothing: `store::upkeep` drives it, beside appends and flushes.

mod plan;
mod rewrite;

pub(crate) use plan::{Job, Pace, plan};
pub(crate) use rewrite::Rewrite;
