//! Order of rows: the file of each row, and its position in the file.
//!
//! A file holds one hour. The exception is the spanning file of a flush. It holds rows of hours
//! that are too far away, or that have too few rows, for a file of their own. Within a file, spans
//! are ordered by the earliest start of their trace, then by trace, then by start. A trace is
//! therefore one run of rows, and rows follow time. Spans are received in about that order too.
//! Rows that a flush copies side by side are therefore side by side in memory. Log records are
//! ordered by time slot, service and time. `merge` keeps both orders.

use std::{cmp::Reverse, collections::HashMap, hash::Hash, ops::Range};

use ahash::RandomState;
use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use tidings_columns::{
    rows::column::{OptionalColumn, WordColumn},
    schema::SignalSchema,
};
use tidings_files::table_file::HOUR_NANOS;
use tidings_proto::{Signal, TraceId, UnixNanos};

/// Length of a time slot. Within a slot, log records are ordered by service.
pub(super) const SLOT_NANOS: u64 = 5 * 60 * 1_000_000_000;
/// Maximum age and maximum future time of rows in a file of their own hour. The limits keep senders
/// with wrong clocks from creating a partition for each hour since 1970.
const PAST_NANOS: u64 = 30 * 24 * HOUR_NANOS;
const FUTURE_NANOS: u64 = 24 * HOUR_NANOS;
/// Hours within this distance of the flush's hour have a file, however few their rows are. Live
/// traffic therefore keeps its files, whatever else is received.
const NEAR_HOURS: u64 = 1;
/// Number of hours with a file of their own: those with the most rows. With the spanning file, a
/// flush then writes 6 data files and as many indexes.
const HOURS_FEW: usize = 5;
/// Number of such hours if the additional ones have [`HOUR_ROWS`] rows each, as in an import: 12
/// data files.
const HOURS_MAX: usize = 11;
/// Number of rows that justify another file.
const HOUR_ROWS: usize = 32 << 10;

/// Columns that determine the order, of both tables.
const COLUMNS: [&str; 5] =
    ["trace_id", "start_unix_nanos", "time_unix_nanos", "received_unix_nanos", "service"];

/// Returns the columns that determine the order of the rows of a table.
pub(super) fn columns(signal: Signal) -> impl Iterator<Item = &'static str> {
    // Log records are not ordered by trace.
    COLUMNS.into_iter().filter(move |name| signal == Signal::Spans || *name != "trace_id")
}

/// Rows grouped by trace.
#[derive(Debug)]
pub(super) struct TraceOrder {
    /// Each row once. The rows of a trace are consecutive and ordered by start.
    pub(super) rows: Vec<usize>,
    /// Ranges of `rows` that are one trace each.
    pub(super) runs: Vec<Range<usize>>,
}

/// File of a flush for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FlushTarget {
    /// Partition of the file.
    pub(super) hour: i64,
    /// True for the file with rows of many hours.
    pub(super) is_spanning: bool,
}

/// Row in the order of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrderedRow {
    pub(super) target: FlushTarget,
    pub(super) row: usize,
}

/// Groups spans by trace.
pub(super) fn traces(batch: &RecordBatch) -> Result<TraceOrder, ArrowError> {
    let ids = OptionalColumn::<BinaryArray>::from_batch(batch, "trace_id")?;
    let starts = OptionalColumn::<Int64Array>::from_batch(batch, Signal::Spans.time_column())?;
    let keys = (0..batch.num_rows()).map(|row| trace_key(ids.bytes(row).unwrap_or_default()));
    let (rows, runs) = ordered_by(keys, |row| starts.time(row));
    Ok(TraceOrder { rows, runs })
}

