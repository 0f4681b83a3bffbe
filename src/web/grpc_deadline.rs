//! Deadlines of gRPC clients: a call ends when its client no longer waits.

use std::{pin::Pin, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{
    Stream, StreamExt,
    future::{Either, select},
    stream::unfold,
};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use tidings_grpc::{GrpcStatus, is_grpc, reply, timeout};
use tidings_proto::otlp::Code;
use tidings_storage::Clock;

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends a call and its stream at its client's deadline. The query is cancelled, as it is when a
/// client goes away.
pub(super) async fn hold(
    State(clock): State<Arc<dyn Clock>>,
    request: Request,
    next: Next,
) -> Response {
    if !is_grpc(request.headers()) {
        return next.run(request).await;
    }
    let time = match timeout(request.headers()) {
        Ok(Some(time)) => time,
        Ok(None) => return next.run(request).await,
        Err(error) => {
            let status = GrpcStatus::new(Code::Internal, error.to_string());
            return reply(Err(status)).into_response();
        }
    };
    match select(Box::pin(next.run(request)), clock.sleep(time)).await {
        Either::Left((response, deadline)) => {
            response.map(|body| Body::new(StreamBody::new(until(body, deadline))))
        }
        Either::Right(((), _)) => reply(Err(passed())).into_response(),
    }
}

fn passed() -> GrpcStatus {
    GrpcStatus::new(Code::DeadlineExceeded, "the client's deadline has passed")
}

/// Passes on the frames of a body, up to its end or to the deadline, which ends them with its
/// status.
fn until(
    body: Body,
    deadline: Sleep,
) -> impl Stream<Item = Result<Frame<Bytes>, axum::Error>> + Send {
    unfold(Some((BodyStream::new(body), deadline)), |state| async {
        let (mut frames, deadline) = state?;
        match select(frames.next(), deadline).await {
            Either::Left((frame, deadline)) => Some((frame?, Some((frames, deadline)))),
            Either::Right(((), _)) => Some((Ok(Frame::trailers(passed().trailers())), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use axum::body::{Body, Bytes};
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::until;

    #[tokio::test]
    async fn a_body_ends_at_the_deadline_and_not_before_what_is_there() {
        let first = stream::iter([Ok::<_, axum::Error>(Bytes::from_static(b"frame"))]);
        let endless = Body::from_stream(futures::StreamExt::chain(first, stream::pending()));
        let ended = StreamBody::new(until(endless, Box::pin(ready(())))).collect().await.unwrap();
        assert_eq!(ended.trailers().unwrap()["grpc-status"], "4");
        assert_eq!(ended.to_bytes(), "frame");
        let whole = StreamBody::new(until(Body::from("all"), Box::pin(pending())));
        let whole = whole.collect().await.unwrap();
        assert!(whole.trailers().is_none());
        assert_eq!(whole.to_bytes(), "all");
    }
}
