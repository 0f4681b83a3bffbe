//! Transactions aggregated by kind, and the most frequent kinds.

use std::{cmp::Reverse, collections::HashMap};

use super::KindKey;
use crate::{
    Calls,
    rollup::{file_aggregate::GroupNumber, query_totals::QueryTotals, rollup_encoding::GroupNames},
};

/// Transactions aggregated by kind and time range.
#[derive(Debug)]
pub struct KindCalls {
    pub(crate) groups: GroupNames,
    calls: HashMap<(u32, GroupNumber), Calls>,
    kind_count: u64,
    others: OtherKinds,
}

/// Transactions of kinds beyond the memory bound, which are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OtherKinds {
    /// Number of transactions.
    pub count: u64,
    /// Upper bound of the transactions of each such kind.
    pub count_max: u64,
}

/// Kind with its number of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedKind<'a> {
    /// Kind of the transactions.
    pub key: KindKey<'a>,
    /// Number of transactions.
    pub count: u64,
}

impl KindCalls {
    /// Finishes the totals. `others_max` bounds the transactions of any kind that is only counted.
    pub(crate) fn from_totals(totals: QueryTotals, others_max: u64) -> Self {
        let count = totals.others();
        let others = OtherKinds { count, count_max: others_max.min(count) };
        let (groups, calls) = totals.finish();
        let mut of_kinds = Self { groups, calls, kind_count: 0, others };
        of_kinds.kind_count = of_kinds.counts().len() as u64;
        of_kinds
    }

    /// Adds the kinds that are not listed. `kind_count` is the number of all kinds, and those in
    /// `self` are the most frequent.
    pub(crate) fn among(self, kind_count: u64) -> Self {
        Self { kind_count, ..self }
    }

    /// Returns the transactions by the number of their time range, from 0, and by kind. They have
    /// no order.
    pub fn each(&self) -> impl Iterator<Item = (u32, KindKey<'_>, &Calls)> {
        let named = |((stretch, group), calls): (&(u32, GroupNumber), _)| {
            let key = self.groups.raw(*group).map(KindKey::decode);
            key.map(|key| (*stretch, key, calls))
        };
        self.calls.iter().filter(|(_, calls)| calls.count > 0).filter_map(named)
    }

    /// Returns the number of kinds listed separately.
    #[must_use]
    pub fn kind_count(&self) -> u64 {
        self.kind_count
    }

    /// Returns the transactions of kinds that are only counted.
    #[must_use]
    pub fn others(&self) -> OtherKinds {
        self.others
    }

    /// Returns at most `limit` kinds, the most frequent first. Equally frequent kinds are ordered
    /// by name.
    #[must_use]
    pub fn listed(&self, limit: usize) -> Vec<ListedKind<'_>> {
        let listed = most_frequent(self.counts(), &self.groups, limit).into_iter();
        listed.map(|(_, kind)| kind).collect()
    }

    fn counts(&self) -> HashMap<GroupNumber, u64> {
        let mut counts = HashMap::new();
        for ((_, group), calls) in self.calls.iter().filter(|(_, calls)| calls.count > 0) {
            *counts.entry(*group).or_default() += calls.count;
        }
        counts
    }
}

/// Like [`KindCalls::listed`], with the numbers of the kinds.
pub(crate) fn most_frequent(
    counts: HashMap<GroupNumber, u64>,
    names: &GroupNames,
    limit: usize,
) -> Vec<(GroupNumber, ListedKind<'_>)> {
    let listed = |(group, count): (GroupNumber, u64)| {
        let key = names.raw(group).map(KindKey::decode)?;
        Some((group, ListedKind { key, count }))
    };
    let mut kinds: Vec<_> = counts.into_iter().filter_map(listed).collect();
    kinds.sort_unstable_by_key(|(_, kind)| (Reverse(kind.count), kind.key));
    kinds.truncate(limit);
    kinds
}
