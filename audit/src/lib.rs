//! The audit log: changes, denied requests and (if enabled) reads, with author, time, address and
//! outcome.
//!
//! Owns the files `audit/<day>.jsonl`, one line of JSON for each [`AuditEvent`], their retention,
//! and their search. It is kept apart from telemetry: no query can read it, and erasing telemetry
//! does not change it. Does not own the decision which requests are changes; the HTTP address, the
//! receivers and the commands make it.
//!
//! ```text
//! change done ─► AuditLog::record ─► line, synced, before the answer leaves
//! denied, read ─► AuditLog::count ─► folded by author, address and action ─► AuditLog::follow, each second
//! GET /api/v1/audit ─► AuditLog::search ─► files of days, the newest first
//! ```

mod day;
mod event_search;
mod folded;
mod journal;

pub use event_search::{AuditPage, AuditPosition, AuditQuery, LINE_BYTES_MAX};
pub use journal::{AuditCounts, AuditError, AuditLog, AuditSettings, append_once};
#[doc(no_inline)]
pub use tidings_proto::api::{
    AuditActor, AuditActorKind, AuditEvent, AuditEventList, AuditOutcome,
};
