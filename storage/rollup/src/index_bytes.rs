//! Bytes of index files and of their sections: numbers, hashes of traces, and pages.
//!
//! Numbers are little endian, or varints in seven-bit groups with the lowest group first. The index
//! file of `tidings_index` and the sections of this crate are made of them.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Reads this byte range of the file. Returns `None` when that fails.
pub type Fetch<'a> = dyn FnMut(Range<u64>) -> Option<Vec<u8>> + 'a;

/// Hash of the last 8 bytes of a trace id. One hash therefore finds 64-bit and 128-bit ids alike.
pub fn trace_hash(low64: u64) -> u64 {
    xxh3_64(&low64.to_le_bytes())
}

/// Maximum length of a varint.
const VARINT_BYTES_MAX: usize = 10;

/// The highest bit of each of eight bytes. It is unset in the last byte of a varint.
const LAST_BITS: u64 = 0x8080_8080_8080_8080;

/// Reads numbers from the front of bytes. Its methods return `None` when the bytes end too early.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Returns true if no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.left
    }

    /// Reads this many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Reads a number of four bytes, little endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a number of eight bytes, little endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a number that `push_varint` wrote.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        if let [byte, left @ ..] = self.left
            && *byte < 0x80
        {
            self.left = left;
            return Some(u64::from(*byte));
        }
        self.long_varint()
    }

    /// Like [`Self::varint`], for numbers that mostly have several bytes. Their length is hard to
    /// predict. Reading eight bytes at once therefore costs less than a branch for each byte.
    #[inline]
    pub(crate) fn long_varint(&mut self) -> Option<u64> {
        let Some(eight) = self.left.first_chunk() else { return self.varint_by_bytes() };
        let eight = u64::from_le_bytes(*eight);
        let last = !eight & LAST_BITS;
        if last == 0 {
            return self.varint_by_bytes();
        }
        let upto_last = eight & (last ^ last.wrapping_sub(1));
        self.left = &self.left[last.trailing_zeros() as usize / 8 + 1..];
        Some(joined_groups(upto_last & !LAST_BITS))
    }

    fn varint_by_bytes(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (place, byte) in self.left.iter().take(VARINT_BYTES_MAX).enumerate() {
            let (group, shift) = (u64::from(byte & 0x7f), 7 * place);
            value |= group << shift;
            if *byte < 0x80 {
                // A tenth byte may hold one bit only.
                if group << shift >> shift != group {
                    return None;
                }
                self.left = &self.left[place + 1..];
                return Some(value);
            }
        }
        None
    }
}

/// Joins eight groups of seven bits: first into pairs, then into groups of four, then into one
/// number.
fn joined_groups(groups: u64) -> u64 {
    let pairs = groups & 0x007f_007f_007f_007f | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

pub(crate) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::{Reader, push_varint};

    #[test]
    fn numbers_come_back_and_impossible_ones_do_not() {
        for value in [0, 1, 127, 128, 300, 1 << 21, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.varint(), reader.is_empty()), (Some(value), true));
            bytes.pop();
            assert_eq!(Reader::new(&bytes).varint(), None);
        }
        assert_eq!(Reader::new(&[0xff; 9]).varint(), None);
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), None);
    }

    proptest! {
        #[test]
        fn numbers_of_any_length_come_back_one_after_the_other(
            values in prop::collection::vec((any::<u64>(), 0..64_u32), 0..20)
        ) {
            let values: Vec<u64> = values.iter().map(|(value, less)| value >> less).collect();
            let mut bytes = Vec::new();
            values.iter().for_each(|value| push_varint(&mut bytes, *value));
            let (mut one, mut other) = (Reader::new(&bytes), Reader::new(&bytes));
            for value in values {
                prop_assert_eq!((one.varint(), other.long_varint()), (Some(value), Some(value)));
            }
            prop_assert_eq!((one.is_empty(), other.is_empty()), (true, true));
        }

        #[test]
        fn any_bytes_are_the_same_numbers_however_they_are_read(
            bytes in prop::collection::vec(prop::sample::select(&[0, 1, 0x7f, 0x80, 0xff][..]), 0..14)
        ) {
            let mut readers = [Reader::new(&bytes); 3];
            let [short, long, by_bytes] = &mut readers;
            let numbers = [short.varint(), long.long_varint(), by_bytes.varint_by_bytes()];
            prop_assert_eq!(numbers, [numbers[2]; 3]);
            prop_assert_eq!(readers.map(Reader::rest), [readers[2].rest(); 3]);
        }
    }
}
