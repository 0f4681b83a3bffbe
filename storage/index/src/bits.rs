//! Bit packing of numbers, lowest bit first, with a fixed width or a variable length.
//!
//! A *gamma* number is at least 1. It starts with as many zeros as it has bits below its highest
//! bit. The highest bit follows, and then the bits below it. A *Rice* number is divided into low
//! bits of a fixed width and a quotient. The quotient is written first, as that many ones and a
//! zero, and then the low bits. A quotient of 24 or more is written as 24 ones, followed by all 64
//! bits of the number. `docs/formats/index.md` lists the packed fields.

/// Number of ones that marks a Rice number whose 64 bits follow.
const ONES_MAX: u32 = 24;

/// Packs numbers.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet.
    rest: u128,
    rest_bits: u32,
}

impl BitWriter {
    /// Adds the lowest `bits` bits of a number, at most 64.
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

    /// Adds a gamma number. 0 is written as 1.
    pub(super) fn push_gamma(&mut self, number: u64) {
        let below = number.checked_ilog2().unwrap_or(0);
        self.push(0, below);
        self.push(1, 1);
        self.push(number & !(1 << below), below);
    }

    /// Adds a Rice number with `low_bits` low bits, fewer than 64.
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

    /// Returns the bytes. Zeros fill the rest of the last byte.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.rest_bits > 0 {
            self.push_byte();
        }
        self.bytes
    }
}

/// Unpacks numbers. Its methods return `None` at the end of the bytes.
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

    /// Reads a number of `bits` bits, at most 64.
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

    /// Reads a gamma number, which is at least 1.
    pub(super) fn take_gamma(&mut self) -> Option<u64> {
        let mut below = 0;
        while self.take(1)? == 0 {
            below += 1;
        }
        let highest = 1_u64.checked_shl(below)?;
        Some(highest | self.take(below)?)
    }

    /// Reads a Rice number with `low_bits` low bits, fewer than 64.
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
