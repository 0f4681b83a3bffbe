//! SQL over spans and logs: one query at a time over read-only views, within bounds.
//!
//! ```text
//! server   http · flight ─► service (slots, deadline) ─► conversation ◄─► worker
//!          views ─► scan ─► Snapshot of storage: spans · logs · traces · red · edges · tree()
//! ```
//!
//! Owns what queries may cost, how they arrive and how their answers leave. A query is hostile text:
//! no part of it reaches a file, a URL or a setting, and every computation ends with the query's
//! deadline, its memory or its rows. Where that is not enough it ends with its process: each query is
//! planned and run by a worker, which has no store, no files and no network. The worker is the crate
//! `tidings-sql-engine`, which uses the limits, messages, views and errors of this one. So the server
//! is built without the engine. Knows `storage`'s columns, but not how rows are stored; writes
//! nothing.

mod answer;
mod conversation;
mod error;
mod flight;
pub mod frame;
#[doc(hidden)]
pub mod fuzzed_messages;
mod handover;
mod http;
pub mod limits;
pub mod message;
pub mod meter;
mod outcomes;
pub mod parameters;
mod pool;
mod query_slots;
mod scan;
mod sql_service;
pub mod views;
pub mod width;

pub use answer::Answer;
pub use conversation::EncodedSignature;
pub use error::{QueryPosition, SqlError, SqlErrorKind, UNABLE};
pub use flight::{flight_parts, schema_message};
pub use handover::AnswerParts;
pub use http::{document, router};
pub use limits::{QUERY_BYTES_MAX, RUNNING_QUERIES_MAX, SqlLimits, WorkerLimits};
pub use message::{AnswerFormat, Query};
pub use parameters::Parameter;
pub use pool::{Process, WorkerProgram};
pub use scan::RowsSince;
pub use sql_service::{SqlService, SubmittedStatement};
