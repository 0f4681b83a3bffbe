//! Keeps the tables small and fast to read: fewer, larger files, and nothing that nobody needs.
//!
//! `plan` and `retention` decide from the list of files alone what is worth doing; `rewrite` makes new files of
//! old ones, in pieces, so that whoever drives it can let other work go first; `strays` finds the
//! files that a table does not have, `clock` says whether their age can be believed, `room` whether
//! the disk has room for what a rewrite would write. Owns nothing
//! of the tables and commits nothing: `store::upkeep` drives it, beside appends and flushes.

mod clock;
mod plan;
mod retention;
mod rewrite;
mod room;
mod strays;

pub(crate) use clock::ClockGuard;
pub(crate) use plan::{Job, Pace, is_sealed, plan};
pub(crate) use retention::{Due, Retired, common_mark, due, mark, thinned_for};
pub use retention::{Noteworthy, Retention, RetentionRule};
pub(crate) use rewrite::Rewrite;
pub use room::WaitingForRoom;
pub(crate) use room::{Room, keeps_free};
pub(crate) use strays::strays;
