//! One connection: HTTP/1 or HTTP/2 on it, its bounds, and a watchdog that ends it when it hangs,
//! reads no responses, or is evicted. Does not own the socket and TLS ([`crate::transport`]).

use std::{
    convert::Infallible,
    io::IoSlice,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tidings_storage::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

use crate::{
    activity::{Activity, ConnectionEnd, RequestGuard, Verdict},
    body::discard_arrived,
    endpoint::{ConnectionLimits, Endpoint, UnreadableHead},
    head_errors::{Explain, Explained},
    listener::{self, Listening, Slot},
    phase::Phase,
    shares::{PeerAddress, RequestHolder, ShareHolder},
    sink::ReplyBody,
    stall::LiveAnswer,
    stalled_streams::StreamTasks,
    transport::{self, TLS_RECORD, Transport},
};

/// Maximum number of streams that a client resets before the server has accepted them; more are an
/// attack.
const RESET_STREAMS_MAX: usize = 20;
/// Maximum number of streams that the server resets because of errors of the client
/// (CVE-2025-8671).
const ERROR_STREAMS_MAX: usize = 100;

/// Maximum number of header fields of a request, as in hyper for HTTP/1. In HTTP/2, thousands of
/// fields take only a few bytes each, and are held in memory during the request.
const HEAD_FIELDS_MAX: usize = 100;

/// Maximum bytes of an HTTP/2 frame, eight times the default. Larger frames wake the task of a
/// request less often. A connection holds one frame in memory while it arrives.
const FRAME_BYTES_MAX: u32 = 128 << 10;
/// Number of frames that a connection reads before it yields to other tasks. Many small frames can
/// be available at once, and h2 treats them as a flood when too many wait for the task of their
/// request.
const TURN_FRAMES: usize = 64;
/// Maximum bytes of responses that an HTTP/2 connection buffers for the socket.
const SEND_BYTES_MAX: usize = 64 << 10;

/// Interval of HTTP/2 pings, which detect peers that are gone without closing the connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Accepts and serves connections until [`Phase::Draining`]. Returns when all of them have ended.
pub async fn listen<E: Endpoint>(listener: TcpListener, listening: Arc<Listening<E>>) {
    listener::accept_all(listener, listening, run).await;
}

/// Serves a connection after its handshake, until it ends, hangs, is evicted, or the phase ends it.
async fn run<E: Endpoint>(stream: TcpStream, listening: Arc<Listening<E>>, slot: Slot) {
    if let Some(transport) = transport::open(stream, &listening, &slot).await {
        serve(transport, listening, slot).await;
    }
}

async fn serve<E: Endpoint>(transport: Transport, listening: Arc<Listening<E>>, slot: Slot) {
    let (limits, clock) = (&listening.limits, &listening.clock);
    let activity = Arc::clone(slot.activity());
    let slot = Arc::new(slot);
    let explain = explain(&listening, &activity);
    let watched = WatchedStream::new(transport, Arc::clone(&activity));
    let io = TokioIo::new(Explained::new(watched, explain, Arc::clone(clock)));
    let service = service_fn(|request: Request<Incoming>| {
        let version = request.version();
        let mut busy = activity.begin_request(version);
        let (listening, slot) = (Arc::clone(&listening), Arc::clone(&slot));
        async move {
            let response = answer(&listening, &slot, &mut busy, request).await;
            slot.activity().answers(version, response.extensions().get::<LiveAnswer>().is_some());
            busy.answered();
            // The closure that maps errors owns the guard until the response has been sent.
            Ok::<_, Infallible>(response.map(|body| {
                body.map_err(move |error| {
                    let _ = &busy;
                    error
                })
            }))
        }
    });
    let builder = builder(limits, clock);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut phases = listening.phases.clone();
    let mut closed_phases = listening.phases.clone();
    let mut closed = pin!(closed_phases.reached(Phase::Closed));
    let mut ended = pin!(activity.ended());
    let tick = (limits.header_timeout / 4).clamp(Duration::from_millis(20), PING_TIMEOUT);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            end = &mut ended => return note_end(&listening, end),
            result = connection.as_mut() => {
                match (activity.end(), result) {
                    // The stream failed because the connection has to end.
                    (Some(end), Err(_)) => note_end(&listening, end),
                    (_, Err(error)) => {
                        let listener = listening.endpoint.name();
                        tracing::debug!(listener, %error, "connection ended");
                    }
                    (_, Ok(())) => {}
                }
                return;
            }
            () = &mut closed => return,
            () = phases.reached(Phase::Draining), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = clock.sleep(tick) => match activity.verdict(limits) {
                Verdict::Fine => {}
                Verdict::Idle if !ending => {
                    listening.counters.idle.fetch_add(1, Relaxed);
                    ending = true;
                    activity.rest();
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Idle => return,
                Verdict::Stuck => {
                    listening.counters.stuck.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }
}

/// Counts and logs a connection that the server ends because of its activity.
fn note_end<E: Endpoint>(listening: &Listening<E>, end: ConnectionEnd) {
    listening.counters.note(end);
    tracing::debug!(listener = listening.endpoint.name(), ?end, "connection ended");
}

/// Returns the function that writes bodies for hyper's refusals, including that of TLS to a
/// listener without TLS.
fn explain<E: Endpoint>(listening: &Listening<E>, activity: &Arc<Activity>) -> Explain {
    let (endpoint, activity) = (Arc::clone(&listening.endpoint), Arc::clone(activity));
    let is_plain = listening.tls.is_none();
    Arc::new(move |status| {
        // During a response, bytes that look like a refusal belong to the response.
        if activity.is_busy() {
            return None;
        }
        let head = match status {
            StatusCode::BAD_REQUEST if is_plain && activity.first_byte() == Some(TLS_RECORD) => {
                UnreadableHead::WithTls
            }
            status => UnreadableHead::Refused(status),
        };
        Some(endpoint.explain(head, activity.peer()))
    })
}

/// Answers one request. Hyper closes a connection of HTTP/1 after a body that was not read to its
/// end, so the response announces that. A client that did not know might lose its next request.
async fn answer<E: Endpoint>(
    listening: &Listening<E>,
    slot: &Slot,
    busy: &mut RequestGuard,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let version = request.version();
    let peer = PeerAddress::from(listening.proxies.client(slot.address(), request.headers()));
    let has_body = !request.body().is_end_stream();
    let holder = RequestHolder::new(peer, has_body, Arc::clone(&listening.clock));
    let mut response = answer_or_refuse(listening, slot, busy, request, &holder).await;
    if holder.is_receiving() || holder.is_broken_off() {
        announce_close(version, &mut response);
    }
    response
}

/// Adds the header that announces the end of a connection of HTTP/1.
fn announce_close(version: Version, response: &mut Response<ReplyBody>) {
    if version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
}

/// Answers one request, or refuses it when the connection is on the reserve or there are too many
/// requests.
async fn answer_or_refuse<E: Endpoint>(
    listening: &Listening<E>,
    slot: &Slot,
    busy: &mut RequestGuard,
    request: Request<Incoming>,
    holder: &Arc<RequestHolder>,
) -> Response<ReplyBody> {
    let (endpoint, counters) = (&listening.endpoint, &listening.counters);
    let (head, mut body) = request.into_parts();
    let peer = holder.peer();
    if head.headers.len() > HEAD_FIELDS_MAX {
        discard_arrived(&mut body, holder);
        return endpoint.refuse_fields(&head, HEAD_FIELDS_MAX, peer);
    }
    let is_health = endpoint.is_health(&head);
    if !is_health && !slot.is_regular() {
        counters.overloaded.fetch_add(1, Relaxed);
        let mut response = endpoint.refuse_overloaded(&head, peer);
        announce_close(head.version, &mut response);
        return response;
    }
    let share = (!is_health).then(|| listening.requests.take(Arc::clone(holder) as _, 1));
    let Ok(_share) = share.transpose() else {
        counters.requests_refused.fetch_add(1, Relaxed);
        discard_arrived(&mut body, holder);
        return endpoint.refuse_overloaded(&head, peer);
    };
    busy.let_in(holder);
    let request = Request::from_parts(head, body);
    Arc::clone(endpoint).answer(request, Arc::clone(holder)).await
}

fn builder(limits: &ConnectionLimits, clock: &Arc<dyn Clock>) -> Builder<StreamTasks> {
    let buffer_bytes = usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX);
    let mut builder = Builder::new(StreamTasks::new(Arc::clone(clock)));
    builder
        .http1()
        .timer(TokioTimer::new())
        // Hyper's own timeout would also end idle connections, which the watchdog tells apart.
        .header_read_timeout(None)
        // Bounds the head, which must fit into the buffer. Hyper's minimum is 8 KiB.
        .max_buf_size(buffer_bytes.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(ERROR_STREAMS_MAX)
        .max_header_list_size(limits.head_bytes_max)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// The stream of a connection, which reports its reads and writes to the activity. It fails once
/// the connection has to end.
#[derive(Debug)]
struct WatchedStream<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Frames that were read since the task last yielded.
    frames: usize,
}

impl<S> WatchedStream<S> {
    fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, frames: 0 }
    }

    fn note_sent(&self, written: &Poll<std::io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.activity.sent(*bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    /// Discards bytes for which the connection has to end.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.activity.check_goes_on()?;
        if self.frames >= TURN_FRAMES {
            self.frames = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let arrived = self.activity.arrived(buffer.filled().get(before..).unwrap_or_default());
        self.frames = if result.is_pending() { 0 } else { self.frames + arrived };
        if let Err(ended) = self.activity.check_goes_on() {
            buffer.set_filled(before);
            return Poll::Ready(Err(ended));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.activity.check_goes_on()?;
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.activity.check_goes_on()?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, IoSlice},
        net::IpAddr,
        sync::Arc,
    };

    use futures::FutureExt;
    use http::Version;
    use tidings_storage::SystemClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{TURN_FRAMES, WatchedStream};
    use crate::{
        activity::{Activity, ConnectionEnd},
        frame_meter::PREFACE,
        shares::{PeerAddress, ShareHolder},
    };

    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7];
    /// Bytes of one read.
    const CHUNK: usize = 4096;

    fn watched<S>(stream: S) -> WatchedStream<S> {
        let peer = PeerAddress::from(IpAddr::from([127, 0, 0, 1]));
        WatchedStream::new(stream, Activity::new(peer, Arc::new(SystemClock)))
    }

    #[tokio::test]
    async fn a_detected_flood_is_neither_read_nor_passed_on() {
        let flood = [PREFACE, &PING.repeat(100_000)].concat();
        let mut watched = watched(&flood[..]);
        let (mut chunk, mut passed) = ([0; CHUNK], 0);
        let error = loop {
            match watched.read(&mut chunk).await {
                Ok(count) => passed += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(watched.activity.end(), Some(ConnectionEnd::Flooding));
        let allowed = PREFACE.len() + 1000 * PING.len();
        assert!((allowed - CHUNK..=allowed).contains(&passed), "{passed} bytes");
        assert_eq!(flood.len() - watched.stream.len(), passed + CHUNK);
        watched.read(&mut chunk).await.unwrap_err();
        assert_eq!(flood.len() - watched.stream.len(), passed + CHUNK, "it is read on");
    }

    #[tokio::test]
    async fn nothing_is_read_or_written_on_a_connection_that_has_to_end() {
        let evict: fn(&Arc<Activity>) = |activity| activity.evict();
        let abandon: fn(&Arc<Activity>) = |activity| {
            (0..=100).for_each(|_| drop(activity.begin_request(Version::HTTP_2)));
        };
        for (end, reason) in [(evict, ConnectionEnd::Evicted), (abandon, ConnectionEnd::Abandoning)]
        {
            let (mut peer, stream) = tokio::io::duplex(CHUNK);
            let mut watched = watched(stream);
            peer.write_all(PREFACE).await.unwrap();
            watched.read_exact(&mut [0; 3]).await.unwrap();
            watched.write_all(b"before").await.unwrap();
            end(&watched.activity);
            assert_eq!(watched.activity.end(), Some(reason));
            watched.read(&mut [0; CHUNK]).await.unwrap_err();
            watched.write(b"after").await.unwrap_err();
            watched.write_vectored(&[IoSlice::new(b"after")]).await.unwrap_err();
            drop(watched);
            let mut written = Vec::new();
            peer.read_to_end(&mut written).await.unwrap();
            assert_eq!(written, b"before");
        }
    }

    #[test]
    fn a_connection_with_many_small_frames_yields_to_others() {
        let frame = [&[0, 0, 100, 0, 0, 0, 0, 0, 1], &[7; 100][..]].concat();
        let sent = [PREFACE, &frame.repeat(10_000)].concat();
        let mut watched = watched(&sent[..]);
        let (mut chunk, mut read, mut at_once) = ([0; CHUNK], 0, 0);
        while read < sent.len() {
            let count = watched.read(&mut chunk).now_or_never().map(Result::unwrap);
            read += count.unwrap_or(0);
            at_once = count.map_or(0, |count| at_once + count);
            assert!(at_once <= TURN_FRAMES * frame.len() + CHUNK, "{at_once} bytes at once");
        }
    }
}
