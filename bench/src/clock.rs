//! Time, for measuring it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now.
#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, since 1970.
#[expect(clippy::disallowed_methods, reason = "telemetry is of the real present")]
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "load is paced in real time")]
pub(crate) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits, and so does the thread.
#[expect(clippy::disallowed_methods, reason = "a process is watched in real time")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
