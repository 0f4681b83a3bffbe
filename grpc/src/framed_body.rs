//! Response bodies: framed messages, then the status in trailers.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{GrpcStatus, PREFIX_BYTES, frames::framed};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{BoxStream, iter},
};
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

/// A response body whose frames are produced lazily. It ends with trailers.
pub struct FramedBody {
    /// Frames that are still to be written before the trailers; `None` after the trailers.
    frames: Option<BoxStream<'static, Result<Bytes, GrpcStatus>>>,
    /// Bytes of the frames of a body that is in memory. 0 for a stream, and after the first poll.
    size: u64,
}

/// Returns a response with these messages, or with the error status alone.
pub fn reply(result: Result<Vec<Vec<u8>>, GrpcStatus>) -> Response<FramedBody> {
    match result {
        Ok(messages) => {
            let size = messages.iter().map(|message| message.len() + PREFIX_BYTES).sum();
            let frames = messages.into_iter().map(|message| Ok(framed(&[message])));
            respond(iter(frames), size)
        }
        Err(status) => respond(iter([Err(status)]), 0),
    }
}

/// Returns a response whose messages are produced as the connection takes them. It ends at the
/// first error.
pub fn stream(
    messages: impl Iterator<Item = Result<Vec<u8>, GrpcStatus>> + Send + 'static,
) -> Response<FramedBody> {
    respond(iter(messages.map(|message| Ok(framed(&[message?])))), 0)
}

/// Returns a response with messages that are framed already, in the order of the stream. It ends at
/// the first error.
pub fn stream_frames(
    frames: impl Stream<Item = Result<Bytes, GrpcStatus>> + Send + 'static,
) -> Response<FramedBody> {
    respond(frames, 0)
}

fn respond(
    frames: impl Stream<Item = Result<Bytes, GrpcStatus>> + Send + 'static,
    size: usize,
) -> Response<FramedBody> {
    let mut response =
        Response::new(FramedBody { frames: Some(frames.boxed()), size: size as u64 });
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

impl fmt::Debug for FramedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedBody").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Body for FramedBody {
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
                // Frees the source of the messages before the trailers are sent.
                self.frames = None;
                let status = ended.and_then(Result::err);
                Frame::trailers(status.map_or_else(GrpcStatus::ok, |status| status.trailers()))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_none()
    }

    /// Gives a lower bound only, because an exact size would leave no room for trailers.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.size);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http_body_util::BodyExt;
    use tidings_proto::otlp::Code;

    use super::reply;
    use crate::{GrpcStatus, frames::framed};

    #[test]
    fn a_response_is_its_messages_and_a_status() {
        let messages = vec![b"a".to_vec(), b"b".to_vec()];
        let body = block_on(reply(Ok(messages.clone())).into_body().collect()).unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), framed(&messages));
        let status = GrpcStatus::new(Code::NotFound, "none");
        let body = block_on(reply(Err(status)).into_body().collect()).unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "5");
        assert!(body.to_bytes().is_empty());
    }
}
