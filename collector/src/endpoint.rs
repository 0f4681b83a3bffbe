//! The endpoint of a listener's connections: the one thing in which the receivers and the HTTP
//! address differ. Everything between the socket and a request is the same for all of them
//! ([`crate::listen`]).

use std::{future::Future, io, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;

use crate::{
    head_errors::Explanation,
    shares::{PeerAddress, RequestHolder},
    sink::ReplyBody,
};

/// Answers the requests of one listener.
pub trait Endpoint: Send + Sync + 'static {
    /// Returns its name in the log and among the counters.
    fn name(&self) -> &'static str;

    /// Answers a request. The future is dropped when the client gives the request up.
    ///
    /// The holder is the request's part of the requests under way: whoever reads the body tells it
    /// when something has come and when all has, and ends when it is evicted.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        holder: Arc<RequestHolder>,
    ) -> impl Future<Output = Response<ReplyBody>> + Send;

    /// Returns whether the request asks for the process's health: it is answered when nothing else
    /// is.
    fn is_health(&self, head: &Parts) -> bool;

    /// Refuses a request because there are too many connections or requests.
    fn refuse_overloaded(&self, head: &Parts, peer: PeerAddress) -> Response<ReplyBody>;

    /// Refuses a request whose head has more fields than this many.
    fn refuse_fields(
        &self,
        head: &Parts,
        fields_max: usize,
        peer: PeerAddress,
    ) -> Response<ReplyBody>;

    /// Words the refusal of a head that did not become a request, and counts it.
    fn explain(&self, head: UnreadableHead, peer: PeerAddress) -> Explanation;

    /// Notes a handshake of TLS that failed by what the client sent.
    fn handshake_failed(&self, error: &io::Error, peer: PeerAddress);

    /// Notes a connection that could not be accepted.
    fn accept_failed(&self, error: &io::Error);
}

/// The beginning of a connection that no request can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableHead {
    /// One that hyper refuses with this status.
    Refused(StatusCode),
    /// One without TLS, which the listener needs.
    WithoutTls,
    /// One of TLS, which the listener does not speak.
    WithTls,
}

/// The bounds of one listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at a time; some are kept for questions about health.
    pub connections_max: usize,
    /// Requests at a time on one connection of HTTP/2.
    pub streams_max: u32,
    /// Bytes of a request's head that are read at most.
    pub head_bytes_max: u32,
    /// Time in which a head must arrive.
    pub header_timeout: Duration,
    /// Time that a connection may be open without a request.
    pub idle_timeout: Duration,
}
