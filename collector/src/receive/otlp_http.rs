//! OTLP over HTTP: `/v1/traces` and `/v1/logs`, in protobuf and JSON.
//!
//! Every refusal is a `google.rpc.Status` in the request's encoding, or in JSON if the request has
//! no known one.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use prost::Message;
use tidings_proto::api::StandardReceiver;

use super::{
    CHALLENGE, Exchange, Receiver, content_encoding, full, grpc, media_type,
    otlp::{self, Encoding},
};
use crate::{
    head_errors::Explanation,
    ingest::Payload,
    normalise::Signal,
    refusal::{Reason, Refusal},
    sink::ReplyBody,
};

/// The receiver.
#[derive(Debug)]
pub(super) struct OtlpHttp;

/// The target of a path.
enum Target {
    Stored(Signal),
    NotStored(&'static str),
}

fn target(path: &str) -> Result<Target, Refusal> {
    match path {
        "/v1/traces" => Ok(Target::Stored(Signal::Traces)),
        "/v1/logs" => Ok(Target::Stored(Signal::Logs)),
        "/v1/metrics" => Ok(Target::NotStored("metrics")),
        "/v1development/profiles" => Ok(Target::NotStored("profiles")),
        _ => {
            let message = format!("nothing at {path:?}: send to /v1/traces and /v1/logs");
            Err(Refusal::new(Reason::UnknownPath, message))
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    match media_type(headers).as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        _ if tidings_grpc::is_grpc(headers) => {
            let message = "this port speaks OTLP over HTTP; OTLP over gRPC has a port of its own, \
                           usually 4317";
            Err(Refusal::new(Reason::NotStored, message))
        }
        other => {
            let message = format!(
                "content type {other:?} is not read here, but application/x-protobuf and \
                 application/json are"
            );
            Err(Refusal::new(Reason::MediaType, message))
        }
    }
}

impl Receiver for OtlpHttp {
    fn name(&self) -> &'static str {
        StandardReceiver::OTLP_HTTP.name
    }

    fn receive<'a>(
        &'a self,
        exchange: Exchange<'a>,
    ) -> BoxFuture<'a, Result<Response<ReplyBody>, Refusal>> {
        Box::pin(answer(exchange))
    }

    fn refuse(&self, head: &Parts, refusal: &Refusal) -> Response<ReplyBody> {
        if tidings_grpc::is_grpc(&head.headers) {
            return grpc::refuse(refusal);
        }
        let encoding = encoding(&head.headers).unwrap_or(Encoding::Json);
        let body = match encoding {
            Encoding::Protobuf => Bytes::from(refusal.status().encode_to_vec()),
            Encoding::Json => Bytes::from(refusal.status_json()),
        };
        let mut response = response(refusal.reason.http(), &head.headers, encoding, body);
        let headers = response.headers_mut();
        match refusal.reason {
            Reason::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Reason::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            Reason::Encoding => {
                let names = HeaderValue::from_static("gzip, zstd");
                headers.insert(header::ACCEPT_ENCODING, names);
            }
            _ => {}
        }
        if let Some(seconds) = refusal.retry_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn explain(&self, refusal: &Refusal) -> Explanation {
        let media_type = Encoding::Json.media_type();
        Explanation { media_type, body: refusal.status_json().into() }
    }
}

async fn answer(exchange: Exchange<'_>) -> Result<Response<ReplyBody>, Refusal> {
    let Exchange { head, body, reader, ingest, mut admission } = exchange;
    let target = target(head.uri.path())?;
    if head.method != Method::POST {
        return Err(Refusal::new(Reason::Method, "only POST is possible here"));
    }
    let encoding = encoding(&head.headers)?;
    let signal = match target {
        Target::Stored(signal) => signal,
        Target::NotStored(what) => {
            let message = format!(
                "{what} are not stored; traces and logs are: switch the exporter of {what} off"
            );
            return Err(Refusal::new(Reason::NotStored, message));
        }
    };
    let compression = content_encoding(&head.headers)?;
    let limit = ingest.limits.http_body_bytes_max;
    let bytes = reader.read(body, limit, |_| 0, &mut admission).await?;
    let format = otlp::format(signal, encoding);
    let payload = Payload { bytes, compression, limit, broken: Reason::Malformed, format };
    let outcome = ingest.store(admission, payload).await?;
    let body = otlp::response(signal, encoding, outcome);
    Ok(response(StatusCode::OK, &head.headers, encoding, body))
}

/// Returns a response with the content type of the request.
fn response(
    status: StatusCode,
    request: &HeaderMap,
    encoding: Encoding,
    body: Bytes,
) -> Response<ReplyBody> {
    let media_type = match media_type(request).as_str() {
        "application/protobuf" => "application/protobuf",
        _ => encoding.media_type(),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
