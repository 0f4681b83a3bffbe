//! [Server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html): an answer
//! that goes on, event by event.
//!
//! The next event is made when the connection has taken the last, so nothing is buffered here; the
//! source is dropped when the client goes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::header;
use axum::{
    Extension,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame};

use super::unread_budget::Holds;

/// Media type of events. The description of the API has any value for it: OpenAPI 3.1 means the whole
/// text, tools that follow the description look at each event.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Future of the next bytes of a stream and its next state; `None` ends the stream.
pub(super) type StreamStep<S> = Pin<Box<dyn Future<Output = (Option<S>, Bytes)> + Send>>;

/// Response with the events that `next` makes of a source; reserves `holds` bytes of memory.
pub(super) fn events<S: Send + 'static>(
    source: S,
    next: fn(S) -> StreamStep<S>,
    holds: u64,
) -> Response {
    let body = Events { step: Some(next(source)), next };
    let content_type = [(header::CONTENT_TYPE, EVENT_STREAM)];
    (content_type, Extension(Holds(holds)), Body::new(body)).into_response()
}

/// An event of this name, with a line of data and, if it has one, its place in the stream.
#[must_use]
pub fn event(name: &str, id: Option<&str>, data: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n")
}

struct Events<S> {
    step: Option<StreamStep<S>>,
    next: fn(S) -> StreamStep<S>,
}

impl<S> HttpBody for Events<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(pending) = &mut self.step else { return Poll::Ready(None) };
        let (source, bytes) = ready!(pending.as_mut().poll(context));
        self.step = source.map(self.next);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.step.is_none()
    }
}
