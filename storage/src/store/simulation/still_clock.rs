//! A clock that stands still, so that nothing happens by itself.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::{Duration, Instant},
};

use tidings_proto::UnixNanos;

use crate::{Clock, SystemClock};

/// Stands at this time.
#[derive(Debug)]
pub(in crate::store) struct StillClock(pub(in crate::store) UnixNanos);

impl Default for StillClock {
    fn default() -> Self {
        Self(UnixNanos(1_700_000_000_000_000_000))
    }
}

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        self.0
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}
