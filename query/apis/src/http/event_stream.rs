//! [Server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html): an answer
//! that continues event by event.
//!
//! The next event is produced when the connection has taken the last one, so nothing is buffered
//! here. The source is dropped when the client disconnects.

use std::convert::Infallible;

use ::http::header;
use axum::{
    Extension,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures::{future::BoxFuture, stream};

use super::unread_budget::BodyMemory;

/// Media type of events. The description of the API allows any value for it: OpenAPI 3.1 means the
/// whole text, while tools that follow the description look at each event.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Future of the next bytes of a stream and its next state; `None` ends the stream.
pub(super) type StreamStep<S> = BoxFuture<'static, (Option<S>, Bytes)>;

/// Response with the events that `next` produces from a source; reserves `holds` bytes of memory.
pub(super) fn events<S: Send + 'static>(
    source: S,
    next: fn(S) -> StreamStep<S>,
    holds: u64,
) -> Response {
    let events = stream::unfold(Some(source), move |source| async move {
        let (source, bytes) = next(source?).await;
        Some((Ok::<_, Infallible>(bytes), source))
    });
    let content_type = [(header::CONTENT_TYPE, EVENT_STREAM)];
    (content_type, Extension(BodyMemory(holds)), Body::from_stream(events)).into_response()
}

/// Formats an event with this name, a line of data and, optionally, its position in the stream.
#[must_use]
pub fn event(name: &str, id: Option<&str>, data: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::{Bytes, StreamStep, event, events};

    fn next(made: Arc<AtomicU32>) -> StreamStep<Arc<AtomicU32>> {
        async move {
            let number = made.fetch_add(1, Ordering::Relaxed) + 1;
            let bytes = Bytes::from(event("count", Some("7"), &number.to_string()));
            ((number < 3).then_some(made), bytes)
        }
        .boxed()
    }

    #[tokio::test]
    async fn an_event_is_made_when_the_last_was_taken_and_none_after_the_end() {
        let made = Arc::new(AtomicU32::new(0));
        let mut body = events(Arc::clone(&made), next, 0).into_body();
        assert_eq!(made.load(Ordering::Relaxed), 0);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "id: 7\nevent: count\ndata: 1\n\n");
        assert_eq!(made.load(Ordering::Relaxed), 1);
        let rest = body.collect().await.unwrap().to_bytes();
        let later = "id: 7\nevent: count\ndata: 2\n\nid: 7\nevent: count\ndata: 3\n\n";
        assert_eq!(rest, later);
        assert_eq!((made.load(Ordering::Relaxed), Arc::strong_count(&made)), (3, 1));
    }
}
