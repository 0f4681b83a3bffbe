//! Bodies of requests to the HTTP address: each must arrive within a time, and all of them together
//! fit into a budget of memory.
//!
//! Routes bound how long a body is and say what is wrong with it; this knows neither. A body that
//! comes too slowly, or for which there is no memory, breaks off, and the answer says so, whatever
//! the route made of it. Memory is given back when the route has answered.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidings_storage::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::problem;

/// How long a body may take to arrive, where its route gives it no less.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What all bodies take at most: four of the longest that a route reads.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// What a piece of a body takes beside its bytes, as long as it is not joined with the others.
const PIECE_BYTES: usize = 64;
/// When to try again.
const RETRY_SECONDS: u32 = 1;

/// The bounds of all bodies.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    clock: Arc<dyn Clock>,
    memory: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, memory: Arc::new(Semaphore::new(MEMORY_BYTES_MAX)) }
    }
}

/// Why a body broke off.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Slow,
    NoMemory,
}

impl Fault {
    fn answer(self) -> Response {
        match self {
            Self::Slow => {
                let detail = format!("it did not arrive within {} s", TIMEOUT.as_secs());
                let status = StatusCode::REQUEST_TIMEOUT;
                problem(status, "timed-out", "the body took too long", &detail)
            }
            Self::NoMemory => {
                let detail = "the bodies of other requests take all the memory that bodies may";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = problem(status, "overloaded", "too many bodies", detail);
                let retry = HeaderValue::from(RETRY_SECONDS);
                response.headers_mut().insert(header::RETRY_AFTER, retry);
                response
            }
        }
    }
}

/// What is known of one body, until its request is answered.
#[derive(Debug, Default)]
struct Received {
    memory: Option<OwnedSemaphorePermit>,
    fault: Option<Fault>,
}

/// Lets a route read no body for longer, and not more of it, than there is time and memory for.
pub(super) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let received = Arc::new(Mutex::new(Received::default()));
    let bounded = |body| Bounded {
        body,
        deadline: bodies.clock.sleep(TIMEOUT),
        budget: Arc::clone(&bodies.memory),
        received: Arc::clone(&received),
    };
    let response = next.run(request.map(|body| Body::new(bounded(body)))).await;
    let fault = lock(&received).fault;
    fault.map_or(response, Fault::answer)
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body and what is left for it.
struct Bounded {
    body: Body,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
    budget: Arc<Semaphore>,
    received: Arc<Mutex<Received>>,
}

impl Bounded {
    /// Takes this much more of the budget; `false` when it is not there.
    fn hold(&self, bytes: usize) -> bool {
        let Ok(count) = u32::try_from(bytes) else { return false };
        let Ok(more) = Arc::clone(&self.budget).try_acquire_many_owned(count) else { return false };
        let mut received = lock(&self.received);
        match &mut received.memory {
            Some(memory) => memory.merge(more),
            None => received.memory = Some(more),
        }
        true
    }

    fn break_off(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        lock(&self.received).fault = Some(fault);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len).saturating_add(PIECE_BYTES);
                match self.hold(bytes) {
                    true => Poll::Ready(Some(Ok(frame))),
                    false => self.break_off(Fault::NoMemory),
                }
            }
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => self.break_off(Fault::Slow),
                Poll::Pending => Poll::Pending,
            },
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
        time::{Duration, Instant},
    };

    use axum::{
        Router,
        body::{Body, Bytes},
        http::{Method, Request, StatusCode, header},
        middleware,
        response::Response,
        routing::post,
    };
    use http_body_util::BodyExt;
    use hyper::body::Frame;
    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};
    use tokio::sync::{Notify, Semaphore};
    use tower::ServiceExt;

    use super::{Bodies, PIECE_BYTES, TIMEOUT, bound};

    /// A clock for which this time is over at once, and no other ever.
    #[derive(Debug)]
    struct Over(Duration);

    impl Clock for Over {
        fn now(&self) -> UnixNanos {
            UnixNanos(0)
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }

        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            if time == self.0 {
                return Box::pin(std::future::ready(()));
            }
            Box::pin(std::future::pending())
        }
    }

    /// Reads bodies and answers when it is told to.
    fn app(bodies: Bodies, answer: Arc<Notify>) -> Router {
        let read = move |body: Bytes| async move {
            answer.notified().await;
            body.len().to_string()
        };
        Router::new().route("/", post(read)).layer(middleware::from_fn_with_state(bodies, bound))
    }

    async fn send(app: Router, body: Body) -> Response {
        let request = Request::builder().method(Method::POST).uri("/").body(body).unwrap();
        app.oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// A piece, and then silence.
    struct Begun(Option<Bytes>);

    impl hyper::body::Body for Begun {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let app = app(Bodies::new(Arc::new(Over(TIMEOUT))), Arc::default());
        let body = Body::new(Begun(Some(Bytes::from_static(b"a piece"))));
        let response = send(app, body).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(text(response).await.contains("/problems/timed-out"));
    }

    #[tokio::test]
    async fn bodies_share_a_budget_until_their_requests_are_answered() {
        let memory = Arc::new(Semaphore::new(600 + PIECE_BYTES));
        let bodies = Bodies { clock: Arc::new(Over(Duration::MAX)), memory: Arc::clone(&memory) };
        let answer = Arc::new(Notify::new());
        let app = app(bodies, Arc::clone(&answer));
        let first = tokio::spawn(send(app.clone(), Body::from(vec![0; 600])));
        while memory.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = send(app.clone(), Body::from(vec![0; 600])).await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(second.headers().contains_key(header::RETRY_AFTER));
        assert!(text(second).await.contains("/problems/overloaded"));
        answer.notify_one();
        assert_eq!(text(first.await.unwrap()).await, "600");
        answer.notify_one();
        assert_eq!(text(send(app, Body::from(vec![0; 600])).await).await, "600");
    }
}
