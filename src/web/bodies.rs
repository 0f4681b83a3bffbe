//! Bounds of request bodies at the HTTP address: each must arrive within a time and at a pace, and
//! all of them together must fit into a budget of memory, of which one address has a share at most.
//!
//! The first bytes of a body need none of that memory, so that large bodies of an address cannot
//! exclude its small requests: the number of requests bounds them.
//!
//! Routes bound the length of a body and describe what is wrong with it; this module knows neither.
//! A body breaks off when it arrives too slowly, when there is no memory for it, or when others
//! need its memory while it stalls. The answer then gives that reason, whatever the route answers.
//! Memory is returned when the route has answered.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
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
    response::{IntoResponse, Response},
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidings_apis::ProblemResponse;
use tidings_collector::{
    BudgetExhausted, BudgetKind, BudgetShare, PACE_WINDOW, Pace, PeerAddress, RequestHolder,
    Shares, discard_arrived,
};
use tidings_storage::Clock;

/// Maximum time for a body to arrive, unless its route sets a shorter one.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum pace of a body.
const BYTES_PER_SECOND_MIN: usize = 1024;
/// Maximum bytes of a body that a route reads.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// Maximum memory of all bodies together; less where a 32nd of the budget is less.
const MEMORY_BYTES_MAX: u64 = 4 * BODY_BYTES_MAX;
/// Memory of a chunk of a body besides its bytes, until the chunks are joined.
const PIECE_BYTES: usize = 64;
/// Bytes of each body, with their [`PIECE_BYTES`], that are not taken from the budget: 8 MiB of as
/// many requests as there may be at a time.
const EXEMPT_BYTES: usize = 2 << 10;
/// Seconds after which to try again.
const RETRY_SECONDS: u32 = 1;

type Pending<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;
type NextFrame = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The bounds of all bodies.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    clock: Arc<dyn Clock>,
    memory: Arc<Shares>,
}

impl Bodies {
    /// Creates the bounds for a process with this budget of memory.
    pub(crate) fn new(memory: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        let bytes = Self::bytes_max(memory);
        Self::of_bytes(usize::try_from(bytes).unwrap_or(usize::MAX), clock)
    }

    /// Returns the bytes for all bodies with this budget of memory.
    pub(crate) fn bytes_max(memory: Option<u64>) -> u64 {
        let part = memory.map_or(MEMORY_BYTES_MAX, |memory| memory / 32);
        part.clamp(2 * BODY_BYTES_MAX, MEMORY_BYTES_MAX)
    }

    fn of_bytes(bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self { memory: Shares::new(BudgetKind::Bytes, bytes, Arc::clone(&clock)), clock }
    }
}

/// Reason why a body broke off.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Slow,
    NoMemory,
}

impl Fault {
    fn answer(self) -> Response {
        match self {
            Self::Slow => {
                let detail = format!(
                    "it must arrive within {} s, at {BYTES_PER_SECOND_MIN} bytes a second at least",
                    TIMEOUT.as_secs()
                );
                let status = StatusCode::REQUEST_TIMEOUT;
                ProblemResponse::new(status, "timed-out", "the body took too long", detail)
                    .into_response()
            }
            Self::NoMemory => {
                let detail = "the bodies of other requests take all the memory that bodies may";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response =
                    ProblemResponse::new(status, "overloaded", "too many bodies", detail)
                        .into_response();
                let retry = HeaderValue::from(RETRY_SECONDS);
                response.headers_mut().insert(header::RETRY_AFTER, retry);
                response
            }
        }
    }
}

/// State of one body until its request is answered.
#[derive(Debug)]
struct Received {
    memory: Option<Arc<BudgetShare>>,
    fault: Option<Fault>,
}

