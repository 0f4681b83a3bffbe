//! Maintenance: merges files, applies retention, and deletes unreferenced files.
//!
//! `merge_policy` and `retention` select the work from the list of files alone. `rewrite` writes
//! new files from old ones, piece by piece, so that its caller can yield to other work.
//! `orphan_files` finds unreferenced files. `clock` guards against deleting by a wrong clock, and
//! `disk_space` checks the space for a rewrite. Owns nothing of the tables and commits nothing:
//! `store::maintenance` drives it, beside appends and flushes.

mod clock;
mod disk_space;
mod merge_policy;
mod orphan_files;
mod retention;
mod rewrite;

pub use clock::ClockGuard;
pub use disk_space::DeferredRewrites;
pub(crate) use disk_space::{DiskSpace, reserved_bytes};
pub(crate) use merge_policy::{MergeJob, MergePace, SETTLING, is_sealed, plan};
pub(crate) use orphan_files::{OrphanFile, orphan_files};
pub(crate) use retention::{ExpiredFiles, RetentionStep, common_mark, due, mark, thinned_for};
pub use retention::{Retention, RetentionCondition, RetentionRule};
pub(crate) use rewrite::Rewrite;
