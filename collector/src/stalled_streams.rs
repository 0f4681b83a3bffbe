//! Ends answers of HTTP/2 that their clients do not take: a stream is reset, and what its answer
//! held is let go, when nothing of it has left for [`STALL`], or up to twice as long. The connection
//! and its other streams stay.
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
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tidings_storage::Clock;
use tokio::sync::Notify;

use crate::stall::STALL;

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
            let stream = Arc::new(Stream::default());
            tokio::select! {
                biased;
                _ = STREAM.scope(Arc::clone(&stream), task) => {}
                // Dropping the task resets the stream and empties its queue.
                () = stream.stalled(&*clock) => tracing::debug!("an answer was not taken"),
            }
        });
    }
}

/// Response data of one stream that its connection holds.
#[derive(Debug, Default)]
struct Stream {
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
    /// Task to wake when all have left.
    waker: Option<Waker>,
}

impl Stream {
    fn waiting(&self) -> MutexGuard<'_, UnreadPieces> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes as what this stream waits for until they are dropped.
    fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut waiting = self.waiting();
        waiting.pieces += 1;
        let first = waiting.pieces == 1;
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

    /// Returns when something has waited for [`STALL`] and nothing has left meanwhile.
    async fn stalled(&self, clock: &dyn Clock) {
        loop {
            self.begun.notified().await;
            loop {
                let before = match &*self.waiting() {
                    UnreadPieces { pieces: 0, .. } => break,
                    waiting => waiting.left,
                };
                clock.sleep(STALL).await;
                if self.waiting().left == before {
                    return;
                }
            }
        }
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
        waiting.pieces = waiting.pieces.saturating_sub(1);
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
