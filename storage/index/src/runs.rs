//! Locations of many hashes in a file, as runs of rows or of blocks of rows.
//!
//! Entries are sorted by hash, packed bit by bit and divided into small pages with a checksum each.
//! The directory has the first hash of each page and stays in memory. The lookup of a hash reads
//! one page. Different values can have the same hash. A lookup can therefore return too many rows,
//! but never too few. `docs/formats/index.md` has the bytes.

use std::ops::{Range, RangeInclusive};

use tidings_rollup::index_bytes::{Fetch, Reader};

use super::bits::{BitReader, BitWriter};

/// Maximum number of entries of a page. One lookup reads and decodes a whole page.
const PAGE_ENTRIES: usize = 256;
/// Number of entries of each page except the last.
pub const RUNS_PAGE: u64 = PAGE_ENTRIES as u64;
/// Widths of the fields of a page header: the number of entries, and the bits of their fields.
const ENTRIES_BITS: u32 = 16;
const WIDTH_BITS: u32 = 8;
/// Bytes of a page's checksum.
const CRC_BYTES: usize = 4;

/// Hash of a value and one run of its rows or blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PostingRun {
    pub(super) hash: u64,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Range of the hashes that an entry stands for, and range of its rows or blocks.
pub type HashedRun = (RangeInclusive<u64>, Range<u64>);

impl PostingRun {
    /// Returns the hash and the range of rows.
    pub(super) fn hash_and_rows(&self) -> (u64, Range<u64>) {
        let first = u64::from(self.first);
        (self.hash, first..first + u64::from(self.count))
    }
}

/// Returns the number of leading hash bits to store: enough to distinguish as many hashes, plus
/// `spare`.
fn hash_bits(hashes: usize, spare: u32) -> u32 {
    (usize::BITS - hashes.leading_zeros() + spare).min(64)
}

/// Returns the bytes of a directory and of its pages, which start at this offset of the file.
/// `each` passes on the runs in the order of their hashes. It streams them, because there can be
/// too many for a list. The pages store `spare` more hash bits than are needed to distinguish
/// `hashes` different ones.
pub(super) fn encode(
    hashes: usize,
    each: impl FnOnce(&mut dyn FnMut(PostingRun)),
    spare: u32,
    offset: u64,
) -> (Vec<u8>, Vec<u8>) {
    let mut encoder = RunEncoder::new(hash_bits(hashes, spare), offset);
    each(&mut |run| encoder.push(run));
    encoder.close_page();
    (encoder.directory, encoder.pages)
}

/// Writes runs that arrive in order.
struct RunEncoder {
    bits: u32,
    directory: Vec<u8>,
    pages: Vec<u8>,
    /// Runs of the open page. Their hashes are cut to the stored bits.
    page: Vec<PostingRun>,
}

impl RunEncoder {
    fn new(bits: u32, offset: u64) -> Self {
        let mut directory = Vec::new();
        directory.extend(bits.to_le_bytes());
        directory.extend(offset.to_le_bytes());
        Self { bits, directory, pages: Vec::new(), page: Vec::new() }
    }

