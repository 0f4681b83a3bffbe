//! SQL over spans and logs: one query at a time over read-only views, within bounds.
//!
//! ```text
//! text ─► prescan (length, tokens, depth) ─► statement (one query, known names) ─► plan (our
//! catalog, our functions, checked again) ─► guard (between any two operators) ─► answer
//! views ─► Snapshot of storage: spans · logs · traces · red · edges · tree()
//! ```
//!
//! Owns what a query may be and what it may cost. A query is hostile text: nothing of it reaches a
//! file, a URL or a setting, and whatever it computes ends with its deadline, its memory or its
//! rows. Knows how rows are stored only by `storage`'s columns; writes nothing.

mod answer;
mod error;
mod flight;
mod functions;
mod guard;
mod http;
mod limits;
mod meter;
mod parameters;
mod plan;
mod prescan;
mod service;
mod source;
mod statement;
mod views;
mod wanted;

pub use answer::{Answer, Form};
pub use error::{ErrorKind, Place, SqlError};
pub use http::{document, router};
pub use limits::{QUERY_BYTES_MAX, SqlLimits};
pub use parameters::Parameter;
pub use service::{Described, Query, SqlService};
