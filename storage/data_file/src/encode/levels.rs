//! Levels and codes as Parquet packs them: runs of one value, and groups of eight packed bit by bit
//! ([the hybrid of both](https://parquet.apache.org/docs/file-format/data-pages/encodings/)).

use std::ops::Range;

use arrow_buffer::{BooleanBuffer, NullBuffer};

/// Values of a bit-packed group.
const GROUP: usize = 8;
/// Maximum number of groups of a run: more would need a second byte in its header.
const GROUPS_MAX: u8 = 63;

/// Type that the hybrid encoding packs.
pub(super) trait BitPacked: Copy + Eq + Into<u32> {
    /// Appends the group with `width` bits for each value.
    fn pack(group: &[Self; GROUP], width: u32, out: &mut Vec<u8>);
}

/// Levels, which need at most two bits.
impl BitPacked for u8 {
    #[inline]
    fn pack(group: &[Self; GROUP], width: u32, out: &mut Vec<u8>) {
        let bits = u64::from_le_bytes(*group);
        if width == 1 {
            // The highest byte of the product has the lowest bits of all bytes.
            out.push(bits.wrapping_mul(0x0102_0408_1020_4080).to_le_bytes()[7]);
            return;
        }
        // Pairs of bits are joined first, then pairs of pairs, then both halves.
        let bits = (bits | (bits >> 6)) & 0x000f_000f_000f_000f;
        let bits = (bits | (bits >> 12)) & 0x0000_00ff_0000_00ff;
        let [low, .., high, _, _, _] = bits.to_le_bytes();
        out.extend_from_slice(&[low, high]);
    }
}

/// Codes of a dictionary.
impl BitPacked for u32 {
    fn pack(group: &[Self; GROUP], width: u32, out: &mut Vec<u8>) {
        let (mut bits, mut count) = (0_u64, 0);
        for code in group {
            bits |= u64::from(*code) << count;
            count += width;
            if count >= 32 {
                let [a, b, c, d, ..] = bits.to_le_bytes();
                out.extend_from_slice(&[a, b, c, d]);
                bits >>= 32;
                count -= 32;
            }
        }
        out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(8) as usize]);
    }
}

/// Appends values, which need at most `width` bits each.
pub(super) fn encode<T: BitPacked>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let mut at = 0;
    // Position of the header byte of the open run of groups, and the number of its groups.
    let mut open: Option<(usize, u8)> = None;
    while let Some(first) = values.get(at).copied() {
        let rest = &values[at..];
        let group = rest.first_chunk::<GROUP>();
        let is_run = match group {
            Some(group) => *group == [first; GROUP],
            None => open.is_none() && rest.iter().all(|value| *value == first),
        };
        if is_run {
            close(&mut open, out);
            let count = run(rest, first);
            varint((count as u64) << 1, out);
            let value: u32 = first.into();
            out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
            at += count;
            continue;
        }
        let (_, groups) = open.get_or_insert_with(|| {
            out.push(0);
            (out.len() - 1, 0)
        });
        *groups += 1;
        let is_full = *groups == GROUPS_MAX;
        match group {
            Some(group) => T::pack(group, width, out),
            None => {
                // A reader knows the number of values and ignores the padding.
                let mut padded = [first; GROUP];
                padded[..rest.len()].copy_from_slice(rest);
                T::pack(&padded, width, out);
            }
        }
        if is_full {
            close(&mut open, out);
        }
        at += GROUP;
    }
    close(&mut open, out);
}

