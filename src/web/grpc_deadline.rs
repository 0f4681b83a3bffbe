//! Deadlines of gRPC clients: a call ends when its client no longer waits.

use std::{pin::Pin, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use futures::{
    Stream, StreamExt,
    future::{Either, select},
    stream::unfold,
};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use tidings_apis::rpc_status;
use tidings_grpc::{is_grpc, timeout};
use tidings_storage::Clock;
use tonic::{Code, Status};

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
            return rpc_status(Code::Internal, error.to_string()).into_http();
        }
    };
    match select(Box::pin(next.run(request)), clock.sleep(time)).await {
        // Its head has the status, and must stay the end of the call.
        Either::Left((response, _)) if response.body().is_end_stream() => response,
        Either::Left((response, deadline)) => {
            response.map(|body| Body::new(StreamBody::new(until(body, deadline))))
        }
        Either::Right(((), _)) => passed().into_http(),
    }
}

fn passed() -> Status {
    rpc_status(Code::DeadlineExceeded, "the client's deadline has passed")
}

/// Returns the trailers of a stream whose deadline has passed.
fn passed_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // The code comes first, and the message is encoded for headers.
    let _ = passed().add_header(&mut trailers);
    trailers
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
            Either::Right(((), _)) => Some((Ok(Frame::trailers(passed_trailers())), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Arc,
    };

    use axum::{
        Router,
        body::{Body, Bytes, HttpBody},
        http::Request,
        middleware,
        routing::get,
    };
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tidings_apis::rpc_status;
    use tidings_storage::{Clock, SystemClock};
    use tonic::Code;
    use tower::ServiceExt;

    use super::{hold, until};

    #[tokio::test]
    async fn a_status_in_the_head_still_ends_the_call() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let app = Router::new()
            .route("/", get(|| async { rpc_status(Code::NotFound, "none").into_http::<Body>() }))
            .layer(middleware::from_fn_with_state(clock, hold));
        let request = Request::get("/").header("content-type", "application/grpc");
        let request = request.header("grpc-timeout", "1H").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "5");
        assert!(response.body().is_end_stream());
    }

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