    fn push(&mut self, run: PostingRun) {
        self.page.push(PostingRun { hash: run.hash >> (u64::BITS - self.bits), ..run });
        if self.page.len() == PAGE_ENTRIES {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        let Some(first) = self.page.first() else { return };
        let begin = first.hash;
        let page = encode_page(&self.page);
        let crc = crc32c::crc32c(&page);
        self.directory.extend(begin.to_le_bytes());
        let length = u32::try_from(page.len() + CRC_BYTES);
        self.directory.extend(length.expect("invariant: pages are small").to_le_bytes());
        self.pages.extend(page);
        self.pages.extend(crc.to_le_bytes());
        self.page.clear();
    }
}

/// Encodes a page of these runs.
fn encode_page(runs: &[PostingRun]) -> Vec<u8> {
    let (first, last) = (runs.first().map_or(0, |run| run.hash), runs.last());
    let spread = last.map_or(0, |run| run.hash) - first;
    let distinct = runs.chunk_by(|left, right| left.hash == right.hash).count();
    let low_bits = (spread / distinct.max(1) as u64).checked_ilog2().unwrap_or(0);
    let place_bits = u32::BITS - runs.iter().fold(0, |all, run| all | run.first).leading_zeros();
    let mut page = BitWriter::default();
    page.push(runs.len() as u64, ENTRIES_BITS);
    page.push(low_bits.into(), WIDTH_BITS);
    page.push(place_bits.into(), WIDTH_BITS);
    let gap_bits = gap_bits(runs);
    page.push(gap_bits.into(), WIDTH_BITS);
    let (mut hash, mut end) = (first, 0);
    for run in runs {
        let place = u64::from(run.first);
        // Runs of different values with the same hash can be in any order.
        match place.checked_sub(end).filter(|_| run.hash == hash && end > 0) {
            Some(gap) => {
                page.push(1, 1);
                page.push_rice(gap, gap_bits);
            }
            None => {
                page.push(0, 1);
                page.push_rice(run.hash - hash, low_bits);
                page.push(place, place_bits);
            }
        }
        page.push_gamma(u64::from(run.count));
        (hash, end) = (run.hash, place + u64::from(run.count));
    }
    page.finish()
}

/// Returns the number of low bits of the gaps between runs of the same hash: those of a gap of
/// average length.
fn gap_bits(runs: &[PostingRun]) -> u32 {
    let (mut sum, mut count) = (0_u64, 0_u64);
    for pair in runs.windows(2).filter(|pair| pair[0].hash == pair[1].hash) {
        let end = u64::from(pair[0].first) + u64::from(pair[0].count);
        sum += u64::from(pair[1].first).saturating_sub(end);
        count += 1;
    }
    (sum / count.max(1)).checked_ilog2().unwrap_or(0)
}

/// Directory of the pages.
#[derive(Debug)]
pub(super) struct Directory {
    bits: u32,
    /// First hash of each page, cut to the stored bits.
    begins: Box<[u64]>,
    /// Start of each page in the file, and the end of the last one.
    offsets: Box<[u64]>,
}

impl Directory {
    /// Decodes a directory. `None` when the bytes are not a directory.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader::new(bytes);
        let bits = bytes.u32().filter(|bits| (1..=64).contains(bits))?;
        let mut offset = bytes.u64()?;
        let (mut begins, mut offsets) = (Vec::new(), vec![offset]);
        while !bytes.is_empty() {
            begins.push(bytes.u64()?);
            offset = offset.checked_add(u64::from(bytes.u32()?))?;
            offsets.push(offset);
        }
        begins.is_sorted().then_some(Self { bits, begins: begins.into(), offsets: offsets.into() })
    }

    pub(super) fn bytes(&self) -> usize {
        (self.begins.len() + self.offsets.len()) * size_of::<u64>()
    }

    /// Returns the range of the hashes of a page's entries.
    pub(super) fn hashes(&self, page: usize) -> Option<RangeInclusive<u64>> {
        let last = self.begins.get(page + 1).map_or(u64::MAX, |begin| *self.whole(*begin).end());
        Some(*self.whole(*self.begins.get(page)?).start()..=last)
    }

    /// Returns the range of hashes that begin with these stored bits.
    fn whole(&self, kept: u64) -> RangeInclusive<u64> {
        let shift = u64::BITS - self.bits;
        let first = kept << shift;
        first..=first | ((1 << shift) - 1)
    }

    /// Returns the entries of a page in the order of their hashes. `None` when the page is missing
    /// or damaged.
    pub(super) fn runs(&self, page: usize, fetch: &mut Fetch<'_>) -> Option<Vec<HashedRun>> {
        let bytes = fetch(*self.offsets.get(page)?..*self.offsets.get(page + 1)?)?;
        let mut found = Vec::with_capacity(PAGE_ENTRIES);
        each_in(&bytes, *self.begins.get(page)?, |hash, place| {
            found.push((self.whole(hash), place));
            true
        })?;
        Some(found)
    }

    /// Returns the ranges that can have values of these hashes. `None` when a page is missing or
    /// damaged.
    pub(super) fn find_any(
        &self,
        hashes: impl IntoIterator<Item = u64>,
        fetch: &mut Fetch<'_>,
    ) -> Option<Vec<Range<u64>>> {
        // One entry stands for all hashes with the same leading bits. A client can choose ids so
        // that very many hashes share one entry, so equal leading bits are looked up once.
        let kept = hashes.into_iter().map(|hash| hash >> (u64::BITS - self.bits));
        let mut kept: Vec<u64> = kept.collect();
        kept.sort_unstable();
        kept.dedup();
        let mut found = Vec::new();
        for wanted in kept {
            self.find(wanted, fetch, &mut found)?;
        }
        Some(found)
    }

    fn find(&self, wanted: u64, fetch: &mut Fetch<'_>, found: &mut Vec<Range<u64>>) -> Option<()> {
        let from = self.begins.partition_point(|begin| *begin < wanted).saturating_sub(1);
        for page in from..self.begins.len() {
            if self.begins[page] > wanted {
                break;
            }
            let bytes = fetch(self.offsets[page]..self.offsets[page + 1])?;
            find_in(&bytes, self.begins[page], wanted, found)?;
        }
        Some(())
    }
}

fn find_in(page: &[u8], begin: u64, wanted: u64, found: &mut Vec<Range<u64>>) -> Option<()> {
    each_in(page, begin, |hash, place| {
        if hash == wanted {
            found.push(place);
        }
        hash <= wanted
    })
}