/// Appends the levels of a page. Their length precedes them.
pub(super) fn encode_page(levels: &[u8], width: u32, page: &mut Vec<u8>) {
    let begin = page.len();
    page.extend_from_slice(&[0; 4]);
    encode(levels, width, page);
    let length = u32::try_from(page.len() - begin - 4).unwrap_or(u32::MAX);
    page[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Returns the number of bits of a level with this maximum.
pub(super) fn width(level_max: i16) -> u32 {
    i16::BITS - level_max.leading_zeros()
}

fn close(open: &mut Option<(usize, u8)>, out: &mut [u8]) {
    if let Some((place, groups)) = open.take() {
        out[place] = (groups << 1) | 1;
    }
}

/// Returns the length of the run of this value at the start of `values`.
fn run<T: BitPacked>(values: &[T], value: T) -> usize {
    let groups = values.chunks_exact(GROUP).take_while(|group| **group == [value; GROUP]).count();
    let rest = &values[groups * GROUP..];
    groups * GROUP + rest.iter().take_while(|other| **other == value).count()
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(((number & 0x7f) | 0x80).to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Returns the number of bits of a code in a dictionary with this many values.
pub(super) fn code_width(values: usize) -> u32 {
    usize::BITS - values.saturating_sub(1).leading_zeros()
}

/// Appends the repetition levels of rows, given the ends of their entries. The first level of a row
/// is 0. A row without entries has one level too.
pub(super) fn repetitions(offsets: &[i32], out: &mut Vec<u8>) {
    for ends in offsets.windows(2) {
        let entries = span(ends).len();
        let begin = out.len();
        out.resize(begin + entries.max(1), 1);
        out[begin] = 0;
    }
}

/// Appends the definition levels of the entries of rows. A row without entries has level 0. An
/// entry has level 1, plus one for each bitmap that has it set.
pub(super) fn definitions(offsets: &[i32], valid: &[Option<NullBuffer>], out: &mut Vec<u8>) {
    let mut begin = 0;
    while begin + 1 < offsets.len() {
        let rows = offsets[begin..].windows(2);
        let filled = rows.take_while(|ends| ends[0] != ends[1]).count();
        if filled == 0 {
            out.push(0);
            begin += 1;
            continue;
        }
        let entries = span(&offsets[begin..=begin + filled]);
        let has_all = |valid: &&Option<NullBuffer>| {
            valid.as_ref().is_none_or(|valid| valid.null_count() == 0)
        };
        let level = valid.iter().filter(has_all).fold(1, |level, _| level + 1);
        let from = out.len();
        out.resize(from + entries.len(), level);
        for valid in valid.iter().filter(|valid| !has_all(valid)).flatten() {
            if valid.null_count() < valid.len() {
                add(valid.inner(), entries.start, &mut out[from..]);
            }
        }
        begin += filled;
    }
}

/// Returns the range from the first of these offsets to the last.
pub(super) fn span(offsets: &[i32]) -> Range<usize> {
    place(offsets.first().copied().unwrap_or_default())
        ..place(offsets.last().copied().unwrap_or_default())
}

/// Converts an offset or a code to an index. Neither is ever negative.
pub(super) fn place(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or_default()
}

/// Table of the eight bits of each byte, one bit in each byte of an entry.
const BITS: [[u8; GROUP]; 256] = {
    let mut bits = [[0; GROUP]; 256];
    let mut number = 0;
    while number < 256 {
        let mut bit = 0;
        while bit < GROUP {
            if (number >> bit) & 1 == 1 {
                bits[number][bit] = 1;
            }
            bit += 1;
        }
        number += 1;
    }
    bits
};

/// Adds the bits from `start` on to the levels.
fn add(bits: &BooleanBuffer, start: usize, levels: &mut [u8]) {
    let start = bits.offset() + start;
    let (bytes, ahead) = (bits.values(), (GROUP - start % GROUP) % GROUP);
    let (head, rest) = levels.split_at_mut(ahead.min(levels.len()));
    let bit = |place: usize| (bytes[place / GROUP] >> (place % GROUP)) & 1;
    for (place, level) in head.iter_mut().enumerate() {
        *level += bit(start + place);
    }
    let aligned = start + ahead;
    let mut groups = rest.chunks_exact_mut(GROUP);
    let count = groups.len();
    for (group, byte) in groups.by_ref().zip(bytes.get(aligned / GROUP..).unwrap_or_default()) {
        if let (Ok(group), true) = (<&mut [u8; GROUP]>::try_from(group), *byte != 0) {
            // No level exceeds 3, so no carry crosses from one byte to the next.
            let sum = u64::from_le_bytes(*group) + u64::from_le_bytes(BITS[usize::from(*byte)]);
            *group = sum.to_le_bytes();
        }
    }
    for (place, level) in groups.into_remainder().iter_mut().enumerate() {
        *level += bit(aligned + count * GROUP + place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes runs and groups value by value, as the format specifies.
    fn decoded(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u32, 0);
            loop {
                let (first, rest) = bytes.split_first().unwrap();
                bytes = rest;
                header |= u32::from(first & 0x7f) << shift;
                shift += 7;
                if first & 0x80 == 0 {
                    break;
                }
            }
            let times = (header >> 1) as usize;
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(width.div_ceil(8) as usize);
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                values.extend(std::iter::repeat_n(value, times));
                bytes = rest;
            } else {
                let (groups, rest) = bytes.split_at(times * width as usize);
                let bit = |at: usize| u32::from(groups[at / 8] >> (at % 8) & 1);
                let value = |number: usize| {
                    let bits = number * width as usize..(number + 1) * width as usize;
                    bits.rev().fold(0, |value, at| value << 1 | bit(at))
                };
                values.extend((0..times * GROUP).map(value));
                bytes = rest;
            }
        }
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn packed_values_are_those_that_were_packed(
            width in 0..33_u32,
            runs in prop::collection::vec((any::<u32>(), prop_oneof![1..4_usize, 1..40_usize]), 0..300),
        ) {
            let of_width = |value: u32| value & u32::try_from((1_u64 << width) - 1).unwrap();
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, times)| std::iter::repeat_n(of_width(*value), *times))
                .collect();
            let mut packed = Vec::new();
            encode(&values, width, &mut packed);
            prop_assert_eq!(decoded(&packed, width, values.len()), &values[..]);
            if width == 1 || width == 2 {
                let levels: Vec<u8> = values.iter().map(|value| value.to_le_bytes()[0]).collect();
                let mut same = Vec::new();
                encode(&levels, width, &mut same);
                prop_assert_eq!(same, packed);
            }
        }
    }

    #[test]
    fn codes_take_as_many_bits_as_the_largest_needs() {
        let widths = [0, 1, 2, 3, 4, 5, 256, 257].map(code_width);
        assert_eq!(widths, [0, 0, 1, 2, 2, 3, 8, 9]);
    }

    #[test]
    fn a_level_of_nulls_is_one_run() {
        let mut page = Vec::new();
        encode_page(&[2; 100_000], width(3), &mut page);
        assert_eq!(page, [4, 0, 0, 0, 0xc0, 0x9a, 0x0c, 2]);
    }
}
