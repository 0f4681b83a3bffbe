//! Client of the commands: sends OTLP and Zipkin to a receiver, and reads from the API.

use std::{error::Error, fmt::Write};

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming, http::request::Builder};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, Error as PoolError, connect::HttpConnector},
    rt::TokioExecutor,
};
use tidings_proto::api::ProblemDetails;

use crate::{client_identity::ClientIdentity, settings::ClientKey};

/// The gRPC service that takes spans.
pub(crate) const TRACE_SERVICE: &str =
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Maximum bytes of a response that are read.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Connections to one server, reused.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http1: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    http2: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// The scheme of addresses that have none.
    scheme: &'static str,
    key: ClientKey,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    /// Reads the files of TLS, where there are any.
    ///
    /// # Errors
    /// Fails if a file cannot be used; the error names the file and the reason.
    pub(crate) fn new(identity: &ClientIdentity) -> Result<Self> {
        let ClientIdentity { tls, key } = identity;
        let builder = || Pool::builder(TokioExecutor::new());
        let config = tls.config()?;
        let connector =
            || HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_or_http();
        Ok(Self {
            http1: builder().build(connector().enable_http1().build()),
            http2: builder().http2_only(true).build(connector().enable_http2().build()),
            scheme: if tls.is_used() { "https" } else { "http" },
            key: key.clone(),
        })
    }

    /// Gets a path of the server at this address.
    pub(crate) async fn get(&self, address: &str, path: &str) -> Result<HttpAnswer> {
        let request = self.request(address, path)?.body(Full::default())?;
        let sent = self.http1.request(request).await;
        HttpAnswer::read(sent.map_err(|error| unreached(address, error))?).await
    }

    /// Opens a stream of server-sent events that continues after the event with this id.
    pub(crate) async fn events(
        &self,
        address: &str,
        path: &str,
        after: Option<&str>,
    ) -> Result<Response<Incoming>> {
        let request = self.request(address, path)?.header("accept", "text/event-stream");
        let request = match after {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let request = request.body(Full::default())?;
        self.http1.request(request).await.map_err(|error| unreached(address, error))
    }

    /// Posts a body of this type.
    pub(crate) async fn post(
        &self,
        address: &str,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> Result<HttpAnswer> {
        let request = self
            .request(address, path)?
            .method(Method::POST)
            .header("content-type", kind)
            .body(Full::new(body))?;
        let sent = self.http1.request(request).await;
        HttpAnswer::read(sent.map_err(|error| unreached(address, error))?).await
    }

    /// Makes a unary gRPC call and returns the answering message.
    pub(crate) async fn call(&self, address: &str, method: &str, message: &[u8]) -> Result<Bytes> {
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len())?);
        frame.put_slice(message);
        let request = self
            .request(address, method)?
            .method(Method::POST)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(frame.freeze()))?;
        let response = self.http2.request(request).await;
        let response = response.map_err(|error| unreached(address, error))?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().unwrap_or(&parts.headers);
        let header = |name: &str| {
            let value = trailers.get(name).or_else(|| parts.headers.get(name));
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        if header("grpc-status") != "0" {
            bail!(
                "{address} answered gRPC status {}: {}",
                header("grpc-status"),
                header("grpc-message")
            );
        }
        let body = collected.to_bytes();
        Ok(body.slice(body.len().min(5)..))
    }

    /// Begins a request, with the key if there is one.
    fn request(&self, address: &str, path: &str) -> Result<Builder> {
        let request = Request::builder().uri(self.uri(address, path)?);
        Ok(match &self.key.0 {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        })
    }

    fn uri(&self, address: &str, path: &str) -> Result<Uri> {
        let (scheme, rest) = address.split_once("://").unwrap_or((self.scheme, address));
        if scheme == "https" && self.scheme != "https" {
            bail!("{address}: --ca FILE is needed, with the root of its certificate");
        }
        format!("{scheme}://{}{path}", rest.trim_end_matches('/'))
            .parse()
            .with_context(|| format!("{address} is not an address"))
    }
}

/// Describes a request that got no answer: another program listens there, or none.
fn unreached(address: &str, error: PoolError) -> anyhow::Error {
    let reason = if has_tls_fault(&error) {
        format!("no TLS with {address}")
    } else {
        format!("nothing answers at {address}; is `tidings serve` running?")
    };
    anyhow::Error::new(error).context(reason)
}

/// Reports whether an error comes from TLS, below the errors of connectors.
fn has_tls_fault(error: &PoolError) -> bool {
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An I/O error does not list the error inside it as its source.
        at = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

impl HttpAnswer {
    /// Reads an answer to its end.
    pub(crate) async fn read(response: Response<Incoming>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer could not be read: {error}"))?;
        Ok(Self { status: parts.status, body: body.to_bytes() })
    }

    /// Returns the detail of the problem in the answer, or else its status.
    pub(crate) fn detail(&self) -> String {
        serde_json::from_slice::<ProblemDetails>(&self.body)
            .map_or_else(|_| self.status.to_string(), |problem| problem.detail)
    }
}

/// Percent-encodes everything but letters, digits, `-`, `.` and `_`.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
