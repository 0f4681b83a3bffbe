//! Sends OTLP and Zipkin to a receiver, and asks the API, for the commands that are clients.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The gRPC service that takes spans.
pub(crate) const TRACE_SERVICE: &str =
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How much of an answer is kept.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Connections to one server, reused.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http1: Pool<HttpConnector, Full<Bytes>>,
    http2: Pool<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new() -> Self {
        let builder = || Pool::builder(TokioExecutor::new());
        Self { http1: builder().build_http(), http2: builder().http2_only(true).build_http() }
    }

    /// Gets a path of the server at this address.
    pub(crate) async fn get(&self, address: &str, path: &str) -> Result<Answer> {
        let request = Request::get(uri(address, path)?).body(Full::default())?;
        read(self.http1.request(request).await.with_context(|| reach(address))?).await
    }

    /// Posts a body of this type.
    pub(crate) async fn post(
        &self,
        address: &str,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> Result<Answer> {
        let request = Request::post(uri(address, path)?)
            .header("content-type", kind)
            .body(Full::new(body))?;
        read(self.http1.request(request).await.with_context(|| reach(address))?).await
    }

    /// Makes a unary gRPC call and gives the answering message.
    pub(crate) async fn call(&self, address: &str, method: &str, message: &[u8]) -> Result<Bytes> {
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len())?);
        frame.put_slice(message);
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri(address, method)?)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(frame.freeze()))?;
        let response = self.http2.request(request).await.with_context(|| reach(address))?;
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
}

fn uri(address: &str, path: &str) -> Result<Uri> {
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    format!("http://{address}{path}")
        .parse()
        .with_context(|| format!("{address} is not an address"))
}

fn reach(address: &str) -> String {
    format!("nothing answers at {address}; is `tidings serve` running?")
}

async fn read(response: Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("the answer could not be read: {error}"))?;
    Ok(Answer { status: parts.status, body: body.to_bytes() })
}
