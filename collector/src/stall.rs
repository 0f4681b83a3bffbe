//! Ends a connection to whose client nothing more can be written, so that nobody keeps an answer in
//! memory by not reading it.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tidings_storage::Clock;

/// How long a client may take nothing of what is there for it, at least.
pub const STALL: Duration = Duration::from_secs(30);

/// Watches the writes to one socket.
pub struct Stall {
    clock: Arc<dyn Clock>,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stall {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: None }
    }

    /// A write's outcome, or its failure when writing has waited for [`STALL`].
    pub fn watch<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let clock = &self.clock;
        let waiting = self.waiting.get_or_insert_with(|| clock.sleep(STALL));
        match waiting.as_mut().poll(context) {
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
