//! Finds text in text, letter case ignored for ASCII.

use crate::index;

/// Text to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    bytes: Vec<u8>,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_ascii_lowercase() }
    }

    /// Returns the n-gram bits to look up for texts that contain the needle.
    pub(super) fn bits(&self) -> Vec<u32> {
        index::text_bits(&self.bytes)
    }

    /// The text, ASCII letters in lower case.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        let Some((&first, _)) = self.bytes.split_first() else { return true };
        let hay = text.as_bytes();
        let Some(last_start) = hay.len().checked_sub(self.bytes.len()) else { return false };
        memchr::memchr2_iter(first, first.to_ascii_uppercase(), &hay[..=last_start])
            .any(|at| hay[at..at + self.bytes.len()].eq_ignore_ascii_case(&self.bytes))
    }
}
