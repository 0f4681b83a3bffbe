//! Watchdog for HTTP/2 responses that their clients do not read. A stream is reset, and the memory
//! of its response freed, when none of its data was sent for [`STALL`] to twice that time, or when
//! it is read below the minimum pace of responses. The connection and its other streams stay.
//!
//! In HTTP/2 a client controls the flow of each response. A client that accepts no data stalls no
//! write to the socket, and can keep the connection alive by pings or other requests. So each
//! stream is watched separately: [`StreamTasks`] runs the tasks of streams, and [`WatchedBody`]
//! reports which data is waiting. A response is passed to the connection in pieces that report when
//! they were sent, and ends after its last piece was sent. A stream can be reset only before its
//! end; afterwards its queued data cannot be removed.
//!
//! HTTP/1 does not need this, because an unread response stalls the socket, which
//! [`Stall`](crate::Stall) watches.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tidings_storage::Clock;
use tokio::sync::Notify;

use crate::stall::{ReadPace, STALL};

/// Bytes of a piece, which is one HTTP/2 frame. Small enough for a slow client to read one piece of
/// each of many responses within [`STALL`].
const PIECE_BYTES: usize = 16 << 10;

tokio::task_local! {
    /// The stream of the current task.
    static STREAM: Arc<Stream>;
}

/// Runs the tasks of HTTP/2 streams, each until it ends or its response has stalled.
#[derive(Debug, Clone)]
pub struct StreamTasks {
    clock: Arc<dyn Clock>,
}

impl StreamTasks {
    /// Makes an executor with this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let clock = Arc::clone(&self.clock);
        tokio::spawn(async move {
            let stream = Arc::new(Stream::new(clock));
            tokio::select! {
                biased;
                _ = STREAM.scope(Arc::clone(&stream), task) => {}
                // Dropping the task resets the stream and empties its queue.
                () = stream.stalled() => tracing::debug!("stream reset: the client does not read"),
            }
        });
    }
}

/// The pieces of one stream's response that its connection holds.
#[derive(Debug)]
struct Stream {
    clock: Arc<dyn Clock>,
    waiting: Mutex<UnreadPieces>,
    /// Notified when a piece begins to wait.
    begun: Notify,
}

#[derive(Debug, Default)]
struct UnreadPieces {
    /// Number of pieces that were not sent yet.
    pieces: usize,
    /// Number of pieces that were sent.
    left: u64,
    /// Bytes that were sent, and time for which pieces have waited, since the last check.
    left_bytes: usize,
    waited: Duration,
    /// The time since which pieces are waiting, or that of the last check.
    since: Option<Instant>,
    /// True for a response without a minimum pace.
    is_live: bool,
    /// The task to wake when all pieces were sent.
    waker: Option<Waker>,
}

impl Stream {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default(), begun: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, UnreadPieces> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wraps bytes as a piece that is waiting until it is dropped.
    fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut waiting = self.waiting();
        waiting.pieces += 1;
        let first = waiting.pieces == 1;
        if first {
            waiting.since = Some(self.clock.instant());
        }
        drop(waiting);
        if first {
            self.begun.notify_one();
        }
        Bytes::from_owner(Piece { bytes, stream: Arc::clone(self) })
    }

    fn poll_all_left(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if waiting.pieces == 0 {
            return Poll::Ready(());
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Resolves when pieces have waited for [`STALL`] and none was sent in that time, or the pace
    /// is too low.
    async fn stalled(&self) {
        let mut pace = ReadPace::default();
        loop {
            self.begun.notified().await;
            loop {
                let before = match &*self.waiting() {
                    UnreadPieces { pieces: 0, .. } => break,
                    waiting => waiting.left,
                };
                self.clock.sleep(STALL).await;
                let now = self.clock.instant();
                let mut waiting = self.waiting();
                let (waited, bytes) = waiting.look(now);
                if waiting.left == before || !(waiting.is_live || pace.is_enough(waited, bytes)) {
                    return;
                }
            }
        }
    }
}

impl UnreadPieces {
    /// Returns the time for which pieces have waited since the last check, and the bytes that were
    /// sent.
    fn look(&mut self, now: Instant) -> (Duration, usize) {
        if let Some(since) = &mut self.since {
            self.waited += now.saturating_duration_since(*since);
            *since = now;
        }
        (std::mem::take(&mut self.waited), std::mem::take(&mut self.left_bytes))
    }
}

/// Bytes that the connection holds until they are sent.
struct Piece {
    bytes: Bytes,
    stream: Arc<Stream>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut waiting = self.stream.waiting();
        waiting.left += 1;
        waiting.left_bytes = waiting.left_bytes.saturating_add(self.bytes.len());
        waiting.pieces = waiting.pieces.saturating_sub(1);
        if waiting.pieces == 0
            && let Some(since) = waiting.since.take()
        {
            waiting.waited += self.stream.clock.instant().saturating_duration_since(since);
        }
        let waker = if waiting.pieces == 0 { waiting.waker.take() } else { None };
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The body of a response, which reports its waiting pieces to its stream. The stream belongs to
/// the task in which the body is made. A task outside of HTTP/2 has none, and passes the body on
/// unchanged.
pub struct WatchedBody<B> {
    body: B,
    stream: Option<Arc<Stream>>,
    /// The next bytes for the connection.
    rest: Bytes,
    end: Option<BodyEnd>,
}

/// The end of a body, after all its pieces were sent.
enum BodyEnd {
    Plain,
    Trailers(HeaderMap),
}

impl<B> WatchedBody<B> {
    /// Makes the body of a response, in the task of its stream.
    pub fn new(body: B) -> Self {
        let stream = STREAM.try_with(Arc::clone).ok();
        Self { body, stream, rest: Bytes::new(), end: None }
    }

    /// As [`Self::new`], for a response without an end, which has no minimum pace.
    pub fn live(body: B) -> Self {
        let unread = Self::new(body);
        if let Some(stream) = &unread.stream {
            stream.waiting().is_live = true;
        }
        unread
    }
}

impl<B> fmt::Debug for WatchedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(stream) = &this.stream else {
            return Pin::new(&mut this.body).poll_frame(context);
        };
        while this.rest.is_empty() && this.end.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => this.end = frame.into_trailers().ok().map(BodyEnd::Trailers),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.end = Some(BodyEnd::Plain),
            }
        }
        if !this.rest.is_empty() {
            let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
            return Poll::Ready(Some(Ok(Frame::data(stream.piece(piece)))));
        }
        ready!(stream.poll_all_left(context));
        match this.end.replace(BodyEnd::Plain) {
            Some(BodyEnd::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(BodyEnd::Plain) | None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_left = self.stream.as_ref().is_none_or(|stream| stream.waiting().pieces == 0);
        let is_given = self.rest.is_empty() && !matches!(self.end, Some(BodyEnd::Trailers(_)));
        is_left && is_given && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}
