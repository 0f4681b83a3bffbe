//! The engine of SQL: a worker plans and runs one query, and ends.
//!
//! ```text
//! text ─► prescan (length, tokens, depth) ─► statement (one query, known names) ─► plan
//!      (our catalog, our functions, checked again) ─► guard (between any two operators) ─► answer
//! ```
//!
//! Owns which queries are allowed, and everything that needs DataFusion. The server's side, its
//! messages, limits, views and errors are those of `tidings-sql`. Has no store, no files and no
//! network: rows come from the server.

mod answer;
mod catalog;
mod condition;
mod dynamic_filters;
mod error;
mod functions;
mod guard;
mod parameters;
mod plan;
mod prescan;
mod server_link;
mod source;
mod statement;
mod vocabulary;
mod worker;

#[doc(hidden)]
pub use statement::may_be_planned;
pub use statement::{CastPair, Elements, elements};
pub use vocabulary::{ColumnName, Vocabulary, vocabulary};
pub use worker::run_worker;
