//! Cache of checked resources and scopes. Requests repeat the same few, and decoding them takes a
//! fifth of the time of a check.
//!
//! Keeps only their weights in bytes. The caller determines validity and weight, and must do so
//! identically for the same bytes. So each [`crate::redact::Redactor`] has its own caches.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tidings_proto::otlp::view::NonCanonical;

/// Maximum number of cached resources, and of cached scopes.
const CACHED_MAX: usize = 4096;
/// Maximum bytes of a cached message. Larger ones are checked each time.
const CACHED_BYTES_MAX: usize = 4 << 10;

/// The weights of encoded messages.
#[derive(Debug, Default)]
pub(crate) struct WeightCache(Mutex<HashMap<Box<[u8]>, usize>>);

impl WeightCache {
    /// Returns the weight of an encoded message, which is that of `check` if it is not cached.
    /// Messages that `check` refuses are not cached.
    pub(crate) fn weight(
        &self,
        encoded: &[u8],
        check: impl FnOnce(&[u8]) -> Result<usize, NonCanonical>,
    ) -> Result<usize, NonCanonical> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(weight) = lock().get(encoded) {
            return Ok(*weight);
        }
        let weight = check(encoded)?;
        if encoded.len() <= CACHED_BYTES_MAX {
            let mut known = lock();
            if known.len() >= CACHED_MAX {
                // Resources of active senders are soon cached again.
                known.clear();
            }
            known.insert(encoded.into(), weight);
        }
        Ok(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{CACHED_BYTES_MAX, CACHED_MAX, NonCanonical, WeightCache};

    #[test]
    fn an_accepted_message_is_not_checked_again() {
        let known = WeightCache::default();
        assert_eq!(known.weight(b"a", |_| Ok(7)), Ok(7));
        assert_eq!(known.weight(b"a", |_| Err(NonCanonical)), Ok(7));
        assert_eq!(known.weight(b"b", |_| Err(NonCanonical)), Err(NonCanonical));
        assert_eq!(known.weight(b"b", |_| Ok(8)), Ok(8));
    }

    #[test]
    fn the_number_of_cached_messages_is_bounded() {
        let known = WeightCache::default();
        let large = vec![0; CACHED_BYTES_MAX + 1];
        assert_eq!(known.weight(&large, |_| Ok(1)), Ok(1));
        assert_eq!(known.weight(&large, |_| Ok(2)), Ok(2));
        for number in 0..=CACHED_MAX {
            known.weight(number.to_string().as_bytes(), |_| Ok(number)).unwrap();
            assert!(known.0.lock().unwrap().len() <= CACHED_MAX);
        }
    }
}
