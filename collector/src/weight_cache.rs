//! Cache of checked resources and scopes. The same few come with every request, and decoding them
//! is a fifth of checking it.
//!
//! Holds only their weights in bytes. The caller decides about validity and weight, and must decide
//! the same for the same bytes every time; so each [`crate::redact::Redactor`] has caches of its own.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tidings_proto::otlp::view::NonCanonical;

/// Maximum number of cached resources, and of cached scopes.
const REMEMBERED_MAX: usize = 4096;
/// Larger ones are checked each time.
const REMEMBERED_BYTES_MAX: usize = 4 << 10;

/// Messages by their bytes, with their weights.
#[derive(Debug, Default)]
pub(crate) struct WeightCache(Mutex<HashMap<Box<[u8]>, usize>>);

impl WeightCache {
    /// The weight of an encoded message: what `check` says of it, which is asked when it is not
    /// known. Of those that it does not accept nothing is remembered.
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
        if encoded.len() <= REMEMBERED_BYTES_MAX {
            let mut known = lock();
            if known.len() >= REMEMBERED_MAX {
                // Senders that come still are soon known again.
                known.clear();
            }
            known.insert(encoded.into(), weight);
        }
        Ok(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{NonCanonical, REMEMBERED_BYTES_MAX, REMEMBERED_MAX, WeightCache};

    #[test]
    fn what_was_accepted_is_not_checked_again() {
        let known = WeightCache::default();
        assert_eq!(known.weight(b"a", |_| Ok(7)), Ok(7));
        assert_eq!(known.weight(b"a", |_| Err(NonCanonical)), Ok(7));
        assert_eq!(known.weight(b"b", |_| Err(NonCanonical)), Err(NonCanonical));
        assert_eq!(known.weight(b"b", |_| Ok(8)), Ok(8));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let known = WeightCache::default();
        let large = vec![0; REMEMBERED_BYTES_MAX + 1];
        assert_eq!(known.weight(&large, |_| Ok(1)), Ok(1));
        assert_eq!(known.weight(&large, |_| Ok(2)), Ok(2));
        for number in 0..=REMEMBERED_MAX {
            known.weight(number.to_string().as_bytes(), |_| Ok(number)).unwrap();
            assert!(known.0.lock().unwrap().len() <= REMEMBERED_MAX);
        }
    }
}
