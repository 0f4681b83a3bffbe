//! Rate limits of one key: token buckets that may go into debt.
//!
//! A request is admitted while no bucket is empty. One request is charged at once, its bytes when
//! they are known. So one request may be larger than a bucket. The time until the debt is paid is
//! known exactly, and the refusal names it as the time to wait. A refused request is charged
//! nothing. The buckets are in memory: they are full after a restart and after a change of the
//! key's record.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{key::KeyRecord, role::KeyLimit};

/// Capacity of the bucket of a rate, in seconds of that rate.
const BURST_SECONDS: u64 = 10;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of one key.
#[derive(Debug)]
pub(crate) struct KeyBuckets {
    requests_per_second: Option<TokenBucket>,
    bytes_per_second: Option<TokenBucket>,
    bytes_per_day: Option<TokenBucket>,
}

impl KeyBuckets {
    /// Returns full buckets.
    pub(crate) fn new(record: &KeyRecord) -> Self {
        let per_second = |amount: Option<u64>| {
            let amount = amount.filter(|amount| *amount > 0)?;
            Some(TokenBucket::new(amount, SECOND, amount.saturating_mul(BURST_SECONDS)))
        };
        let per_day = |amount: u64| TokenBucket::new(amount, DAY, amount);
        Self {
            requests_per_second: per_second(record.requests_per_second),
            bytes_per_second: per_second(record.bytes_per_second),
            bytes_per_day: record.bytes_per_day.filter(|amount| *amount > 0).map(per_day),
        }
    }

    /// Admits one request, or returns the limit that is used up and the time until it admits the
    /// next one.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), (KeyLimit, Duration)> {
        let bytes = [
            (KeyLimit::BytesPerSecond, &self.bytes_per_second),
            (KeyLimit::BytesPerDay, &self.bytes_per_day),
        ];
        let debts = bytes.into_iter().filter_map(|(limit, bucket)| {
            bucket.as_ref().and_then(|bucket| bucket.wait(now)).map(|wait| (limit, wait))
        });
        let longest = debts.max_by_key(|(_, wait)| *wait);
        let requests = self.requests_per_second.as_ref();
        let of_requests = match longest {
            Some(_) => requests.and_then(|bucket| bucket.wait(now)),
            None => requests.and_then(|bucket| bucket.take(now)),
        };
        let of_requests = of_requests.map(|wait| (KeyLimit::RequestsPerSecond, wait));
        longest.into_iter().chain(of_requests).max_by_key(|(_, wait)| *wait).map_or(Ok(()), Err)
    }

    /// Charges the bytes of a request.
    pub(crate) fn charge(&self, bytes: u64, now: Instant) {
        for bucket in [&self.bytes_per_second, &self.bytes_per_day].into_iter().flatten() {
            bucket.charge(bytes, now);
        }
    }
}

/// A token bucket.
#[derive(Debug)]
struct TokenBucket {
    amount: u64,
    period: Duration,
    /// Capacity.
    full: i128,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Below 0 when the bucket is in debt.
    balance: i128,
    filled: Option<Instant>,
}

impl TokenBucket {
    /// Returns a full bucket that refills by `amount`, which is above 0, in `period`.
    fn new(amount: u64, period: Duration, full: u64) -> Self {
        let full = i128::from(full);
        Self { amount, period, full, level: Mutex::new(Level { balance: full, filled: None }) }
    }

