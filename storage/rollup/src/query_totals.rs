//! Aggregate of a query: calls by group and time range.
//!
//! Owns its memory bound, and the groups that are only counted.

use std::collections::{BTreeMap, HashMap};

use super::{
    Call, CallCounts, Calls, RawKey, RollupBucket,
    rollup_encoding::{GroupNames, GroupNumber, GroupTable},
};

/// Number of all groups that are only counted.
pub const OTHERS: GroupNumber = GroupNumber::MAX;
/// Number of all groups outside of the query.
pub const UNASKED: GroupNumber = GroupNumber::MAX - 1;
/// Memory of a hash table slot for a group's calls, in bytes. Tables are at least half full.
const CELL_BYTES: usize = 2 * size_of::<((u32, GroupNumber), Calls)>();

/// Memory of a group's counts in one more time range, in bytes. Nodes are at least half full.
const COUNTS_BYTES: usize = 2 * size_of::<(u32, CallCounts)>();
/// Memory of a group's counts in its first time range, in bytes: a whole node.
const FIRST_COUNTS_BYTES: usize = 12 * size_of::<(u32, CallCounts)>();

/// Numbers of the calls of a group, by the number of their time range.
pub type CountsByRange = BTreeMap<u32, CallCounts>;

/// Calls by group, for each time range of a query.
#[derive(Debug)]
pub struct QueryTotals {
    /// Starts of the time ranges and the end of the last one, ascending.
    bounds: Vec<u64>,
    groups: GroupTable,
    calls: HashMap<(u32, GroupNumber), Calls>,
    /// Numbers of calls by group, in place of `calls`. `None` when the query needs the calls.
    counts: Option<Vec<CountsByRange>>,
    /// True for the groups in `calls` that have only the numbers of calls, by number of the group.
    counted: Vec<bool>,
    /// True if the query is about the peers of services.
    only_peers: bool,
    /// Memory of `calls` and `counts` in bytes.
    bytes: usize,
    others: u64,
    /// Last time that was looked up, and the number of its time range.
    recent: Option<(u64, u32)>,
}

impl QueryTotals {
    /// Creates totals for the time ranges between these bounds.
    pub fn between(bounds: Vec<u64>) -> Self {
        Self {
            bounds,
            groups: GroupTable::default(),
            calls: HashMap::new(),
            counts: None,
            counted: Vec::new(),
            only_peers: false,
            bytes: 0,
            others: 0,
            recent: None,
        }
    }

    /// Like [`Self::between`], for a query that needs neither latency nor exemplars.
    pub fn counting(bounds: Vec<u64>) -> Self {
        Self { counts: Some(Vec::new()), ..Self::between(bounds) }
    }

    /// Like [`Self::between`], for a query that needs of the graph only the calls of peers and the
    /// names of services.
    pub fn of_peers(bounds: Vec<u64>) -> Self {
        Self { only_peers: true, ..Self::between(bounds) }
    }

    /// Returns true if calls are only counted, in every group.
    pub fn only_counts(&self) -> bool {
        self.counts.is_some()
    }

    /// Returns true if the calls of this group are only counted.
    pub fn only_counts_of(&self, group: GroupNumber) -> bool {
        self.only_counts() || self.counted.get(group as usize).is_some_and(|counted| *counted)
    }

    /// Returns true if the query is about the peers of services.
    pub(crate) fn only_peers(&self) -> bool {
        self.only_peers
    }

    /// Returns the number of a group, which is added if it is new.
    pub fn number(&mut self, key: RawKey<'_>) -> GroupNumber {
        self.groups.number(key)
    }

    /// Like [`Self::number`], for a group whose calls are only counted.
    pub(crate) fn number_counted(&mut self, key: RawKey<'_>) -> GroupNumber {
        let number = self.number(key);
        let place = number as usize;
        if self.counted.len() <= place {
            self.counted.resize(place + 1, false);
        }
        self.counted[place] = true;
        number
    }

