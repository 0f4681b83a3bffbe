//! Zipkin's queries, answered as Zipkin answers them on the same data, whatever protocol it came
//! by.
//!
//! ```text
//! search ─► trace::complete ─► proto::zipkin ─► request (does it match?) ─► raw parts
//! trace  ─► trace::complete ─► proto::zipkin ─► merge (parts of one span)
//! links  ─► rows ─────────► proto::zipkin ─► merge ─► tree ─► link
//! ```
//!
//! Owns Zipkin's rules of what matches, what is merged and what is a call. Not here: parameters and
//! JSON (`http/zipkin`), the translation of spans (`proto::zipkin`).

mod link;
pub(crate) mod links;
mod merge;
pub(crate) mod names;
pub(crate) mod request;
pub(crate) mod search;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use merge::merge;
