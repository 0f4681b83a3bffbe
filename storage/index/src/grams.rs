//! N-gram signatures: they locate the blocks of rows that can contain a text, even inside a word.
//!
//! A block's signature is a set of bits: one for each four consecutive bytes of its texts, with
//! ASCII letters in lower case. A block can contain a text only if it has all bits of that text.
//! The signatures are stored by bit and not by block. A search therefore reads its few bits for all
//! blocks at once. `docs/formats/index.md` has the bytes.

use std::ops::Range;

use arrow_array::StringArray;
use tidings_columns::rows::column::OptionalColumn;
use tidings_rollup::index_bytes::{Fetch, Reader};

/// Number of consecutive bytes that set one bit.
const GRAM_BYTES: usize = 4;
/// Binary logarithm of the maximum bits of a signature: 8 KiB for 1,024 rows.
const LOG2_MAX: u32 = 16;
const LOG2_MIN: u32 = 8;
/// Number of bits whose blocks are in one page.
const PAGE_BITS: usize = 8;
const CRC_BYTES: usize = 4;
/// Maximum number of bits to search for.
const ASKED_MAX: usize = 64;
/// Number of bits in a row that exclude no block, after which the search ends: the text is probably
/// in all blocks that are left.
const USELESS_MAX: usize = 16;
/// Maximum number of blocks with signatures. Each takes 8 KiB while a file is written.
const BLOCKS_MAX: usize = 1 << 14;

/// Returns the bits of a text in a signature of the largest size.
fn bits(text: &[u8]) -> impl Iterator<Item = u32> {
    let add = |gram: u32, byte: &u8| gram << 8 | u32::from(byte.to_ascii_lowercase());
    // Only the bytes after the first three end a gram, so that no byte of a text needs a check.
    let (start, ends) = text.split_at(text.len().min(GRAM_BYTES - 1));
    let mut gram = start.iter().fold(0, add);
    ends.iter().map(move |byte| {
        gram = add(gram, byte);
        gram.wrapping_mul(0x9e37_79b1) >> (u32::BITS - LOG2_MAX)
    })
}

/// Returns the signature bits of texts that contain this one. The list is empty for a text that is
/// too short.
pub(crate) fn text_bits(text: &[u8]) -> Vec<u32> {
    let mut all: Vec<u32> = bits(text).collect();
    all.sort_unstable();
    all.dedup();
    let step = all.len().div_ceil(ASKED_MAX).max(1);
    all.into_iter().step_by(step).collect()
}

/// Signature of a block at the largest size. Its length is part of the type, so that no bit of a
/// text needs a check.
type Signature = [u64; 1 << (LOG2_MAX - u64::BITS.ilog2())];

/// Collects the signatures of a file's blocks.
#[derive(Debug, Default)]
pub(super) struct GramCollector {
    blocks: Vec<Box<Signature>>,
    overflowed: bool,
}

impl GramCollector {
    /// Adds rows of a batch, all of which are in this block of the file.
    pub(super) fn push(
        &mut self,
        texts: &OptionalColumn<StringArray>,
        rows: Range<usize>,
        block: usize,
    ) {
        self.overflowed |= block >= BLOCKS_MAX;
        if self.overflowed {
            return;
        }
        while self.blocks.len() <= block {
            self.blocks.push(Box::new([0; size_of::<Signature>() / size_of::<u64>()]));
        }
        let Some(signature) = self.blocks.get_mut(block) else { return };
        for row in rows {
            for bit in bits(texts.text(row).unwrap_or_default().as_bytes()) {
                signature[bit as usize / 64] |= 1 << (bit % 64);
            }
        }
    }

