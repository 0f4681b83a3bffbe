//! Approximate set of 64-bit hashes that takes 18 bits for each. A lookup has no false negatives,
//! and one false positive in 65,536.
//!
//! This is a 3-wise binary fuse filter (Graf and Lemire, 2022). The module owns the bytes, see
//! `docs/formats/index.md`:
//!
//! `seed u64 · segment length u32 · segments u32 · fingerprints`.
//!
//! Filters of older releases have fingerprints of 8 bits and one false positive in 256.

use std::ops::BitXor;

use tidings_rollup::index_bytes::Reader;

/// Maximum number of seeds to try. Each seed succeeds almost always.
const SEEDS_MAX: u64 = 64;
const SEGMENT_MAX_LOG2: u32 = 18;

/// Maps a hash to one slot in each of three neighbouring segments.
#[derive(Debug, Clone, Copy)]
struct FuseLayout {
    seed: u64,
    segment_length: u32,
    segments: u32,
}

impl FuseLayout {
    fn new(keys: usize) -> Option<Self> {
        let keys = u64::try_from(keys).ok().filter(|keys| *keys < 1 << 30)?.max(2);
        // Four times the binary logarithm. This precision suffices for the two formulas of the
        // paper.
        let log = u64::from(u128::from(keys).pow(4).ilog2());
        let length_log2 = u32::try_from((log * 1000 + 15_615) / 6942).ok()?;
        let segment_length = 1_u32 << length_log2.min(SEGMENT_MAX_LOG2);
        let slots = (keys * 875 + keys * 19_930 / log).max(keys * 1125) / 1000;
        let segments = slots.div_ceil(u64::from(segment_length)).saturating_sub(2).max(1);
        Some(Self { seed: 0, segment_length, segments: u32::try_from(segments).ok()? })
    }

    fn slots(self) -> usize {
        (self.segments as usize + 2) * self.segment_length as usize
    }

    /// Mixes the key with the seed into an evenly spread hash.
    fn mix(self, key: u64) -> u64 {
        let mut hash = key.wrapping_add(self.seed);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    }

    fn places(self, mixed: u64) -> [usize; 3] {
        let length = u64::from(self.segment_length);
        let span = u128::from(self.segments) * u128::from(length);
        let first = u64::try_from((u128::from(mixed) * span) >> 64)
            .expect("invariant: a product's upper half fits");
        let mask = length - 1;
        let second = (first + length) ^ ((mixed >> 18) & mask);
        let third = (first + 2 * length) ^ (mixed & mask);
        [first, second, third].map(|place| usize::try_from(place).unwrap_or(usize::MAX))
    }
}

