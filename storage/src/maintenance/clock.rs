//! Guard against deleting data because of a wrong clock.
//!
//! A clock that jumps ahead makes all rows look old. Nothing is deleted by age while the clock is
//! in doubt. That is the case after a jump of over an hour against the monotonic clock. It is also
//! the case after a start earlier than the newest commit, or more than [`DOWNTIME_MAX`] after it.
//! The doubt ends when the clock returns, when it has run evenly for a day, or when an operator
//! confirms it.
//!
//! Time passes while a machine is suspended, so a nightly suspend is not a jump.

use std::time::{Duration, Instant};

use tidings_proto::UnixNanos;
use tidings_runtime::Clock;

/// Maximum difference between the clock and the time that passed.
const TOLERANCE: Duration = Duration::from_secs(3600);
/// Maximum time for which a store is assumed to have been closed.
const DOWNTIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time for which a clock must run evenly to be trusted again.
const STEADY: Duration = Duration::from_secs(24 * 3600);

/// Guard that detects jumps of the clock.
#[derive(Debug)]
pub struct ClockGuard {
    /// Last reading of the wall clock and of the monotonic clock.
    last: (UnixNanos, Instant),
    doubt: Option<ClockDoubt>,
}

#[derive(Debug)]
struct ClockDoubt {
    /// The last trusted reading.
    trusted: (UnixNanos, Instant),
    /// Time since which the clock has run evenly.
    steady_since: Instant,
}

impl ClockGuard {
    /// Creates a guard. `newest` is the latest time in the tables.
    #[must_use]
    pub fn new(newest: Option<UnixNanos>, now: UnixNanos, instant: Instant) -> Self {
        let plausible = newest.is_none_or(|newest| {
            let earliest = newest.0.saturating_sub(nanos(TOLERANCE));
            (earliest..=newest.0.saturating_add(nanos(DOWNTIME_MAX))).contains(&now.0)
        });
        let doubt = ClockDoubt { trusted: (newest.unwrap_or(now), instant), steady_since: instant };
        Self { last: (now, instant), doubt: (!plausible).then_some(doubt) }
    }

    /// Returns the reading of a monotonic clock that continues while the machine is suspended.
    #[must_use]
    pub fn passing(clock: &dyn Clock) -> Instant {
        let instant = clock.instant();
        instant.checked_add(clock.slept()).unwrap_or(instant)
    }

    /// Returns true if data may be deleted by age at this reading of the clock.
    pub fn is_trusted(&mut self, now: UnixNanos, instant: Instant) -> bool {
        if !agree(self.last, (now, instant)) {
            let trusted = self.doubt.take().map_or(self.last, |doubt| doubt.trusted);
            tracing::warn!(
                from = self.last.0.0,
                to = now.0,
                "the clock jumped: nothing is deleted by age until it is trusted again"
            );
            self.doubt = Some(ClockDoubt { trusted, steady_since: instant });
        }
        self.last = (now, instant);
        let over = self.doubt.as_ref().is_some_and(|doubt| {
            agree(doubt.trusted, (now, instant))
                || instant.saturating_duration_since(doubt.steady_since) >= STEADY
        });
        if over {
            self.doubt = None;
        }
        self.doubt.is_none()
    }

    /// Ends the doubt, because an operator confirmed the clock.
    pub(crate) fn confirm(&mut self) {
        self.doubt = None;
    }
}

fn agree(before: (UnixNanos, Instant), now: (UnixNanos, Instant)) -> bool {
    let passed = nanos(now.1.saturating_duration_since(before.1));
    now.0.0.abs_diff(before.0.0.saturating_add(passed)) <= nanos(TOLERANCE)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_proto::UnixNanos;
    use tidings_runtime::{Clock, SystemClock};

    use super::ClockGuard;

    const HOUR: u64 = 3600;
    const NOW: u64 = 500_000 * HOUR;

    /// Checks each reading of the clock: seconds passed, reading, and expected result.
    fn check(newest: Option<u64>, start: u64, looks: &[(u64, u64, bool)]) {
        let time = |seconds: u64| UnixNanos(seconds * 1_000_000_000);
        let begin = SystemClock.instant();
        let mut guard = ClockGuard::new(newest.map(time), time(start), begin);
        for (passed, says, trusted) in looks {
            let instant = begin + Duration::from_secs(*passed);
            assert_eq!(guard.is_trusted(time(*says), instant), *trusted, "{looks:?} {passed}");
        }
    }

    #[test]
    fn a_jump_is_not_believed_until_the_clock_comes_back_or_runs_evenly_for_a_day() {
        check(None, NOW, &[(0, NOW, true), (60, NOW + 60, true), (7200, NOW + 7200, true)]);
        let (day, year) = (24 * HOUR, 365 * 24 * HOUR);
        for jumped in [NOW + 10 * year, NOW - day, 0, NOW + 2 * HOUR] {
            let later = jumped + HOUR;
            check(
                None,
                NOW,
                &[
                    (0, NOW, true),
                    (60, jumped, false),
                    (60 + HOUR, later, false),
                    (120 + HOUR, NOW + 120 + HOUR, true),
                ],
            );
            check(
                None,
                NOW,
                &[
                    (60, jumped, false),
                    (60 + 23 * HOUR, jumped + 23 * HOUR, false),
                    (60 + day, jumped + day, true),
                ],
            );
        }
    }

    #[test]
    fn a_start_before_or_long_after_what_the_tables_have_seen_is_not_trusted() {
        let day = 24 * HOUR;
        check(Some(NOW - day), NOW, &[(0, NOW, true)]);
        check(Some(NOW + 60), NOW, &[(0, NOW, true)]);
        check(Some(NOW + day), NOW, &[(0, NOW, false), (day, NOW + day, true)]);
        check(Some(NOW - 31 * day), NOW, &[(0, NOW, false), (day, NOW + day, true)]);
    }
}
