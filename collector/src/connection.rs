//! One connection: HTTP/1 or HTTP/2 on it, its bounds, and a watch that ends it when it hangs or takes
//! no answer.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Version;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tidings_storage::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    CollectorLimits, explained::Explained, phase::Phase, server::Server, stall::Stall,
    unread::StreamTasks,
};

/// Streams a client may open and reset before they were looked at: above it, it is an attack.
const RESET_STREAMS_MAX: usize = 20;

/// How many times larger hyper's own bound on heads is: what is over ours but under hyper's gets an
/// answer in the protocol's form and the request's encoding.
const HYPER_HEAD_FACTOR: u32 = 4;

/// Clients may send so much in one frame of HTTP/2, eight times what they may without our saying
/// so: each frame wakes the request that it belongs to. A connection keeps one in memory while it
/// arrives.
const FRAME_BYTES_MAX: u32 = 128 << 10;

/// HTTP/2 pings find peers that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves the connection until it ends, hangs or the phase says so.
pub(crate) async fn run(stream: TcpStream, server: Arc<Server>) {
    // Answers are small; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let limits = &server.ingest.limits;
    let clock = Arc::clone(&server.ingest.clock);
    let activity = Activity::new(Arc::clone(&clock));
    let stall = Stall::new(Arc::clone(&clock));
    let watched = Watched { stream, activity: Arc::clone(&activity), stall };
    let explain = {
        let server = Arc::clone(&server);
        Arc::new(move |status| server.explain(status))
    };
    let io = TokioIo::new(Explained::new(watched, explain, Arc::clone(&clock)));
    let service = service_fn(|request| {
        let (server, activity) = (Arc::clone(&server), Arc::clone(&activity));
        let busy = activity.begin(request.version());
        async move {
            let response = server.serve(request).await;
            // It is busy until its answer has been sent: what maps errors lives that long.
            Ok::<_, Infallible>(response.map(|body| {
                body.map_err(move |error| {
                    let _ = &busy;
                    error
                })
            }))
        }
    });
    let builder = builder(limits, &clock);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut phases = server.phases.clone();
    let mut closed_phases = server.phases.clone();
    let mut closed = pin!(closed_phases.reached(Phase::Closed));
    let tick = (limits.header_timeout / 4).clamp(Duration::from_millis(20), PING_TIMEOUT);
    let mut ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(receiver = server.receiver.name(), %error, "connection ended");
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
                    ending = true;
                    activity.rest();
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Idle | Verdict::Stuck => return,
            }
        }
    }
}

fn builder(limits: &CollectorLimits, clock: &Arc<dyn Clock>) -> Builder<StreamTasks> {
    let head_bytes = limits.header_bytes_max.saturating_mul(HYPER_HEAD_FACTOR);
    let buffer_bytes = usize::try_from(head_bytes).unwrap_or(usize::MAX);
    let mut builder = Builder::new(StreamTasks::new(Arc::clone(clock)));
    builder
        .http1()
        .timer(TokioTimer::new())
        // Hyper's own timeout would also end idle connections; the watch tells them apart.
        .header_read_timeout(None)
        // The head must fit into the buffer, so this bounds it. Hyper's minimum is 8 KiB.
        .max_buf_size(buffer_bytes.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_header_list_size(head_bytes)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(64 << 10)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// What a connection has been doing.
#[derive(Debug)]
struct Activity {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests being answered.
    busy: usize,
    /// Whether there was ever a request.
    served: bool,
    /// HTTP/2 sends frames of its own, so bytes do not mean that a request begins.
    http2: bool,
    /// Since when there is none.
    resting_since: Instant,
    /// Since when a head is arriving.
    head_since: Option<Instant>,
}

enum Verdict {
    Fine,
    /// No request for long: end it politely.
    Idle,
    /// A head that does not come to its end.
    Stuck,
}

impl Activity {
    fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = State {
            busy: 0,
            served: false,
            http2: false,
            resting_since: clock.instant(),
            head_since: None,
        };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, version: Version) -> Busy {
        let mut state = self.state();
        state.busy += 1;
        state.served = true;
        state.http2 = version == Version::HTTP_2;
        state.head_since = None;
        Busy(Arc::clone(self))
    }

    fn rest(&self) {
        self.state().resting_since = self.clock.instant();
    }

    fn arrived(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.busy > 0 || bytes.is_empty() {
            return;
        }
        if !state.served && state.head_since.is_none() {
            state.http2 = b"PRI".starts_with(bytes) || bytes.starts_with(b"PRI");
        }
        if !state.http2 && state.head_since.is_none() {
            state.head_since = Some(self.clock.instant());
        }
    }

    fn verdict(&self, limits: &CollectorLimits) -> Verdict {
        let now = self.clock.instant();
        let state = self.state();
        let since = |then| now.saturating_duration_since(then);
        if state.busy > 0 {
            return Verdict::Fine;
        }
        if state.head_since.is_some_and(|then| since(then) >= limits.header_timeout) {
            return Verdict::Stuck;
        }
        // One that never asks anything gets three times as long as a head may take.
        let rest_max = if state.served {
            limits.idle_timeout
        } else {
            limits.header_timeout.saturating_mul(3)
        };
        if since(state.resting_since) >= rest_max { Verdict::Idle } else { Verdict::Fine }
    }
}

/// A request being answered.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy = state.busy.saturating_sub(1);
        state.resting_since = self.0.clock.instant();
    }
}

/// The socket, telling what arrives.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    stall: Stall,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(arrived) = buffer.filled().get(before..) {
            self.activity.arrived(arrived);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.stall.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.stall.watch(outcome, context)
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
