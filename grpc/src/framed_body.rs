//! Bodies of answers: messages in their frames, and a status at the end.

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

/// A body of frames that come when they are made. It ends with trailers.
pub struct FramedBody {
    /// Frames that are still to be written, before the trailers.
    frames: Option<BoxStream<'static, Result<Bytes, GrpcStatus>>>,
    /// The bytes that wait to be written and are in memory.
    size: u64,
}

/// The answer: these messages, or what is wrong.
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

/// The answer: messages, each made when the connection takes it, up to the first that cannot be
/// made.
pub fn stream(
    messages: impl Iterator<Item = Result<Vec<u8>, GrpcStatus>> + Send + 'static,
) -> Response<FramedBody> {
    respond(iter(messages.map(|message| Ok(framed(&[message?])))), 0)
}

/// The answer: messages that are in their frames, as they come, up to the first error.
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
                // Lets go of what the messages were made of.
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

    /// At least the data; not exactly, because trailers follow.
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
    fn an_answer_is_its_messages_and_a_status() {
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
