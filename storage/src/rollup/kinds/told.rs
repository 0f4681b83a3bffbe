//! Which kinds of transactions a question tells apart, and how much it holds of them.
//!
//! A sender can make a kind of every trace. So when all that is asked for takes too much memory,
//! transactions are only counted first, by a hash of their kind, and then the kinds that can be the
//! most frequent are told apart: what is said of them is exact, the rest is counted, and no kind of
//! the rest has more transactions than the hash has of it.

use std::cmp::Reverse;

use ahash::RandomState;

use super::{KindBounds, KindKey};
use crate::{
    Call,
    rollup::{
        adder::GroupNumber,
        totals::{OTHERS, Totals, UNASKED},
    },
};

/// Kinds are counted by so many hashes, 8 bytes each. A million kinds of one transaction then come
/// to a handful each.
const HASHES: usize = 1 << 20;
/// Of the kinds that were too many, one of so many is told apart: they may have more transactions
/// than those that came first.
const FEWER: usize = 4;

/// Which kinds a question tells apart, of those that are asked for.
#[derive(Debug)]
pub(super) enum Apart {
    /// All.
    All,
    /// None yet: they are counted by their hashes.
    None,
    /// Those with some hashes.
    Some(Frequent),
}

/// How many transactions there are at most by the hash of their kind, and which are told apart.
#[derive(Debug)]
pub(super) struct Frequent {
    counts: Vec<u64>,
    is_apart: Vec<bool>,
    /// Of so many hashes.
    apart: usize,
    /// No other has more.
    others_max: u64,
}

/// The transactions of a question by their kinds.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) bounds: &'a KindBounds,
    /// How kinds are hashed: in no way that a sender knows.
    hashing: &'a RandomState,
    pub(super) apart: &'a Apart,
    pub(super) totals: Totals,
}

impl<'a> Told<'a> {
    /// None yet.
    pub(super) fn of(bounds: &'a KindBounds, hashing: &'a RandomState, apart: &'a Apart) -> Self {
        Self { bounds, hashing, apart, totals: Totals::between(bounds.times()) }
    }

    /// The number of a kind; of kinds that are only counted their hash.
    pub(super) fn number(&mut self, key: KindKey<'_>) -> GroupNumber {
        if !self.bounds.asks(key) {
            return UNASKED;
        }
        match self.apart {
            Apart::All => self.totals.number(key.raw()),
            Apart::None => self.hash(key),
            Apart::Some(frequent) if frequent.is_apart[self.hash(key) as usize] => {
                self.totals.number(key.raw())
            }
            Apart::Some(_) => OTHERS,
        }
    }

    fn hash(&self, key: KindKey<'_>) -> GroupNumber {
        let hash = self.hashing.hash_one(key) % HASHES as u64;
        GroupNumber::try_from(hash).expect("invariant: there are fewer hashes")
    }

    /// One more of the kind with this number.
    pub(super) fn add(&mut self, kind: GroupNumber, call: &Call) {
        self.totals.add(kind, call);
    }

    /// How many kinds are told apart, if they take too much memory.
    pub(super) fn too_many(&self) -> Option<usize> {
        (self.totals.bytes() > self.bounds.bytes_max).then(|| self.totals.group_count())
    }
}

impl Frequent {
    /// The counts of no kinds yet.
    pub(super) fn counts() -> Vec<u64> {
        vec![0; HASHES]
    }

    /// Tells those apart that have the most frequent hashes, so many at most.
    fn of(counts: Vec<u64>, apart: usize) -> Self {
        let mut order: Vec<usize> = (0..HASHES).filter(|hash| counts[*hash] > 0).collect();
        order.sort_unstable_by_key(|hash| (Reverse(counts[*hash]), *hash));
        let (some, others) = order.split_at(apart.min(order.len()));
        let others_max = others.first().map_or(0, |hash| counts[*hash]);
        let mut is_apart = vec![false; HASHES];
        some.iter().for_each(|hash| is_apart[*hash] = true);
        Self { counts, is_apart, apart, others_max }
    }
}

impl Apart {
    /// What comes after so many kinds were too many; `None` when no fewer can be told apart.
    pub(super) fn fewer(self, too_many: usize) -> Option<Self> {
        match self {
            Self::All => Some(Self::None),
            // A hash may be that of several kinds.
            Self::Some(Frequent { counts, apart, .. }) if apart > 1 => {
                Some(Self::Some(Frequent::of(counts, fewer(too_many.min(apart)))))
            }
            Self::None | Self::Some(_) => None,
        }
    }

    /// What comes after these counts, where so many kinds were too many.
    pub(super) fn frequent(counts: Vec<u64>, too_many: usize) -> Self {
        Self::Some(Frequent::of(counts, fewer(too_many)))
    }

    /// How many transactions a kind has at most that is not told apart.
    pub(super) fn others_max(&self) -> u64 {
        match self {
            Self::Some(frequent) => frequent.others_max,
            Self::All | Self::None => 0,
        }
    }
}

/// How many are told apart where so many were too many.
fn fewer(too_many: usize) -> usize {
    (too_many / FEWER).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Apart, Frequent, HASHES};

    #[test]
    fn fewer_and_fewer_are_told_apart_until_it_is_one() {
        let mut counts = Frequent::counts();
        (0..HASHES).zip(1..=100).for_each(|(hash, count)| counts[hash] = count);
        let mut apart = Apart::frequent(counts, 40);
        let mut others = vec![apart.others_max()];
        // However many come again: hashes may be shared.
        while let Some(fewer) = apart.fewer(1_000_000) {
            apart = fewer;
            others.push(apart.others_max());
        }
        assert_eq!(others, [90, 98, 99]);
    }
}