/// Passes the entries of a page to `visit` until it returns false. `None` when the page is damaged.
fn each_in(page: &[u8], begin: u64, mut visit: impl FnMut(u64, Range<u64>) -> bool) -> Option<()> {
    let (entries, crc) = page.split_at_checked(page.len().checked_sub(CRC_BYTES)?)?;
    if u32::from_le_bytes(*crc.first_chunk()?) != crc32c::crc32c(entries) {
        return None;
    }
    let mut entries = BitReader::new(entries);
    let count = entries.take(ENTRIES_BITS)?;
    let width = |bits: u64| u32::try_from(bits).ok().filter(|bits| *bits < u64::BITS);
    let low_bits = width(entries.take(WIDTH_BITS)?)?;
    let place_bits = width(entries.take(WIDTH_BITS)?)?;
    let gap_bits = width(entries.take(WIDTH_BITS)?)?;
    let (mut hash, mut end) = (begin, 0_u64);
    for _ in 0..count {
        let first = if entries.take(1)? == 1 {
            end.checked_add(entries.take_rice(gap_bits)?)?
        } else {
            hash = hash.checked_add(entries.take_rice(low_bits)?)?;
            entries.take(place_bits)?
        };
        end = first.checked_add(entries.take_gamma()?).filter(|end| *end <= 1 << 33)?;
        if !visit(hash, first..end) {
            break;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::{collection::vec, prelude::*};

    use super::{Directory, PostingRun, encode};

    fn find(directory: &[u8], pages: &[u8], hash: u64) -> Option<Vec<Range<u64>>> {
        let mut fetch = |range: Range<u64>| {
            let range =
                usize::try_from(range.start - 7).ok()?..usize::try_from(range.end - 7).ok()?;
            pages.get(range).map(<[u8]>::to_vec)
        };
        let mut found = Directory::decode(directory)?.find_any([hash], &mut fetch)?;
        found.sort_unstable_by_key(|range| range.start);
        Some(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn every_run_is_found_by_its_hash(
            runs in vec((prop_oneof![0..40_u64, any::<u64>()], any::<u32>(), 1..9_u32), 0..900),
        ) {
            let runs: Vec<PostingRun> = runs
                .into_iter()
                .map(|(hash, first, count)| PostingRun { hash: hash.reverse_bits(), first, count })
                .collect();
            let mut sorted = runs.clone();
            sorted.sort_unstable();
            let each = |give: &mut dyn FnMut(PostingRun)| sorted.iter().copied().for_each(give);
            let (directory, pages) = encode(sorted.len(), each, 64, 7);
            for run in runs.iter().step_by(7) {
                let mut expected: Vec<Range<u64>> = runs
                    .iter()
                    .filter(|other| other.hash == run.hash)
                    .map(|run| u64::from(run.first)..u64::from(run.first) + u64::from(run.count))
                    .collect();
                expected.sort_unstable_by_key(|range| (range.start, range.end));
                let mut found = find(&directory, &pages, run.hash).unwrap();
                found.sort_unstable_by_key(|range| (range.start, range.end));
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn hashes_that_begin_alike_are_found_once() {
        let run = |n: u32| PostingRun { hash: 1 << 63 | u64::from(n), first: n, count: 1 };
        let (directory, pages) = encode(200, |give| (0..200).map(run).for_each(give), 8, 0);
        let mut fetches = 0;
        let mut fetch = |range: Range<u64>| {
            fetches += 1;
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            pages.get(range).map(<[u8]>::to_vec)
        };
        let hashes = (0..5000).map(|n| 1 << 63 | n);
        let found = Directory::decode(&directory).unwrap().find_any(hashes, &mut fetch).unwrap();
        assert_eq!(found.len(), 200);
        assert!(fetches < 200, "{fetches}");
    }

    #[test]
    fn a_damaged_page_is_noticed_at_any_byte() {
        let run = |n: u32| PostingRun { hash: u64::from(n) << 50, first: n, count: 1 };
        let (directory, pages) = encode(300, |give| (0..300).map(run).for_each(give), 12, 7);
        assert_eq!(find(&directory, &pages, 5 << 50).unwrap().first(), Some(&(5..6)));
        assert_eq!(find(&directory, &pages, 301 << 50), Some(vec![]));
        for at in 0..pages.len() {
            let mut damaged = pages.clone();
            damaged[at] ^= 0x10;
            let found = [5_u64 << 50, 290 << 50].map(|hash| find(&directory, &damaged, hash));
            assert!(found.iter().any(Option::is_none), "byte {at}");
        }
        for cut in 1..directory.len() {
            let found =
                Directory::decode(&directory[..cut]).map(|directory| directory.begins.len());
            assert!(found.is_none_or(|pages| pages < 2), "cut at {cut}");
        }
    }
}
