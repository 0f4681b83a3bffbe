//! Where in a file each of many hashes occurs: runs of rows, or of blocks of rows.
//!
//! Entries are sorted by hash and cut into small pages with a checksum each. The directory says
//! with which hash every page begins and stays in memory; looking up a hash reads one page.
//! Different values can have one hash: what is found may be too much, never too little.
//! `docs/formats/index.md` has the bytes.

use std::ops::Range;

use super::bytes::{Reader, push_varint};

/// Entries of a page: what one lookup reads and decodes.
const PAGE_ENTRIES: usize = 256;
/// In an entry's place: it counts from the start of the file, not from the entry before.
const ABSOLUTE: u64 = 1;
/// In an entry's place: the run is longer than one, and its length follows.
const LONGER: u64 = 2;
/// The pages' checksum.
const CRC_BYTES: usize = 4;

/// A hash and where its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) hash: u64,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The leading bits of a hash that are kept: enough to tell so many apart, and so many more.
fn hash_bits(entries: usize, spare: u32) -> u32 {
    (usize::BITS - entries.leading_zeros() + spare).min(64)
}

/// The bytes of a directory and of its pages, which will start at this offset of the file. Of the
/// hashes, `spare` bits more are kept than telling the runs apart needs.
pub(super) fn encode(mut runs: Vec<Run>, spare: u32, offset: u64) -> (Vec<u8>, Vec<u8>) {
    let bits = hash_bits(runs.len(), spare);
    runs.sort_unstable();
    let (mut directory, mut pages) = (Vec::new(), Vec::new());
    directory.extend(bits.to_le_bytes());
    directory.extend(offset.to_le_bytes());
    for page in runs.chunks(PAGE_ENTRIES) {
        let start = pages.len();
        let begin = page.first().map_or(0, |run| run.hash >> (64 - bits));
        let (mut hash, mut end) = (begin, 0_u64);
        for run in page {
            let first = u64::from(run.first);
            let next = run.hash >> (64 - bits);
            push_varint(&mut pages, next - hash);
            // Two values of one hash need not follow each other.
            let longer = if run.count == 1 { 0 } else { LONGER };
            match first.checked_sub(end).filter(|_| next == hash) {
                Some(gap) => push_varint(&mut pages, gap << 2 | longer),
                None => push_varint(&mut pages, first << 2 | longer | ABSOLUTE),
            }
            if longer != 0 {
                push_varint(&mut pages, u64::from(run.count));
            }
            (hash, end) = (next, first + u64::from(run.count));
        }
        let crc = crc32c::crc32c(&pages[start..]);
        pages.extend(crc.to_le_bytes());
        directory.extend(begin.to_le_bytes());
        let length = u32::try_from(pages.len() - start).expect("invariant: pages are small");
        directory.extend(length.to_le_bytes());
    }
    (directory, pages)
}

/// The directory of some pages.
#[derive(Debug)]
pub(super) struct Directory {
    bits: u32,
    /// The first hash of every page.
    begins: Box<[u64]>,
    /// Where every page starts in the file, and where the last one ends.
    offsets: Box<[u64]>,
}

/// What has this stretch of the file, or `None`.
pub(crate) type Fetch<'a> = dyn FnMut(Range<u64>) -> Option<Vec<u8>> + 'a;

impl Directory {
    /// `None` when the bytes are not a directory's.
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

    /// Adds where values of this hash can be. `None` when a page is not there or damaged.
    pub(super) fn find(
        &self,
        hash: u64,
        fetch: &mut Fetch<'_>,
        found: &mut Vec<Range<u64>>,
    ) -> Option<()> {
        let wanted = hash >> (64 - self.bits);
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
    let (entries, crc) = page.split_at_checked(page.len().checked_sub(CRC_BYTES)?)?;
    if Reader::new(crc).u32()? != crc32c::crc32c(entries) {
        return None;
    }
    let mut entries = Reader::new(entries);
    let (mut hash, mut end) = (begin, 0);
    while !entries.is_empty() {
        hash = hash.checked_add(entries.varint()?)?;
        let place = entries.varint()?;
        let first = if place & ABSOLUTE == 0 { end + (place >> 2) } else { place >> 2 };
        let count = if place & LONGER == 0 { 1 } else { entries.varint()? };
        end = first.checked_add(count).filter(|end| *end <= 1 << 33)?;
        if hash == wanted {
            found.push(first..end);
        } else if hash > wanted {
            break;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::{collection::vec, prelude::*};

    use super::{Directory, Run, encode};

    fn find(directory: &[u8], pages: &[u8], hash: u64) -> Option<Vec<Range<u64>>> {
        let mut found = Vec::new();
        let mut fetch = |range: Range<u64>| {
            let range =
                usize::try_from(range.start - 7).ok()?..usize::try_from(range.end - 7).ok()?;
            pages.get(range).map(<[u8]>::to_vec)
        };
        Directory::decode(directory)?.find(hash, &mut fetch, &mut found)?;
        found.sort_unstable_by_key(|range| range.start);
        Some(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn every_run_is_found_by_its_hash(
            runs in vec((prop_oneof![0..40_u64, any::<u64>()], any::<u32>(), 1..9_u32), 0..900),
        ) {
            let runs: Vec<Run> = runs
                .into_iter()
                .map(|(hash, first, count)| Run { hash: hash.reverse_bits(), first, count })
                .collect();
            let (directory, pages) = encode(runs.clone(), 64, 7);
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
    fn a_damaged_page_is_noticed_at_any_byte() {
        let runs = (0..300_u32).map(|n| Run { hash: u64::from(n) << 50, first: n, count: 1 });
        let (directory, pages) = encode(runs.collect(), 12, 7);
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
