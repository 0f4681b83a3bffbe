//! Numbers packed bit by bit, the lowest bit first: of a fixed width, or short where they are small.
//!
//! A *gamma* number, which is not 0, is as many zeros as it has bits below its highest one, that
//! one, and those bits. A *Rice* number has its low bits of a fixed width after as many ones as the
//! rest of it says, and a zero; where the rest is too much for that, 24 ones and 64 bits.
//! `docs/formats/index.md` says what is packed.

/// More ones than this say that the whole number follows.
const ONES_MAX: u32 = 24;

/// Packs numbers.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are no whole byte yet.
    rest: u128,
    rest_bits: u32,
}

impl BitWriter {
    /// Adds a number of so many bits, 64 at most.
    pub(super) fn push(&mut self, number: u64, bits: u32) {
        self.rest |= u128::from(number) << self.rest_bits;
        self.rest_bits += bits;
        while self.rest_bits >= u8::BITS {
            self.push_byte();
        }
    }

    fn push_byte(&mut self) {
        self.bytes.push(self.rest.to_le_bytes()[0]);
        self.rest >>= u8::BITS;
        self.rest_bits = self.rest_bits.saturating_sub(u8::BITS);
    }

    /// Adds a gamma number; 0 counts as 1.
    pub(super) fn push_gamma(&mut self, number: u64) {
        let below = number.checked_ilog2().unwrap_or(0);
        self.push(0, below);
        self.push(1, 1);
        self.push(number & !(1 << below), below);
    }

    /// Adds a Rice number with so many low bits, fewer than 64.
    pub(super) fn push_rice(&mut self, number: u64, low_bits: u32) {
        match u32::try_from(number >> low_bits) {
            Ok(ones) if ones < ONES_MAX => {
                self.push((1 << ones) - 1, ones + 1);
                self.push(number & ((1 << low_bits) - 1), low_bits);
            }
            _ => {
                self.push((1 << ONES_MAX) - 1, ONES_MAX);
                self.push(number, u64::BITS);
            }
        }
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.rest_bits > 0 {
            self.push_byte();
        }
        self.bytes
    }
}

/// Unpacks numbers; `None` where the bytes end.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    rest: u128,
    rest_bits: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, rest: 0, rest_bits: 0 }
    }

    /// A number of so many bits, 64 at most.
    pub(super) fn take(&mut self, bits: u32) -> Option<u64> {
        while self.rest_bits < bits {
            let (byte, bytes) = self.bytes.split_first()?;
            self.rest |= u128::from(*byte) << self.rest_bits;
            self.rest_bits += u8::BITS;
            self.bytes = bytes;
        }
        let number = u64::try_from(self.rest & ((1 << bits) - 1)).ok()?;
        self.rest >>= bits;
        self.rest_bits -= bits;
        Some(number)
    }

    /// A gamma number, which is not 0.
    pub(super) fn take_gamma(&mut self) -> Option<u64> {
        let mut below = 0;
        while self.take(1)? == 0 {
            below += 1;
        }
        let highest = 1_u64.checked_shl(below)?;
        Some(highest | self.take(below)?)
    }

    /// A Rice number with so many low bits, fewer than 64.
    pub(super) fn take_rice(&mut self, low_bits: u32) -> Option<u64> {
        let mut ones = 0;
        while self.take(1)? == 1 {
            ones += 1;
            if ones == ONES_MAX {
                return self.take(u64::BITS);
            }
        }
        Some(u64::from(ones) << low_bits | self.take(low_bits)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{BitReader, BitWriter};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn numbers_are_those_that_were_packed(
            numbers in vec((any::<u64>(), 0..64_u32, 0..64_u32), 0..200),
        ) {
            let numbers: Vec<_> = numbers
                .into_iter()
                .map(|(number, shift, bits)| (number >> shift, u64::BITS - shift, bits))
                .collect();
            let mut packed = BitWriter::default();
            for (number, width, low_bits) in &numbers {
                packed.push(*number, *width);
                packed.push_gamma((*number).max(1));
                packed.push_rice(*number, *low_bits);
            }
            let packed = packed.finish();
            let mut reader = BitReader::new(&packed);
            for (number, width, low_bits) in numbers {
                prop_assert_eq!(reader.take(width), Some(number));
                prop_assert_eq!(reader.take_gamma(), Some(number.max(1)));
                prop_assert_eq!(reader.take_rice(low_bits), Some(number));
            }
            prop_assert_eq!(reader.take(8), None, "nothing is left but the rest of a byte");
        }
    }

    #[test]
    fn bytes_of_another_program_end_and_never_overflow() {
        let mut zeros = BitReader::new(&[0; 40]);
        assert_eq!(zeros.take_gamma(), None);
        let mut ones = BitReader::new(&[u8::MAX; 4]);
        assert_eq!(ones.take_rice(3), None);
    }
}
