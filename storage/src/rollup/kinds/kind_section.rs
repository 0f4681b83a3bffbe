//! Index section that locates a file's transactions and the summaries of its traces, and encoding
//! of the summaries.

use std::ops::Range;

use crate::{
    index_bytes::{Fetch, Reader as Bytes, push_varint},
    rollup::{
        file_aggregate::GroupNumber,
        rollup_encoding::{Directory, push_uncounted_rows, seal, take_uncounted_rows, unsealed},
    },
};

/// Minutes in an hour.
pub(crate) const HOUR_MINUTES: u64 = 60;
/// Number of summaries in a page; a multiple of 8.
const PAGE_SUMMARIES: u64 = 8_192;
const CRC_BYTES: u64 = 4;
const MINUTE_BITS: u32 = 6;
const BUCKET_BITS: u32 = 12;
const FAILED_BITS: u32 = 1;
/// Kind of a trace that no rollup bucket counts.
const NO_KIND: u64 = 0;

/// Summary of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Number of the trace's kind. `None` when the rollup buckets omit the trace.
    pub(crate) kind: Option<GroupNumber>,
    /// Minute of the hour in which the entry span began.
    pub(crate) minute: u8,
    /// Histogram bucket of the entry span's duration.
    pub(crate) bucket: u16,
    /// True if the trace failed.
    pub(crate) failed: bool,
}

/// Location of the summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SummaryLocation {
    pub(crate) offset: u64,
    pub(crate) count: u64,
    /// Number of bits of a kind.
    pub(crate) bits: u32,
}

/// Part of the section that stays in memory.
#[derive(Debug)]
pub(crate) struct KindSection {
    /// Hour in which all counted traces began. Hours are counted from 1970.
    pub(crate) hour: u64,
    /// Rows that the rollup buckets omit, as ascending and disjoint ranges.
    pub(crate) left_out: Vec<Range<u64>>,
    place: SummaryLocation,
    /// Locations of the rollup buckets.
    pub(crate) cells: Directory,
}

/// Encoded pages of summaries.
#[derive(Debug)]
pub(crate) struct Summaries {
    pub(crate) pages: Vec<u8>,
    pub(crate) bits: u32,
}

/// Returns the section of a file without such rollups.
pub(crate) fn empty_section(offset: u64) -> (Vec<u8>, Vec<u8>) {
    let place = SummaryLocation { offset, count: 0, bits: 0 };
    (encoded(0, &[], &place, &offset.to_le_bytes()), Vec::new())
}

/// Returns the section. `cells` is the encoded directory of the rollup buckets.
pub(crate) fn encoded(
    hour: u64,
    rows: &[Range<u64>],
    place: &SummaryLocation,
    cells: &[u8],
) -> Vec<u8> {
    let mut section = Vec::new();
    push_varint(&mut section, hour);
    push_uncounted_rows(&mut section, rows);
    push_varint(&mut section, place.count);
    push_varint(&mut section, u64::from(place.bits));
    push_varint(&mut section, place.offset);
    section.extend(cells);
    section
}

/// Encodes these summaries, whose kinds are below `kinds`.
pub(crate) fn summaries(each: impl Iterator<Item = Summary>, kinds: usize) -> Summaries {
    let bits = usize::BITS - kinds.leading_zeros();
    let mut pages = Vec::new();
    let (mut start, mut count) = (0, 0);
    let (mut held, mut held_bits) = (0_u128, 0);
    for summary in each {
        held |= u128::from(summary.packed(bits)) << held_bits;
        held_bits += width(bits);
        count += 1;
        while held_bits >= u8::BITS {
            pages.push(held.to_le_bytes()[0]);
            (held, held_bits) = (held >> u8::BITS, held_bits - u8::BITS);
        }
        // Eight summaries take whole bytes.
        if count % PAGE_SUMMARIES == 0 {
            seal(&mut pages, start);
            start = pages.len();
        }
    }
    if held_bits > 0 {
        pages.push(held.to_le_bytes()[0]);
    }
    if count % PAGE_SUMMARIES > 0 {
        seal(&mut pages, start);
    }
    Summaries { pages, bits }
}

/// Returns the number of bits of a summary.
fn width(kind_bits: u32) -> u32 {
    kind_bits + MINUTE_BITS + BUCKET_BITS + FAILED_BITS
}

impl Summary {
    /// Returns the summary as a number. From the lowest bit on, it has kind, minute, bucket and
    /// failure.
    fn packed(self, kind_bits: u32) -> u64 {
        let kind = self.kind.map_or(NO_KIND, |kind| u64::from(kind) + 1);
        let minute = u64::from(self.minute) << kind_bits;
        let bucket = u64::from(self.bucket) << (kind_bits + MINUTE_BITS);
        kind | minute | bucket | u64::from(self.failed) << (kind_bits + MINUTE_BITS + BUCKET_BITS)
    }

