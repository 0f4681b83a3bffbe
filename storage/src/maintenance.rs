//! Maintenance: merges files, applies retention, and deletes unreferenced files.
//!
//! `merge_policy` and `retention` select the work from the list of files alone. `rewrite` writes
//! new files from old ones, piece by piece, so that its caller can yield to other work. `strays`
//! finds unreferenced files. `clock` guards against deleting by a wrong clock, and `room` checks
//! the disk space of a rewrite. Owns nothing of the tables and commits nothing: `store::maintenance`
//! drives it, beside appends and flushes.

mod clock;
mod merge_policy;
mod retention;
mod rewrite;
mod room;
mod strays;

pub use clock::ClockGuard;
pub(crate) use merge_policy::{MergeJob, MergePace, SETTLING, is_sealed, plan};
pub(crate) use retention::{ExpiredFiles, RetentionStep, common_mark, due, mark, thinned_for};
pub use retention::{Retention, RetentionCondition, RetentionRule};
pub(crate) use rewrite::Rewrite;
pub use room::WaitingForRoom;
pub(crate) use room::{DiskSpace, keeps_free};
pub(crate) use strays::{Stray, strays};
