//! Detection of repeated spans.

use std::collections::HashSet;

use ahash::RandomState;

/// Deduplication set of spans, with a maximum size.
#[derive(Debug)]
pub struct DeduplicationSet {
    hashes: HashSet<u64, RandomState>,
    hashes_max: usize,
    /// True if the set was full, so that a repeated span may have been treated as new.
    pub forgot: bool,
}

impl DeduplicationSet {
    /// Creates a set of at most `hashes_max` content hashes.
    #[must_use]
    pub fn new(hashes_max: usize) -> Self {
        Self { hashes: HashSet::default(), hashes_max, forgot: false }
    }

    /// Clears the set before spans that cannot repeat earlier ones.
    pub fn clear(&mut self) {
        self.hashes.clear();
    }

    /// Returns true if the set has a span with this content.
    pub fn contains(&self, content_hash: u64) -> bool {
        self.hashes.contains(&content_hash)
    }

    /// Returns true if no span with this content was added before. Adds the span.
    pub fn is_new(&mut self, content_hash: u64) -> bool {
        if self.hashes.len() < self.hashes_max {
            return self.hashes.insert(content_hash);
        }
        let new = !self.hashes.contains(&content_hash);
        self.forgot |= new;
        new
    }
}
