//! Cache of the numbers that were looked up last, in front of a larger map.
//!
//! Consecutive calls belong to few groups and few time buckets. The cache is direct-mapped: each
//! key has one slot. Keys that collide there, even by a sender's intent, only cost the lookup in
//! the map.

/// Number of slots, a power of two.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 12;

/// Key with a hash that selects its slot.
pub trait SlotHash: Copy + Eq {
    /// Returns a number that differs for most other keys.
    fn spread(&self) -> u64;
}

/// Combines several numbers into one.
pub fn joined(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers
        .into_iter()
        .fold(0, |sum: u64, number| sum.wrapping_mul(0xd1b5_4a32_d192_ed03).wrapping_add(number))
}

/// Direct-mapped cache of the numbers of keys.
#[derive(Debug)]
pub struct NumberCache<K>(Vec<Option<(K, u32)>>);

impl<K> Default for NumberCache<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: SlotHash> NumberCache<K> {
    /// Returns the key's number from the cache, or else from `find`.
    pub fn number(&mut self, key: K, find: impl FnOnce() -> u32) -> u32 {
        if self.0.is_empty() {
            self.0.resize(PLACES, None);
        }
        let spread = key.spread().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACE_BITS);
        let place = &mut self.0[usize::try_from(spread).unwrap_or_default()];
        match place {
            Some((known, number)) if *known == key => *number,
            _ => place.insert((key, find())).1,
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::{NumberCache, SlotHash};

    /// Keys that share a slot if only their second number differs.
    impl SlotHash for (u64, u8) {
        fn spread(&self) -> u64 {
            self.0
        }
    }

    proptest! {
        #[test]
        fn a_key_has_its_number_after_any_other_keys(
            keys in vec((0..20_u64, 0..3_u8), 0..200), cleared in 0..200_usize,
        ) {
            let mut numbers: HashMap<(u64, u8), u32> = HashMap::new();
            let mut recent = NumberCache::default();
            for (at, key) in keys.into_iter().enumerate() {
                if at == cleared {
                    numbers.values_mut().for_each(|number| *number += 1_000);
                    recent.clear();
                }
                let next = u32::try_from(at).unwrap();
                let expected = *numbers.entry(key).or_insert(next);
                prop_assert_eq!(recent.number(key, || numbers[&key]), expected);
            }
        }
    }
}