    /// Returns the time until the bucket is no longer empty; `None` when it is not.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.debt_time(self.filled(now).balance)
    }

    /// Takes one token, or returns the time until one can be taken.
    fn take(&self, now: Instant) -> Option<Duration> {
        let mut level = self.filled(now);
        let wait = self.debt_time(level.balance);
        if wait.is_none() {
            level.balance -= 1;
        }
        wait
    }

    fn charge(&self, count: u64, now: Instant) {
        let mut level = self.filled(now);
        level.balance = level.balance.saturating_sub(i128::from(count));
    }

    fn debt_time(&self, balance: i128) -> Option<Duration> {
        if balance > 0 {
            return None;
        }
        let missing = balance.unsigned_abs() + 1;
        let nanos = missing.saturating_mul(self.period.as_nanos()).div_ceil(self.amount.into());
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Returns the level after adding the tokens since the last call.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Level> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*level.filled.get_or_insert(now));
        let (amount, period) = (u128::from(self.amount), self.period.as_nanos());
        let gained = since.as_nanos().saturating_mul(amount) / period;
        if gained > 0 {
            // The fraction of a token that is left over counts for the next call.
            let spent = gained.saturating_mul(period).div_ceil(amount);
            let spent = Duration::from_nanos(u64::try_from(spent).unwrap_or(u64::MAX));
            level.filled = level.filled.map(|at| at + spent.min(since));
            let gained = i128::try_from(gained).unwrap_or(i128::MAX);
            level.balance = level.balance.saturating_add(gained).min(self.full);
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use tidings_storage::{Clock, SystemClock};

    use super::{DAY, KeyBuckets, KeyLimit, SECOND, TokenBucket};

    const NO_LIMITS: KeyBuckets =
        KeyBuckets { requests_per_second: None, bytes_per_second: None, bytes_per_day: None };

    fn rate(amount: u64) -> Option<TokenBucket> {
        Some(TokenBucket::new(amount, SECOND, amount * 10))
    }

    fn quota(amount: u64) -> Option<TokenBucket> {
        Some(TokenBucket::new(amount, DAY, amount))
    }

    #[test]
    fn a_burst_is_admitted_and_its_debt_delays_the_next_request() {
        let now = SystemClock.instant();
        let limits = KeyBuckets { bytes_per_second: rate(100), ..NO_LIMITS };
        assert_eq!(limits.admit(now), Ok(()));
        limits.charge(1_500, now);
        let (limit, wait) = limits.admit(now).unwrap_err();
        assert_eq!((limit, wait), (KeyLimit::BytesPerSecond, Duration::from_millis(5_010)));
        assert!(limits.admit(now + wait - Duration::from_millis(20)).is_err());
        assert_eq!(limits.admit(now + wait), Ok(()));
    }

    #[test]
    fn ten_seconds_of_requests_are_admitted_at_once_and_refused_ones_are_not_charged() {
        let now = SystemClock.instant();
        let limits = KeyBuckets { requests_per_second: rate(2), ..NO_LIMITS };
        let let_in = |now: Instant| (0..1_000).filter(|_| limits.admit(now).is_ok()).count();
        assert_eq!(let_in(now), 20);
        let refused = limits.admit(now);
        assert_eq!(refused, Err((KeyLimit::RequestsPerSecond, Duration::from_millis(500))));
        assert_eq!(let_in(now + Duration::from_millis(1_500)), 3);
    }

    #[test]
    fn the_bytes_of_a_day_are_refilled_in_a_day() {
        let now = SystemClock.instant();
        let limits = KeyBuckets { bytes_per_day: quota(86_400), ..NO_LIMITS };
        limits.charge(86_400, now);
        assert_eq!(limits.admit(now), Err((KeyLimit::BytesPerDay, SECOND)));
        assert_eq!(limits.admit(now + SECOND), Ok(()));
        limits.charge(86_400, now + SECOND);
        let (_, wait) = limits.admit(now + SECOND).unwrap_err();
        assert_eq!(wait, DAY);
    }

    #[test]
    fn the_longest_wait_of_all_limits_is_returned() {
        let now = SystemClock.instant();
        let limits = KeyBuckets {
            requests_per_second: rate(1),
            bytes_per_second: rate(1_000),
            bytes_per_day: quota(86_400),
        };
        (0..10).for_each(|_| assert_eq!(limits.admit(now), Ok(())));
        limits.charge(90_000, now);
        let (limit, wait) = limits.admit(now).unwrap_err();
        assert_eq!((limit, wait), (KeyLimit::BytesPerDay, Duration::from_secs(3_601)));
        assert_eq!(limits.admit(now + wait), Ok(()));
    }

    /// Sizes of requests, and the times between them.
    fn requests() -> impl Strategy<Value = Vec<(u64, u64)>> {
        proptest::collection::vec((1_u64..5_000_000, 0_u64..2_000_000_000), 1..60)
    }

    proptest! {
        /// A sender that waits for the returned time is admitted, and in the long run no limit is
        /// exceeded.
        #[test]
        fn the_returned_wait_suffices_and_every_limit_is_kept(
            requests_per_second in proptest::option::of(1_u64..50),
            bytes_per_second in proptest::option::of(1_u64..1_000_000),
            bytes_per_day in proptest::option::of(1_u64..100_000_000),
            requests in requests(),
        ) {
            let begin = SystemClock.instant();
            let (mut now, mut before_last, mut sent, mut count) = (begin, 0_u128, 0_u128, 0_u128);
            let limits = KeyBuckets {
                requests_per_second: requests_per_second.and_then(rate),
                bytes_per_second: bytes_per_second.and_then(rate),
                bytes_per_day: bytes_per_day.and_then(quota),
            };
            for (size, pause) in requests {
                if let Err((_, wait)) = limits.admit(now) {
                    prop_assert!(limits.admit(now).is_err());
                    now += wait;
                    prop_assert_eq!(limits.admit(now), Ok(()));
                }
                count += 1;
                before_last = sent;
                limits.charge(size, now);
                sent += u128::from(size);
                now += Duration::from_nanos(pause);
            }
            let elapsed = (now - begin).as_nanos();
            let allowed = |amount: u64, period: Duration, burst: u64| {
                elapsed * u128::from(amount) / period.as_nanos() + u128::from(amount * burst)
            };
            if let Some(amount) = requests_per_second {
                prop_assert!(count <= allowed(amount, SECOND, 10));
            }
            if let Some(amount) = bytes_per_second {
                prop_assert!(before_last <= allowed(amount, SECOND, 10));
            }
            if let Some(amount) = bytes_per_day {
                prop_assert!(before_last <= allowed(amount, DAY, 1));
            }
        }
    }
}
