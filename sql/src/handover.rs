//! Passes an answer's bytes from the conversation with a worker to their reader.
//!
//! Owns the few parts that wait to be read. The reader takes them in pieces, so that a stalled
//! connection holds few bytes. The conversation can take back waiting parts and end the answer,
//! whether the reader asks for more or not. Does not own the time that reading may take.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::Notify;

use crate::SqlError;

/// Maximum number of parts of an answer that wait to be read.
const PARTS_MAX: usize = 2;
/// Bytes that a reader is given at once.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
struct Handover {
    state: Mutex<HandoverState>,
    /// Notified when the reader has taken a part, or needs no more.
    progress: Notify,
}

#[derive(Debug, Default)]
struct HandoverState {
    parts: VecDeque<Bytes>,
    end: Option<Result<(), SqlError>>,
    /// True when the reader has seen the end, or has gone.
    is_finished: bool,
    reader: Option<Waker>,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, HandoverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two ends of a new answer.
pub(crate) fn handover() -> (PartsSender, AnswerParts) {
    let shared = Arc::new(Handover::default());
    (PartsSender(Arc::clone(&shared)), AnswerParts(shared))
}

/// The conversation's end.
#[derive(Debug)]
pub(crate) struct PartsSender(Arc<Handover>);

impl PartsSender {
    /// Passes on a part, waiting until there is room. Returns false when nobody reads any more.
    pub(crate) async fn send(&self, mut part: Bytes) -> bool {
        loop {
            match self.offer(part) {
                Ok(is_read) => return is_read,
                Err(back) => part = back,
            }
            self.0.progress.notified().await;
        }
    }

    /// Passes on a part, or returns it when there is no room for it.
    fn offer(&self, part: Bytes) -> Result<bool, Bytes> {
        let mut state = self.0.state();
        if state.is_finished {
            return Ok(false);
        }
        if state.parts.len() >= PARTS_MAX {
            return Err(part);
        }
        state.parts.extend((!part.is_empty()).then_some(part));
        wake(state);
        Ok(true)
    }

    /// Ends the answer after its parts, with success or an error.
    pub(crate) fn end(&self, end: Result<(), SqlError>) {
        let mut state = self.0.state();
        state.end.get_or_insert(end);
        wake(state);
    }

    /// Takes back waiting parts, and ends the answer with this error.
    pub(crate) fn abort(&self, error: SqlError) {
        let mut state = self.0.state();
        state.parts.clear();
        state.end = Some(Err(error));
        wake(state);
    }

    /// Resolves when the reader has seen the end, or has gone.
    pub(crate) async fn finished(&self) {
        while !self.is_finished() {
            self.0.progress.notified().await;
        }
    }

    fn is_finished(&self) -> bool {
        self.0.state().is_finished
    }
}

impl Drop for PartsSender {
    fn drop(&mut self) {
        let reason = "the answer was not written to its end".to_owned();
        self.end(Err(SqlError::Defect { reason }));
    }
}

fn wake(mut state: MutexGuard<'_, HandoverState>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The bytes of an answer, as they are written. The query's place is given back at their end.
#[derive(Debug)]
pub struct AnswerParts(Arc<Handover>);

impl Stream for AnswerParts {
    type Item = Result<Bytes, SqlError>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SqlError>>> {
        let mut state = self.0.state();
        if let Some(part) = state.parts.front_mut() {
            let piece = part.split_to(part.len().min(PIECE_BYTES));
            if part.is_empty() {
                state.parts.pop_front();
                self.0.progress.notify_one();
            }
            return Poll::Ready(Some(Ok(piece)));
        }
        if state.is_finished {
            return Poll::Ready(None);
        }
        let Some(end) = state.end.take() else {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.is_finished = true;
        self.0.progress.notify_one();
        Poll::Ready(end.err().map(Err))
    }
}

impl Drop for AnswerParts {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_finished = true;
        state.parts.clear();
        drop(state);
        self.0.progress.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt, StreamExt};

    use super::{PARTS_MAX, PIECE_BYTES, handover};
    use crate::SqlError;

    #[tokio::test]
    async fn parts_arrive_in_order_and_no_more_wait_than_may() {
        let (sender, mut parts) = handover();
        for _ in 0..PARTS_MAX {
            assert!(sender.send(Bytes::from(vec![b'x'; PIECE_BYTES + 1])).await);
        }
        assert!(sender.send(Bytes::from_static(b"y")).now_or_never().is_none());
        for expected in [PIECE_BYTES, 1, PIECE_BYTES, 1] {
            assert_eq!(parts.next().await.unwrap().unwrap().len(), expected);
        }
        sender.end(Ok(()));
        assert!(sender.finished().now_or_never().is_none(), "the end is not read");
        assert!(parts.next().await.is_none());
        sender.finished().await;
        assert!(!sender.send(Bytes::from_static(b"z")).await);
    }

    #[tokio::test]
    async fn waiting_parts_are_taken_back() {
        let (sender, mut parts) = handover();
        let part = Bytes::from(vec![b'x'; 1000]);
        assert!(sender.send(part.clone()).await);
        sender.abort(SqlError::Cancelled);
        assert!(part.is_unique(), "the reader has it still");
        assert!(matches!(parts.next().await, Some(Err(SqlError::Cancelled))));
        assert!(parts.next().await.is_none());
    }
}
