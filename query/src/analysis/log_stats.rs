//! Log records by the values of fields: counts, counts by step, and percentiles of a number.
//!
//! The counts in data files answer where they can. Elsewhere one scan reads the rows. Groups are
//! bounded in number and values in length; records beyond the bounds are only counted.

mod field_reader;
mod number_reader;
mod quantiles;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    ops::ControlFlow,
};

use tidings_log_query::LogField;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CountInStep, LogGroup, LogStats},
};
use tidings_storage::{CountedLogs, DeduplicationSet, LogFilter, Projection, Scan};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    version::mixed,
};
use field_reader::FieldReader;
use number_reader::NumberReader;
use quantiles::NumberSketch;

/// Maximum number of values of all groups that are counted.
const VALUES_MAX: usize = 10_000;
/// Maximum number of values when groups have percentiles.
const SKETCHES_MAX: usize = 1_000;
/// Maximum number of steps with records, over all groups. Further records count as others.
const STEPS_MAX: usize = 500_000;

/// Selection of log records, and the fields that group them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStatsSearch {
    /// Filter of the records; their time is in the window.
    pub filter: LogFilter,
    /// The names of the fields to group by, as queries name them.
    pub by: Vec<String>,
    /// The name of the field whose numbers are summarised, or a field and a pattern that captures
    /// them: `body:/took (\d+) ms/`.
    pub number: Option<String>,
    /// The length of a step; `None` leaves steps out.
    pub step: Option<DurationNanos>,
    /// Maximum number of groups returned.
    pub limit: usize,
}

/// Values of the fields of a group.
type GroupKey = Vec<Option<String>>;

/// The records of one group.
#[derive(Debug, Default)]
struct GroupRecords {
    count: u64,
    steps: BTreeMap<UnixNanos, u64>,
    numbers: NumberSketch,
}

/// Accumulator of groups.
#[derive(Debug)]
struct GroupTable {
    groups: HashMap<GroupKey, GroupRecords>,
    groups_max: usize,
    steps_left: usize,
    other_count: u64,
}

impl GroupTable {
    /// Adds records of a group, and of a step where steps are counted. Returns `None` when there
    /// are too many groups or steps; the records then count as others.
    fn add(
        &mut self,
        key: &GroupKey,
        step: Option<UnixNanos>,
        count: u64,
    ) -> Option<&mut GroupRecords> {
        if !self.groups.contains_key(key) {
            if self.groups.len() >= self.groups_max {
                self.other_count += count;
                return None;
            }
            self.groups.insert(key.clone(), GroupRecords::default());
        }
        let group = self.groups.get_mut(key)?;
        if let Some(step) = step {
            match group.steps.entry(step) {
                Entry::Occupied(mut step) => *step.get_mut() += count,
                Entry::Vacant(_) if self.steps_left == 0 => {
                    self.other_count += count;
                    return None;
                }
                Entry::Vacant(step) => {
                    step.insert(count);
                    self.steps_left -= 1;
                }
            }
        }
        group.count += count;
        Some(group)
    }
}

/// The groups.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn log_stats(reader: &Reader, search: &LogStatsSearch) -> Result<LogStats, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let filter = LogFilter { time: window.range(), ..search.filter.clone() };
    let mut fields: Vec<FieldReader> =
        search.by.iter().map(|name| FieldReader::new(LogField::of_name(name))).collect();
    let mut number = search.number.as_deref().map(NumberReader::new).transpose()?;
    let details = fields.iter().map(FieldReader::detail);
    let details = details.chain(number.iter().map(NumberReader::detail));
    let detail = details.max().unwrap_or(Projection::Facts);
    let groups_max = if number.is_some() { SKETCHES_MAX } else { VALUES_MAX };
    let mut table = GroupTable {
        groups: HashMap::new(),
        groups_max: groups_max / fields.len().max(1),
        steps_left: STEPS_MAX,
        other_count: 0,
    };
    let is_counted = number.is_none() && fields.iter().all(FieldReader::is_counted);
    let CountedLogs { cells, uncounted } = match is_counted {
        true => reader.count_logs(&filter, window.step())?,
        false => CountedLogs { cells: Vec::new(), uncounted: vec![filter.time] },
    };
    let mut key = GroupKey::new();
    for bucket in &cells {
        key.clear();
        key.extend(fields.iter().map(|field| field.text_of_bucket(bucket)));
        table.add(&key, search.step.map(|_| bucket.step), bucket.count);
    }
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let scan = Scan { detail, rows_max: reader.settings.search_rows_max };
    let stats = reader.logs_within(&filter, &uncounted, scan, |rows| {
        for row in 0..rows.len() {
            reader.check_cancelled()?;
            let time = rows.time(row);
            if !seen.is_new(mixed(time.0) ^ rows.content_hash(row)) {
                continue;
            }
            key.clear();
            key.extend(fields.iter_mut().map(|field| field.text(rows, row)));
            let step = search.step.map(|_| window.step_of(time));
            let Some(group) = table.add(&key, step, 1) else { continue };
            if let Some(number) = number.as_mut().and_then(|field| field.number(rows, row)) {
                group.numbers.add(number);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reader.check()?;
    let GroupTable { groups, mut other_count, .. } = table;
    let group_count = groups.len() as u64;
    let mut groups: Vec<(GroupKey, GroupRecords)> = groups.into_iter().collect();
    groups.sort_by(|(key, one), (other_key, other)| {
        other.count.cmp(&one.count).then_with(|| key.cmp(other_key))
    });
    let rest = groups.split_off(search.limit.min(groups.len()));
    other_count += rest.iter().map(|(_, group)| group.count).sum::<u64>();
    let count = other_count + groups.iter().map(|(_, group)| group.count).sum::<u64>();
    Ok(LogStats {
        window: window.view(),
        groups: groups.into_iter().map(|(key, group)| group.view(key, window)).collect(),
        group_count,
        count,
        other_count,
        repeats_counted: seen.forgot,
        searched: search_stats(reader, stats),
    })
}

impl GroupRecords {
    fn view(self, values: GroupKey, window: Window) -> LogGroup {
        let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
        LogGroup {
            values,
            count: self.count,
            per_second: window.rate(self.count),
            steps: self.steps.into_iter().map(step).collect(),
            numbers: self.numbers.summary(),
        }
    }
}
