//! Sends OTLP and asks the API.

use std::{fmt::Write, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use serde_json::Value as Json;

use crate::machine;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// gRPC status codes that ask the client to retry: 8 `RESOURCE_EXHAUSTED` and 14 `UNAVAILABLE`.
const AGAIN: [&str; 2] = ["8", "14"];
/// HTTP status codes with which OTLP asks the client to retry.
const AGAIN_HTTP: [u16; 4] = [429, 502, 503, 504];
/// Length in bytes of the prefix of a gRPC message.
const GRPC_HEAD: usize = 5;
/// Bodies with which servers say that they took all spans: none, or an empty partial success.
const ALL: [&[u8]; 2] = [b"", b"\x0a\x00"];
/// Time until the next try. Exporters wait for a second or longer.
const BACKOFF: Duration = Duration::from_millis(100);
/// A server that is still busy after this many tries is broken.
const TRIES_MAX: u32 = 600;

/// Protocol and address at which a server takes OTLP.
#[derive(Debug, Clone)]
pub(crate) enum Otlp {
    /// OTLP over gRPC at this address.
    Grpc(String),
    /// OTLP over HTTP at this URL.
    Http(String),
}

/// Outcome of a request.
enum SendOutcome {
    Stored,
    Again,
}

/// Credentials of a sender of OTLP, and the server that it trusts.
#[derive(Debug, Clone, Default)]
pub(crate) struct SenderSecurity {
    /// Its key.
    pub(crate) key: Option<String>,
    /// The server's certificate; `None` without TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// A connection for each protocol.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http1: Pool<HttpConnector, Full<Bytes>>,
    http2: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Scheme of exports by gRPC.
    scheme: &'static str,
    authorization: Option<String>,
}

/// A request that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    /// Duration of the try that succeeded.
    pub(crate) took: Duration,
    /// Number of tries before it that the server refused as busy.
    pub(crate) refusals: u64,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct TimedAnswer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl Client {
    /// Makes a client without a key and without TLS.
    pub(crate) fn new() -> Result<Self> {
        Self::with_security(&SenderSecurity::default())
    }

    /// Makes a client with the credentials of this sender.
    pub(crate) fn with_security(sender: &SenderSecurity) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        if let Some(certificate) = &sender.certificate {
            roots.add(certificate.clone())?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = || Pool::builder(TokioExecutor::new());
        Ok(Self {
            http1: builder().build(connector()),
            http2: builder().http2_only(true).build(tls.enable_http2().wrap_connector(connector())),
            scheme: if sender.certificate.is_some() { "https" } else { "http" },
            authorization: sender.key.as_ref().map(|key| format!("Bearer {key}")),
        })
    }

    /// Exports a request, again and again while the server is busy.
    pub(crate) async fn export(&self, otlp: &Otlp, body: Vec<u8>) -> Result<Acknowledged> {
        let message = match otlp {
            Otlp::Grpc(_) => framed(&body)?,
            Otlp::Http(_) => body.into(),
        };
        for refusals in 0..TRIES_MAX {
            let begin = machine::now();
            let said = match otlp {
                Otlp::Grpc(address) => self.call(address, message.clone()).await?,
                Otlp::Http(url) => self.post(url, message.clone()).await?,
            };
            match said {
                SendOutcome::Stored => {
                    return Ok(Acknowledged { took: begin.elapsed(), refusals: refusals.into() });
                }
                SendOutcome::Again => machine::wait(BACKOFF).await,
            }
        }
        bail!("{otlp:?} was busy {TRIES_MAX} times")
    }

    async fn call(&self, address: &str, frame: Bytes) -> Result<SendOutcome> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}://{address}{EXPORT}", self.scheme))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(frame))?;
        let (head, body) = self.http2.request(request).await.context("export")?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().unwrap_or(&head.headers);
        let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
        let status = status.and_then(|status| status.to_str().ok()).unwrap_or("none").to_owned();
        if AGAIN.contains(&status.as_str()) {
            return Ok(SendOutcome::Again);
        }
        ensure!(status == "0", "{address} answered gRPC status {status}");
        let message = body.to_bytes();
        let took_all = message.get(GRPC_HEAD..).is_none_or(|said| ALL.contains(&said));
        ensure!(took_all, "the server left spans out: {message:?}");
        Ok(SendOutcome::Stored)
    }

    async fn post(&self, url: &str, message: Bytes) -> Result<SendOutcome> {
        let request = Request::post(url)
            .header("content-type", "application/x-protobuf")
            .body(Full::new(message))?;
        let (head, body) = self.http1.request(request).await.context("export")?.into_parts();
        let answer = body.collect().await?.to_bytes();
        let status = head.status.as_u16();
        if AGAIN_HTTP.contains(&status) {
            return Ok(SendOutcome::Again);
        }
        ensure!(status / 100 == 2, "{url} answered {status}: {}", String::from_utf8_lossy(&answer));
        ensure!(ALL.contains(&&answer[..]), "{url} left spans out: {answer:?}");
        Ok(SendOutcome::Stored)
    }

    /// Asks the API. Returns the answer, `None` for 404, and how long it took.
    pub(crate) async fn ask(&self, address: &str, path: &str) -> Result<(Option<Json>, Duration)> {
        let answer = self.get(address, &format!("/api/v1{path}")).await?;
        match answer.status {
            200 => Ok((Some(serde_json::from_slice(&answer.body)?), answer.took)),
            404 => Ok((None, answer.took)),
            status => bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    /// Gets this path and returns the answer with any status.
    pub(crate) async fn get(&self, address: &str, path: &str) -> Result<TimedAnswer> {
        let begin = machine::now();
        let request = Request::get(format!("http://{address}{path}")).body(Full::default())?;
        let (head, body) = self.http1.request(request).await.context("ask")?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(TimedAnswer { status: head.status.as_u16(), body, took: begin.elapsed() })
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // Exporters do so, too. Otherwise the end of a request waits for the acknowledgement of the
    // bytes before it, which the server's kernel delays by 40 ms.
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector
}

/// Frames a message for gRPC: the flag for no compression, the length, the message.
fn framed(message: &[u8]) -> Result<Bytes> {
    let mut frame = BytesMut::with_capacity(message.len() + GRPC_HEAD);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len())?);
    frame.put_slice(message);
    Ok(frame.freeze())
}

/// Percent-encodes a text for a query string.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn reserved_characters_of_addresses_are_encoded() {
        assert_eq!(encoded("GET /a?b=é"), "GET%20%2Fa%3Fb%3D%C3%A9");
    }
}
