//! Adds up the counts of a snapshot's log records, and says of which times rows have to be counted.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use arrow_array::Int64Array;
use tidings_proto::{DurationNanos, UnixNanos, otlp::SeverityNumber};

use super::{LogCountCell, MINUTE, MinuteTimes, SeverityGroup, log_count_section::CountPages};
use crate::{
    LogFilter, Snapshot, StorageError, TimeRange, data_file::DataFile, index::RolledUp,
    memory::Chunk, ranges::merged, rows::column::OptionalColumn, schema::Signal,
};

/// Rows are counted of at most so many ranges of time: each is a scan of its own.
const RANGES_MAX: usize = 256;
/// Maximum number of cells of an answer; when there are more, rows are counted.
const CELLS_MAX: usize = 1 << 20;

/// Log records by step, service and severity, each counted once.
#[derive(Debug, Default)]
pub struct CountedLogs {
    /// The counts, by step, service and severity, ascending.
    pub cells: Vec<LogCountCell>,
    /// The times whose records are not in the counts: the caller counts their rows.
    pub uncounted: Vec<TimeRange>,
}

/// The records of a minute in one source. Those of memory are not counted.
struct SourceMinute {
    times: MinuteTimes,
    is_counted: bool,
}

/// A query over the counts of files.
struct LogCountQuery<'a> {
    snapshot: &'a Snapshot,
    filter: &'a LogFilter,
    /// Start and end of the time that is asked for, in nanoseconds.
    asked: Range<u64>,
    /// Length of a step in nanoseconds: a multiple of a minute.
    step: u64,
}

/// A file's counts cannot be read.
struct DamagedCounts(usize);

impl LogFilter {
    /// Returns true if the filter asks for nothing but time, service and severity.
    fn is_of_counts(&self) -> bool {
        let Self {
            trace_ids,
            span_id,
            time: _,
            keys,
            services: _,
            severity_min: _,
            text,
            attributes,
            any_attribute,
            condition,
        } = self;
        trace_ids.is_none()
            && span_id.is_none()
            && keys.is_none()
            && text.is_none()
            && attributes.is_empty()
            && any_attribute.is_empty()
            && condition.is_none()
    }

    fn includes(&self, group: &SeverityGroup) -> bool {
        let severity = SeverityNumber::new(group.severity_number);
        self.services.as_ref().is_none_or(|services| services.contains(&group.service))
            && self.severity_min.is_none_or(|min| severity.is_some_and(|number| number >= min))
    }
}

impl Snapshot {
    /// Counts the log records that match, by steps of this length, counted from 1970. What counts
    /// of files cannot answer is left to the caller, as [`CountedLogs::uncounted`]: everything when
    /// steps are not of whole minutes, or when the filter asks for more than time, service and
    /// severity.
    #[must_use]
    pub fn count_logs(&self, filter: &LogFilter, step: DurationNanos) -> CountedLogs {
        let everything = || CountedLogs { cells: Vec::new(), uncounted: vec![filter.time] };
        if !filter.is_of_counts() || step.0 == 0 || !step.0.is_multiple_of(MINUTE) {
            return everything();
        }
        let start = filter.time.start.map_or(0, |start| start.0);
        let end = filter.time.end.map_or(u64::MAX, |end| end.0);
        let query =
            LogCountQuery { snapshot: self, filter, asked: start..end.max(start), step: step.0 };
        let mut damaged = HashSet::new();
        loop {
            match query.answer(&damaged) {
                Ok(Some(answer)) => return answer,
                Ok(None) => return everything(),
                Err(DamagedCounts(file)) => damaged.insert(file),
            };
        }
    }
}

impl<'a> LogCountQuery<'a> {
    /// The answer; `None` when it is too long, or a column of memory cannot be read, or the query
    /// is to end.
    fn answer(&self, damaged: &HashSet<usize>) -> Result<Option<CountedLogs>, DamagedCounts> {
        // Minutes of which every row has to be looked at, whatever counts there are.
        let mut blind: Vec<Range<u64>> = Vec::new();
        let mut minutes: Vec<SourceMinute> = Vec::new();
        for chunk in &self.snapshot.logs.chunks {
            match self.minutes_in_memory(chunk) {
                Ok(of_chunk) => minutes.extend(of_chunk),
                Err(_) => return Ok(None),
            }
        }
        let mut files: Vec<(usize, &Arc<DataFile>, Vec<MinuteTimes>)> = Vec::new();
        let scan = self.snapshot.indexes.begin_scan();
        for (number, file) in self.snapshot.logs.files.iter().enumerate() {
            let (first, last) = file.times();
            if !self.overlaps(first.0, last.0) {
                continue;
            }
            if self.snapshot.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let index = self.snapshot.indexes.log_counts(scan, file);
            let pages = index.as_ref().and_then(|index| Some((index, index.log_counts()?)));
            let Some((index, pages)) = pages.filter(|_| !damaged.contains(&number)) else {
                blind.push(first.0 / MINUTE..last.0 / MINUTE + 1);
                continue;
            };
            let of_file = self.minutes_of(index, pages).ok_or_else(|| self.damaged(number))?;
            // All sources of a minute are compared, also those whose records are past the window.
            let asked = of_file.iter().filter(|times| {
                let start = times.minute * MINUTE;
                self.overlaps(start, start.saturating_add(MINUTE - 1))
            });
            minutes.extend(asked.map(|times| SourceMinute { times: *times, is_counted: true }));
            files.push((number, file, of_file));
        }
        let (counted, uncounted) = self.partition(minutes, blind);
        let Some(cells) = self.add_up(&files, &counted)? else { return Ok(None) };
        Ok(Some(CountedLogs { cells, uncounted }))
    }