/// Returns the rows ordered by key, then by time, then by row, and the ranges that have one key
/// each. `keys` has the key of each row.
fn ordered_by<K: Copy + Eq + Hash + Ord>(
    keys: impl Iterator<Item = K>,
    time: impl Fn(usize) -> UnixNanos,
) -> (Vec<usize>, Vec<Range<usize>>) {
    // A counting sort by key is several times as fast as a comparison sort.
    let mut numbers: HashMap<K, usize, RandomState> = HashMap::default();
    let mut found: Vec<(K, usize)> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut last: Option<(K, usize)> = None;
    let numbered: Vec<usize> = keys
        .map(|key| {
            let number = match last {
                Some((of_last, number)) if of_last == key => number,
                _ => *numbers.entry(key).or_insert_with(|| {
                    found.push((key, counts.len()));
                    counts.push(0);
                    counts.len() - 1
                }),
            };
            last = Some((key, number));
            counts[number] += 1;
            number
        })
        .collect();
    found.sort_unstable();
    let mut ends = counts.clone();
    let mut end = 0;
    let runs: Vec<Range<usize>> = found
        .into_iter()
        .map(|(_, number)| {
            ends[number] = end;
            end += counts[number];
            end - counts[number]..end
        })
        .collect();
    let mut rows = vec![(UnixNanos(0), 0); numbered.len()];
    for (row, number) in numbered.into_iter().enumerate() {
        rows[ends[number]] = (time(row), row);
        ends[number] += 1;
    }
    runs.iter().for_each(|run| rows[run.clone()].sort_unstable());
    (rows.into_iter().map(|(_, row)| row).collect(), runs)
}

/// Returns the trace id as a number with the same order.
fn trace_key(id: &[u8]) -> u128 {
    u128::from_be_bytes(padded_trace_id(id))
}

/// Returns the trace id of a row, padded to the full length.
pub(super) fn padded_trace_id(id: &[u8]) -> [u8; TraceId::LEN] {
    let mut bytes = [0; TraceId::LEN];
    for (place, byte) in bytes.iter_mut().zip(id) {
        *place = *byte;
    }
    bytes
}

/// Orders spans.
pub(super) fn order_spans(
    batch: &RecordBatch,
    traces: &TraceOrder,
    now: UnixNanos,
) -> Result<Vec<OrderedRow>, ArrowError> {
    let targets = Targets::new(batch, Signal::Spans, now)?;
    // Rows of a trace in the same file are sorted as a unit, because traces are fewer than spans.
    let mut stretches: Vec<(FlushTarget, u64, Range<usize>)> =
        Vec::with_capacity(traces.runs.len());
    for run in &traces.runs {
        let starts = traces.rows[run.clone()].iter().map(|row| targets.times.unsigned(*row));
        let begin = starts.filter(|start| *start != 0).min().unwrap_or(0);
        for place in run.clone() {
            let target = targets.target(traces.rows[place]);
            match stretches.last_mut() {
                Some((of, _, last)) if *of == target && place > run.start => last.end += 1,
                _ => stretches.push((target, begin, place..place + 1)),
            }
        }
    }
    stretches.sort_unstable_by_key(|(target, begin, places)| (*target, *begin, places.start));
    let place = |(target, row)| OrderedRow { target, row };
    let rows = |(target, _, places): (FlushTarget, u64, Range<usize>)| {
        traces.rows[places].iter().map(move |row| (target, *row))
    };
    Ok(stretches.into_iter().flat_map(rows).map(place).collect())
}

/// Orders log records.
pub(super) fn order_logs(
    batch: &RecordBatch,
    now: UnixNanos,
) -> Result<Vec<OrderedRow>, ArrowError> {
    let targets = Targets::new(batch, Signal::Logs, now)?;
    let services = WordColumn::from_batch(batch, "service")?;
    let ranks = ServiceRanks::new(services.as_ref());
    let keys = (0..batch.num_rows()).map(|row| {
        let slot = targets.times.unsigned(row) / SLOT_NANOS;
        (targets.target(row), slot, ranks.rank(row))
    });
    let (rows, runs) = ordered_by(keys, |row| targets.times.time(row));
    let mut placed = Vec::with_capacity(rows.len());
    for run in runs {
        // The target is part of the key.
        let target = targets.target(rows[run.start]);
        placed.extend(rows[run].iter().map(|row| OrderedRow { target, row: *row }));
    }
    Ok(placed)
}

