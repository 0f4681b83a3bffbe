//! Sends HTTP and gRPC requests without changing them.

use std::{sync::LazyLock, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tidings_proto::otlp::{RetryInfo, RpcStatus};
use tokio::runtime::Runtime;
use tonic::Status;

use super::certificates::{AUTHORITY, client_config};

/// An HTTP response.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The result of a gRPC call.
#[derive(Debug, Clone)]
pub(crate) struct GrpcAnswer {
    /// The HTTP status.
    pub(crate) http: u16,
    /// The code in the header `grpc-status`, if there is one.
    pub(crate) code: Option<i32>,
    /// The header `grpc-message`, decoded.
    pub(crate) message: String,
    /// The header `grpc-status-details-bin`, decoded.
    pub(crate) details: Option<Bytes>,
    /// The message in the body.
    pub(crate) body: Bytes,
}

impl GrpcAnswer {
    /// Decodes the status in the details of a refusal.
    pub(crate) fn status(&self) -> Option<RpcStatus> {
        RpcStatus::decode(self.details.clone()?).ok()
    }

    /// Returns the delay in the `RetryInfo` that comes first in the details of a refusal.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let retry = RetryInfo::decode(self.status()?.details.first()?.value.as_slice()).ok()?;
        let delay = retry.retry_delay?;
        let (seconds, nanos) = (u64::try_from(delay.seconds), u32::try_from(delay.nanos));
        Some(Duration::new(seconds.ok()?, nanos.ok()?))
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// Longest time until an answer is complete: a request that takes longer gets none.
const REQUEST_PATIENCE: Duration = Duration::from_secs(180);

/// Writes an error with its causes.
fn with_causes(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

/// Waits for an answer, at most [`REQUEST_PATIENCE`].
async fn within_patience<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let patience = tokio::time::timeout(REQUEST_PATIENCE, answer).await;
    patience.unwrap_or_else(|_| Err(format!("no answer within {REQUEST_PATIENCE:?}")))
}

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

static HTTP1: LazyLock<Pool> = LazyLock::new(|| {
    let tls = HttpsConnectorBuilder::new().with_tls_config(client_config(&AUTHORITY, None));
    Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build())
});
static HTTP2: LazyLock<GrpcClient> = LazyLock::new(GrpcClient::new);

/// A gRPC client, which has one connection to a server.
#[derive(Debug)]
pub(crate) struct GrpcClient(Pool);

impl GrpcClient {
    pub(crate) fn new() -> Self {
        let tls = HttpsConnectorBuilder::new().with_tls_config(client_config(&AUTHORITY, None));
        // A request is several writes. Without `TCP_NODELAY` each would wait for the one before.
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let connector = tls.https_or_http().enable_http2().wrap_connector(plain);
        Self(Client::builder(TokioExecutor::new()).http2_only(true).build(connector))
    }
}

/// Returns the URL of a path. The scheme is `http://` unless the address has one.
fn url(address: &str, path: &str) -> String {
    let scheme = if address.contains("://") { "" } else { "http://" };
    format!("{scheme}{address}{path}")
}

/// Sends a request with these headers. An error means that the connection broke.
pub(crate) fn try_send(
    method: &str,
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(url(address, path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    RUNTIME.block_on(within_patience(async {
        let asked = HTTP1.request(request.clone()).await;
        let response = match asked {
            // A pooled connection may lead to an earlier server on this port.
            Err(_) if method == "GET" => HTTP1.request(request).await,
            asked => asked,
        };
        let response = response.map_err(with_causes)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(with_causes)?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }))
}

/// Sends a request as [`try_send`] does and panics if the connection breaks.
pub(crate) fn send(
    method: &str,
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    try_send(method, address, path, headers, body)
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// Sends a GET request.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    send("GET", address, path, &[], Bytes::new())
}

/// Sends a POST request with a body of this media type.
pub(crate) fn post(address: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
    send("POST", address, path, &[("content-type", kind)], body)
}

/// Wraps a message in a gRPC frame.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(u8::from(compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// Makes a unary call with this body unchanged. An error means that the connection broke.
pub(crate) fn try_call(
    address: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<GrpcAnswer, String> {
    try_call_by(&HTTP2, address, method, headers, body)
}

/// Makes a call as [`try_call`] does, by this client.
pub(crate) fn try_call_by(
    client: &GrpcClient,
    address: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<GrpcAnswer, String> {
    let mut request = Request::builder()
        .method("POST")
        .uri(url(address, method))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    RUNTIME.block_on(within_patience(async {
        let response = client.0.request(request).await.map_err(with_causes)?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.map_err(with_causes)?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers);
        let status = status.or_else(|| Status::from_header_map(&parts.headers));
        let details = status.as_ref().map(|status| Bytes::copy_from_slice(status.details()));
        let body = collected.to_bytes();
        Ok(GrpcAnswer {
            http: parts.status.as_u16(),
            code: status.as_ref().map(|status| status.code().into()),
            message: status.map(|status| status.message().to_owned()).unwrap_or_default(),
            details: details.filter(|details| !details.is_empty()),
            body: body.slice(body.len().min(5)..),
        })
    }))
}

/// Makes a call as [`try_call`] does and panics if the connection breaks.
pub(crate) fn call(
    address: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> GrpcAnswer {
    try_call(address, method, headers, body).unwrap_or_else(|error| panic!("{method}: {error}"))
}
