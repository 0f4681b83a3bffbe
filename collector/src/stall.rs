//! Ends a connection to whose client nothing more can be written, so that nobody keeps an answer in
//! memory by not reading it.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tidings_storage::Clock;

/// Time in which a client may take nothing, or hardly anything, of what is there for it, at least.
pub const STALL: Duration = Duration::from_secs(30);
/// Less than this in [`STALL`] is hardly anything: as much as of an answer over HTTP/2.
const STALL_BYTES_MIN: usize = 16 << 10;

/// Watches the writes to one socket.
pub struct Stall {
    clock: Arc<dyn Clock>,
    /// Runs while a write waits, for the rest of [`STALL`].
    waiting: Option<StalledWrite>,
    /// Time that writes have waited since so many bytes were taken.
    waited: Duration,
    taken_bytes: usize,
}

/// A write that waits.
struct StalledWrite {
    since: Instant,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stall {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: None, waited: Duration::ZERO, taken_bytes: 0 }
    }

    /// Returns a write's outcome, or its failure when writes have waited for [`STALL`] and next to
    /// nothing was taken.
    pub fn watch(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &outcome {
            if let Some(waiting) = self.waiting.take() {
                self.waited += self.clock.instant().saturating_duration_since(waiting.since);
            }
            self.taken_bytes += written.as_ref().map_or(0, |bytes| *bytes);
            if self.taken_bytes >= STALL_BYTES_MIN {
                (self.waited, self.taken_bytes) = (Duration::ZERO, 0);
            }
            return outcome;
        }
        let (clock, left) = (&self.clock, STALL.saturating_sub(self.waited));
        let waiting = self.waiting.get_or_insert_with(|| StalledWrite {
            since: clock.instant(),
            over: clock.sleep(left),
        });
        match waiting.over.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stall").field("waits", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::Pin,
        sync::{Arc, Mutex},
        task::Poll,
        time::{Duration, Instant},
    };

    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};

    use super::{STALL, STALL_BYTES_MIN, Stall};

    /// A clock that is set, for which a second or less is over at once.
    #[derive(Debug)]
    struct SteppingClock(Mutex<Instant>);

    impl Clock for SteppingClock {
        fn now(&self) -> UnixNanos {
            UnixNanos(0)
        }

        fn instant(&self) -> Instant {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let is_over = time <= Duration::from_secs(1);
            Box::pin(async move {
                if !is_over {
                    std::future::pending::<()>().await;
                }
            })
        }
    }

    /// Returns whether a client is given up that takes so many bytes at a time, each after so long.
    async fn is_given_up(bytes: usize, after: Duration) -> bool {
        let clock = Arc::new(SteppingClock(Mutex::new(SystemClock.instant())));
        let mut stall = Stall::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for _ in 0..100 {
            let waits = poll_fn(|context| Poll::Ready(stall.watch(Poll::Pending, context))).await;
            if waits.is_ready() {
                return true;
            }
            *clock.0.lock().unwrap() += after;
            let taken = poll_fn(|context| stall.watch(Poll::Ready(Ok(bytes)), context)).await;
            assert_eq!(taken.unwrap(), bytes);
        }
        false
    }

    #[tokio::test]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up() {
        assert!(is_given_up(1, STALL - Duration::from_secs(1)).await);
        assert!(is_given_up(100, Duration::from_secs(5)).await);
        assert!(!is_given_up(STALL_BYTES_MIN, Duration::from_secs(25)).await);
        assert!(!is_given_up(STALL_BYTES_MIN / 4, Duration::from_secs(5)).await);
        assert!(!is_given_up(1, Duration::ZERO).await, "what does not wait is no stall");
    }
}