    /// Returns the bytes of the section and of its pages, which start at this offset. `None` when
    /// the file has too many blocks.
    pub(super) fn finish(self, offset: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.overflowed {
            return None;
        }
        let log2 = self.log2();
        let stride = self.blocks.len().div_ceil(8);
        let mut present = vec![0_u8; stride << log2];
        for (block, signature) in self.blocks.iter().enumerate() {
            for (word, mut left) in signature.iter().copied().enumerate() {
                while left != 0 {
                    let bit = word * 64 + left.trailing_zeros() as usize;
                    left &= left - 1;
                    present[(bit >> (LOG2_MAX - log2)) * stride + block / 8] |= 1 << (block % 8);
                }
            }
        }
        let mut section = Vec::new();
        section.extend(log2.to_le_bytes());
        section.extend(u32::try_from(self.blocks.len()).ok()?.to_le_bytes());
        section.extend(offset.to_le_bytes());
        let mut pages = Vec::with_capacity(present.len());
        for page in present.chunks(PAGE_BITS * stride.max(1)) {
            pages.extend(page);
            pages.extend(crc32c::crc32c(page).to_le_bytes());
        }
        Some((section, pages))
    }

    /// Returns the binary logarithm of the signature size: at least twice the bits that an average
    /// block sets, within bounds.
    fn log2(&self) -> u32 {
        let words = self.blocks.iter().flat_map(|block| block.iter());
        let sum: u64 = words.map(|word| u64::from(word.count_ones())).sum();
        let average = sum / (self.blocks.len() as u64).max(1);
        (average.max(1).ilog2() + 2).clamp(LOG2_MIN, LOG2_MAX)
    }
}

/// Location of the signatures of a file's blocks.
#[derive(Debug)]
pub(super) struct Grams {
    log2: u32,
    blocks: u32,
    offset: u64,
}

