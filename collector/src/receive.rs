//! The receivers: one file per protocol, and their list.
//!
//! A receiver owns the requests and responses of its protocol. Does not own sockets, limits, counts
//! and records: [`crate::server`] calls it for each request, and [`Ingest`] does the rest. A new
//! protocol is a file with its `mod`, and a line in [`RECEIVERS`], which also has the setting of
//! its address.

pub mod fuzzed_bodies;
mod grpc;
mod otlp;
mod otlp_grpc;
mod otlp_http;
mod zipkin_http;

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tidings_proto::api::StandardReceiver;

use crate::{
    CollectorSettings,
    admit::Admission,
    body::BodyReader,
    decompress::Compression,
    destination::Destination,
    head_errors::Explanation,
    ingest::Ingest,
    refusal::{Reason, Refusal},
    sink::{ReplyBody, Sink},
};

/// The content type of plain text.
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The challenge for a request without a valid key.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tidings\"");

/// An admitted request, with everything that a receiver needs to store it.
pub(crate) struct Exchange<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) body: &'a mut Incoming,
    pub(crate) reader: BodyReader<'a>,
    pub(crate) ingest: &'a Ingest,
    pub(crate) admission: Admission,
}

/// A receiver of one protocol.
pub(crate) trait Receiver: fmt::Debug + Send + Sync {
    /// Returns its name in the status, in counters and in the log.
    fn name(&self) -> &'static str;

    /// Stores a request and returns the response of success.
    fn receive<'a>(
        &'a self,
        exchange: Exchange<'a>,
    ) -> BoxFuture<'a, Result<Response<ReplyBody>, Refusal>>;

    /// Returns whether the request is a query that this listener can answer.
    fn is_question(&self, _head: &Parts) -> bool {
        false
    }

    /// Returns whether the request is a health check.
    fn is_health(&self, _head: &Parts) -> bool {
        false
    }

    /// Writes a refusal in the protocol's form.
    fn refuse(&self, head: &Parts, refusal: &Refusal) -> Response<ReplyBody>;

    /// Returns the body of a refusal of an unreadable request.
    fn explain(&self, refusal: &Refusal) -> Explanation {
        Explanation {
            media_type: PLAIN_TEXT,
            body: format!("{}\n", refusal.message).into_bytes().into(),
        }
    }
}

/// A receiver, and the setting of its address.
#[derive(Debug)]
pub struct RegisteredReceiver {
    /// Name of the setting, such as `otlp-grpc`.
    pub setting: &'static str,
    /// Default of the setting.
    pub address: &'static str,
    /// Description of the setting.
    pub help: &'static str,
    receiver: &'static dyn Receiver,
}

impl RegisteredReceiver {
    const fn new(
        setting: &'static str,
        address: &'static str,
        help: &'static str,
        receiver: &'static dyn Receiver,
    ) -> Self {
        Self { setting, address, help, receiver }
    }
}

/// Every receiver, in the order of the settings and of the status.
#[rustfmt::skip]
pub const RECEIVERS: &[RegisteredReceiver] = &[
    RegisteredReceiver::new("otlp-grpc", StandardReceiver::OTLP_GRPC.address, "address of the OTLP/gRPC receiver", &otlp_grpc::OtlpGrpc),
    RegisteredReceiver::new("otlp-http", StandardReceiver::OTLP_HTTP.address, "address of the OTLP/HTTP receiver", &otlp_http::OtlpHttp),
    RegisteredReceiver::new("zipkin", StandardReceiver::ZIPKIN.address, "address of the Zipkin receiver", &zipkin_http::Zipkin),
];

/// Returns the receivers that have an address, with the address.
pub(crate) fn listening(settings: &CollectorSettings) -> Vec<(SocketAddr, &'static dyn Receiver)> {
    let with_address = |registered: &RegisteredReceiver| {
        Some((settings.address(registered.setting)?, registered.receiver))
    };
    RECEIVERS.iter().filter_map(with_address).collect()
}

// This is in this file because the number of receivers is known here.
impl Destination {
    /// Makes a destination for a sink, with all counts 0.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self::with_receivers(sink, RECEIVERS.len())
    }
}

fn full(bytes: impl Into<Bytes>) -> ReplyBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Returns a header as text; `None` when it is absent, empty when it is not text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Returns the content type in lower case without its parameters; empty when it is absent.
fn media_type(headers: &HeaderMap) -> String {
    let value = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the compression of an HTTP body.
fn content_encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let name = values.next().map_or("", |value| value.to_str().unwrap_or("?"));
    Compression::from_name(name).filter(|_| values.next().is_none()).ok_or_else(|| {
        let message = format!("content encoding {name:?} is not read here, but gzip and zstd are");
        Refusal::new(Reason::Encoding, message)
    })
}
