//! Reads calls into groups and time ranges.

use std::{
    collections::BTreeMap,
    iter::repeat_with,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_promql::labels::Labels;
use tidings_proto::UnixNanos;
use tidings_query::Reader;
use tidings_storage::TimeRange;

use super::{CallGroup, CallSet, call_series, memory_error, span_series};
use crate::prometheus::{
    PromqlError,
    metric_names::{Columns, Family},
};

pub(super) const INCOMPLETE: &str =
    "not every span of the time range was looked at: ask for a shorter one";
pub(super) const GROUPS_LEFT_OUT: &str =
    "there are more series than are told apart: some were left out";
pub(super) const REPEATS: &str =
    "spans that were sent twice may be counted twice: ask for a shorter range";

/// Minimum start of a counted span. A span without a start time is in no range.
const FIRST: UnixNanos = UnixNanos(1);
/// Cost of the index entry of a time range, in values.
const NUMBERS_TO_FIND: usize = 2;

/// Warnings for the user.
#[derive(Debug, Default)]
pub(super) struct Warnings(pub(super) Vec<&'static str>);

impl Warnings {
    pub(super) fn add_if(&mut self, is: bool, warning: &'static str) {
        if is && !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }
}

/// Reads the set's calls, up to the number of values that still fit.
pub(super) fn load(
    reader: &Reader,
    set: &mut CallSet,
    room: &mut usize,
    warnings: &mut Warnings,
) -> Result<(), PromqlError> {
    let nanos =
        |millis: i64| UnixNanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000));
    let bounds: Vec<UnixNanos> = set.bounds_ms.iter().map(|bound| nanos(*bound)).collect();
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return Ok(()) };
    if first >= last {
        return Ok(());
    }
    let range = TimeRange { start: Some((*first).max(FIRST)), end: Some(*last) };
    let (groups, left) = match set.family {
        Family::Spans => span_series::read(reader, set, (range, &bounds), *room, warnings)?,
        Family::Calls => {
            // Storage is asked for aggregates by these bounds alone.
            let bounds: Vec<UnixNanos> = bounds.iter().map(|bound| (*bound).max(FIRST)).collect();
            call_series::read(
                reader,
                set,
                range,
                BucketColumns::new(&bounds, set.columns, *room),
                warnings,
            )?
        }
    };
    (set.groups, *room) = (groups, left);
    Ok(())
}

/// The numbers of groups by time range.
#[derive(Debug)]
pub(super) struct BucketColumns<'b> {
    bounds: &'b [UnixNanos],
    pub(super) columns: Columns,
    /// Index of each group's numbers, by the bound at which their time range ends.
    places: Vec<BTreeMap<u32, u32>>,
    numbers: Vec<u64>,
    /// Number of values that still fit, shared with parallel accumulators.
    room: Arc<AtomicUsize>,
    /// True when memory ran out before all numbers were stored.
    pub(super) is_full: bool,
    /// The time range of the last lookup, and the index of the bound at which it ends.
    last: Option<(Range<UnixNanos>, u32)>,
}

impl<'b> BucketColumns<'b> {
    pub(super) fn new(bounds: &'b [UnixNanos], columns: Columns, room: usize) -> Self {
        Self {
            bounds,
            columns,
            places: Vec::new(),
            numbers: Vec::new(),
            room: Arc::new(AtomicUsize::new(room)),
            is_full: false,
            last: None,
        }
    }

    /// Creates a parallel accumulator that shares the remaining memory.
    pub(super) fn fork(&self) -> Self {
        let room = Arc::clone(&self.room);
        Self { room, ..Self::new(self.bounds, self.columns, 0) }
    }

