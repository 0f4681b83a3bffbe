//! What a question adds up: calls by group, over each stretch of time that it asks for.

use std::collections::HashMap;

use super::{
    Calls,
    adder::GroupNumber,
    cells::{GroupNames, Groups, RawKey},
};

/// Calls by group, over each stretch of a question.
#[derive(Debug)]
pub(super) struct Totals {
    /// Where stretches begin, and where the last one ends; ascending.
    bounds: Vec<u64>,
    groups: Groups,
    calls: HashMap<(u32, GroupNumber), Calls>,
}

impl Totals {
    /// Over the stretches between these times.
    pub(super) fn between(bounds: Vec<u64>) -> Self {
        Self { bounds, groups: Groups::default(), calls: HashMap::new() }
    }

    /// The number of a group.
    pub(super) fn number(&mut self, key: RawKey<'_>) -> GroupNumber {
        self.groups.number(key)
    }

    /// The calls of the group with this number in the stretch that this time is in.
    pub(super) fn of(&mut self, group: GroupNumber, time: u64) -> &mut Calls {
        let stretch = self.bounds.partition_point(|bound| *bound <= time).saturating_sub(1);
        let stretch = u32::try_from(stretch).unwrap_or(u32::MAX);
        self.calls.entry((stretch, group)).or_default()
    }

    /// The groups and their calls by stretch.
    pub(super) fn finish(self) -> (GroupNames, HashMap<(u32, GroupNumber), Calls>) {
        (self.groups.names(), self.calls)
    }
}
