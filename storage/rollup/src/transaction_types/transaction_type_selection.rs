//! Selects the transaction types that a query lists, within its memory bound.
//!
//! A sender can make every trace a transaction type of its own. When the full aggregate exceeds the
//! bound, a first pass counts transactions by a hash of their transaction type. The next pass lists
//! the transaction types with the most frequent hashes. Their counts are exact, and all other
//! transaction types are only counted. The counter of a hash is an upper bound for the transactions
//! of each transaction type with that hash.

use std::cmp::Reverse;

use ahash::RandomState;

use super::{TransactionTypeBounds, TransactionTypeKey};
use crate::{
    Call,
    query_totals::{OTHERS, QueryTotals, UNASKED},
    rollup_encoding::GroupNumber,
};

/// Number of hash counters, 8 bytes each. A million transaction types of one transaction then share
/// them with a handful each.
const HASHES: usize = 1 << 20;
/// Factor by which a retry lists fewer transaction types. The most frequent transaction types may
/// need more memory than the first ones.
const FEWER: usize = 4;

/// Transaction types that a query lists separately.
#[derive(Debug)]
pub enum TransactionTypeSelection {
    /// All transaction types.
    All,
    /// No transaction type. A pass counts transaction types by their hashes.
    None,
    /// Transaction types with the most frequent hashes.
    Some(FrequentHashes),
}

/// Upper bounds of the transaction counts by hash of the transaction type, and the hashes whose
/// transaction types are listed.
#[derive(Debug)]
pub struct FrequentHashes {
    counts: Vec<u64>,
    is_apart: Vec<bool>,
    /// Number of hashes whose transaction types are listed.
    apart: usize,
    /// Largest count of the other hashes.
    others_max: u64,
}

/// Aggregate of the transactions of a query by transaction type.
#[derive(Debug)]
pub struct TransactionTypeTotals<'a> {
    /// Bounds of the query.
    pub bounds: &'a TransactionTypeBounds,
    /// Seeded hash function of transaction types. Senders cannot predict it.
    hashing: &'a RandomState,
    /// Transaction types that are listed separately.
    pub apart: &'a TransactionTypeSelection,
    /// Totals by number of the transaction type and time range.
    pub totals: QueryTotals,
}

impl<'a> TransactionTypeTotals<'a> {
    /// Creates totals without any transaction type.
    pub fn new(
        bounds: &'a TransactionTypeBounds,
        hashing: &'a RandomState,
        apart: &'a TransactionTypeSelection,
    ) -> Self {
        Self { bounds, hashing, apart, totals: QueryTotals::between(bounds.times()) }
    }

    /// Returns the number of a transaction type. In a counting pass, this is its hash.
    pub fn number(&mut self, key: TransactionTypeKey<'_>) -> GroupNumber {
        if !self.bounds.includes(key) {
            return UNASKED;
        }
        match self.apart {
            TransactionTypeSelection::All => self.totals.number(key.raw()),
            TransactionTypeSelection::None => self.hash(key),
            TransactionTypeSelection::Some(frequent)
                if frequent.is_apart[self.hash(key) as usize] =>
            {
                self.totals.number(key.raw())
            }
            TransactionTypeSelection::Some(_) => OTHERS,
        }
    }

    fn hash(&self, key: TransactionTypeKey<'_>) -> GroupNumber {
        let hash = self.hashing.hash_one(key) % HASHES as u64;
        GroupNumber::try_from(hash).expect("invariant: there are fewer hashes")
    }

    /// Adds a transaction of the transaction type with this number.
    pub fn add(&mut self, transaction_type: GroupNumber, call: &Call) {
        self.totals.add(transaction_type, call);
    }

    /// Returns the number of listed transaction types, if they exceed the memory bound.
    pub fn too_many(&self) -> Option<usize> {
        (self.totals.bytes() > self.bounds.bytes_max).then(|| self.totals.group_count())
    }
}

impl FrequentHashes {
    /// Returns zero counters for all hashes.
    pub fn counts() -> Vec<u64> {
        vec![0; HASHES]
    }

    /// Selects the transaction types with the most frequent hashes, at most `apart` hashes.
    fn most_frequent(counts: Vec<u64>, apart: usize) -> Self {
        let mut order: Vec<usize> = (0..HASHES).filter(|hash| counts[*hash] > 0).collect();
        order.sort_unstable_by_key(|hash| (Reverse(counts[*hash]), *hash));
        let (some, others) = order.split_at(apart.min(order.len()));
        let others_max = others.first().map_or(0, |hash| counts[*hash]);
        let mut is_apart = vec![false; HASHES];
        some.iter().for_each(|hash| is_apart[*hash] = true);
        Self { counts, is_apart, apart, others_max }
    }
}

impl TransactionTypeSelection {
    /// Returns the selection for the next pass after this many transaction types were too many.
    /// `None` when it cannot shrink.
    pub fn fewer(self, too_many: usize) -> Option<Self> {
        match self {
            Self::All => Some(Self::None),
            // Several transaction types may share a hash.
            Self::Some(FrequentHashes { counts, apart, .. }) if apart > 1 => {
                Some(Self::Some(FrequentHashes::most_frequent(counts, fewer(too_many.min(apart)))))
            }
            Self::None | Self::Some(_) => None,
        }
    }

    /// Returns the selection by these counts, after this many transaction types were too many.
    pub fn frequent(counts: Vec<u64>, too_many: usize) -> Self {
        Self::Some(FrequentHashes::most_frequent(counts, fewer(too_many)))
    }

    /// Returns the maximum number of transactions of a transaction type that is only counted.
    pub fn others_max(&self) -> u64 {
        match self {
            Self::Some(frequent) => frequent.others_max,
            Self::All | Self::None => 0,
        }
    }
}

/// Returns the number of transaction types to list after this many were too many.
fn fewer(too_many: usize) -> usize {
    (too_many / FEWER).max(1)
}

#[cfg(test)]
mod tests {
    use super::{FrequentHashes, HASHES, TransactionTypeSelection};

    #[test]
    fn the_selection_shrinks_to_a_single_hash() {
        let mut counts = FrequentHashes::counts();
        (0..HASHES).zip(1..=100).for_each(|(hash, count)| counts[hash] = count);
        let mut apart = TransactionTypeSelection::frequent(counts, 40);
        let mut others = vec![apart.others_max()];
        // Hashes may be shared, so each retry must shrink whatever the number of transaction types
        // was.
        while let Some(fewer) = apart.fewer(1_000_000) {
            apart = fewer;
            others.push(apart.others_max());
        }
        assert_eq!(others, [90, 98, 99]);
    }
}
