//! Index section that locates a file's transactions and the summaries of its traces, and encoding
//! of the summaries.

use std::ops::Range;

use crate::{
    index_bytes::{Fetch, Reader as Bytes, push_varint},
    rollup_encoding::{
        Directory, GroupNumber, push_uncounted_rows, seal, take_uncounted_rows, unsealed,
    },
};

/// Minutes in an hour.
pub const HOUR_MINUTES: u64 = 60;
/// Number of summaries in a page; a multiple of 8.
const PAGE_SUMMARIES: u64 = 8_192;
const CRC_BYTES: u64 = 4;
const MINUTE_BITS: u32 = 6;
const BUCKET_BITS: u32 = 12;
const FAILED_BITS: u32 = 1;
/// Transaction type of a trace that no rollup bucket counts.
const NO_TRANSACTION_TYPE: u64 = 0;

/// Summary of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Number of the trace's transaction type. `None` when the rollup buckets omit the trace.
    pub transaction_type: Option<GroupNumber>,
    /// Minute of the hour in which the entry span began.
    pub minute: u8,
    /// Histogram bucket of the entry span's duration.
    pub bucket: u16,
    /// True if the trace failed.
    pub failed: bool,
}

/// Location of the summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryLocation {
    /// Offset of the first page in the index file, in bytes.
    pub offset: u64,
    /// Number of summaries.
    pub count: u64,
    /// Number of bits of a transaction type.
    pub bits: u32,
}

/// Part of the section that stays in memory.
#[derive(Debug)]
pub struct TransactionTypeSection {
    /// Hour in which all counted traces began. Hours are counted from 1970.
    pub hour: u64,
    /// Rows that the rollup buckets omit, as ascending and disjoint ranges.
    pub left_out: Vec<Range<u64>>,
    place: SummaryLocation,
    /// Locations of the rollup buckets.
    pub cells: Directory,
}

/// Encoded pages of summaries.
#[derive(Debug)]
pub struct Summaries {
    /// Bytes of all pages, checksums included.
    pub pages: Vec<u8>,
    /// Number of bits of a transaction type.
    pub bits: u32,
}

/// Returns the section of a file without such rollups.
pub(crate) fn empty_section(offset: u64) -> (Vec<u8>, Vec<u8>) {
    let place = SummaryLocation { offset, count: 0, bits: 0 };
    (encoded(0, &[], &place, &offset.to_le_bytes()), Vec::new())
}

/// Returns the section. `cells` is the encoded directory of the rollup buckets.
pub fn encoded(hour: u64, rows: &[Range<u64>], place: &SummaryLocation, cells: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    push_varint(&mut section, hour);
    push_uncounted_rows(&mut section, rows);
    push_varint(&mut section, place.count);
    push_varint(&mut section, u64::from(place.bits));
    push_varint(&mut section, place.offset);
    section.extend(cells);
    section
}

/// Encodes these summaries, whose transaction types are below `transaction_types`.
pub fn summaries(each: impl Iterator<Item = Summary>, transaction_types: usize) -> Summaries {
    let bits = usize::BITS - transaction_types.leading_zeros();
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
fn width(transaction_type_bits: u32) -> u32 {
    transaction_type_bits + MINUTE_BITS + BUCKET_BITS + FAILED_BITS
}

impl Summary {
    /// Returns the summary as a number. From the lowest bit on, it has transaction type, minute,
    /// bucket and failure.
    fn packed(self, transaction_type_bits: u32) -> u64 {
        let transaction_type = self
            .transaction_type
            .map_or(NO_TRANSACTION_TYPE, |transaction_type| u64::from(transaction_type) + 1);
        let minute = u64::from(self.minute) << transaction_type_bits;
        let bucket = u64::from(self.bucket) << (transaction_type_bits + MINUTE_BITS);
        transaction_type
            | minute
            | bucket
            | u64::from(self.failed) << (transaction_type_bits + MINUTE_BITS + BUCKET_BITS)
    }

    fn unpacked(packed: u64, transaction_type_bits: u32) -> Self {
        let part = |shift: u32, bits: u32| packed >> shift & ((1 << bits) - 1);
        let transaction_type = part(0, transaction_type_bits).checked_sub(1);
        Self {
            transaction_type: transaction_type
                .and_then(|transaction_type| GroupNumber::try_from(transaction_type).ok()),
            minute: u8::try_from(part(transaction_type_bits, MINUTE_BITS)).unwrap_or_default(),
            bucket: u16::try_from(part(transaction_type_bits + MINUTE_BITS, BUCKET_BITS))
                .unwrap_or_default(),
            failed: part(transaction_type_bits + MINUTE_BITS + BUCKET_BITS, FAILED_BITS) > 0,
        }
    }
}

impl TransactionTypeSection {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub fn decode(section: &[u8]) -> Option<Self> {
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
    pub fn bytes(&self) -> usize {
        self.left_out.len() * size_of::<Range<u64>>() + self.cells.bytes()
    }

    /// Passes each trace to `visit` by its number, in the order of the index's runs of traces.
    /// `None` when a page is missing or damaged, or when `visit` returns `None`.
    pub fn each(
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

    use super::{Summary, SummaryLocation, TransactionTypeSection, encoded, summaries};

    fn decoded(section: &TransactionTypeSection, pages: &[u8]) -> Option<Vec<Summary>> {
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
            transaction_types in 1..70_000_usize,
            repeats in 1..400_usize,
            some in vec((option::of(any::<prop::sample::Index>()), 0..60_u8, 0..3_840_u16, any::<bool>()), 1..60),
            damage: prop::sample::Index,
        ) {
            let summary = |of: &(Option<prop::sample::Index>, u8, u16, bool)| Summary {
                transaction_type: of.0.map(|at| u32::try_from(at.index(transaction_types)).unwrap()),
                minute: of.1,
                bucket: of.2,
                failed: of.3,
            };
            let all: Vec<Summary> =
                some.iter().map(summary).cycle().take(repeats * some.len()).collect();
            let mut made = summaries(all.iter().copied(), transaction_types);
            let place = SummaryLocation { offset: 9, count: all.len() as u64, bits: made.bits };
            let bytes = encoded(7, &[3..9, 12..13], &place, &0_u64.to_le_bytes());
            let section = TransactionTypeSection::decode(&bytes).unwrap();
            prop_assert_eq!((section.hour, &section.left_out[..]), (7, &[3..9, 12..13][..]));
            prop_assert_eq!(decoded(&section, &made.pages).unwrap(), all);
            let at = damage.index(made.pages.len());
            made.pages[at] ^= 4;
            prop_assert_eq!(decoded(&section, &made.pages), None);
        }
    }
}