/// Reads no body of a route for longer, and no more of it, than there is time and memory for.
pub(super) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let clock = &bodies.clock;
    let holder = request.extensions().get::<Arc<RequestHolder>>().cloned();
    let holder = holder.unwrap_or_else(|| {
        let nobody = PeerAddress::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        RequestHolder::new(nobody, true, Arc::clone(clock))
    });
    let memory = bodies.memory.take(Arc::clone(&holder) as _, 0).ok().map(Arc::new);
    let received = Arc::new(Mutex::new(Received { memory, fault: None }));
    let bounded = |body| BoundedBody {
        body,
        clock: Arc::clone(clock),
        deadline: clock.sleep(TIMEOUT),
        window: clock.sleep(PACE_WINDOW),
        pace: Pace::new(BYTES_PER_SECOND_MIN),
        arrived_bytes: 0,
        exempt_bytes: EXEMPT_BYTES,
        evicted: {
            let holder = Arc::clone(&holder);
            Box::pin(async move { holder.evicted().await })
        },
        waiting: None,
        holder,
        received: Arc::clone(&received),
    };
    let response = next.run(request.map(|body| Body::new(bounded(body)))).await;
    let fault = lock(&received).fault;
    fault.map_or(response, Fault::answer)
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chunk that waits for memory.
type WaitingPiece = (Frame<Bytes>, Pending<Result<(), BudgetExhausted>>);

/// A body and the time and memory left for it.
struct BoundedBody {
    body: Body,
    clock: Arc<dyn Clock>,
    deadline: Pending,
    /// Ends at the next check of its pace.
    window: Pending,
    pace: Pace,
    arrived_bytes: usize,
    /// The rest of [`EXEMPT_BYTES`].
    exempt_bytes: usize,
    evicted: Pending,
    waiting: Option<WaitingPiece>,
    holder: Arc<RequestHolder>,
    received: Arc<Mutex<Received>>,
}

impl BoundedBody {
    fn break_off(&self, fault: Fault) -> NextFrame {
        lock(&self.received).fault = Some(fault);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }

    /// Takes memory for this chunk from the budget, or waits a moment for it with the chunk.
    fn hold(&mut self, frame: Frame<Bytes>) {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.arrived_bytes = self.arrived_bytes.saturating_add(bytes);
        self.holder.progressed();
        let held = bytes.saturating_add(PIECE_BYTES);
        let taken = held.saturating_sub(self.exempt_bytes);
        self.exempt_bytes = self.exempt_bytes.saturating_sub(held);
        let memory = lock(&self.received).memory.clone();
        let grown = async move {
            match memory {
                Some(memory) => memory.grow_soon(taken).await,
                None => Err(BudgetExhausted { is_passing: false }),
            }
        };
        self.waiting = Some((frame, Box::pin(grown)));
    }

    /// Reports whether the body may still arrive.
    fn is_in_time(&mut self, context: &mut Context<'_>) -> bool {
        if self.deadline.as_mut().poll(context).is_ready() {
            return false;
        }
        while self.window.as_mut().poll(context).is_ready() {
            if !self.pace.look(self.arrived_bytes, PACE_WINDOW) {
                return false;
            }
            self.window = self.clock.sleep(PACE_WINDOW);
        }
        true
    }
}

