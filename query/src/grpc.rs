//! gRPC's framing on the HTTP address: messages in, any number out, a status at the end.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Why this is not a library is
//! told in `docs/decisions/0005-frame-ingest-grpc-ourselves.md`. Knows no service and no message;
//! `sql` has its service in the same frames.

use std::{
    convert::Infallible,
    fmt::Write as _,
    future::ready as now,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use futures::{
    Stream, StreamExt,
    stream::{BoxStream, iter, once},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prost::Message;
use tidings_proto::otlp::{Any, Code, ProtoDuration, RetryInfo, RpcStatus};

use crate::{ErrorKind, QueryError, http::problem::status_of};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// The head of every answer.
const GRPC: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/grpc")];
/// The flag and the length before each message.
const PREFIX_BYTES: usize = 5;

/// Why there is no answer.
#[derive(Debug)]
pub struct GrpcStatus {
    code: Code,
    message: String,
    retry_seconds: Option<u32>,
}

impl GrpcStatus {
    /// A status with a message for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_seconds: None }
    }

    /// Says when to ask again, by `google.rpc.RetryInfo`.
    #[must_use]
    pub fn with_retry(self, seconds: u32) -> Self {
        Self { retry_seconds: Some(seconds), ..self }
    }

    /// Returns `google.rpc.Status` with the time to wait, as a header has it.
    fn details(&self) -> Option<HeaderValue> {
        let delay = ProtoDuration { seconds: self.retry_seconds?.into(), nanos: 0 };
        let retry = RetryInfo { retry_delay: Some(delay) };
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Any { type_url, value: retry.encode_to_vec() }];
        let message = self.message.clone();
        let status = RpcStatus { code: self.code as i32, message, details };
        HeaderValue::try_from(STANDARD_NO_PAD.encode(status.encode_to_vec())).ok()
    }

    /// Status of a malformed request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }
}

impl From<QueryError> for GrpcStatus {
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
        let (_, retry_seconds) = status_of(error.kind());
        let retry_seconds = retry_seconds.and_then(|seconds| seconds.parse().ok());
        Self { retry_seconds, ..Self::new(code, error.to_string()) }
    }
}

/// Reports whether the request's content type is gRPC with protobuf.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        matches!(kind, "application/grpc" | "application/grpc+proto")
    })
}

/// The one message of a request.
///
/// # Errors
/// When there is another number of them, or it is compressed.
pub fn unframe(body: Bytes) -> Result<Bytes, GrpcStatus> {
    let mut messages = unframe_all(body)?.into_iter();
    match (messages.next(), messages.next()) {
        (Some(message), None) => Ok(message),
        (None, _) => Err(malformed("it is cut off")),
        (Some(_), Some(_)) => Err(malformed("its length is another")),
    }
}

/// The messages of a request, in order.
///
/// # Errors
/// When one is cut off or compressed.
pub fn unframe_all(mut body: Bytes) -> Result<Vec<Bytes>, GrpcStatus> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        if body.len() < PREFIX_BYTES {
            return Err(malformed("it is cut off"));
        }
        let prefix = body.split_to(PREFIX_BYTES);
        let length = prefix.iter().skip(1).fold(0, |length, byte| length << 8 | usize::from(*byte));
        match prefix.first() {
            Some(0) if body.len() >= length => messages.push(body.split_to(length)),
            Some(0) => return Err(malformed("its length is another")),
            _ => {
                let message = "compressed messages are not read here";
                return Err(GrpcStatus::new(Code::Unimplemented, message));
            }
        }
    }
    Ok(messages)
}

fn malformed(reason: &str) -> GrpcStatus {
    GrpcStatus::new(Code::Internal, format!("not one gRPC message: {reason}"))
}

/// The answer: these messages, or what is wrong.
pub fn reply(result: Result<Vec<Vec<u8>>, GrpcStatus>) -> Response {
    match result {
        Ok(messages) => {
            let size = messages.iter().map(|message| message.len() + PREFIX_BYTES).sum();
            let frames = messages.into_iter().map(|message| Ok(framed(&[message])));
            respond(iter(frames), size)
        }
        Err(status) => respond(iter([Err(status)]), 0),
    }
}

/// The answer: messages, each made when the connection takes it, up to the first that cannot be
/// made.
pub fn stream(
    messages: impl Iterator<Item = Result<Vec<u8>, GrpcStatus>> + Send + 'static,
) -> Response {
    respond(iter(messages.map(|message| Ok(framed(&[message?])))), 0)
}

/// The answer: messages that are in their frames, as they come, up to the first error.
pub fn stream_frames(
    frames: impl Stream<Item = Result<Bytes, GrpcStatus>> + Send + 'static,
) -> Response {
    respond(frames, 0)
}

/// The answer: a message at once if there is one, and others when they are known, which end it.
pub(crate) fn reply_twice(
    first: Option<Vec<u8>>,
    last: impl Future<Output = Vec<Vec<u8>>> + Send + 'static,
) -> Response {
    let first = iter(first.map(|message| Ok(framed(&[message]))));
    let last = once(async move { Ok(framed(&last.await)) });
    // Leaves out a frame without messages.
    let last = last.filter(|frame| now(!frame.as_ref().is_ok_and(Bytes::is_empty)));
    respond(first.chain(last), 0)
}

/// The messages in their frames.
#[must_use]
pub fn framed(messages: &[Vec<u8>]) -> Bytes {
    let size = messages.iter().map(|message| message.len() + PREFIX_BYTES).sum();
    let mut data = Vec::with_capacity(size);
    messages.iter().for_each(|message| push_framed(&mut data, message));
    Bytes::from(data)
}

fn push_framed(data: &mut Vec<u8>, message: &[u8]) {
    data.push(0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    data.extend(length.to_be_bytes());
    data.extend(message);
}

fn respond(
    frames: impl Stream<Item = Result<Bytes, GrpcStatus>> + Send + 'static,
    size: usize,
) -> Response {
    let body = FramedBody { frames: Some(frames.boxed()), size: size as u64 };
    (StatusCode::OK, GRPC, Body::new(body)).into_response()
}

fn trailers(status: Option<&GrpcStatus>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let code = status.map_or(Code::Ok, |status| status.code);
    trailers.insert(GRPC_STATUS, HeaderValue::from(code as i32));
    if let Some(value) =
        status.and_then(|status| HeaderValue::try_from(encoded(&status.message)).ok())
    {
        trailers.insert(GRPC_MESSAGE, value);
    }
    if let Some(details) = status.and_then(GrpcStatus::details) {
        trailers.insert(GRPC_DETAILS, details);
    }
    trailers
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

/// A body of frames that come when they are made. It ends with trailers.
struct FramedBody {
    /// Frames that are still to be written, before the trailers.
    frames: Option<BoxStream<'static, Result<Bytes, GrpcStatus>>>,
    /// The bytes that wait to be written and are in memory.
    size: u64,
}

impl HttpBody for FramedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let next = ready!(frames.as_mut().poll_next(context));
        self.size = 0;
        let frame = match next {
            Some(Ok(data)) => Frame::data(data),
            ended => {
                // Lets go of what the messages were made of.
                self.frames = None;
                Frame::trailers(trailers(ended.and_then(Result::err).as_ref()))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_none()
    }

    /// At least the data; not exactly, because trailers follow.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.size);
        hint
    }
}
