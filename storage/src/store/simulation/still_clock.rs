//! A clock that stands still, so that nothing happens by itself.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::{Duration, Instant},
};

use tidings_proto::UnixNanos;

use crate::{Clock, SystemClock};

#[derive(Debug)]
pub(in crate::store) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000)
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}
