//! Ends answers of HTTP/2 that their clients do not take: a stream is reset, and what its answer
//! held is let go, when nothing of it has left for [`STALL`], or up to twice as long, or when it leaves
//! at less than the least pace of answers. The connection and its other streams stay.
//!
//! A client of HTTP/2 says how much of each answer it takes. One that takes nothing stalls no write
//! to the socket, and can keep the connection alive by pings or by other requests. So each stream is
//! watched by itself: [`StreamTasks`] runs them, and [`Unread`] tells them what waits. An answer goes
//! to the connection in pieces that say when they have left, and ends after its last piece has:
//! before its end a stream can be reset, after it nothing takes back what is queued.
//!
//! HTTP/1 needs none of this: there an answer that is not taken stalls the socket, which
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

/// Bytes handed to a connection at a time: one frame of HTTP/2. Small enough that a slow client
/// takes one within [`STALL`] of each of many responses.
const PIECE_BYTES: usize = 16 << 10;

tokio::task_local! {
    /// The stream whose task this is.
    static STREAM: Arc<Stream>;
}

/// Runs the streams of connections of HTTP/2, each until its answer has stalled.
#[derive(Debug, Clone)]
pub struct StreamTasks {
    clock: Arc<dyn Clock>,
}

impl StreamTasks {
    /// Streams whose time is this clock's.
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
                () = stream.stalled() => tracing::debug!("an answer was not taken"),
            }
        });
    }
}

/// Response data of one stream that its connection holds.
#[derive(Debug)]
struct Stream {
    clock: Arc<dyn Clock>,
    waiting: Mutex<UnreadPieces>,
    /// Told when something begins to wait.
    begun: Notify,
}

#[derive(Debug, Default)]
struct UnreadPieces {
    /// Pieces that have not left.
    pieces: usize,
    /// Counts those that have.
    left: u64,
    /// Bytes of those that have left, and the time that some waited, since the last look.
    left_bytes: usize,
    waited: Duration,
    /// Since when some wait, or the last look.
    since: Option<Instant>,
    /// Set for an answer that has no least pace.
    is_live: bool,
    /// Task to wake when all have left.
    waker: Option<Waker>,
}

impl Stream {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default(), begun: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, UnreadPieces> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes as what this stream waits for until they are dropped.
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

    /// Returns when something has waited for [`STALL`] and nothing has left meanwhile, or has left too
    /// slowly.
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
    /// Returns how long pieces have waited since the last look, and how many bytes left.
    fn look(&mut self, now: Instant) -> (Duration, usize) {
        if let Some(since) = &mut self.since {
            self.waited += now.saturating_duration_since(*since);
            *since = now;
        }
        (std::mem::take(&mut self.waited), std::mem::take(&mut self.left_bytes))
    }
}

/// Bytes that the connection has.
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

/// The body of an answer, whose stream is told what of it waits. Is the body as it is where no
/// stream of HTTP/2 is, which is seen where this is made: in the stream's task.
pub struct Unread<B> {
    body: B,
    stream: Option<Arc<Stream>>,
    /// Next bytes for the connection.
    rest: Bytes,
    end: Option<End>,
}

/// How a body ends, once all before it has left.
enum End {
    Plain,
    Trailers(HeaderMap),
}

impl<B> Unread<B> {
    /// The answer of the stream whose task this is called in.
    pub fn new(body: B) -> Self {
        let stream = STREAM.try_with(Arc::clone).ok();
        Self { body, stream, rest: Bytes::new(), end: None }
    }

    /// The same for an answer without an end, which has no least pace.
    pub fn live(body: B) -> Self {
        let unread = Self::new(body);
        if let Some(stream) = &unread.stream {
            stream.waiting().is_live = true;
        }
        unread
    }
}

impl<B> fmt::Debug for Unread<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unread").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Unread<B> {
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
                    Err(frame) => this.end = frame.into_trailers().ok().map(End::Trailers),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.end = Some(End::Plain),
            }
        }
        if !this.rest.is_empty() {
            let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
            return Poll::Ready(Some(Ok(Frame::data(stream.piece(piece)))));
        }
        ready!(stream.poll_all_left(context));
        match this.end.replace(End::Plain) {
            Some(End::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(End::Plain) | None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_left = self.stream.as_ref().is_none_or(|stream| stream.waiting().pieces == 0);
        let is_given = self.rest.is_empty() && !matches!(self.end, Some(End::Trailers(_)));
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
