//! Queries that the counts of log records answer.
//!
//! `log_count_query` aggregates the counts by severity of a snapshot, and `log_form_query` those by
//! the form of the message. `CountQuery` divides the time range of a query into minutes with valid
//! counts and other ranges. `log_repeats` compares files that overlap in a minute. The rows of the
//! other ranges are counted, and so is memory. An answer from counts equals the answer from rows.

mod log_count_query;
mod log_form_query;
mod log_repeats;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use arrow_array::Int64Array;
use tidings_columns::{rows::column::OptionalColumn, schema::SignalSchema};
use tidings_disk::ranges::merged;
use tidings_files::{StorageError, memory::Chunk, table_file::DataFile};
use tidings_index::{Indexes, LogFilter, RolledUp, TimeRange};
use tidings_proto::{DurationNanos, Signal, UnixNanos, otlp::SeverityNumber};
use tidings_rollup::log_counts::{MINUTE, MinuteTimes, SeverityGroup};

use crate::Snapshot;
use log_repeats::LogRepeats;

pub use log_count_query::CountedLogs;
pub use log_form_query::CountedForms;

/// Maximum number of time ranges whose rows are counted. Each is a scan of its own.
const RANGES_MAX: usize = 256;
/// Maximum number of minutes of all files together. With more, rows are counted.
const MINUTES_MAX: usize = 1 << 21;

/// Function that opens the index of a file if it has counts.
type OpenCounts = fn(&Indexes, u64, &Arc<DataFile>) -> Option<RolledUp>;

/// A query over the counts of files.
pub(crate) struct CountQuery<'a> {
    snapshot: &'a Snapshot,
    /// Time range of the query in nanoseconds.
    asked: Range<u64>,
    /// Length of a step in nanoseconds: a multiple of a minute.
    step: u64,
    open: OpenCounts,
}

/// Times of a minute in one source.
struct SourceMinute {
    times: MinuteTimes,
    /// Place of the source in the list of files with counts. `None` is memory, which has no counts.
    file: Option<usize>,
}

/// File with counts, and its minutes.
struct CountedFile<'a> {
    number: usize,
    file: &'a Arc<DataFile>,
    minutes: Vec<MinuteTimes>,
}

/// Minutes with valid counts, and the files that have them.
struct CountPlan<'a> {
    files: Vec<CountedFile<'a>>,
    /// Minutes with valid counts, ascending.
    counted: Vec<u64>,
    /// Time ranges whose rows must be counted, ascending and disjoint.
    uncounted: Vec<TimeRange>,
}

/// Error: the counts of the file with this number cannot be read.
struct DamagedCounts(usize);

/// Returns true if the filter compares only time, service and severity.
fn is_of_counts(filter: &LogFilter) -> bool {
    let LogFilter {
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
    } = filter;
    trace_ids.is_none()
        && span_id.is_none()
        && keys.is_none()
        && text.is_none()
        && attributes.is_empty()
        && any_attribute.is_empty()
        && condition.is_none()
}

/// Returns true if the filter includes the records of a service and severity.
pub(crate) fn includes(filter: &LogFilter, group: &SeverityGroup) -> bool {
    let severity = SeverityNumber::new(group.severity_number);
    filter.services.as_ref().is_none_or(|services| services.contains(&group.service))
        && filter.severity_min.is_none_or(|min| severity.is_some_and(|number| number >= min))
}

