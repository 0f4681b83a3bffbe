//! Limits of code exchanges with the issuer, per client address and in all. Anybody can cause an
//! exchange, so one address must leave some to others, and may have only a bounded number refused.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of concurrent exchanges.
const EXCHANGES_MAX: usize = 16;
/// Maximum number of concurrent exchanges of one address. If the issuer answers in 200 ms, an
/// address can complete 20 sign-ins a second.
const ADDRESS_EXCHANGES_MAX: usize = 4;
/// Maximum number of failed exchanges of one address in an [`INTERVAL`].
const FAILURES_MAX: usize = 30;
const INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of addresses that are counted separately.
const ADDRESSES_MAX: usize = 4096;

/// The exchanges in progress and those that failed, by address.
#[derive(Debug, Default)]
pub(crate) struct SignInShares {
    by_address: Mutex<HashMap<String, AddressUse>>,
}

#[derive(Debug)]
struct AddressUse {
    exchanges: usize,
    failures: usize,
    interval_began: Instant,
}

/// The permit for one exchange; returned when dropped.
#[derive(Debug)]
pub(crate) struct SignInPermit<'a> {
    shares: &'a SignInShares,
    address: String,
}

impl SignInShares {
    /// Acquires a permit for an exchange of this address; `None` when the address has too many
    /// permits or failures, or all permits are taken.
    pub(crate) fn acquire(&self, address: &str, now: Instant) -> Option<SignInPermit<'_>> {
        let mut by_address = self.lock();
        by_address.retain(|_, of| {
            of.exchanges > 0 || now.saturating_duration_since(of.interval_began) < INTERVAL
        });
        if by_address.values().map(|of| of.exchanges).sum::<usize>() >= EXCHANGES_MAX {
            return None;
        }
        // Addresses above the maximum are counted together.
        let has_room = by_address.contains_key(address) || by_address.len() < ADDRESSES_MAX;
        let address = if has_room { address } else { "" };
        let of = by_address.entry(address.to_owned()).or_insert(AddressUse {
            exchanges: 0,
            failures: 0,
            interval_began: now,
        });
        if now.saturating_duration_since(of.interval_began) >= INTERVAL {
            (of.failures, of.interval_began) = (0, now);
        }
        if of.exchanges >= ADDRESS_EXCHANGES_MAX || of.failures >= FAILURES_MAX {
            return None;
        }
        of.exchanges += 1;
        Some(SignInPermit { shares: self, address: address.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, AddressUse>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignInPermit<'_> {
    /// Counts the exchange as failed.
    pub(crate) fn fail(&self) {
        if let Some(of) = self.shares.lock().get_mut(&self.address) {
            of.failures += 1;
        }
    }
}

impl Drop for SignInPermit<'_> {
    fn drop(&mut self) {
        if let Some(of) = self.shares.lock().get_mut(&self.address) {
            of.exchanges = of.exchanges.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_storage::{Clock, SystemClock};

    use super::{
        ADDRESS_EXCHANGES_MAX, ADDRESSES_MAX, EXCHANGES_MAX, FAILURES_MAX, INTERVAL, SignInShares,
    };

    #[test]
    fn exchanges_of_one_address_and_of_all_are_bounded() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        let mut held = Vec::new();
        while let Some(permit) = shares.acquire("192.0.2.1", now) {
            held.push(permit);
        }
        assert_eq!(held.len(), ADDRESS_EXCHANGES_MAX);
        for other in 2..100 {
            held.extend(shares.acquire(&format!("192.0.2.{other}"), now));
        }
        assert_eq!(held.len(), EXCHANGES_MAX);
        drop(held);
        assert!(shares.acquire("192.0.2.1", now).is_some());
    }

    #[test]
    fn an_address_with_too_many_failures_is_refused_and_others_are_not() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        for _ in 0..FAILURES_MAX {
            shares.acquire("192.0.2.1", now).unwrap().fail();
        }
        assert!(shares.acquire("192.0.2.1", now).is_none());
        assert!(shares.acquire("192.0.2.2", now).is_some());
        assert!(shares.acquire("192.0.2.1", now + INTERVAL).is_some());
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        for address in 0..2 * ADDRESSES_MAX {
            drop(shares.acquire(&address.to_string(), now));
        }
        assert!(shares.lock().len() <= ADDRESSES_MAX + 1);
        drop(shares.acquire("later", now + INTERVAL));
        assert_eq!(shares.lock().len(), 1);
    }
}
