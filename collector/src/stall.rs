//! Watchdog for a connection whose client does not read, or reads too slowly, so that an unread
//! response is not kept in memory.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tidings_storage::Clock;

/// Time of waiting after which a client that has read fewer than 16 KiB is stalled.
pub const STALL: Duration = Duration::from_secs(30);
/// Bytes that a client must read in [`STALL`]; the size of a piece of an HTTP/2 response.
const STALL_BYTES_MIN: usize = 16 << 10;

/// Minimum bytes a second that a client reads, on average, while a response is waiting.
const READ_PER_SECOND_MIN: usize = 64 << 10;
/// Time of waiting between two checks of the client's pace. The first check is after this time.
const READ_WINDOW: Duration = Duration::from_secs(60);

/// The pace at which a client reads a waiting response.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadPace {
    waited: Duration,
    bytes: usize,
}

impl ReadPace {
    /// Adds time of waiting, in which the client has read these bytes. Returns whether the pace
    /// suffices.
    pub(crate) fn is_enough(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < READ_WINDOW {
            return true;
        }
        let seconds = usize::try_from(self.waited.as_secs()).unwrap_or(usize::MAX);
        let is_enough = self.bytes >= READ_PER_SECOND_MIN.saturating_mul(seconds);
        *self = Self::default();
        is_enough
    }
}

/// Response extension: a response without an end, such as a tail of the logs. It has no minimum
/// pace, because its size depends on others. Its client must not stall either.
#[derive(Debug, Clone, Copy)]
pub struct LiveAnswer;

/// Watches the writes to one socket.
pub struct Stall {
    clock: Arc<dyn Clock>,
    /// True while the writes are of a response with a minimum pace.
    is_paced: Arc<AtomicBool>,
    pace: ReadPace,
    /// The waiting write, with the rest of [`STALL`].
    waiting: Option<StalledWrite>,
    /// Time for which writes have waited while the last `taken_bytes` were written.
    waited: Duration,
    taken_bytes: usize,
}

/// A waiting write.
struct StalledWrite {
    since: Instant,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stall {
    /// Makes a watchdog with this clock. Writes have a minimum pace while the flag is set.
    pub fn new(clock: Arc<dyn Clock>, is_paced: Arc<AtomicBool>) -> Self {
        let (waited, pace) = (Duration::ZERO, ReadPace::default());
        Self { clock, is_paced, pace, waiting: None, waited, taken_bytes: 0 }
    }

    /// Returns the outcome of a write. Fails with `TimedOut` when writes have waited for [`STALL`]
    /// and fewer than 16 KiB were written, or when the response is read below the minimum pace.
    pub fn watch(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &outcome {
            let now = self.clock.instant();
            let since = self.waiting.take().map_or(now, |waiting| waiting.since);
            let waited = now.saturating_duration_since(since);
            let bytes = written.as_ref().map_or(0, |bytes| *bytes);
            if !self.is_paced.load(Relaxed) {
                self.pace = ReadPace::default();
            } else if !self.pace.is_enough(waited, bytes) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.waited += waited;
            self.taken_bytes += bytes;
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
        sync::{Arc, Mutex, atomic::AtomicBool},
        task::Poll,
        time::{Duration, Instant},
    };

    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};

    use super::{STALL, STALL_BYTES_MIN, Stall};

    /// A clock that is set by hand. Sleeps of at most a second end at once.
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

    /// Returns whether the connection of a client ends that reads `bytes` at a time, each `after`
    /// this time.
    async fn is_given_up(bytes: usize, after: Duration, is_paced: bool) -> bool {
        let clock = Arc::new(SteppingClock(Mutex::new(SystemClock.instant())));
        let is_paced = Arc::new(AtomicBool::new(is_paced));
        let mut stall = Stall::new(Arc::clone(&clock) as Arc<dyn Clock>, is_paced);
        for _ in 0..100 {
            let waits = poll_fn(|context| Poll::Ready(stall.watch(Poll::Pending, context))).await;
            if waits.is_ready() {
                return true;
            }
            *clock.0.lock().unwrap() += after;
            let taken = poll_fn(|context| stall.watch(Poll::Ready(Ok(bytes)), context)).await;
            match taken {
                Ok(taken) => assert_eq!(taken, bytes),
                Err(_) => return true,
            }
        }
        false
    }

    #[tokio::test]
    async fn a_client_that_reads_single_bytes_is_stalled() {
        for is_paced in [false, true] {
            let given_up = async |bytes, after| is_given_up(bytes, after, is_paced).await;
            assert!(given_up(1, STALL - Duration::from_secs(1)).await);
            assert!(given_up(100, Duration::from_secs(5)).await);
            assert!(!given_up(1, Duration::ZERO).await, "what does not wait is no stall");
        }
        assert!(!is_given_up(STALL_BYTES_MIN, Duration::from_secs(25), false).await);
        assert!(!is_given_up(STALL_BYTES_MIN / 4, Duration::from_secs(5), false).await);
    }

    #[tokio::test]
    async fn a_client_that_reads_a_response_below_the_minimum_pace_is_stalled() {
        let second = Duration::from_secs(1);
        for (bytes, after, is_enough) in [
            (STALL_BYTES_MIN, 25 * second, false),
            (60 << 10, second, false),
            (1 << 20, 20 * second, false),
            (64 << 10, second, true),
            (256 << 10, second, true),
            (4 << 20, 25 * second, true),
        ] {
            assert_eq!(is_given_up(bytes, after, true).await, !is_enough, "{bytes} {after:?}");
            assert!(!is_given_up(bytes, after, false).await, "no answer, or a live one: {bytes}");
        }
    }
}
