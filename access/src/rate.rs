//! The rate of one key: a token bucket that may go into debt.
//!
//! A request is let in while the bucket is not empty, and pays for its bytes once they are known. So
//! one request may be larger than the bucket, and the time that the debt takes is known exactly: it
//! is what the sender is told to wait.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A bucket holds so many seconds of its rate.
const BURST_SECONDS: u64 = 10;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The bytes that a key may send.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Below 0 it is in debt.
    balance_bytes: i128,
    filled: Option<Instant>,
}

impl RateLimit {
    /// A full bucket; `bytes_per_second` is above 0.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let balance_bytes = i128::from(bytes_per_second.saturating_mul(BURST_SECONDS));
        Self { bytes_per_second, bucket: Mutex::new(Bucket { balance_bytes, filled: None }) }
    }

    /// Lets a request in, or returns the time until the next one may come.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let balance = self.filled(now).balance_bytes;
        if balance > 0 {
            return Ok(());
        }
        let missing = balance.unsigned_abs() + 1;
        let nanos = (missing * NANOS_PER_SECOND).div_ceil(u128::from(self.bytes_per_second));
        Err(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Pays for a request.
    pub(crate) fn charge(&self, bytes: u64, now: Instant) {
        let mut bucket = self.filled(now);
        bucket.balance_bytes = bucket.balance_bytes.saturating_sub(i128::from(bytes));
    }

    /// Returns the bucket with what has flowed into it.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Bucket> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*bucket.filled.get_or_insert(now));
        let rate = u128::from(self.bytes_per_second);
        let gained = since.as_nanos().saturating_mul(rate) / NANOS_PER_SECOND;
        if gained > 0 {
            // The rest of a byte goes on counting.
            let spent = u64::try_from(gained * NANOS_PER_SECOND / rate).unwrap_or(u64::MAX);
            let filled = bucket.filled.map(|at| at + Duration::from_nanos(spent));
            let full = i128::from(self.bytes_per_second.saturating_mul(BURST_SECONDS));
            let gained = i128::try_from(gained).unwrap_or(i128::MAX);
            bucket.balance_bytes = bucket.balance_bytes.saturating_add(gained).min(full);
            bucket.filled = filled;
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidings_storage::{Clock, SystemClock};

    use super::RateLimit;

    #[test]
    fn a_burst_is_let_in_and_its_debt_is_waited_for() {
        let now = SystemClock.instant();
        let limit = RateLimit::new(100);
        assert_eq!(limit.admit(now), Ok(()));
        limit.charge(1_500, now);
        let wait = limit.admit(now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(5_010));
        assert!(limit.admit(now + wait - Duration::from_millis(20)).is_err());
        assert_eq!(limit.admit(now + wait), Ok(()));
    }

    proptest! {
        /// Whoever waits as told is let in, and over time no more than the rate goes through.
        #[test]
        fn the_time_told_is_enough_and_the_rate_is_kept(
            rate in 1_u64..1_000_000,
            sizes in proptest::collection::vec(1_u64..5_000_000, 1..60),
        ) {
            let begin = SystemClock.instant();
            let (mut now, mut before_last) = (begin, 0_u128);
            let mut sent = 0_u128;
            let limit = RateLimit::new(rate);
            for size in sizes {
                if let Err(wait) = limit.admit(now) {
                    now += wait;
                    prop_assert_eq!(limit.admit(now), Ok(()));
                }
                before_last = sent;
                limit.charge(size, now);
                sent += u128::from(size);
            }
            let allowed = (now - begin).as_nanos() * u128::from(rate) / 1_000_000_000;
            prop_assert!(before_last <= allowed + u128::from(rate) * 10 + 1);
        }
    }
}
