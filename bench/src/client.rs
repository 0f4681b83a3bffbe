//! Sends OTLP over gRPC and asks the API.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value as Json;

use crate::clock;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What gRPC calls "try again".
const AGAIN: [&str; 2] = ["8", "14"];
/// Exporters wait for a second or longer.
const BACKOFF: Duration = Duration::from_millis(100);
/// A server that is still busy after this many tries is broken.
const TRIES_MAX: u32 = 600;

/// A connection for each protocol.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http1: Pool<HttpConnector, Full<Bytes>>,
    http2: Pool<HttpConnector, Full<Bytes>>,
}

/// A request that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    /// Of the try that succeeded.
    pub(crate) took: Duration,
    /// How often the server said "try again" before.
    pub(crate) refusals: u64,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl Client {
    pub(crate) fn new() -> Self {
        let builder = || Pool::builder(TokioExecutor::new());
        let connector = || {
            let mut connector = HttpConnector::new();
            // As exporters do. Else the end of a request waits for the acknowledgement of what came
            // before it, which the server's kernel holds back for 40 ms.
            connector.set_nodelay(true);
            connector
        };
        Self {
            http1: builder().build(connector()),
            http2: builder().http2_only(true).build(connector()),
        }
    }

    /// Exports a request, again and again while the server is busy.
    pub(crate) async fn export(&self, address: &str, body: Vec<u8>) -> Result<Acknowledged> {
        let mut frame = BytesMut::with_capacity(body.len() + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(body.len())?);
        frame.put_slice(&body);
        let frame = frame.freeze();
        let mut refusals = 0;
        loop {
            let begin = clock::now();
            let (status, message) = self.call(address, frame.clone()).await?;
            if status == "0" {
                ensure!(message.len() <= 5, "the server left spans out: {message:?}");
                return Ok(Acknowledged { took: begin.elapsed(), refusals });
            }
            if !AGAIN.contains(&status.as_str()) || refusals >= u64::from(TRIES_MAX) {
                bail!("{address} answered gRPC status {status}");
            }
            refusals += 1;
            clock::wait(BACKOFF).await;
        }
    }

    async fn call(&self, address: &str, frame: Bytes) -> Result<(String, Bytes)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}{EXPORT}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(frame))?;
        let (head, body) = self.http2.request(request).await.context("export")?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().unwrap_or(&head.headers);
        let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
        let status = status.and_then(|status| status.to_str().ok()).unwrap_or("none").to_owned();
        Ok((status, body.to_bytes()))
    }

    /// Asks the API: the answer, `None` when there is no such thing, and how long it took.
    pub(crate) async fn ask(&self, address: &str, path: &str) -> Result<(Option<Json>, Duration)> {
        let answer = self.get(address, &format!("/api/v1{path}")).await?;
        match answer.status {
            200 => Ok((Some(serde_json::from_slice(&answer.body)?), answer.took)),
            404 => Ok((None, answer.took)),
            status => bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    /// What is at this path, whatever it is.
    pub(crate) async fn get(&self, address: &str, path: &str) -> Result<Got> {
        let begin = clock::now();
        let request = Request::get(format!("http://{address}{path}")).body(Full::default())?;
        let (head, body) = self.http1.request(request).await.context("ask")?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Got { status: head.status.as_u16(), body, took: begin.elapsed() })
    }
}