impl<'a> CountQuery<'a> {
    /// Creates a query over the counts that `open` finds. `None` when counts cannot answer: the
    /// steps are not whole minutes, or the filter compares more than time, service and severity.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        filter: &LogFilter,
        step: DurationNanos,
        open: OpenCounts,
    ) -> Option<Self> {
        if !is_of_counts(filter) || step.0 == 0 || !step.0.is_multiple_of(MINUTE) {
            return None;
        }
        let start = filter.time.start.map_or(0, |start| start.0);
        let end = filter.time.end.map_or(u64::MAX, |end| end.0);
        Some(Self { snapshot, asked: start..end.max(start), step: step.0, open })
    }

    /// Aggregates the buckets of the minutes with valid counts. Returns the aggregate and the time
    /// ranges whose rows must be counted. `read` reads the buckets of a file with these minutes.
    /// `add` adds the buckets of the minutes that have the start of a step, and returns false when
    /// there are too many. Returns `None` then, when files have too many minutes, when a column of
    /// memory cannot be read, or when the query is cancelled.
    pub(crate) fn answer<T: Default, C>(
        &self,
        read: impl Fn(&RolledUp, &[MinuteTimes]) -> Option<C>,
        add: impl Fn(&mut T, C, &[Option<UnixNanos>]) -> bool,
    ) -> Option<(T, Vec<TimeRange>)> {
        let mut damaged = HashSet::new();
        loop {
            let answer = match self.plan(&damaged) {
                Ok(Some(plan)) => {
                    let sums = self.add_up(&plan, &read, &add);
                    sums.map(|sums| sums.map(|sums| (sums, plan.uncounted)))
                }
                Ok(None) => return None,
                Err(DamagedCounts(file)) => Err(DamagedCounts(file)),
            };
            match answer {
                Ok(answer) => return answer,
                Err(DamagedCounts(file)) => damaged.insert(file),
            };
        }
    }

    fn plan(&self, damaged: &HashSet<usize>) -> Result<Option<CountPlan<'a>>, DamagedCounts> {
        // Ranges of minutes whose rows must be counted because a file has no counts.
        let mut blind: Vec<Range<u64>> = Vec::new();
        let mut minutes: Vec<SourceMinute> = Vec::new();
        for chunk in &self.snapshot.logs.chunks {
            match self.minutes_in_memory(chunk) {
                Ok(of_chunk) => minutes.extend(of_chunk),
                Err(_) => return Ok(None),
            }
        }
        let mut files: Vec<CountedFile<'a>> = Vec::new();
        let mut minutes_read = 0;
        let scan = self.snapshot.indexes.begin_scan();
        for (number, file) in self.snapshot.logs.files.iter().enumerate() {
            let (first, last) = file.times();
            if !self.overlaps(first.0, last.0) {
                continue;
            }
            if self.snapshot.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let index = (self.open)(&self.snapshot.indexes, scan, file);
            let pages = index.as_ref().and_then(|index| Some((index, index.log_counts()?)));
            let Some((index, pages)) = pages.filter(|_| !damaged.contains(&number)) else {
                blind.push(first.0 / MINUTE..last.0 / MINUTE + 1);
                continue;
            };
            let of_file = pages.minutes(&mut |range| index.page(range));
            let of_file = of_file.ok_or_else(|| self.damaged(number))?;
            minutes_read += of_file.len();
            if minutes_read > MINUTES_MAX {
                return Ok(None);
            }
            // A minute needs all of its sources for the comparison, even records outside of the
            // range.
            let asked = of_file.iter().filter(|times| {
                let start = times.minute * MINUTE;
                self.overlaps(start, start.saturating_add(MINUTE - 1))
            });
            let file_index = Some(files.len());
            minutes.extend(asked.map(|times| SourceMinute { times: *times, file: file_index }));
            files.push(CountedFile { number, file, minutes: of_file });
        }
        let (counted, uncounted) = self.partition(minutes, blind, &files);
        Ok(Some(CountPlan { files, counted, uncounted }))
    }

    fn overlaps(&self, first: u64, last: u64) -> bool {
        self.asked.start <= last && first < self.asked.end
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
        Ok(minutes.into_values().map(|times| SourceMinute { times, file: None }).collect())
    }

    /// Returns the minutes with valid counts, ascending, and the time ranges whose rows must be
    /// counted.
    fn partition(
        &self,
        mut minutes: Vec<SourceMinute>,
        mut blind: Vec<Range<u64>>,
        files: &[CountedFile<'_>],
    ) -> (Vec<u64>, Vec<TimeRange>) {
        minutes.sort_unstable_by_key(|of| (of.times.minute, of.times.first));
        let mut repeats = LogRepeats::new(self.snapshot, files);
        let mut counted = Vec::new();
        for sources in minutes.chunk_by(|one, other| one.times.minute == other.times.minute) {
            let minute = sources[0].times.minute;
            let holds = |of: &SourceMinute| {
                of.file.is_some()
                    && self.asked.contains(&of.times.first)
                    && self.asked.contains(&of.times.last)
            };
            if sources.iter().all(holds) && repeats.are_apart(sources) {
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

    /// Aggregates the buckets of the plan's minutes. `None` when there are too many, or when the
    /// query is cancelled.
    fn add_up<T: Default, C>(
        &self,
        plan: &CountPlan<'_>,
        read: impl Fn(&RolledUp, &[MinuteTimes]) -> Option<C>,
        add: impl Fn(&mut T, C, &[Option<UnixNanos>]) -> bool,
    ) -> Result<Option<T>, DamagedCounts> {
        let mut sums = T::default();
        let scan = self.snapshot.indexes.begin_scan();
        for CountedFile { number, file, minutes } in &plan.files {
            let step = |times: &MinuteTimes| {
                let start = times.minute * MINUTE;
                let is_counted = plan.counted.binary_search(&times.minute).is_ok();
                is_counted.then(|| UnixNanos(start - start % self.step))
            };
            let steps: Vec<Option<UnixNanos>> = minutes.iter().map(step).collect();
            if steps.iter().all(Option::is_none) {
                continue;
            }
            if self.snapshot.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let index = (self.open)(&self.snapshot.indexes, scan, file);
            let cells = index.as_ref().and_then(|index| read(index, minutes));
            if !add(&mut sums, cells.ok_or_else(|| self.damaged(*number))?, &steps) {
                return Ok(None);
            }
        }
        Ok(Some(sums))
    }

    fn damaged(&self, number: usize) -> DamagedCounts {
        let indexes = &self.snapshot.indexes;
        indexes.damaged(Signal::Logs, indexes.begin_scan(), &self.snapshot.logs.files[number]);
        DamagedCounts(number)
    }
}

#[cfg(test)]
mod tests;
