//! The endpoint of a listener, in which the receivers and the HTTP address differ. Everything
//! between the socket and a request is the same for all of them ([`crate::listen`]).

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
    /// Returns the name of the endpoint in the log and in counters.
    fn name(&self) -> &'static str;

    /// Answers a request. The future is dropped when the client cancels the request.
    ///
    /// The holder is the request's share of concurrent requests. The reader of the body reports to
    /// it when bytes and when all of the body have arrived, and stops when it is evicted.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        holder: Arc<RequestHolder>,
    ) -> impl Future<Output = Response<ReplyBody>> + Send;

    /// Returns whether the request is a health check, which is answered even under overload.
    fn is_health(&self, head: &Parts) -> bool;

    /// Refuses a request because there are too many connections or requests.
    fn refuse_overloaded(&self, head: &Parts, peer: PeerAddress) -> Response<ReplyBody>;

    /// Refuses a request with more header fields than `fields_max`.
    fn refuse_fields(
        &self,
        head: &Parts,
        fields_max: usize,
        peer: PeerAddress,
    ) -> Response<ReplyBody>;

    /// Counts the refusal of an unreadable head and returns its body.
    fn explain(&self, head: UnreadableHead, peer: PeerAddress) -> Explanation;

    /// Counts a TLS handshake that failed because of the client's bytes.
    fn handshake_failed(&self, error: &io::Error, peer: PeerAddress);

    /// Counts a connection that could not be accepted.
    fn accept_failed(&self, error: &io::Error);
}

/// The reason that no request could be read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableHead {
    /// Hyper refused the head with this status.
    Refused(StatusCode),
    /// The client did not use TLS, which the listener requires.
    WithoutTls,
    /// The client used TLS, which the listener does not support.
    WithTls,
}

/// The bounds of one listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections, of which some are reserved for health checks.
    pub connections_max: usize,
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub streams_max: u32,
    /// Maximum bytes of a request's head.
    pub head_bytes_max: u32,
    /// Maximum time for a head to arrive.
    pub header_timeout: Duration,
    /// Maximum time for a connection to be open without a request.
    pub idle_timeout: Duration,
}
