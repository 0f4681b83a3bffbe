//! Log records by the values of fields: counts, counts by step, and percentiles of a number.
//!
//! One scan. Groups are bounded in number and values in length; what does not fit is counted.

mod field_reader;
mod quantiles;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CountInStep, LogGroup, LogStats},
};
use tidings_storage::{DeduplicationSet, Detail, LogFilter, Scan};

use super::window::Window;
use crate::{QueryError, execution::Reader, log_query::LogField, search::searched, version::mixed};
use field_reader::FieldReader;
use quantiles::NumberSketch;

/// Maximum number of values of all groups that are counted.
const VALUES_MAX: usize = 10_000;
/// The same where groups have percentiles.
const SKETCHES_MAX: usize = 1_000;
/// Maximum number of steps of all groups that have records. Records beyond count as others.
const STEPS_MAX: usize = 500_000;

/// Which log records, and by which fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStatsSearch {
    /// The records; their time is in the window.
    pub filter: LogFilter,
    /// The names of the fields to group by, as queries name them.
    pub by: Vec<String>,
    /// The name of the field whose numbers are summed up.
    pub number: Option<String>,
    /// The length of a step; none to leave steps out.
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

/// The groups.
pub(crate) fn log_stats(reader: &Reader, search: &LogStatsSearch) -> Result<LogStats, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let filter = LogFilter { time: window.range(), ..search.filter.clone() };
    let mut fields: Vec<FieldReader> =
        search.by.iter().map(|name| FieldReader::new(LogField::of_name(name))).collect();
    let mut number = search.number.as_ref().map(|name| FieldReader::new(LogField::of_name(name)));
    let details = fields.iter().chain(&number).map(FieldReader::detail);
    let detail = details.max().unwrap_or(Detail::Facts);
    let groups_max = if number.is_some() { SKETCHES_MAX } else { VALUES_MAX };
    let groups_max = groups_max / fields.len().max(1);
    let mut steps_left = STEPS_MAX;
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let mut groups: HashMap<GroupKey, GroupRecords> = HashMap::new();
    let mut other_count = 0;
    let scan = Scan { detail, rows_max: reader.settings.search_rows_max };
    let mut key = GroupKey::new();
    let stats = reader.logs(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let time = rows.time(row);
            if !seen.is_new(mixed(time.0) ^ rows.content_hash(row)) {
                continue;
            }
            key.clear();
            key.extend(fields.iter_mut().map(|field| field.text(rows, row)));
            if !groups.contains_key(&key) {
                if groups.len() >= groups_max {
                    other_count += 1;
                    continue;
                }
                groups.insert(key.clone(), GroupRecords::default());
            }
            let Some(group) = groups.get_mut(&key) else { continue };
            if search.step.is_some() {
                match group.steps.entry(window.step_of(time)) {
                    Entry::Occupied(mut step) => *step.get_mut() += 1,
                    Entry::Vacant(_) if steps_left == 0 => {
                        other_count += 1;
                        continue;
                    }
                    Entry::Vacant(step) => {
                        step.insert(1);
                        steps_left -= 1;
                    }
                }
            }
            group.count += 1;
            if let Some(number) = number.as_mut().and_then(|field| field.number(rows, row)) {
                group.numbers.add(number);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reader.check()?;
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
        searched: searched(reader, stats),
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