impl Grams {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader::new(bytes);
        let decoded = Self { log2: bytes.u32()?, blocks: bytes.u32()?, offset: bytes.u64()? };
        let is_whole = (LOG2_MIN..=LOG2_MAX).contains(&decoded.log2)
            && decoded.blocks as usize <= BLOCKS_MAX
            && bytes.is_empty();
        is_whole.then_some(decoded)
    }

    /// Returns the blocks that have all of these bits, each as a range. `None` when a page is
    /// missing or damaged.
    pub(super) fn find(&self, bits: &[u32], fetch: &mut Fetch<'_>) -> Option<Vec<Range<u64>>> {
        let stride = (self.blocks as usize).div_ceil(8);
        let mut left = vec![0xff_u8; stride];
        let mut useless = 0;
        for bit in bits {
            if useless == USELESS_MAX || left.iter().all(|byte| *byte == 0) {
                break;
            }
            let bit = *bit as usize >> (LOG2_MAX - self.log2);
            let page_bytes = PAGE_BITS * stride + CRC_BYTES;
            let start = self.offset.checked_add((bit / PAGE_BITS * page_bytes) as u64)?;
            let page = fetch(start..start.checked_add(page_bytes as u64)?)?;
            let (present, crc) = page.split_at_checked(PAGE_BITS * stride)?;
            if Reader::new(crc).u32()? != crc32c::crc32c(present) {
                return None;
            }
            let of_bit = present.get(bit % PAGE_BITS * stride..)?;
            let mut excluded = 0;
            for (left, present) in left.iter_mut().zip(of_bit) {
                excluded |= *left & !present;
                *left &= present;
            }
            useless = if excluded == 0 { useless + 1 } else { 0 };
        }
        let has = |block: &u64| {
            let byte = usize::try_from(block / 8).ok().and_then(|at| left.get(at));
            byte.is_some_and(|byte| byte >> (block % 8) & 1 == 1)
        };
        Some((0..u64::from(self.blocks)).filter(has).map(|block| block..block + 1).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use arrow_array::StringArray;
    use tidings_columns::rows::column::OptionalColumn;

    use super::{GramCollector, Grams, USELESS_MAX, bits, text_bits};

    fn collected(blocks: &[Vec<String>]) -> (Vec<u8>, Vec<u8>) {
        let mut collector = GramCollector::default();
        for (number, texts) in blocks.iter().enumerate() {
            let column = OptionalColumn(Some(StringArray::from(texts.clone())));
            collector.push(&column, 0..texts.len(), number);
        }
        collector.finish(5).unwrap()
    }

    fn find(section: &[u8], pages: &[u8], text: &str) -> Option<Vec<u64>> {
        let mut fetch = |range: Range<u64>| {
            let range =
                usize::try_from(range.start - 5).ok()?..usize::try_from(range.end - 5).ok()?;
            pages.get(range).map(<[u8]>::to_vec)
        };
        let bits = text_bits(text.to_ascii_lowercase().as_bytes());
        let blocks = Grams::decode(section)?.find(&bits, &mut fetch)?;
        Some(blocks.into_iter().flatten().collect())
    }

    /// Texts of the same form with an id each.
    fn block(number: u64) -> Vec<String> {
        (0..200_u64)
            .map(|row| {
                let id = (number * 1000 + row).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("Payment {id:016x} was declined: card {number}")
            })
            .collect()
    }

    #[test]
    fn parts_of_texts_are_found_in_few_blocks_besides_their_own() {
        let blocks: Vec<_> = (0..100).map(block).collect();
        let (section, pages) = collected(&blocks);
        let mut wrong = 0;
        for (number, texts) in (0_u64..).zip(&blocks).step_by(7) {
            for part in [&texts[17][8..24], &texts[19][10..21], &texts[3][..]] {
                let found = find(&section, &pages, part).unwrap();
                assert!(found.contains(&number), "{part}");
                wrong += found.len() - 1;
            }
        }
        assert!(wrong < 10, "{wrong}");
        for (part, count) in [("DECLINED", 100), ("approved", 0), ("de", 100), ("", 100)] {
            assert_eq!(find(&section, &pages, part).unwrap().len(), count, "{part}");
        }
        assert!(pages.len() < 100 * 200 * 16, "{} bytes", pages.len());
    }

    #[test]
    fn a_search_uses_all_bits_of_a_long_word_and_ends_where_they_exclude_nothing() {
        assert_eq!(text_bits(b"3f2a8c1e-aaaa-4bcd-9bbb-0123456789ab").len(), 33);
        let sentence = "the quick brown fox jumps over the lazy dog";
        let blocks: Vec<_> = (0..8).map(|_| vec![sentence.to_owned()]).collect();
        let (section, pages) = collected(&blocks);
        let mut pages_read = 0;
        let mut fetch = |range: Range<u64>| {
            pages_read += 1;
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at - 5).unwrap());
            pages.get(start..end).map(<[u8]>::to_vec)
        };
        let bits = text_bits(sentence.as_bytes());
        let found = Grams::decode(&section).unwrap().find(&bits, &mut fetch).unwrap();
        assert_eq!((found.len(), pages_read), (8, USELESS_MAX));
        assert!(bits.len() > 2 * USELESS_MAX);
    }

    #[test]
    fn each_four_bytes_in_a_row_are_a_bit_whatever_their_case() {
        assert!(["", "a", "abc"].iter().all(|short| bits(short.as_bytes()).next().is_none()));
        let text = "Order ÄÖ-7f failed";
        let grams = text.as_bytes().windows(4).map(|four| {
            let lower = [0, 1, 2, 3].map(|at| four[at].to_ascii_lowercase());
            u32::from_be_bytes(lower).wrapping_mul(0x9e37_79b1) >> 16
        });
        let grams: Vec<u32> = grams.collect();
        assert_eq!(bits(text.as_bytes()).collect::<Vec<_>>(), grams);
        assert_eq!(bits(text.to_ascii_uppercase().as_bytes()).collect::<Vec<_>>(), grams);
    }

    #[test]
    fn a_damaged_page_is_noticed() {
        let (section, mut pages) = collected(&[block(1), block(2)]);
        pages.iter_mut().for_each(|byte| *byte ^= 4);
        assert_eq!(find(&section, &pages, "declined"), None);
        assert_eq!(find(&section, &[], "declined"), None);
        assert!(Grams::decode(&section[1..]).is_none());
        let (section, pages) = collected(&[]);
        assert_eq!(find(&section, &pages, "declined"), Some(vec![]));
    }
}
