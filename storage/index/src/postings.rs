//! Postings of terms, collected block after block and sorted at the end.
//!
//! A posting is one number: the leading bits of a term's hash, and the block. The code calls it a
//! place. Postings arrive in the order of their blocks and their hashes are spread evenly. A stable
//! radix sort of the hash digits therefore orders them, several times as fast as a comparison sort.
//! Postings are kept in pieces, and each piece is freed once it is distributed. Memory is therefore
//! little more than the postings themselves.

/// Number of the lowest bits of a posting, which hold its block.
pub(super) const BLOCK_BITS: u32 = 24;
/// Bits of a radix digit. The first digit divides the postings into parts that fit into CPU caches.
const DIGIT_BITS: u32 = 8;
const DIGITS: usize = 1 << DIGIT_BITS;
/// Shifts of the later digits, lowest digit first. The block is below them.
const LATER: [u32; 4] =
    [BLOCK_BITS, BLOCK_BITS + DIGIT_BITS, BLOCK_BITS + 2 * DIGIT_BITS, BLOCK_BITS + 3 * DIGIT_BITS];
const FIRST: u32 = BLOCK_BITS + 4 * DIGIT_BITS;
/// Postings in a piece.
const PIECE: usize = 1 << 16;
/// Maximum length of a part that a comparison sort handles.
const FEW: usize = 64;

/// Postings in the order of their blocks.
#[derive(Debug, Default)]
pub(super) struct PostingCollector {
    pieces: Vec<Vec<u64>>,
    /// Postings of the last, incomplete piece.
    piece: Vec<u64>,
}

impl PostingCollector {
    /// Returns the number of postings.
    pub(super) fn len(&self) -> usize {
        self.pieces.len() * PIECE + self.piece.len()
    }

    /// Adds a posting. Its block must not precede the block of the last posting.
    pub(super) fn push(&mut self, place: u64) {
        if self.piece.len() == PIECE {
            let next = Vec::with_capacity(PIECE);
            self.pieces.push(std::mem::replace(&mut self.piece, next));
        }
        self.piece.push(place);
    }

    /// Returns the distinct postings in order, in parts. All postings of a term are in one part.
    pub(super) fn sorted(mut self) -> Vec<Vec<u64>> {
        self.pieces.push(self.piece);
        let mut counts = [0; DIGITS];
        for place in self.pieces.iter().flatten() {
            counts[digit(*place, FIRST)] += 1;
        }
        let mut parts: Vec<Vec<u64>> = counts.into_iter().map(Vec::with_capacity).collect();
        for piece in self.pieces {
            for place in piece {
                parts[digit(place, FIRST)].push(place);
            }
        }
        let mut dealt = Vec::new();
        for part in &mut parts {
            sort(part, &mut dealt);
            part.dedup();
        }
        parts
    }
}

fn digit(place: u64, shift: u32) -> usize {
    usize::try_from(place >> shift).unwrap_or_default() % DIGITS
}

/// Sorts postings that have the same first digit. `dealt` is a reusable buffer with any content.
fn sort(part: &mut Vec<u64>, dealt: &mut Vec<u64>) {
    if part.len() <= FEW {
        part.sort_unstable();
        return;
    }
    let mut counts = [[0_usize; DIGITS]; LATER.len()];
    for place in &*part {
        for (counts, shift) in counts.iter_mut().zip(LATER) {
            counts[digit(*place, shift)] += 1;
        }
    }
    dealt.clear();
    dealt.resize(part.len(), 0);
    for (mut next, shift) in counts.into_iter().zip(LATER) {
        let mut total = 0;
        for next in &mut next {
            total += std::mem::replace(next, total);
        }
        for place in &*part {
            let next = &mut next[digit(*place, shift)];
            dealt[*next] = *place;
            *next += 1;
        }
        std::mem::swap(part, dealt);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{BLOCK_BITS, PostingCollector};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn places_are_sorted_as_numbers_are(
            hashes in vec(any::<u64>(), 1..500), masks in vec(any::<u64>(), 1..4),
            blocks in 1..200_u64, count in 0..80_000_u64,
        ) {
            // The masks make hashes that differ in all digits or in some. Each hash occurs often.
            let hash = |number: u64| {
                let at = |len: usize| usize::try_from(number % len as u64).unwrap();
                hashes[at(hashes.len())] & masks[at(masks.len())]
            };
            let place = |number: u64| {
                let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                hash(mixed) >> BLOCK_BITS << BLOCK_BITS | (number * blocks / count)
            };
            let mut expected: Vec<u64> = (0..count).map(place).collect();
            let mut places = PostingCollector::default();
            expected.iter().for_each(|place| places.push(*place));
            prop_assert_eq!(places.len(), expected.len());
            expected.sort_unstable();
            expected.dedup();
            let sorted = places.sorted();
            let first = |place: &u64| place >> (64 - 8);
            prop_assert!(sorted.iter().all(|part| part.iter().all(|it| first(it) == first(&part[0]))));
            prop_assert_eq!(sorted.concat(), expected);
        }
    }
}
