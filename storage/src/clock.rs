//! Time as a parameter, so that tests own it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidings_proto::UnixNanos;

/// Where every crate takes the time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> UnixNanos;

    /// A clock that only goes forward, for measuring.
    fn instant(&self) -> Instant;

    /// Time the machine has been suspended since an arbitrary moment; [`Self::instant`] excludes
    /// it. Zero where the platform does not report it.
    fn slept(&self) -> Duration {
        Duration::ZERO
    }

    /// Resolves after this long.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> UnixNanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn instant(&self) -> Instant {
        Instant::now()
    }

    #[cfg(target_os = "linux")]
    fn slept(&self) -> Duration {
        static FIRST: std::sync::OnceLock<(Duration, Instant)> = std::sync::OnceLock::new();
        let Some(up) = uptime() else { return Duration::ZERO };
        let now = self.instant();
        let (up_first, first) = FIRST.get_or_init(|| (up, now));
        let awake = now.saturating_duration_since(*first);
        up.saturating_sub(*up_first).saturating_sub(awake)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Returns the uptime by Linux's boot-time clock, suspension included, to a hundredth of a second.
#[cfg(target_os = "linux")]
fn uptime() -> Option<Duration> {
    let said = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(said.split_whitespace().next()?.parse().ok()?).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use super::{Clock, SystemClock, uptime};

    #[test]
    fn a_machine_that_is_awake_has_not_slept() {
        let before = uptime().unwrap();
        assert!(before > Duration::ZERO);
        for _ in 0..3 {
            assert!(SystemClock.slept() < Duration::from_secs(1));
        }
        assert!(uptime().unwrap() >= before);
    }
}