    /// Boundaries of the time buckets, ascending.
    pub(super) fn bounds(&self) -> &'b [UnixNanos] {
        self.bounds
    }

    /// Returns the numbers of a group in the time range of a time. `None` outside of all ranges and
    /// when memory is full.
    pub(super) fn columns_at(&mut self, group: u32, time: UnixNanos) -> Option<&mut [u64]> {
        let end = match &self.last {
            Some((range, end)) if range.contains(&time) => *end,
            _ => {
                let end = self.bounds.partition_point(|bound| *bound <= time);
                let range = *self.bounds.get(end.checked_sub(1)?)?..*self.bounds.get(end)?;
                let end = u32::try_from(end).expect("invariant: bounds are bounded");
                self.last = Some((range, end));
                end
            }
        };
        self.at(group, end)
    }

    fn at(&mut self, group: u32, end: u32) -> Option<&mut [u64]> {
        let (width, group) = (self.columns.width(), group as usize);
        if self.places.len() <= group {
            self.places.resize_with(group + 1, BTreeMap::new);
        }
        let place = match self.places[group].get(&end) {
            Some(place) => *place as usize * width,
            None => {
                let less = |room: usize| room.checked_sub(width + NUMBERS_TO_FIND);
                let room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                if room.is_err() {
                    self.is_full = true;
                    return None;
                }
                let place = self.numbers.len();
                self.numbers.resize(place + width, 0);
                let number = u32::try_from(place / width).expect("invariant: numbers are bounded");
                self.places[group].insert(end, number);
                place
            }
        };
        self.numbers.get_mut(place..place + width)
    }

    /// Merges another accumulator. `groups` maps the numbers of its groups to those here.
    pub(super) fn join(&mut self, other: Self, groups: &[Option<u32>]) {
        self.is_full |= other.is_full;
        let width = self.columns.width();
        let room = other.numbers.len() / width * (width + NUMBERS_TO_FIND);
        self.room.fetch_add(room, Ordering::Relaxed);
        for (places, group) in other.places.into_iter().zip(groups) {
            let Some(group) = *group else { continue };
            for (end, place) in places {
                let Some(numbers) = self.at(group, end) else { return };
                let more = &other.numbers[place as usize * width..][..width];
                for (number, more) in numbers.iter_mut().zip(more) {
                    *number = number.saturating_add(*more);
                }
            }
        }
    }

    /// Returns the groups with cumulative sums, and the number of values that still fit.
    pub(super) fn finish(
        self,
        labels: Vec<Labels>,
    ) -> Result<(Vec<CallGroup>, usize), PromqlError> {
        if self.is_full {
            return Err(memory_error());
        }
        let width = self.columns.width();
        let groups =
            labels.into_iter().zip(self.places.into_iter().chain(repeat_with(BTreeMap::new)));
        let group = |(labels, places): (Labels, BTreeMap<u32, u32>)| {
            let mut group = CallGroup { labels, range_ends: Vec::new(), sums: Vec::new() };
            let mut sums = vec![0_u64; width];
            for (end, place) in places {
                let numbers = &self.numbers[place as usize * width..][..width];
                for (sum, number) in sums.iter_mut().zip(numbers) {
                    *sum = sum.saturating_add(*number);
                }
                group.sums.extend_from_slice(&sums);
                group.range_ends.push(end);
            }
            group
        };
        Ok((groups.map(group).collect(), self.room.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::{BucketColumns, Columns, Labels, NUMBERS_TO_FIND, UnixNanos};

    #[test]
    fn room_is_for_all_that_are_beside_each_other_and_what_is_joined_takes_it_once() {
        let bounds: Vec<UnixNanos> = (0..=4).map(UnixNanos).collect();
        let columns = Columns::default();
        let of_one = columns.width() + NUMBERS_TO_FIND;
        let first = BucketColumns::new(&bounds, columns, 4 * of_one + of_one - 1);
        let (mut first, mut other) = (first.fork(), first);
        for (numbers, group, time) in [(0, 0, 1), (1, 0, 1), (1, 7, 3), (0, 1, 0), (1, 7, 3)] {
            let numbers = if numbers == 0 { &mut first } else { &mut other };
            numbers.columns_at(group, UnixNanos(time)).unwrap()[0] += 1;
        }
        assert!(first.columns_at(0, UnixNanos(4)).is_none() && !first.is_full, "it is outside");
        assert!(other.columns_at(1, UnixNanos(0)).is_none() && other.is_full);
        let other = BucketColumns { is_full: false, ..other };
        assert!(first.columns_at(1, UnixNanos(0)).is_some(), "it is there");
        // Group 7 becomes group 1, group 0 stays group 0.
        let groups = [Some(0), None, None, None, None, None, None, Some(1)];
        first.join(other, &groups);
        let labels = vec![Labels::default(); 3];
        let (groups, room) = first.finish(labels).unwrap();
        let said = groups.iter().map(|group| (group.range_ends.clone(), group.sums.clone()));
        let expected = [(vec![2], vec![2]), (vec![1, 4], vec![1, 3]), (vec![], vec![])];
        assert_eq!(said.collect::<Vec<_>>(), expected);
        assert_eq!(room, 2 * of_one - 1);
    }
}
