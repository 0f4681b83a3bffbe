//! Selects the kinds that a query lists, within its memory bound.
//!
//! A sender can make every trace a kind of its own. When the full aggregate exceeds the bound, a
//! first pass counts transactions by a hash of their kind. The next pass lists the kinds with the
//! most frequent hashes. Their counts are exact, and all other kinds are only counted. The counter
//! of a hash is an upper bound for the transactions of each kind with that hash.

use std::cmp::Reverse;

use ahash::RandomState;

use super::{KindBounds, KindKey};
use crate::{
    Call,
    rollup::{
        file_aggregate::GroupNumber,
        query_totals::{OTHERS, QueryTotals, UNASKED},
    },
};

/// Number of hash counters, 8 bytes each. A million kinds of one transaction then share them with a
/// handful each.
const HASHES: usize = 1 << 20;
/// Factor by which a retry lists fewer kinds. The most frequent kinds may need more memory than the
/// first ones.
const FEWER: usize = 4;

/// Kinds that a query lists separately.
#[derive(Debug)]
pub(crate) enum KindSelection {
    /// All kinds.
    All,
    /// No kind. A pass counts kinds by their hashes.
    None,
    /// Kinds with the most frequent hashes.
    Some(Frequent),
}

/// Upper bounds of the transaction counts by hash of the kind, and the hashes whose kinds are
/// listed.
#[derive(Debug)]
pub(crate) struct Frequent {
    counts: Vec<u64>,
    is_apart: Vec<bool>,
    /// Number of hashes whose kinds are listed.
    apart: usize,
    /// Largest count of the other hashes.
    others_max: u64,
}

/// Aggregate of the transactions of a query by kind.
#[derive(Debug)]
pub(crate) struct KindTotals<'a> {
    pub(crate) bounds: &'a KindBounds,
    /// Seeded hash function of kinds. Senders cannot predict it.
    hashing: &'a RandomState,
    pub(crate) apart: &'a KindSelection,
    pub(crate) totals: QueryTotals,
}

impl<'a> KindTotals<'a> {
    /// Creates totals without any kind.
    pub(crate) fn new(
        bounds: &'a KindBounds,
        hashing: &'a RandomState,
        apart: &'a KindSelection,
    ) -> Self {
        Self { bounds, hashing, apart, totals: QueryTotals::between(bounds.times()) }
    }

    /// Returns the number of a kind. In a counting pass, this is its hash.
    pub(crate) fn number(&mut self, key: KindKey<'_>) -> GroupNumber {
        if !self.bounds.includes(key) {
            return UNASKED;
        }
        match self.apart {
            KindSelection::All => self.totals.number(key.raw()),
            KindSelection::None => self.hash(key),
            KindSelection::Some(frequent) if frequent.is_apart[self.hash(key) as usize] => {
                self.totals.number(key.raw())
            }
            KindSelection::Some(_) => OTHERS,
        }
    }

    fn hash(&self, key: KindKey<'_>) -> GroupNumber {
        let hash = self.hashing.hash_one(key) % HASHES as u64;
        GroupNumber::try_from(hash).expect("invariant: there are fewer hashes")
    }

    /// Adds a transaction of the kind with this number.
    pub(crate) fn add(&mut self, kind: GroupNumber, call: &Call) {
        self.totals.add(kind, call);
    }

    /// Returns the number of listed kinds, if they exceed the memory bound.
    pub(crate) fn too_many(&self) -> Option<usize> {
        (self.totals.bytes() > self.bounds.bytes_max).then(|| self.totals.group_count())
    }
}

impl Frequent {
    /// Returns zero counters for all hashes.
    pub(crate) fn counts() -> Vec<u64> {
        vec![0; HASHES]
    }

    /// Selects the kinds with the most frequent hashes, at most `apart` hashes.
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

impl KindSelection {
    /// Returns the selection for the next pass after this many kinds were too many. `None` when it
    /// cannot shrink.
    pub(crate) fn fewer(self, too_many: usize) -> Option<Self> {
        match self {
            Self::All => Some(Self::None),
            // Several kinds may share a hash.
            Self::Some(Frequent { counts, apart, .. }) if apart > 1 => {
                Some(Self::Some(Frequent::most_frequent(counts, fewer(too_many.min(apart)))))
            }
            Self::None | Self::Some(_) => None,
        }
    }

    /// Returns the selection by these counts, after this many kinds were too many.
    pub(crate) fn frequent(counts: Vec<u64>, too_many: usize) -> Self {
        Self::Some(Frequent::most_frequent(counts, fewer(too_many)))
    }

    /// Returns the maximum number of transactions of a kind that is only counted.
    pub(crate) fn others_max(&self) -> u64 {
        match self {
            Self::Some(frequent) => frequent.others_max,
            Self::All | Self::None => 0,
        }
    }
}

/// Returns the number of kinds to list after this many were too many.
fn fewer(too_many: usize) -> usize {
    (too_many / FEWER).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Frequent, HASHES, KindSelection};

    #[test]
    fn fewer_and_fewer_are_told_apart_until_it_is_one() {
        let mut counts = Frequent::counts();
        (0..HASHES).zip(1..=100).for_each(|(hash, count)| counts[hash] = count);
        let mut apart = KindSelection::frequent(counts, 40);
        let mut others = vec![apart.others_max()];
        // Hashes may be shared, so each retry must shrink whatever the number of kinds was.
        while let Some(fewer) = apart.fewer(1_000_000) {
            apart = fewer;
            others.push(apart.others_max());
        }
        assert_eq!(others, [90, 98, 99]);
    }
}
