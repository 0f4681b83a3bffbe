//! Transactions aggregated by transaction type, and the most frequent transaction types.

use std::{cmp::Reverse, collections::HashMap};

use super::TransactionTypeKey;
use crate::{
    Calls,
    query_totals::QueryTotals,
    rollup_encoding::{GroupNames, GroupNumber},
};

/// Transactions aggregated by transaction type and time range.
#[derive(Debug)]
pub struct TransactionTypeCalls {
    /// Names of the transaction types by their numbers.
    pub groups: GroupNames,
    calls: HashMap<(u32, GroupNumber), Calls>,
    transaction_type_count: u64,
    others: OtherTransactionTypes,
}

/// Transactions of transaction types beyond the memory bound, which are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OtherTransactionTypes {
    /// Number of transactions.
    pub count: u64,
    /// Upper bound of the transactions of each such transaction type.
    pub count_max: u64,
}

/// Transaction type with its number of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedTransactionType<'a> {
    /// Transaction type of the transactions.
    pub key: TransactionTypeKey<'a>,
    /// Number of transactions.
    pub count: u64,
}

impl TransactionTypeCalls {
    /// Finishes the totals. `others_max` bounds the transactions of any transaction type that is
    /// only counted.
    pub fn from_totals(totals: QueryTotals, others_max: u64) -> Self {
        let count = totals.others();
        let others = OtherTransactionTypes { count, count_max: others_max.min(count) };
        let (groups, calls) = totals.finish();
        let mut of_types = Self { groups, calls, transaction_type_count: 0, others };
        of_types.transaction_type_count = of_types.counts().len() as u64;
        of_types
    }

    /// Adds the transaction types that are not listed. `transaction_type_count` is the number of
    /// all transaction types, and those in `self` are the most frequent.
    pub fn among(self, transaction_type_count: u64) -> Self {
        Self { transaction_type_count, ..self }
    }

    /// Returns the transactions by the number of their time range, from 0, and by transaction type.
    /// They have no order.
    pub fn each(&self) -> impl Iterator<Item = (u32, TransactionTypeKey<'_>, &Calls)> {
        let named = |((stretch, group), calls): (&(u32, GroupNumber), _)| {
            let key = self.groups.raw(*group).map(TransactionTypeKey::decode);
            key.map(|key| (*stretch, key, calls))
        };
        self.calls.iter().filter(|(_, calls)| calls.count > 0).filter_map(named)
    }

    /// Returns the number of transaction types listed separately.
    #[must_use]
    pub fn transaction_type_count(&self) -> u64 {
        self.transaction_type_count
    }

    /// Returns the transactions of transaction types that are only counted.
    #[must_use]
    pub fn others(&self) -> OtherTransactionTypes {
        self.others
    }

    /// Returns at most `limit` transaction types, the most frequent first. Equally frequent
    /// transaction types are ordered by name.
    #[must_use]
    pub fn listed(&self, limit: usize) -> Vec<ListedTransactionType<'_>> {
        let listed = most_frequent(self.counts(), &self.groups, limit).into_iter();
        listed.map(|(_, transaction_type)| transaction_type).collect()
    }

    fn counts(&self) -> HashMap<GroupNumber, u64> {
        let mut counts = HashMap::new();
        for ((_, group), calls) in self.calls.iter().filter(|(_, calls)| calls.count > 0) {
            *counts.entry(*group).or_default() += calls.count;
        }
        counts
    }
}

/// Like [`TransactionTypeCalls::listed`], with the numbers of the transaction types.
pub(crate) fn most_frequent(
    counts: HashMap<GroupNumber, u64>,
    names: &GroupNames,
    limit: usize,
) -> Vec<(GroupNumber, ListedTransactionType<'_>)> {
    let listed = |(group, count): (GroupNumber, u64)| {
        let key = names.raw(group).map(TransactionTypeKey::decode)?;
        Some((group, ListedTransactionType { key, count }))
    };
    let mut transaction_types: Vec<_> = counts.into_iter().filter_map(listed).collect();
    transaction_types.sort_unstable_by_key(|(_, transaction_type)| {
        (Reverse(transaction_type.count), transaction_type.key)
    });
    transaction_types.truncate(limit);
    transaction_types
}
