//! Aggregates the counts of a snapshot's log records by severity.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;
use tidings_index::{Indexes, LogFilter, TimeRange};
use tidings_proto::{DurationNanos, UnixNanos};
use tidings_rollup::log_counts::{
    LogCountBucket, SeverityGroup, log_count_section::LogCountBuckets,
};

use super::{CountQuery, includes};
use crate::Snapshot;

/// Maximum number of buckets of an answer. With more, rows are counted.
const CELLS_MAX: usize = 1 << 20;

/// Log records by step, service and severity, each counted once.
#[derive(Debug, Default)]
pub struct CountedLogs {
    /// The counts, by step, service and severity, ascending.
    pub cells: Vec<LogCountBucket>,
    /// Time ranges whose records are not in the counts. The caller counts their rows.
    pub uncounted: Vec<TimeRange>,
}

/// Aggregate of the files so far.
#[derive(Default)]
struct SeverityTotals {
    groups: Vec<SeverityGroup>,
    numbers: HashMap<SeverityGroup, usize, RandomState>,
    counts: HashMap<(UnixNanos, usize), u64, RandomState>,
}

impl Snapshot {
    /// Counts the matching log records by steps of this length. Steps are counted from 1970. Time
    /// ranges that the counts of files cannot answer are left to the caller, as
    /// [`CountedLogs::uncounted`]. This is the whole range when steps are not whole minutes, or
    /// when the filter compares more than time, service and severity.
    #[must_use]
    pub fn count_logs(&self, filter: &LogFilter, step: DurationNanos) -> CountedLogs {
        let query = CountQuery::new(self, filter, step, Indexes::log_counts);
        let answer = query.and_then(|query| {
            query.answer(
                |index, minutes| {
                    let page = index.log_counts()?.cells(&mut |range| index.page(range))?;
                    (page.minutes.len() == minutes.len()).then_some(page)
                },
                |totals: &mut SeverityTotals, page, steps| totals.add(page, steps, filter),
            )
        });
        match answer {
            Some((totals, uncounted)) => CountedLogs { cells: totals.cells(), uncounted },
            None => CountedLogs { cells: Vec::new(), uncounted: vec![filter.time] },
        }
    }
}

impl SeverityTotals {
    /// Adds the buckets of the minutes that have a step. Returns false when there are too many.
    fn add(
        &mut self,
        page: LogCountBuckets,
        steps: &[Option<UnixNanos>],
        filter: &LogFilter,
    ) -> bool {
        let of_page: Vec<Option<usize>> = page
            .groups
            .into_iter()
            .map(|group| {
                let is_asked = includes(filter, &group);
                is_asked.then(|| {
                    *self.numbers.entry(group).or_insert_with_key(|group| {
                        self.groups.push(group.clone());
                        self.groups.len() - 1
                    })
                })
            })
            .collect();
        for (step, cells) in steps.iter().zip(&page.minutes) {
            let Some(step) = step else { continue };
            for (group, count) in cells {
                if let Some(Some(group)) = of_page.get(*group as usize) {
                    *self.counts.entry((*step, *group)).or_default() += count;
                }
            }
        }
        self.counts.len() <= CELLS_MAX
    }

    fn cells(self) -> Vec<LogCountBucket> {
        let Self { groups, counts, .. } = self;
        let names: Vec<Arc<str>> =
            groups.iter().map(|group| Arc::from(group.service.as_str())).collect();
        let cell = |((step, group), count): ((UnixNanos, usize), u64)| LogCountBucket {
            step,
            service: Arc::clone(&names[group]),
            severity_number: groups[group].severity_number,
            count,
        };
        let mut cells: Vec<LogCountBucket> = counts.into_iter().map(cell).collect();
        cells.sort_unstable();
        cells
    }
}
