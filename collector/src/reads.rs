//! Questions on an address that is written to: Zipkin's clients read where their reporters send.
//!
//! This crate reads no tables. Whoever starts the collector gives what answers; the listener, its
//! bounds and its check of hosts and origins stay the receiver's.

use std::{fmt, io};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, request::Parts};
use http_body_util::combinators::UnsyncBoxBody;
use tidings_access::Caller;

/// The body of an answer.
pub type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Answers what is asked on a receiver's address.
pub trait ReadApi: fmt::Debug + Send + Sync {
    /// The answer to a request without a body, from what its caller may see; `None` where nobody is
    /// asked for a key. Its future is dropped when the client goes away.
    fn answer(
        &self,
        head: Parts,
        caller: Option<Caller>,
    ) -> BoxFuture<'static, Response<ReplyBody>>;
}
