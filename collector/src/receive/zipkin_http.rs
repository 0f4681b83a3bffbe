//! Zipkin: `POST /api/v2/spans`, in JSON and protobuf.
//!
//! GET requests are queries, which the API of this address answers.
//!
//! Zipkin has no partial success: a list with one invalid span is refused as a whole, as by
//! Zipkin's own server. Its reporters do not retry, whatever the response is.

mod weight;

use futures::future::BoxFuture;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use tidings_proto::{api::StandardReceiver, zipkin};

use self::weight::{JSON_FORM, ZipkinMessage};
use super::{CHALLENGE, Exchange, PLAIN_TEXT, Receiver, content_encoding, full, media_type};
use crate::{
    guard::is_from_browser,
    ingest::{Format, Payload},
    normalise::{Prepared, prepare_traces},
    refusal::{Reason, Refusal},
    sink::ReplyBody,
    weight_estimate,
};

/// The receiver.
#[derive(Debug)]
pub(super) struct Zipkin;

const JSON: Format = Format {
    in_place: |_, _| None,
    weigh: |bytes| weight_estimate::json(bytes, &JSON_FORM),
    decode: |bytes| {
        prepare(if bytes.is_empty() { Vec::new() } else { zipkin::decode_json(&bytes)? })
    },
    all_or_nothing: true,
};

const PROTOBUF: Format = Format {
    in_place: |_, _| None,
    weigh: |bytes| weight_estimate::protobuf(bytes, ZipkinMessage::Spans),
    decode: |bytes| prepare(zipkin::decode_protobuf(&bytes)?),
    all_or_nothing: true,
};

fn prepare(spans: Vec<zipkin::Span>) -> Result<Prepared, Refusal> {
    let (request, rejected) = zipkin::to_otlp(spans);
    if let Some(first) = rejected.first() {
        let (count, index, reason) = (rejected.len(), first.index, &first.reason);
        let message = match count {
            1 => format!("span {index} cannot be stored, so none is: {reason}"),
            _ => format!("{count} spans cannot be stored, so none is; span {index}: {reason}"),
        };
        let mut refusal = Refusal::new(Reason::Malformed, message);
        refusal.field = Some(format!("[{index}]"));
        return Err(refusal);
    }
    Ok(prepare_traces(request, None))
}

/// Returns the functions that read the body. As in Zipkin, unknown content types are read as JSON.
/// A web page must use a content type that needs a CORS preflight.
fn format(head: &Parts) -> Result<Format, Refusal> {
    match media_type(&head.headers).as_str() {
        "application/json" => Ok(JSON),
        "application/x-protobuf" | "application/protobuf" => Ok(PROTOBUF),
        "application/x-thrift" | "application/vnd.apache.thrift.binary" => {
            let message = "Thrift is Zipkin v1: send JSON or protobuf to /api/v2/spans";
            Err(Refusal::new(Reason::MediaType, message))
        }
        other if is_from_browser(&head.headers) => {
            let message = format!(
                "content type {other:?} from a web page: application/json or \
                 application/x-protobuf is needed"
            );
            Err(Refusal::new(Reason::MediaType, message))
        }
        _ => Ok(JSON),
    }
}

impl Receiver for Zipkin {
    fn name(&self) -> &'static str {
        StandardReceiver::ZIPKIN.name
    }

    fn receive<'a>(
        &'a self,
        exchange: Exchange<'a>,
    ) -> BoxFuture<'a, Result<Response<ReplyBody>, Refusal>> {
        Box::pin(answer(exchange))
    }

    fn is_question(&self, head: &Parts) -> bool {
        matches!(head.method, Method::GET | Method::HEAD)
    }

    fn is_health(&self, head: &Parts) -> bool {
        head.uri.path() == "/health"
    }

    fn refuse(&self, _head: &Parts, refusal: &Refusal) -> Response<ReplyBody> {
        let mut response = Response::new(full(format!("{}\n", refusal.message)));
        *response.status_mut() = refusal.reason.http();
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static(PLAIN_TEXT);
        headers.insert(header::CONTENT_TYPE, plain);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if refusal.reason == Reason::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if refusal.reason == Reason::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(seconds) = refusal.retry_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

async fn answer(exchange: Exchange<'_>) -> Result<Response<ReplyBody>, Refusal> {
    let Exchange { head, body, reader, ingest, mut admission } = exchange;
    let path = head.uri.path();
    if !matches!(path, "/api/v2/spans" | "/api/v1/spans") {
        let message = format!("nothing at {path:?}: send spans to /api/v2/spans");
        return Err(Refusal::new(Reason::UnknownPath, message));
    }
    if head.method != Method::POST {
        return Err(Refusal::new(Reason::Method, "only POST is possible here"));
    }
    let format = format(head)?;
    if path == "/api/v1/spans" {
        let message = "Zipkin v1 is not read here: send v2 to /api/v2/spans";
        return Err(Refusal::new(Reason::Malformed, message));
    }
    let compression = content_encoding(&head.headers)?;
    let limit = ingest.limits.http_body_bytes_max;
    let bytes = reader.read(body, limit, |_| 0, &mut admission).await?;
    let payload = Payload { bytes, compression, limit, broken: Reason::Malformed, format };
    ingest.store(admission, payload).await?;
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
