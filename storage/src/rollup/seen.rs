//! Tells spans that came before from new ones.

use std::collections::HashSet;

use ahash::RandomState;

/// The spans that came, as far as they can be remembered.
#[derive(Debug)]
pub struct Seen {
    hashes: HashSet<u64, RandomState>,
    hashes_max: usize,
    /// Whether a span that came before may have been taken for a new one.
    pub forgot: bool,
}

impl Seen {
    /// Remembers so many.
    #[must_use]
    pub fn new(hashes_max: usize) -> Self {
        Self { hashes: HashSet::default(), hashes_max, forgot: false }
    }

    /// Forgets all of them, as what follows is none of them.
    pub(super) fn begin(&mut self) {
        self.hashes.clear();
    }

    /// Whether it remembers a span with this content.
    pub(super) fn has(&self, content_hash: u64) -> bool {
        self.hashes.contains(&content_hash)
    }

    /// Whether no span with this content came before.
    pub fn is_new(&mut self, content_hash: u64) -> bool {
        if self.hashes.len() < self.hashes_max {
            return self.hashes.insert(content_hash);
        }
        let new = !self.hashes.contains(&content_hash);
        self.forgot |= new;
        new
    }
}
