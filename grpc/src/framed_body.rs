//! The response body of a call that succeeded: its framed message, then the status in trailers.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use crate::{GrpcStatus, frames::framed};

/// A response body of one message. It ends with trailers.
#[derive(Debug)]
pub struct FramedBody {
    /// The framed message; `None` when the connection has taken it.
    message: Option<Bytes>,
    /// True after the trailers.
    is_ended: bool,
}

/// Returns the response of a successful call.
pub fn reply(message: &[u8]) -> Response<FramedBody> {
    let body = FramedBody { message: Some(framed(message)), is_ended: false };
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

impl Body for FramedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.is_ended, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::trailers(GrpcStatus::ok()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    /// Gives a lower bound only, because an exact size would leave no room for trailers.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.message.as_ref().map_or(0, |message| message.len() as u64));
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http_body_util::BodyExt;

    use super::reply;
    use crate::frames::framed;

    #[test]
    fn a_response_is_its_message_and_a_status() {
        let body = block_on(reply(b"a").into_body().collect()).unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), framed(b"a"));
    }
}
