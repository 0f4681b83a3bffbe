//! Cache of the values of short texts.
//!
//! Most attributes have few texts, which repeat from span to span. A short text fits 16 bytes
//! together with its length, so that it is found without following a pointer. Longer texts are not
//! cached. A text replaces another one of the same slot.

use crate::version::mixed;

/// Number of slots, as a power of two.
const SLOTS_LOG2: u32 = 13;
/// Maximum length of a cached text in bytes. One more byte holds the length.
const TEXT_BYTES_MAX: usize = 15;

/// A short text of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortText {
    text: u128,
    /// Index of the attribute.
    attribute: usize,
}

/// Values of short texts, each in a slot that follows from the text.
#[derive(Debug)]
pub(super) struct RecentTexts(Vec<Option<(ShortText, u32)>>);

impl ShortText {
    /// Returns the text of an attribute, unless it is too long.
    #[inline]
    pub(super) fn new(attribute: usize, text: &str) -> Option<Self> {
        let mut bytes = [0; TEXT_BYTES_MAX + 1];
        let of_text = bytes[..TEXT_BYTES_MAX].get_mut(..text.len())?;
        of_text.copy_from_slice(text.as_bytes());
        bytes[TEXT_BYTES_MAX] = u8::try_from(text.len()).ok()?;
        Some(Self { text: u128::from_le_bytes(bytes), attribute })
    }

    /// Returns its slot in the cache.
    #[inline]
    fn slot(self) -> usize {
        let low = u64::try_from(self.text & u128::from(u64::MAX)).unwrap_or_default();
        let high = u64::try_from(self.text >> u64::BITS).unwrap_or_default();
        let hash = mixed(low ^ mixed(high ^ self.attribute as u64));
        usize::try_from(hash >> (u64::BITS - SLOTS_LOG2)).unwrap_or_default()
    }
}

impl Default for RecentTexts {
    fn default() -> Self {
        Self(vec![None; 1 << SLOTS_LOG2])
    }
}

impl RecentTexts {
    /// Returns the value of a text, if it is cached.
    #[inline]
    pub(super) fn get(&self, text: ShortText) -> Option<u32> {
        self.0[text.slot()].filter(|(known, _)| *known == text).map(|(_, value)| value)
    }

    /// Caches the value of a text.
    pub(super) fn insert(&mut self, text: ShortText, value: u32) {
        self.0[text.slot()] = Some((text, value));
    }
}

#[cfg(test)]
mod tests {
    use super::{RecentTexts, ShortText, TEXT_BYTES_MAX};

    #[test]
    fn texts_of_an_attribute_are_told_apart_and_long_ones_are_not_cached() {
        let longest = "é".repeat(TEXT_BYTES_MAX / 2) + "x";
        let texts = ["", "\0", "\0\0", "a", "a\0", "standard", longest.as_str()];
        let mut recent = RecentTexts::default();
        let all = || (0..2).flat_map(|attribute| texts.map(|text| (attribute, text)));
        for (value, (attribute, text)) in (0..).zip(all()) {
            let text = ShortText::new(attribute, text).unwrap();
            assert_eq!(recent.get(text), None);
            recent.insert(text, value);
            assert_eq!(recent.get(text), Some(value));
        }
        for (value, (attribute, text)) in (0..).zip(all()) {
            // Another text may have the same slot, but no text has another's value.
            let known = recent.get(ShortText::new(attribute, text).unwrap());
            assert!(known.is_none_or(|known| known == value), "{text:?}");
        }
        assert_eq!(ShortText::new(0, &(longest + "x")), None);
    }
}
