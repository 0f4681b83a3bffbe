//! Responses that their clients do not read.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use h2::{Ping, PingPong, Reason, RecvStream, client::SendRequest};
use http::{HeaderMap, Request, Response, request::Parts};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tidings_access::Caller;
use tidings_collector::{ReadApi, ReplyBody, STALL, StreamTasks, WatchedBody};
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, SystemClock};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
};

use crate::harness::start_beside_at;

/// Maximum time of a step, on a slow machine, too.
const PATIENCE: Duration = Duration::from_secs(60);
/// A window that is large enough for every response here.
const WIDE: u32 = 16 << 20;

/// A clock whose instants, and whose sleeps of [`STALL`], tests control.
#[derive(Debug, Default)]
struct ManualClock(watch::Sender<Duration>);

impl ManualClock {
    /// Advances the clock by the time after which an unread response is stalled.
    fn pass_stall(&self) {
        self.pass(STALL);
    }

    fn pass(&self, time: Duration) {
        self.0.send_modify(|passed| *passed += time);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + *self.0.borrow()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if time != STALL {
            return SystemClock.sleep(time);
        }
        let mut elapsed = self.0.subscribe();
        let end = *elapsed.borrow() + time;
        Box::pin(async move {
            let _ = elapsed.wait_for(|passed| *passed >= end).await;
        })
    }
}

/// A response of equal frames. Each frame holds a reference to `held` until it is dropped.
struct FramedResponse {
    frames: usize,
    frame_bytes: usize,
    has_trailers: bool,
    held: Arc<()>,
}

/// The bytes of a frame, with its reference to `held`.
struct RetainedBytes(Vec<u8>, #[expect(dead_code, reason = "it is only kept")] Arc<()>);

impl AsRef<[u8]> for RetainedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Body for FramedResponse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.frames {
            0 if !self.has_trailers => return Poll::Ready(None),
            0 => {
                self.has_trailers = false;
                Frame::trailers(HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    http::HeaderValue::from_static("0"),
                )]))
            }
            _ => {
                self.frames -= 1;
                let held = RetainedBytes(vec![b'x'; self.frame_bytes], Arc::clone(&self.held));
                Frame::data(Bytes::from_owner(held))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames == 0 && !self.has_trailers
    }
}

struct Client {
    requests: SendRequest<Bytes>,
    pings: PingPong,
}

impl Client {
    /// Connects a client whose streams have this initial window.
    async fn new<S>(stream: S, window_bytes: u32) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window_bytes).initial_connection_window_size(WIDE);
        let (requests, mut connection) = builder.handshake(stream).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        Self { requests, pings }
    }

    async fn ask(&mut self, uri: &str) -> RecvStream {
        let requests = self.requests.clone();
        self.requests = requests.ready().await.unwrap();
        let request = Request::get(uri).body(()).unwrap();
        let (answer, _) = self.requests.send_request(request, true).unwrap();
        answer.await.unwrap().into_body()
    }

    async fn ping(&mut self) {
        self.pings.ping(Ping::opaque()).await.unwrap();
    }

    /// Keeps the connection alive without reading, until the response ends. Returns the reason.
    async fn wait(&mut self, answer: &mut RecvStream, clock: &ManualClock) -> Option<Reason> {
        loop {
            let part = futures::future::poll_fn(|context| {
                Poll::Ready(match answer.poll_data(context) {
                    Poll::Ready(part) => part,
                    Poll::Pending => Some(Ok(Bytes::new())),
                })
            });
            if let Err(error) = part.await? {
                return error.reason();
            }
            clock.pass_stall();
            self.ping().await;
        }
    }
}

/// Serves these responses; the path of a request is the index of its response.
async fn serve(
    answers: &[(usize, usize, bool)],
    window_bytes: u32,
) -> (Client, Arc<ManualClock>, Arc<()>) {
    serve_some(answers, window_bytes, false).await
}

