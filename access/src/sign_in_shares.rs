//! Shares of the exchanges of codes: strangers ask for them, so that one address must leave some to
//! the others and may not have its codes refused for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Exchanges of codes at a time.
const EXCHANGES_MAX: usize = 16;
/// Of them for one address. An issuer that answers in 200 ms completes 20 sign-ins a second of it.
const ADDRESS_EXCHANGES_MAX: usize = 4;
/// So many exchanges of an address may fail in an [`INTERVAL`].
const FAILURES_MAX: usize = 30;
const INTERVAL: Duration = Duration::from_secs(60);
/// Addresses that are counted each for itself.
const ADDRESSES_MAX: usize = 4096;

/// The exchanges under way, and those that failed, by address.
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

/// The place of one exchange, until this is dropped.
#[derive(Debug)]
pub(crate) struct SignInPlace<'a> {
    shares: &'a SignInShares,
    address: String,
}

impl SignInShares {
    /// Takes a place for an exchange that this address asks for; `None` when it has its share, has
    /// failed too often, or all places are taken.
    pub(crate) fn take_place(&self, address: &str, now: Instant) -> Option<SignInPlace<'_>> {
        let mut by_address = self.lock();
        by_address.retain(|_, of| {
            of.exchanges > 0 || now.saturating_duration_since(of.interval_began) < INTERVAL
        });
        if by_address.values().map(|of| of.exchanges).sum::<usize>() >= EXCHANGES_MAX {
            return None;
        }
        // The addresses that have no room are counted together.
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
        Some(SignInPlace { shares: self, address: address.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, AddressUse>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignInPlace<'_> {
    /// Counts the exchange as one that failed.
    pub(crate) fn fail(&self) {
        if let Some(of) = self.shares.lock().get_mut(&self.address) {
            of.failures += 1;
        }
    }
}

impl Drop for SignInPlace<'_> {
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
    fn one_address_leaves_places_to_others_and_all_have_an_end() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        let mut held = Vec::new();
        while let Some(place) = shares.take_place("192.0.2.1", now) {
            held.push(place);
        }
        assert_eq!(held.len(), ADDRESS_EXCHANGES_MAX);
        for other in 2..100 {
            held.extend(shares.take_place(&format!("192.0.2.{other}"), now));
        }
        assert_eq!(held.len(), EXCHANGES_MAX);
        drop(held);
        assert!(shares.take_place("192.0.2.1", now).is_some());
    }

    #[test]
    fn an_address_whose_exchanges_fail_waits_and_others_do_not() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        for _ in 0..FAILURES_MAX {
            shares.take_place("192.0.2.1", now).unwrap().fail();
        }
        assert!(shares.take_place("192.0.2.1", now).is_none());
        assert!(shares.take_place("192.0.2.2", now).is_some());
        assert!(shares.take_place("192.0.2.1", now + INTERVAL).is_some());
    }

    #[test]
    fn the_table_of_addresses_has_a_bound() {
        let (shares, now) = (SignInShares::default(), SystemClock.instant());
        for address in 0..2 * ADDRESSES_MAX {
            drop(shares.take_place(&address.to_string(), now));
        }
        assert!(shares.lock().len() <= ADDRESSES_MAX + 1);
        drop(shares.take_place("later", now + INTERVAL));
        assert_eq!(shares.lock().len(), 1);
    }
}