    fn overlaps(&self, first: u64, last: u64) -> bool {
        self.asked.start <= last && first < self.asked.end
    }

    fn minutes_of(&self, index: &RolledUp, pages: &CountPages) -> Option<Vec<MinuteTimes>> {
        pages.minutes(&mut |range| index.page(range))
    }

    fn minutes_in_memory(&self, chunk: &Chunk) -> Result<Vec<SourceMinute>, StorageError> {
        let (first, last) = chunk.times();
        if !self.overlaps(first.0, last.0) {
            return Ok(Vec::new());
        }
        let (batch, column) = (chunk.batch(), Signal::Logs.time_column());
        let times = OptionalColumn::<Int64Array>::from_batch(batch, column)?;
        let mut minutes: HashMap<u64, MinuteTimes, RandomState> = HashMap::default();
        for row in 0..batch.num_rows() {
            let time = times.unsigned(row);
            if self.asked.contains(&time) {
                minutes.entry(time / MINUTE).or_insert(MinuteTimes::at(time)).add(time);
            }
        }
        Ok(minutes.into_values().map(|times| SourceMinute { times, is_counted: false }).collect())
    }

    /// The minutes whose counts hold, ascending, and the times of which rows have to be counted.
    fn partition(
        &self,
        mut minutes: Vec<SourceMinute>,
        mut blind: Vec<Range<u64>>,
    ) -> (Vec<u64>, Vec<TimeRange>) {
        minutes.sort_unstable_by_key(|of| (of.times.minute, of.times.first));
        let mut counted = Vec::new();
        for sources in minutes.chunk_by(|one, other| one.times.minute == other.times.minute) {
            let minute = sources[0].times.minute;
            // A record that is in two sources has one time.
            let are_apart = sources.windows(2).all(|pair| pair[0].times.last < pair[1].times.first);
            let holds = |of: &SourceMinute| {
                of.is_counted
                    && self.asked.contains(&of.times.first)
                    && self.asked.contains(&of.times.last)
            };
            if are_apart && sources.iter().all(holds) {
                counted.push(minute);
            } else {
                blind.push(minute..minute + 1);
            }
        }
        let mut granule = 1;
        let blind = loop {
            let wide = |range: &Range<u64>| {
                range.start / granule * granule..range.end.next_multiple_of(granule)
            };
            let ranges = merged(blind.iter().map(wide).collect());
            if ranges.len() <= RANGES_MAX {
                break ranges;
            }
            granule *= 2;
        };
        counted.retain(|minute| {
            let next = blind.partition_point(|range| range.end <= *minute);
            blind.get(next).is_none_or(|range| *minute < range.start)
        });
        let uncounted = blind.into_iter().filter_map(|range| {
            let start = range.start.saturating_mul(MINUTE).max(self.asked.start);
            let end = range.end.saturating_mul(MINUTE).min(self.asked.end);
            (start < end).then(|| TimeRange {
                start: Some(UnixNanos(start)),
                end: Some(UnixNanos(end)).filter(|end| end.0 < u64::MAX),
            })
        });
        (counted, uncounted.collect())
    }

    /// Adds up the cells of these minutes. `None` when there are too many, or the query is to end.
    fn add_up(
        &self,
        files: &[(usize, &Arc<DataFile>, Vec<MinuteTimes>)],
        counted: &[u64],
    ) -> Result<Option<Vec<LogCountCell>>, DamagedCounts> {
        let mut groups: Vec<SeverityGroup> = Vec::new();
        let mut numbers: HashMap<SeverityGroup, usize, RandomState> = HashMap::default();
        let mut counts: HashMap<(u64, usize), u64, RandomState> = HashMap::default();
        let scan = self.snapshot.indexes.begin_scan();
        for (number, file, minutes) in files {
            if !minutes.iter().any(|times| counted.binary_search(&times.minute).is_ok()) {
                continue;
            }
            if self.snapshot.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let index = self.snapshot.indexes.log_counts(scan, file);
            let page = index
                .as_ref()
                .and_then(|index| index.log_counts()?.cells(&mut |range| index.page(range)));
            let page = page.filter(|page| page.minutes.len() == minutes.len());
            let page = page.ok_or_else(|| self.damaged(*number))?;
            let of_page: Vec<Option<usize>> = page
                .groups
                .into_iter()
                .map(|group| {
                    let is_asked = self.filter.includes(&group);
                    is_asked.then(|| {
                        *numbers.entry(group).or_insert_with_key(|group| {
                            groups.push(group.clone());
                            groups.len() - 1
                        })
                    })
                })
                .collect();
            for (times, cells) in minutes.iter().zip(&page.minutes) {
                if counted.binary_search(&times.minute).is_err() {
                    continue;
                }
                let start = times.minute * MINUTE;
                let step = start - start % self.step;
                for (group, count) in cells {
                    if let Some(Some(group)) = of_page.get(*group as usize) {
                        *counts.entry((step, *group)).or_default() += count;
                    }
                }
            }
            if counts.len() > CELLS_MAX {
                return Ok(None);
            }
        }
        let names: Vec<Arc<str>> =
            groups.iter().map(|group| Arc::from(group.service.as_str())).collect();
        let cell = |((step, group), count): ((u64, usize), u64)| LogCountCell {
            step: UnixNanos(step),
            service: Arc::clone(&names[group]),
            severity_number: groups[group].severity_number,
            count,
        };
        let mut cells: Vec<LogCountCell> = counts.into_iter().map(cell).collect();
        cells.sort_unstable();
        Ok(Some(cells))
    }

    fn damaged(&self, number: usize) -> DamagedCounts {
        let indexes = &self.snapshot.indexes;
        indexes.damaged(Signal::Logs, indexes.begin_scan(), &self.snapshot.logs.files[number]);
        DamagedCounts(number)
    }
}