impl Drop for BoundedBody {
    /// Reads what has arrived of a body that its route did not read.
    fn drop(&mut self) {
        if self.holder.is_receiving() {
            discard_arrived(&mut self.body, &self.holder);
        }
    }
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> NextFrame {
        let this = &mut *self;
        if lock(&this.received).fault.is_some() {
            return Poll::Ready(None);
        }
        if this.evicted.as_mut().poll(context).is_ready() {
            return this.break_off(Fault::NoMemory);
        }
        if this.waiting.is_none() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.hold(frame),
                Poll::Ready(ended) => {
                    this.holder.received();
                    if ended.is_some() {
                        this.holder.broke_off();
                    }
                    return Poll::Ready(ended);
                }
                Poll::Pending if this.is_in_time(context) => return Poll::Pending,
                Poll::Pending => return this.break_off(Fault::Slow),
            }
        }
        let Some((frame, mut memory)) = this.waiting.take() else { return Poll::Pending };
        match memory.as_mut().poll(context) {
            Poll::Ready(Ok(())) => {
                if this.body.is_end_stream() {
                    this.holder.received();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Err(_)) => this.break_off(Fault::NoMemory),
            Poll::Pending => {
                this.waiting = Some((frame, memory));
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.waiting {
            Some(_) => SizeHint::new(),
            None => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        net::{IpAddr, Ipv4Addr},
        pin::Pin,
        sync::Arc,
        time::{Duration, Instant},
    };

    use axum::{
        Router,
        body::{Body, Bytes},
        extract::DefaultBodyLimit,
        http::{Method, Request, StatusCode, header},
        middleware,
        response::Response,
        routing::post,
    };
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tidings_collector::{PeerAddress, RequestHolder};
    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::{BODY_BYTES_MAX, Bodies, EXEMPT_BYTES, PACE_WINDOW, PIECE_BYTES, TIMEOUT, bound};

    /// A clock for which this time is over at once, and any other never.
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

    /// Reads bodies and answers when it is notified.
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

    /// Returns a body of a chunk, and then silence.
    fn stalled_body(chunk: impl Into<Bytes>) -> Body {
        let chunk = Ok::<_, Infallible>(chunk.into());
        Body::from_stream(stream::iter([chunk]).chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_or_comes_too_slowly_is_given_up() {
        for over in [TIMEOUT, PACE_WINDOW] {
            let app = app(Bodies::new(None, Arc::new(Over(over))), Arc::default());
            let body = stalled_body("a piece");
            let response = send(app, body).await;
            assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
            assert!(text(response).await.contains("/problems/timed-out"));
        }
    }

    #[tokio::test]
    async fn the_longest_body_fits_into_the_smallest_budget() {
        let answer = Arc::new(Notify::new());
        answer.notify_one();
        let app = app(Bodies::new(Some(0), Arc::new(SystemClock)), answer);
        let app = app.layer(DefaultBodyLimit::disable());
        let piece = Bytes::from(vec![0; 1 << 10]);
        let pieces = (0..BODY_BYTES_MAX >> 10).map(move |_| Ok::<_, Infallible>(piece.clone()));
        let response = send(app, Body::from_stream(stream::iter(pieces))).await;
        assert_eq!(text(response).await, BODY_BYTES_MAX.to_string());
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_loses_its_memory_to_one_that_does() {
        let bodies = Bodies::of_bytes(10_000, Arc::new(SystemClock));
        let memory = Arc::clone(&bodies.memory);
        let answer = Arc::new(Notify::new());
        let app = app(bodies, Arc::clone(&answer));
        let stalled = stalled_body(vec![0; 10_000]);
        let stalled = tokio::spawn(send(app.clone(), stalled));
        while memory.used() == 0 {
            tokio::task::yield_now().await;
        }
        answer.notify_one();
        let begin = SystemClock.instant();
        // Until then the body may go on.
        let stored = loop {
            let response = send(app.clone(), Body::from(vec![0; 8000])).await;
            if response.status() == StatusCode::OK {
                break text(response).await;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "the stalled one stays");
        };
        assert_eq!(stored, "8000");
        assert_eq!(stalled.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn bodies_share_a_budget_until_their_requests_are_answered() {
        const LARGE: usize = 6000;
        let bodies =
            Bodies::of_bytes(LARGE + PIECE_BYTES - EXEMPT_BYTES, Arc::new(Over(Duration::MAX)));
        let memory = Arc::clone(&bodies.memory);
        let answer = Arc::new(Notify::new());
        let app = app(bodies, Arc::clone(&answer));
        let first = tokio::spawn(send(app.clone(), Body::from(vec![0; LARGE])));
        while memory.used() == 0 {
            tokio::task::yield_now().await;
        }
        let second = send(app.clone(), Body::from(vec![0; LARGE])).await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(second.headers().contains_key(header::RETRY_AFTER));
        assert!(text(second).await.contains("/problems/overloaded"));
        answer.notify_one();
        assert_eq!(text(first.await.unwrap()).await, LARGE.to_string());
        answer.notify_one();
        assert_eq!(text(send(app, Body::from(vec![0; LARGE])).await).await, LARGE.to_string());
    }

    #[tokio::test]
    async fn a_small_body_is_read_while_a_large_one_has_all_the_memory() {
        const SMALL: usize = EXEMPT_BYTES - PIECE_BYTES;
        let clock: Arc<dyn Clock> = Arc::new(Over(Duration::MAX));
        let bodies = Bodies::of_bytes(1000, Arc::clone(&clock));
        let peer = PeerAddress::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let large = RequestHolder::new(peer, true, clock);
        let _all = bodies.memory.take(large, bodies.memory.total_max()).unwrap();
        let answer = Arc::new(Notify::new());
        answer.notify_one();
        let small = send(app(bodies, answer), Body::from(vec![0; SMALL])).await;
        assert_eq!(text(small).await, SMALL.to_string());
    }
}
