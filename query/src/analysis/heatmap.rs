//! Spans by when they began and how long they took.

use std::collections::BTreeMap;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Heatmap, HeatmapCell, HeatmapRow},
    otlp::StatusCode,
};
use tidings_storage::{Call, CallKey, Calls, SpanFilter, Tally};

use super::window::Window;
use crate::{QueryError, execution::Reader, search::searched};

/// Which spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeatmapSearch {
    /// The spans; their start is in the window.
    pub filter: SpanFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
}

/// Each power of two is divided into `1 << PART_BITS` rows.
const PART_BITS: u32 = 2;

/// The spans as they are counted.
struct Counted {
    window: Window,
    /// How many of them there are in each step and row, and how many failed.
    cells: BTreeMap<(UnixNanos, u32), (u64, u64)>,
    unfinished_count: u64,
}

impl Tally for Counted {
    fn begin(&mut self) {
        (self.cells, self.unfinished_count) = Default::default();
    }

    fn call(&mut self, _: CallKey<'_>, call: &Call) {
        if call.timed {
            let start = call.exemplar.start_unix_nano;
            self.add(start, call.exemplar.duration_nano, 1, call.failed);
        } else {
            self.unfinished_count += 1;
        }
    }

    fn calls(&mut self, key: CallKey<'_>, start: UnixNanos, calls: &Calls) {
        self.unfinished_count += calls.count - calls.latency.count();
        for (duration, count) in calls.latency.spread() {
            self.add(start, duration, count, key.status == StatusCode::Error);
        }
    }
}

impl Counted {
    fn add(&mut self, start: UnixNanos, duration: DurationNanos, count: u64, failed: bool) {
        let place = (self.window.step_of(start), place(duration.0));
        let cell = self.cells.entry(place).or_default();
        cell.0 += count;
        cell.1 += if failed { count } else { 0 };
    }
}

/// The heatmap.
pub(crate) fn heatmap(reader: &Reader, search: &HeatmapSearch) -> Result<Heatmap, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    let filter = SpanFilter { start: window.range(), ..search.filter.clone() };
    let mut counted = Counted { window, cells: BTreeMap::new(), unfinished_count: 0 };
    let tallied = reader.tally(&filter, window.step(), &mut counted)?;
    let Counted { cells, unfinished_count, .. } = counted;
    let places = cells.keys().map(|(_, place)| *place);
    let (first, last) = (places.clone().min(), places.max());
    let rows = first.zip(last).into_iter().flat_map(|(first, last)| first..=last).map(row);
    let cell = |((start, place), (count, error_count)): (&(UnixNanos, u32), &(u64, u64))| {
        let row = place - first.unwrap_or_default();
        HeatmapCell { start_unix_nano: *start, row, count: *count, error_count: *error_count }
    };
    Ok(Heatmap {
        window: window.view(),
        rows: rows.collect(),
        cells: cells.iter().map(cell).collect(),
        count: cells.values().map(|(count, _)| count).sum(),
        unfinished_count,
        repeats_counted: tallied.repeats_counted,
        searched: searched(reader, tallied.scan),
    })
}

/// The row of a duration: below four nanoseconds each is one, then four for each power of two.
fn place(duration: u64) -> u32 {
    let octave = (u64::BITS - 1).saturating_sub(duration.leading_zeros());
    let (shift, part) = match octave.checked_sub(PART_BITS) {
        None => (0, duration),
        Some(shift) => (shift, duration >> shift),
    };
    (shift << PART_BITS) + u32::try_from(part).expect("invariant: a part is less than 8")
}

fn row(place: u32) -> HeatmapRow {
    let shift = (place >> PART_BITS).saturating_sub(1);
    let part = u128::from(place - (shift << PART_BITS));
    let clamped = |nanos: u128| DurationNanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    HeatmapRow { from_nano: clamped(part << shift), up_to_nano: clamped(((part + 1) << shift) - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{place, row};

    proptest! {
        #[test]
        fn a_row_holds_its_durations_and_rows_follow_each_other(duration: u64) {
            let at = place(duration);
            let range = row(at);
            prop_assert!(range.from_nano.0 <= duration && duration <= range.up_to_nano.0);
            prop_assert!(range.up_to_nano.0 == u64::MAX || row(at + 1).from_nano.0 == range.up_to_nano.0 + 1);
        }
    }
}