/// As [`serve`]. `is_live` makes them responses without an end.
async fn serve_some(
    answers: &[(usize, usize, bool)],
    window_bytes: u32,
    is_live: bool,
) -> (Client, Arc<ManualClock>, Arc<()>) {
    let (clock, held) = (Arc::new(ManualClock::default()), Arc::new(()));
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    let (answers, kept) = (answers.to_vec(), Arc::clone(&held));
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let number: usize = request.uri().path()[1..].parse().unwrap();
        let (frames, frame_bytes, has_trailers) = answers[number];
        let held = Arc::clone(&kept);
        let answer = FramedResponse { frames, frame_bytes, has_trailers, held };
        let unread = if is_live { WatchedBody::live } else { WatchedBody::new };
        async move { Ok::<_, Infallible>(Response::new(unread(answer))) }
    });
    let tasks = StreamTasks::new(Arc::<ManualClock>::clone(&clock));
    tokio::spawn(http2::Builder::new(tasks).serve_connection(TokioIo::new(ours), service));
    (Client::new(theirs, window_bytes).await, clock, held)
}

/// Checks that an unread response with this form and window is reset, and that its connection
/// stays.
async fn check_reset(answer: (usize, usize, bool), window_bytes: u32) {
    let (mut client, clock, held) = serve(&[answer, (0, 0, false)], window_bytes).await;
    // The service holds a reference, and each response another one.
    let idle = Arc::strong_count(&held);
    let mut body = client.ask("http://localhost/0").await;
    client.ping().await;
    assert!(Arc::strong_count(&held) > idle, "{answer:?} {window_bytes}: nothing waits");
    let reason = client.wait(&mut body, &clock).await;
    assert_eq!(reason, Some(Reason::CANCEL), "{answer:?} {window_bytes}");
    assert_eq!(Arc::strong_count(&held), idle, "{answer:?} {window_bytes}: it is held");
    let mut next = client.ask("http://localhost/1").await;
    assert!(next.data().await.is_none(), "{answer:?} {window_bytes}: the connection goes on");
}

#[tokio::test]
async fn a_response_without_window_is_reset_whatever_its_form() {
    let answers = [
        (1, 5, false),
        (1, 5, true),
        (1, 3 << 20, false),
        (1, 3 << 20, true),
        (40, 8 << 10, false),
        (40, 8 << 10, true),
    ];
    for answer in answers {
        // Windows for nothing, for a part of the first piece, and for some pieces and a part of
        // one.
        for window_bytes in [0, 1, 200_000] {
            let (frames, frame_bytes, _) = answer;
            if frames * frame_bytes > window_bytes as usize {
                let checked = check_reset(answer, window_bytes);
                tokio::time::timeout(PATIENCE, checked).await.expect("it is kept");
            }
        }
    }
}

/// Reads a response of 50 MB over HTTP/2 at this pace. Returns the bytes that arrived, and the
/// reason of a reset.
async fn take(seconds_of_a_mib: u64, has_trailers: bool, is_live: bool) -> (usize, Option<Reason>) {
    const WINDOW: usize = 1 << 20;
    let answer = (100, 500_000, has_trailers);
    let (mut client, clock, held) = serve_some(&[answer], WINDOW as u32, is_live).await;
    let idle = Arc::strong_count(&held);
    let mut body = client.ask("http://localhost/0").await;
    let (mut got, mut unread) = (0, 0);
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return (got, part.unwrap_err().reason()) };
        (got, unread) = (got + part.len(), unread + part.len());
        if unread == WINDOW {
            // The response is waiting all this time.
            for _ in 0..seconds_of_a_mib {
                clock.pass(Duration::from_secs(1));
                client.ping().await;
            }
            body.flow_control().release_capacity(unread).unwrap();
            unread = 0;
        }
    }
    assert_eq!(body.trailers().await.unwrap().is_some(), has_trailers);
    client.ping().await;
    assert_eq!(Arc::strong_count(&held), idle);
    (got, None)
}

#[tokio::test]
async fn a_response_that_is_read_slowly_arrives_completely() {
    for has_trailers in [false, true] {
        assert_eq!(take(4, has_trailers, false).await, (50_000_000, None), "256 KiB a second");
    }
}