/// Positions of the services of rows in the order of their names. Numbers are compared instead of
/// texts, because a flush compares them for millions of rows.
struct ServiceRanks<'a> {
    services: Option<&'a WordColumn>,
    /// Rank of each value of the dictionary. Equal names have one rank.
    ranks: Vec<usize>,
}

impl<'a> ServiceRanks<'a> {
    fn new(services: Option<&'a WordColumn>) -> Self {
        let names = services.map(|services| &services.values);
        let count = names.map_or(0, StringArray::len);
        let name = |code: usize| names.map_or("", |names| names.value(code));
        let mut distinct: Vec<&str> = (0..count).map(name).collect();
        distinct.sort_unstable();
        distinct.dedup();
        // Rank 0 is that of rows without a service, which count as an empty name.
        let rank = |name: &str| distinct.partition_point(|other| *other < name) + 1;
        let ranks = (0..count).map(|code| match name(code) {
            "" => 0,
            name => rank(name),
        });
        Self { services, ranks: ranks.collect() }
    }

    fn rank(&self, row: usize) -> usize {
        self.services.and_then(|services| services.key(row)).map_or(0, |code| self.ranks[code])
    }
}

/// Chooses the file of each row of a flush.
struct Targets {
    times: OptionalColumn<Int64Array>,
    /// Hours with a file of their own, ascending.
    own: Vec<i64>,
    spanning: FlushTarget,
}

impl Targets {
    fn new(batch: &RecordBatch, signal: Signal, now: UnixNanos) -> Result<Self, ArrowError> {
        let times = OptionalColumn::<Int64Array>::from_batch(batch, signal.time_column())?;
        let received = OptionalColumn::<Int64Array>::from_batch(batch, "received_unix_nanos")?;
        let earliest = now.0.saturating_sub(PAST_NANOS).max(1);
        let latest = now.0.saturating_add(FUTURE_NANOS);
        let mut counts: HashMap<i64, usize, RandomState> = HashMap::default();
        for row in 0..batch.num_rows() {
            let time = times.unsigned(row);
            if (earliest..=latest).contains(&time) {
                *counts.entry(hour_of(time)).or_default() += 1;
            }
        }
        let own = own_hours(counts, hour_of(now.0));
        // Retention counts the age of these rows from their receipt, so the partition is that time.
        let rows = 0..batch.num_rows();
        let of_others =
            rows.filter(|row| own.binary_search(&hour_of(times.unsigned(*row))).is_err());
        let last = of_others.map(|row| received.unsigned(row)).max().unwrap_or(0);
        let spanning = FlushTarget { hour: hour_of(last), is_spanning: true };
        Ok(Self { times, own, spanning })
    }

    fn target(&self, row: usize) -> FlushTarget {
        let hour = hour_of(self.times.unsigned(row));
        match self.own.binary_search(&hour) {
            Ok(_) => FlushTarget { hour, is_spanning: false },
            Err(_) => self.spanning,
        }
    }
}

fn hour_of(time: u64) -> i64 {
    (time / HOUR_NANOS).cast_signed()
}

/// Returns the hours that have a file of their own, ascending. `counts` has the rows of each hour,
/// and `now` is the hour of the flush.
fn own_hours(counts: HashMap<i64, usize, RandomState>, now: i64) -> Vec<i64> {
    let mut hours: Vec<(i64, usize)> = counts.into_iter().collect();
    hours.sort_unstable_by_key(|(hour, rows)| {
        (hour.abs_diff(now) > NEAR_HOURS, Reverse(*rows), Reverse(*hour))
    });
    let is_own = |(place, (_, rows)): &(usize, (i64, usize))| {
        *place < HOURS_FEW || *place < HOURS_MAX && *rows >= HOUR_ROWS
    };
    let mut own: Vec<i64> =
        hours.into_iter().enumerate().take_while(is_own).map(|(_, (hour, _))| hour).collect();
    own.sort_unstable();
    own
}

#[cfg(test)]
mod tests {
    use arrow_select::concat::concat_batches;
    use proptest::prelude::*;
    use tidings_columns::{
        conversion::{log_rows, span_rows},
        rows::{column::word, project},
    };
    use tidings_index::samples;

    use super::*;

