//! Dictionary of distinct values in the order of their first use, as a dictionary page stores them.

use ahash::RandomState;

/// Bytes of the length that precedes a text.
pub(super) const LENGTH_BYTES: usize = 4;
const SLOTS_MIN: usize = 1024;
/// Factor by which the slots grow once half of them are used.
const GROWTH: usize = 4;

/// Assigns codes to values.
#[derive(Debug)]
pub(super) struct Dictionary {
    page: Vec<u8>,
    bytes_max: usize,
    /// End of each text in the page. Empty for words. A dictionary has either texts, or words of
    /// one length.
    ends: Vec<u32>,
    words: usize,
    /// Hash table with linear probing; its length is a power of two. A slot is 0 or has the value's
    /// code plus one, with the upper half of the value's hash above it.
    slots: Vec<u64>,
    hasher: RandomState,
}

impl Dictionary {
    /// Creates a dictionary of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            page: Vec::new(),
            bytes_max,
            ends: Vec::new(),
            words: 0,
            slots: vec![0; SLOTS_MIN],
            hasher: RandomState::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.page.clear();
        self.ends.clear();
        self.words = 0;
        self.slots.fill(0);
    }

    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.ends.len() + self.words
    }

    /// Returns true if the values are texts, and not words of one length.
    pub(super) fn has_texts(&self) -> bool {
        self.words == 0
    }

    /// Returns the value with this code.
    pub(super) fn value(&self, code: usize) -> &[u8] {
        if self.has_texts() {
            return self.text_of(code);
        }
        let length = self.page.len() / self.words;
        &self.page[code * length..(code + 1) * length]
    }

    /// Returns the code of a text. `None` when the dictionary has no room for it.
    pub(super) fn text(&mut self, text: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        let slot = match self.find(hash, |code| self.text_of(code) == text) {
            Ok(code) => return Some(code),
            Err(slot) => slot,
        };
        if self.page.len() + LENGTH_BYTES + text.len() > self.bytes_max {
            return None;
        }
        self.page.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
        self.page.extend_from_slice(text);
        self.ends.push(u32::try_from(self.page.len()).ok()?);
        self.fill(slot, hash)
    }

    fn text_of(&self, code: usize) -> &[u8] {
        let begin = code.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.page[begin + LENGTH_BYTES..self.ends[code] as usize]
    }

    /// Returns the code of a word. `None` when the dictionary has no room for it.
    pub(super) fn word<const N: usize>(&mut self, word: [u8; N]) -> Option<u32> {
        let mut number = [0; 8];
        number[..N].copy_from_slice(&word);
        let hash = self.hasher.hash_one(u64::from_le_bytes(number));
        let is = |code| self.page[code * N..].first_chunk() == Some(&word);
        let slot = match self.find(hash, is) {
            Ok(code) => return Some(code),
            Err(slot) => slot,
        };
        if self.page.len() + N > self.bytes_max {
            return None;
        }
        self.page.extend_from_slice(&word);
        self.words += 1;
        self.fill(slot, hash)
    }

    /// Returns the code of the value with this hash, or the free slot for it.
    #[inline]
    fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Result<u32, usize> {
        let mut slot = self.slot(hash);
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return Err(slot);
            }
            let (tag, after) = halves(found);
            if tag == halves(hash).0 && is(after as usize - 1) {
                return Ok(after - 1);
            }
            slot = self.next(slot);
        }
    }

    /// Stores the last value in this slot and returns its code.
    fn fill(&mut self, slot: usize, hash: u64) -> Option<u32> {
        let count = u32::try_from(self.len()).ok()?;
        self.slots[slot] = (u64::from(halves(hash).0) << 32) | u64::from(count);
        if self.len() * 2 > self.slots.len() {
            let slots = vec![0; self.slots.len() * GROWTH];
            for found in std::mem::replace(&mut self.slots, slots) {
                if found != 0 {
                    let mut slot = self.slot(found);
                    while self.slots[slot] != 0 {
                        slot = self.next(slot);
                    }
                    self.slots[slot] = found;
                }
            }
        }
        Some(count - 1)
    }

    fn slot(&self, hash: u64) -> usize {
        halves(hash).0 as usize & (self.slots.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

/// Returns the upper and the lower half.
fn halves(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    (u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
}