#[tokio::test]
async fn a_response_that_is_read_below_the_minimum_pace_is_reset() {
    // Below 64 KiB a second, but far above the limit of a stall.
    let (got, reason) = take(20, false, false).await;
    assert_eq!(reason, Some(Reason::CANCEL));
    assert!((3 << 20..8 << 20).contains(&got), "{got}");
}

#[tokio::test]
async fn a_live_response_has_no_minimum_pace() {
    assert_eq!(take(20, false, true).await, (50_000_000, None));
}

/// Reads a response of 64 MiB over HTTP/1 at this pace. Returns the bytes that arrived before its
/// end.
async fn read(seconds_of_a_mib: u64) -> usize {
    let (reads, clock) = (Arc::new(LargeResponse::default()), Arc::new(ManualClock::default()));
    let running = start_beside_at(reads, Arc::<ManualClock>::clone(&clock)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(running.zipkin).await.unwrap();
    let request = format!("GET /api/v2/traces HTTP/1.1\r\nhost: {}\r\n\r\n", running.zipkin);
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut got, mut part) = (0, vec![0; 1 << 20]);
    while got < 64 << 20 {
        let whole = stream.read_exact(&mut part);
        match tokio::time::timeout(PATIENCE, whole).await.expect("nothing comes") {
            Ok(count) => got += count,
            Err(_) => break,
        }
        clock.pass(Duration::from_secs(seconds_of_a_mib));
    }
    got
}

#[tokio::test]
async fn an_http1_response_ends_unless_it_is_read_at_the_minimum_pace() {
    assert_eq!(read(4).await, 64 << 20, "256 KiB a second");
    assert!(read(25).await < 32 << 20, "a trickle");
}

/// Answers every query with 64 MiB, more than sockets buffer.
#[derive(Debug, Default)]
struct LargeResponse(Arc<()>);

impl ReadApi for LargeResponse {
    fn answer(&self, _: Parts, _: Option<Caller>) -> BoxFuture<'static, Response<ReplyBody>> {
        let held = Arc::clone(&self.0);
        let answer = FramedResponse { frames: 64, frame_bytes: 1 << 20, has_trailers: false, held };
        let body: UnsyncBoxBody<Bytes, io::Error> =
            answer.map_err(|never| match never {}).boxed_unsync();
        Box::pin(async { Response::new(body) })
    }
}

#[tokio::test]
async fn an_unread_response_to_a_query_on_the_receivers_address_is_reset() {
    let (reads, clock) = (Arc::new(LargeResponse::default()), Arc::new(ManualClock::default()));
    let held = Arc::clone(&reads.0);
    let running = start_beside_at(reads, Arc::<ManualClock>::clone(&clock)).await;
    let idle = Arc::strong_count(&held);
    let stream = TcpStream::connect(running.zipkin).await.unwrap();
    let mut client = Client::new(stream, 0).await;
    let mut body = client.ask(&format!("http://{}/api/v2/traces", running.zipkin)).await;
    let ended = tokio::time::timeout(PATIENCE, client.wait(&mut body, &clock)).await;
    assert_eq!(ended.expect("it is kept"), Some(Reason::CANCEL));
    assert_eq!(Arc::strong_count(&held), idle);
}

#[tokio::test]
async fn an_unread_http1_response_on_the_receivers_address_ends() {
    let (reads, clock) = (Arc::new(LargeResponse::default()), Arc::new(ManualClock::default()));
    let held = Arc::clone(&reads.0);
    let running = start_beside_at(reads, Arc::<ManualClock>::clone(&clock)).await;
    let idle = Arc::strong_count(&held);
    let mut stream = TcpStream::connect(running.zipkin).await.unwrap();
    let request = format!("GET /api/v2/traces HTTP/1.1\r\nhost: {}\r\n\r\n", running.zipkin);
    stream.write_all(request.as_bytes()).await.unwrap();
    let count = || Arc::strong_count(&held);
    let until = async |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    let waits = tokio::time::timeout(PATIENCE, until(&|| count() > idle)).await;
    waits.expect("nothing is answered");
    let has_ended = || {
        clock.pass_stall();
        count() == idle
    };
    tokio::time::timeout(PATIENCE, until(&has_ended)).await.expect("it is kept");
    drop(stream);
}
