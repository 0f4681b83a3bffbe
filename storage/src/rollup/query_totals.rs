//! Aggregate of a query: calls by group and time range.
//!
//! Owns its memory bound, and the groups that are only counted.

use std::collections::HashMap;

use super::{
    Call, Calls, Cell,
    cells::{GroupNames, GroupTable, RawKey},
    file_aggregate::GroupNumber,
};

/// Number of all groups that are only counted.
pub(super) const OTHERS: GroupNumber = GroupNumber::MAX;
/// Number of all groups outside of the query.
pub(super) const UNASKED: GroupNumber = GroupNumber::MAX - 1;
/// Memory of a hash table slot for a group's calls, in bytes. Tables are at least half full.
const CELL_BYTES: usize = 2 * size_of::<((u32, GroupNumber), Calls)>();

/// Calls by group, for each time range of a query.
#[derive(Debug)]
pub(super) struct QueryTotals {
    /// Starts of the time ranges and the end of the last one, ascending.
    bounds: Vec<u64>,
    groups: GroupTable,
    calls: HashMap<(u32, GroupNumber), Calls>,
    /// Memory of `calls` in bytes.
    bytes: usize,
    others: u64,
}

impl QueryTotals {
    /// Creates totals for the time ranges between these bounds.
    pub(super) fn between(bounds: Vec<u64>) -> Self {
        Self { bounds, groups: GroupTable::default(), calls: HashMap::new(), bytes: 0, others: 0 }
    }

    /// Returns the number of a group, which is added if it is new.
    pub(super) fn number(&mut self, key: RawKey<'_>) -> GroupNumber {
        self.groups.number(key)
    }

    /// Adds a call of the group with this number.
    pub(super) fn add(&mut self, group: GroupNumber, call: &Call) {
        match group {
            OTHERS => self.others += 1,
            UNASKED => {}
            _ => self.at(group, call.exemplar.start_unix_nano.0, |calls| calls.add(call)),
        }
    }

    /// Adds calls of the group with this number. All of them belong to the time range that contains
    /// `time`.
    pub(super) fn merge(&mut self, group: GroupNumber, time: u64, more: &Calls) {
        match group {
            OTHERS => self.add_others(more.count),
            UNASKED => {}
            _ => self.at(group, time, |calls| calls.merge(more)),
        }
    }

    /// Like [`Self::merge`], for a cell. `None` when it is damaged; some calls may have been added
    /// then.
    pub(super) fn merge_cell(&mut self, group: GroupNumber, cell: &Cell<'_>) -> Option<()> {
        let mut added = Some(());
        self.at(group, cell.start().0, |calls| added = cell.add_to(calls));
        added
    }

    /// Adds calls of groups that are only counted.
    pub(super) fn add_others(&mut self, count: u64) {
        self.others = self.others.saturating_add(count);
    }

    fn at(&mut self, group: GroupNumber, time: u64, change: impl FnOnce(&mut Calls)) {
        let stretch = self.bounds.partition_point(|bound| *bound <= time).saturating_sub(1);
        let stretch = u32::try_from(stretch).unwrap_or(u32::MAX);
        let bytes = &mut self.bytes;
        let calls = self.calls.entry((stretch, group)).or_insert_with(|| {
            *bytes += CELL_BYTES;
            Calls::default()
        });
        *bytes -= calls.latency.bytes();
        change(calls);
        *bytes += calls.latency.bytes();
    }

    /// Returns its memory in bytes, group names included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.groups.bytes()
    }

    /// Returns the number of groups listed separately.
    pub(super) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Returns the number of calls in groups that are only counted.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// Returns the groups, and their calls by number of the time range.
    pub(super) fn finish(self) -> (GroupNames, HashMap<(u32, GroupNumber), Calls>) {
        (self.groups.names(), self.calls)
    }
}