    fn unpacked(packed: u64, kind_bits: u32) -> Self {
        let part = |shift: u32, bits: u32| packed >> shift & ((1 << bits) - 1);
        let kind = part(0, kind_bits).checked_sub(1);
        Self {
            kind: kind.and_then(|kind| GroupNumber::try_from(kind).ok()),
            minute: u8::try_from(part(kind_bits, MINUTE_BITS)).unwrap_or_default(),
            bucket: u16::try_from(part(kind_bits + MINUTE_BITS, BUCKET_BITS)).unwrap_or_default(),
            failed: part(kind_bits + MINUTE_BITS + BUCKET_BITS, FAILED_BITS) > 0,
        }
    }
}

impl KindSection {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub(crate) fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let hour = section.varint()?;
        let left_out = take_uncounted_rows(&mut section)?;
        let count = section.varint()?;
        let bits = u32::try_from(section.varint()?).ok().filter(|bits| *bits <= u32::BITS)?;
        let offset = section.varint()?;
        let place = SummaryLocation { offset, count, bits };
        Some(Self { hour, left_out, place, cells: Directory::decode(section.rest())? })
    }

    /// Returns its heap memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.left_out.len() * size_of::<Range<u64>>() + self.cells.bytes()
    }

    /// Passes each trace to `visit` by its number, in the order of the index's runs of traces.
    /// `None` when a page is missing or damaged, or when `visit` returns `None`.
    pub(crate) fn each(
        &self,
        fetch: &mut Fetch<'_>,
        mut visit: impl FnMut(u64, Summary) -> Option<()>,
    ) -> Option<()> {
        let SummaryLocation { offset, count, bits } = self.place;
        let width = u64::from(width(bits));
        let mut start = offset;
        let mut number = 0;
        while number < count {
            let of_page = (count - number).min(PAGE_SUMMARIES);
            let end = start.checked_add((of_page * width).div_ceil(8))?.checked_add(CRC_BYTES)?;
            let page = fetch(start..end)?;
            // Each summary is read as eight bytes, so the last one needs padding.
            let mut packed = unsealed(&page)?.to_vec();
            packed.extend([0; 8]);
            for at in 0..of_page {
                let bit = at * width;
                let byte = usize::try_from(bit / 8).ok()?;
                let word = packed.get(byte..byte + 8)?.try_into().ok().map(u64::from_le_bytes)?;
                visit(number + at, Summary::unpacked(word >> (bit % 8), bits))?;
            }
            (start, number) = (end, number + of_page);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{KindSection, Summary, SummaryLocation, encoded, summaries};

    fn decoded(section: &KindSection, pages: &[u8]) -> Option<Vec<Summary>> {
        let mut found = Vec::new();
        let mut fetch = |range: std::ops::Range<u64>| {
            let place = |at: u64| usize::try_from(at - 9).ok();
            pages.get(place(range.start)?..place(range.end)?).map(<[u8]>::to_vec)
        };
        section.each(&mut fetch, |number, summary| {
            assert_eq!(number, found.len() as u64);
            found.push(summary);
            Some(())
        })?;
        Some(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn summaries_come_back_and_damaged_ones_do_not(
            kinds in 1..70_000_usize,
            repeats in 1..400_usize,
            some in vec((option::of(any::<prop::sample::Index>()), 0..60_u8, 0..3_840_u16, any::<bool>()), 1..60),
            damage: prop::sample::Index,
        ) {
            let summary = |of: &(Option<prop::sample::Index>, u8, u16, bool)| Summary {
                kind: of.0.map(|kind| u32::try_from(kind.index(kinds)).unwrap()),
                minute: of.1,
                bucket: of.2,
                failed: of.3,
            };
            let all: Vec<Summary> =
                some.iter().map(summary).cycle().take(repeats * some.len()).collect();
            let mut made = summaries(all.iter().copied(), kinds);
            let place = SummaryLocation { offset: 9, count: all.len() as u64, bits: made.bits };
            let bytes = encoded(7, &[3..9, 12..13], &place, &0_u64.to_le_bytes());
            let section = KindSection::decode(&bytes).unwrap();
            prop_assert_eq!((section.hour, &section.left_out[..]), (7, &[3..9, 12..13][..]));
            prop_assert_eq!(decoded(&section, &made.pages).unwrap(), all);
            let at = damage.index(made.pages.len());
            made.pages[at] ^= 4;
            prop_assert_eq!(decoded(&section, &made.pages), None);
        }
    }
}
