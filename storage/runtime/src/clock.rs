//! Time as a parameter, so that tests control it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidings_proto::UnixNanos;

/// The source of time for every crate.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> UnixNanos;

    /// Returns the reading of a monotonic clock, for measuring.
    fn instant(&self) -> Instant;

    /// Returns how long the machine has been suspended since an arbitrary moment. [`Self::instant`]
    /// excludes that time. Zero where the platform does not report it.
    fn slept(&self) -> Duration {
        Duration::ZERO
    }

    /// Resolves after this duration.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> UnixNanos {
        unix_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
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

/// Returns the time this long after 1970. The result saturates at the last time that columns and
/// commits can hold, which is in the year 2262.
fn unix_nanos(since_1970: Duration) -> UnixNanos {
    UnixNanos(i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX).unsigned_abs())
}

/// Returns the uptime by Linux's boot-time clock, which includes suspension, to a hundredth of a
/// second.
#[cfg(target_os = "linux")]
fn uptime() -> Option<Duration> {
    let said = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(said.split_whitespace().next()?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_proto::UnixNanos;

    use super::unix_nanos;
    #[cfg(target_os = "linux")]
    use super::{Clock, SystemClock, uptime};

    #[test]
    fn a_clock_beyond_2262_says_the_last_time_of_columns() {
        const YEAR: Duration = Duration::from_secs(31_557_600);

        assert_eq!(unix_nanos(Duration::from_nanos(7)), UnixNanos(7));
        assert_eq!(unix_nanos(YEAR * 400), UnixNanos(i64::MAX.unsigned_abs()));
        assert_eq!(unix_nanos(YEAR * 1000), UnixNanos(i64::MAX.unsigned_abs()));
    }

    #[cfg(target_os = "linux")]
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