    /// Returns the hours with files of their own in a flush at hour 1000, given the rows of each
    /// hour.
    fn own(rows: &[(i64, usize)]) -> Vec<i64> {
        own_hours(rows.iter().copied().collect(), 1000)
    }

    #[test]
    fn few_hours_have_a_file_unless_they_are_near_or_large() {
        let spread = |count: i64, rows: usize| -> Vec<(i64, usize)> {
            (0..count).map(|back| (990 - back, rows)).collect()
        };
        assert_eq!(own(&[]), Vec::<i64>::new());
        assert_eq!(own(&spread(3, 1)), [988, 989, 990]);
        assert_eq!(own(&spread(744, 1)), [986, 987, 988, 989, 990]);
        assert_eq!(own(&spread(744, HOUR_ROWS - 1)).len(), HOURS_FEW);
        assert_eq!(own(&spread(744, HOUR_ROWS)).len(), HOURS_MAX);
        let mixed = [spread(3, HOUR_ROWS), spread(9, 1)].concat();
        assert_eq!(own(&mixed).len(), HOURS_FEW);
        // Live traffic comes first, however few its rows are.
        let live = [spread(744, 9), vec![(999, 1), (1000, 1), (1001, 1)]].concat();
        assert_eq!(own(&live), [989, 990, 999, 1000, 1001]);
    }

    proptest! {
        #[test]
        fn spans_are_ordered_by_file_then_by_when_their_trace_began_then_by_trace_and_start(
            request in samples::traces(),
        ) {
            let batch = span_rows(&request, samples::NOW).unwrap();
            let ids = OptionalColumn::<BinaryArray>::from_batch(&batch, "trace_id").unwrap();
            let starts = OptionalColumn::<Int64Array>::from_batch(&batch, "start_unix_nanos").unwrap();
            let within = |row: usize| (ids.bytes(row).map(<[u8]>::to_vec), starts.time(row), row);
            let mut rows: Vec<usize> = (0..batch.num_rows()).collect();
            rows.sort_by_key(|row| within(*row));
            let traces = traces(&batch).unwrap();
            prop_assert_eq!(&traces.rows, &rows);
            let runs = rows.chunk_by(|left, right| ids.bytes(*left) == ids.bytes(*right));
            prop_assert_eq!(traces.runs.iter().map(Range::len).collect::<Vec<_>>(),
                runs.map(<[usize]>::len).collect::<Vec<_>>());

            let begin = |row: usize| {
                let same = |other: &usize| ids.bytes(*other) == ids.bytes(row);
                let starts = (0..batch.num_rows()).filter(same).map(|row| starts.unsigned(row));
                starts.filter(|start| *start != 0).min().unwrap_or(0)
            };
            let targets = Targets::new(&batch, Signal::Spans, samples::NOW).unwrap();
            rows.sort_by_key(|row| (targets.target(*row), begin(*row), within(*row)));
            let placed = order_spans(&batch, &traces, samples::NOW).unwrap();
            prop_assert_eq!(placed.iter().map(|placed| placed.row).collect::<Vec<_>>(), rows);
        }

        #[test]
        fn log_records_are_ordered_by_file_then_by_slot_then_by_service_and_time(
            requests in [samples::logs(), samples::logs()],
        ) {
            // The dictionaries of both requests have some services twice.
            let batches = requests.map(|request| {
                let batch = log_rows(&request, samples::NOW).unwrap();
                project(&batch, columns(Signal::Logs)).unwrap()
            });
            let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
            let targets = Targets::new(&batch, Signal::Logs, samples::NOW).unwrap();
            let services = WordColumn::from_batch(&batch, "service").unwrap();
            let key = |row: usize| {
                let time = targets.times.time(row);
                let service = word(services.as_ref(), row).to_owned();
                (targets.target(row), time.0 / SLOT_NANOS, service, time, row)
            };
            let mut rows: Vec<usize> = (0..batch.num_rows()).collect();
            rows.sort_by_key(|row| key(*row));
            let placed = order_logs(&batch, samples::NOW).unwrap();
            prop_assert_eq!(placed.iter().map(|placed| placed.row).collect::<Vec<_>>(), rows);
        }
    }
}
