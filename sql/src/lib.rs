//! SQL over spans and logs: one query at a time over read-only views, within bounds.
//!
//! ```text
//! server   http · flight ─► service (slots, deadline) ─► conversation ◄─► worker
//!          views ─► scan ─► Snapshot of storage: spans · logs · traces · red · edges · tree()
//! worker   text ─► prescan (length, tokens, depth) ─► statement (one query, known names) ─► plan
//!          (our catalog, our functions, checked again) ─► guard (between any two operators) ─► answer
//! ```
//!
//! Owns which queries are allowed and what they may cost. A query is hostile text: no part of it
//! reaches a file, a URL or a setting, and every computation ends with the query's deadline, its
//! memory or its rows. Where that is not enough it ends with its process: each query is planned and
//! run by a `worker`, which has no store, no files and no network. Knows `storage`'s columns, but
//! not how rows are stored; writes nothing.

mod answer;
mod catalog;
mod conversation;
mod dynamic_filters;
mod error;
mod flight;
mod frame;
mod functions;
#[doc(hidden)]
pub mod fuzzed_messages;
mod guard;
mod handover;
mod http;
mod limits;
mod message;
mod meter;
mod outcomes;
mod parameters;
mod plan;
mod pool;
mod prescan;
mod query_slots;
mod scan;
mod server_link;
mod source;
mod sql_service;
mod statement;
mod views;
mod vocabulary;
mod worker;

pub use answer::Answer;
pub use conversation::EncodedSignature;
pub use error::{QueryPosition, SqlError, SqlErrorKind};
pub use handover::AnswerParts;
pub use http::{document, router};
pub use limits::{QUERY_BYTES_MAX, RUNNING_QUERIES_MAX, SqlLimits, WorkerLimits};
pub use message::{AnswerFormat, Query};
pub use parameters::Parameter;
pub use pool::WorkerProgram;
pub use sql_service::{SqlService, SubmittedStatement};
pub use statement::{CastPair, Elements, elements};
pub use vocabulary::{ColumnName, Vocabulary, vocabulary};
pub use worker::run_worker;