fn fingerprint(mixed: u64) -> u16 {
    let [low, high, ..] = (mixed ^ mixed >> 32).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Returns the bytes of a filter of these distinct keys. `None` when no seed works or when there
/// are too many keys.
pub(super) fn encode(keys: &[u64]) -> Option<Vec<u8>> {
    let shape = FuseLayout::new(keys.len())?;
    let (shape, order) = (0..SEEDS_MAX).find_map(|seed| {
        let shape = FuseLayout { seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..shape };
        peel(shape, keys).map(|order| (shape, order))
    })?;
    let mut slots = vec![0_u16; shape.slots()];
    for (mixed, at) in order.into_iter().rev() {
        let places = shape.places(mixed);
        let others = places.iter().filter(|place| **place != places[usize::from(at)]);
        let value = others.fold(fingerprint(mixed), |value, place| value ^ slots[*place]);
        slots[places[usize::from(at)]] = value;
    }
    let mut bytes = Vec::with_capacity(16 + 2 * slots.len());
    bytes.extend(shape.seed.to_le_bytes());
    bytes.extend(shape.segment_length.to_le_bytes());
    bytes.extend(shape.segments.to_le_bytes());
    bytes.extend(slots.into_iter().flat_map(u16::to_le_bytes));
    Some(bytes)
}

/// Returns an order of the keys in which each key owns one of its three slots, and the number of
/// that slot. `None` when the seed allows no such order.
fn peel(shape: FuseLayout, keys: &[u64]) -> Option<Vec<(u64, u8)>> {
    /// Keys that map to a slot: their number and the exclusive or of their hashes.
    #[derive(Clone, Default)]
    struct PeelSlot {
        keys: u32,
        mixed: u64,
    }
    let mut slots = vec![PeelSlot::default(); shape.slots()];
    for key in keys {
        let mixed = shape.mix(*key);
        for place in shape.places(mixed) {
            slots[place].keys += 1;
            slots[place].mixed ^= mixed;
        }
    }
    let mut single: Vec<usize> = (0..slots.len()).filter(|at| slots[*at].keys == 1).collect();
    let mut order = Vec::with_capacity(keys.len());
    while let Some(at) = single.pop() {
        if slots[at].keys != 1 {
            continue;
        }
        let mixed = slots[at].mixed;
        for (which, place) in (0_u8..).zip(shape.places(mixed)) {
            if place == at {
                order.push((mixed, which));
            }
            slots[place].keys -= 1;
            slots[place].mixed ^= mixed;
            if slots[place].keys == 1 {
                single.push(place);
            }
        }
    }
    (order.len() == keys.len()).then_some(order)
}

/// A decoded filter.
#[derive(Debug)]
pub(super) struct Fuse {
    shape: FuseLayout,
    slots: Fingerprints,
}

#[derive(Debug)]
enum Fingerprints {
    Bytes(Box<[u8]>),
    Pairs(Box<[u16]>),
}

impl Fuse {
    /// Decodes a filter. `None` when the bytes are not a filter.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::with(bytes, |slots| {
            let (pairs, rest) = slots.as_chunks();
            let slots = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
            rest.is_empty().then(|| (Fingerprints::Pairs(slots.collect()), pairs.len()))
        })
    }

    /// Decodes a filter of an older release. `None` when the bytes are not such a filter.
    pub(super) fn decode_earlier(bytes: &[u8]) -> Option<Self> {
        Self::with(bytes, |slots| Some((Fingerprints::Bytes(slots.into()), slots.len())))
    }

    /// Decodes a filter. `slots` decodes the fingerprints and returns them with their number.
    fn with(bytes: &[u8], slots: impl Fn(&[u8]) -> Option<(Fingerprints, usize)>) -> Option<Self> {
        let mut bytes = Reader::new(bytes);
        let (seed, segment_length, segments) = (bytes.u64()?, bytes.u32()?, bytes.u32()?);
        let shape = FuseLayout { seed, segment_length, segments };
        let (slots, count) = slots(bytes.rest())?;
        let is_whole = segment_length.is_power_of_two()
            && segment_length <= 1 << SEGMENT_MAX_LOG2
            && segments > 0
            && count as u64 == (u64::from(segments) + 2) * u64::from(segment_length);
        is_whole.then_some(Self { shape, slots })
    }

    /// Returns true if the key may be in the set.
    pub(super) fn may_have(&self, key: u64) -> bool {
        let mixed = self.shape.mix(key);
        let places = self.shape.places(mixed);
        let all = fingerprint(mixed);
        match &self.slots {
            Fingerprints::Bytes(slots) => all.to_le_bytes()[0] == xor_slots(slots, places),
            Fingerprints::Pairs(slots) => all == xor_slots(slots, places),
        }
    }

    /// Returns its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.slots {
            Fingerprints::Bytes(slots) => slots.len(),
            Fingerprints::Pairs(slots) => size_of_val(&**slots),
        }
    }
}

/// Returns the exclusive or of the slots at these positions.
fn xor_slots<T: Copy + Default + BitXor<Output = T>>(slots: &[T], places: [usize; 3]) -> T {
    let slot = |place: usize| slots.get(place).copied().unwrap_or_default();
    places.into_iter().fold(T::default(), |value, place| value ^ slot(place))
}

#[cfg(test)]
mod tests {
    use super::{Fuse, encode};

    fn key(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn members_are_found_and_others_rarely() {
        for count in [0_u64, 1, 2, 3, 7, 10, 100, 1_000, 30_000] {
            let keys: Vec<u64> = (0..count).map(key).collect();
            let bytes = encode(&keys).unwrap();
            let filter = Fuse::decode(&bytes).unwrap();
            assert!(keys.iter().all(|key| filter.may_have(*key)), "of {count}");
            let wrong = (count..count + 20_000).filter(|n| filter.may_have(key(*n))).count();
            assert!(wrong < 5, "{wrong} of 20,000 with {count} keys");
            if count >= 30_000 {
                assert!((bytes.len() as u64) < count * 26 / 10, "{} bytes", bytes.len());
            }
            let filter = Fuse::decode_earlier(&of_earlier(&bytes)).unwrap();
            assert!(keys.iter().all(|key| filter.may_have(*key)), "earlier, of {count}");
            let wrong = (count..count + 20_000).filter(|n| filter.may_have(key(*n))).count();
            assert!(wrong < 160, "earlier, {wrong} of 20,000 with {count} keys");
        }
    }

    /// Returns the bytes that an older release wrote for the same keys: the low byte of each slot.
    fn of_earlier(bytes: &[u8]) -> Vec<u8> {
        let (fixed, slots) = bytes.split_at(16);
        fixed.iter().chain(slots.iter().step_by(2)).copied().collect()
    }

    #[test]
    fn other_bytes_are_no_filter() {
        let bytes = encode(&[1, 2, 3]).unwrap();
        assert!(Fuse::decode(&of_earlier(&bytes)).is_none());
        assert!(Fuse::decode_earlier(&bytes).is_none());
        for decode in [Fuse::decode, Fuse::decode_earlier] {
            assert!(decode(&bytes[..bytes.len() - 1]).is_none());
            assert!(decode(&bytes[..bytes.len() - 2]).is_none());
            assert!(decode(&[]).is_none());
            assert!(decode(&[0xff; 16]).is_none());
        }
    }
}
