//! Tells spans that came before from new ones.

use std::collections::HashSet;

use ahash::RandomState;

/// Deduplication set of spans, bounded in size.
#[derive(Debug)]
pub struct DeduplicationSet {
    hashes: HashSet<u64, RandomState>,
    hashes_max: usize,
    /// True if the set was full and a repeated span may have passed as new.
    pub forgot: bool,
}

impl DeduplicationSet {
    /// Remembers so many.
    #[must_use]
    pub fn new(hashes_max: usize) -> Self {
        Self { hashes: HashSet::default(), hashes_max, forgot: false }
    }

    /// Clears the set before spans that cannot repeat earlier ones.
    pub(super) fn clear(&mut self) {
        self.hashes.clear();
    }

    /// Returns true if the set has a span with this content.
    pub(super) fn contains(&self, content_hash: u64) -> bool {
        self.hashes.contains(&content_hash)
    }

    /// Returns true if no span with this content came before.
    pub fn is_new(&mut self, content_hash: u64) -> bool {
        if self.hashes.len() < self.hashes_max {
            return self.hashes.insert(content_hash);
        }
        let new = !self.hashes.contains(&content_hash);
        self.forgot |= new;
        new
    }
}
