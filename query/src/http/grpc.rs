//! gRPC's framing on the HTTP address: one message in, any number out, a status at the end.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Why this is not a library is
//! told in `docs/decisions/0005-grpc-framing.md`. Knows no service and no message.

use std::{
    convert::Infallible,
    fmt::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tidings_proto::otlp::Code;

use crate::{ErrorKind, QueryError};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The flag and the length before each message.
const PREFIX_BYTES: usize = 5;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Status {
    code: Code,
    message: String,
}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }
}

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::TooLarge => Code::ResourceExhausted,
            ErrorKind::TimedOut => Code::DeadlineExceeded,
            ErrorKind::Overloaded | ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Failed => {
                tracing::error!(%error, "a question failed");
                Code::Internal
            }
        };
        Self::new(code, error.to_string())
    }
}

/// Whether the request claims to be gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        matches!(kind, "application/grpc" | "application/grpc+proto")
    })
}

/// The one message of a request.
pub(super) fn unframe(mut body: Bytes) -> Result<Bytes, Status> {
    let malformed =
        |reason: &str| Status::new(Code::Internal, format!("not one gRPC message: {reason}"));
    if body.len() < PREFIX_BYTES {
        return Err(malformed("it is cut off"));
    }
    let prefix = body.split_to(PREFIX_BYTES);
    let length = prefix.iter().skip(1).fold(0, |length, byte| length << 8 | usize::from(*byte));
    match prefix.first() {
        Some(0) if body.len() == length => Ok(body),
        Some(0) => Err(malformed("its length is another")),
        _ => Err(Status::new(Code::Unimplemented, "compressed messages are not read here")),
    }
}

/// The answer: these messages, or what is wrong.
pub(super) fn reply(result: Result<Vec<Vec<u8>>, Status>) -> Response {
    let (messages, status) = match result {
        Ok(messages) => (messages, None),
        Err(status) => (Vec::new(), Some(status)),
    };
    let size: usize = messages.iter().map(|message| message.len() + PREFIX_BYTES).sum();
    let mut data = Vec::with_capacity(size);
    for message in messages {
        data.push(0);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        data.extend(length.to_be_bytes());
        data.extend(message);
    }
    let mut trailers = HeaderMap::new();
    let code = status.as_ref().map_or(Code::Ok, |status| status.code);
    trailers.insert(GRPC_STATUS, HeaderValue::from(code as i32));
    if let Some(value) =
        status.and_then(|status| HeaderValue::try_from(encoded(&status.message)).ok())
    {
        trailers.insert(GRPC_MESSAGE, value);
    }
    let body = Framed { data: Bytes::from(data), trailers: Some(trailers) };
    let kind = [(header::CONTENT_TYPE, "application/grpc")];
    (StatusCode::OK, kind, Body::new(body)).into_response()
}

/// A message for a header.
fn encoded(message: &str) -> String {
    message.bytes().fold(String::with_capacity(message.len()), |mut text, byte| {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// A body that ends with trailers.
struct Framed {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }

    /// At least the data; not exactly, because trailers follow.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.data.len() as u64);
        hint
    }
}