    /// Adds a call of the group with this number.
    pub fn add(&mut self, group: GroupNumber, call: &Call) {
        match group {
            OTHERS => self.others += 1,
            UNASKED => {}
            _ if self.only_counts_of(group) => {
                let errors = u64::from(call.failed);
                let start = call.exemplar.start_unix_nano.0;
                self.count(group, start, CallCounts { count: 1, errors });
            }
            _ => self.at(group, call.exemplar.start_unix_nano.0, |calls| calls.add(call)),
        }
    }

    /// Adds calls of the group with this number. All of them belong to the time range that contains
    /// `time`.
    pub fn merge(&mut self, group: GroupNumber, time: u64, more: &Calls) {
        match group {
            OTHERS => self.add_others(more.count),
            UNASKED => {}
            _ if self.only_counts_of(group) => {
                let counts = CallCounts { count: more.count, errors: more.errors };
                self.count(group, time, counts);
            }
            _ => self.at(group, time, |calls| calls.merge(more)),
        }
    }

    /// Like [`Self::merge`], for a rollup bucket. `None` when it is damaged; some calls may have
    /// been added then.
    pub fn merge_bucket(&mut self, group: GroupNumber, bucket: &RollupBucket<'_>) -> Option<()> {
        if self.only_counts_of(group) {
            let more = CallCounts { count: bucket.count(), errors: bucket.errors() };
            return self.count(group, bucket.start().0, more);
        }
        let mut added = Some(());
        self.at(group, bucket.start().0, |calls| added = bucket.add_to(calls));
        added
    }

    /// Adds calls of groups that are only counted.
    pub fn add_others(&mut self, count: u64) {
        self.others = self.others.saturating_add(count);
    }

    fn at(&mut self, group: GroupNumber, time: u64, change: impl FnOnce(&mut Calls)) {
        let range = self.range_number(time);
        let bytes = &mut self.bytes;
        let calls = self.calls.entry((range, group)).or_insert_with(|| {
            *bytes += CELL_BYTES;
            Calls::default()
        });
        *bytes -= calls.latency.bytes();
        change(calls);
        *bytes += calls.latency.bytes();
    }

    /// Counts calls of a group in the time range that contains `time`. `None` on overflow.
    fn count(&mut self, group: GroupNumber, time: u64, more: CallCounts) -> Option<()> {
        if more.count == 0 {
            return Some(());
        }
        if !self.only_counts() {
            let mut added = None;
            self.at(group, time, |calls| added = calls.add_counts(more));
            return added;
        }
        let (range, place) = (self.range_number(time), group as usize);
        let counts = self.counts.get_or_insert_default();
        if counts.len() <= place {
            counts.resize_with(place + 1, BTreeMap::new);
        }
        let of_group = &mut counts[place];
        let more_bytes = if of_group.is_empty() { FIRST_COUNTS_BYTES } else { COUNTS_BYTES };
        let bytes = &mut self.bytes;
        let known = of_group.entry(range).or_insert_with(|| {
            *bytes += more_bytes;
            CallCounts::default()
        });
        known.count = known.count.checked_add(more.count)?;
        known.errors = known.errors.checked_add(more.errors)?;
        Some(())
    }

    /// Returns the number of the time range that contains this time. The rollup buckets of a time
    /// bucket have one time.
    fn range_number(&mut self, time: u64) -> u32 {
        if let Some((_, range)) = self.recent.filter(|(recent, _)| *recent == time) {
            return range;
        }
        let range = self.bounds.partition_point(|bound| *bound <= time).saturating_sub(1);
        let range = u32::try_from(range).unwrap_or(u32::MAX);
        self.recent = Some((time, range));
        range
    }

    /// Returns its memory in bytes, group names included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.groups.bytes()
    }

    /// Returns the number of groups listed separately.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.group_count()
    }

    /// Returns the number of calls in groups that are only counted.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Removes and returns the numbers of calls, by group.
    pub fn take_counts(&mut self) -> Vec<CountsByRange> {
        self.counts.take().unwrap_or_default()
    }

    /// Returns the groups, and their calls by number of the time range.
    pub fn finish(self) -> (GroupNames, HashMap<(u32, GroupNumber), Calls>) {
        (self.groups.names(), self.calls)
    }
}
