//! Where rows go: into which file and in which order.
//!
//! Files hold one hour each. In a file, spans are ordered by their trace's earliest start, then
//! trace, then start: a trace is one run of rows, and rows follow time. They come in about that
//! order too, so what a flush copies side by side lies side by side in memory. Log records are
//! ordered by time slot, service and time. `merge` keeps both orders.

use std::{collections::HashMap, ops::Range};

use ahash::RandomState;
use arrow_array::{BinaryArray, Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use tidings_proto::{TraceId, UnixNanos};

use crate::{
    rows::column::{Column, Words, word},
    schema::Signal,
};

/// Log records of so much time are ordered by service.
pub(super) const SLOT_NANOS: u64 = 5 * 60 * 1_000_000_000;
const HOUR_NANOS: u64 = 3600 * 1_000_000_000;
/// Rows older than this, or newer, go to the hour they came in: senders with wrong clocks must
/// not be able to make a file per hour since 1970.
const PAST_NANOS: u64 = 30 * 24 * HOUR_NANOS;
const FUTURE_NANOS: u64 = 24 * HOUR_NANOS;

/// What it looks at; `derive` looks at the trace id too.
pub(super) const COLUMNS: [&str; 3] =
    ["start_unix_nanos", "time_unix_nanos", "received_unix_nanos"];

/// The rows by trace.
#[derive(Debug)]
pub(super) struct Traces {
    /// Every row once; a trace's rows are neighbours, by start.
    pub(super) rows: Vec<usize>,
    /// The stretches of `rows` that are one trace.
    pub(super) runs: Vec<Range<usize>>,
}

/// A row in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) hour: i64,
    pub(super) row: usize,
    pub(super) time: UnixNanos,
}

/// Groups spans by trace.
pub(super) fn traces(batch: &RecordBatch) -> Result<Traces, ArrowError> {
    let ids = Column::<BinaryArray>::of(batch, "trace_id")?;
    let starts = Column::<Int64Array>::of(batch, Signal::Spans.time_column())?;
    // Rows are dealt out to their traces: to compare all of them takes several times as long.
    let mut numbers: HashMap<u128, usize, RandomState> = HashMap::default();
    let mut found: Vec<(u128, usize)> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let numbered: Vec<usize> = (0..batch.num_rows())
        .map(|row| {
            let key = trace_key(ids.bytes(row).unwrap_or_default());
            let number = *numbers.entry(key).or_insert_with(|| {
                found.push((key, counts.len()));
                counts.push(0);
                counts.len() - 1
            });
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
        rows[ends[number]] = (starts.time(row), row);
        ends[number] += 1;
    }
    runs.iter().for_each(|run| rows[run.clone()].sort_unstable());
    Ok(Traces { rows: rows.into_iter().map(|(_, row)| row).collect(), runs })
}

/// The trace id as a number of the same order.
fn trace_key(id: &[u8]) -> u128 {
    u128::from_be_bytes(whole_id(id))
}

/// The trace id of a row in its full length, which ours have.
pub(super) fn whole_id(id: &[u8]) -> [u8; TraceId::LEN] {
    let mut bytes = [0; TraceId::LEN];
    for (place, byte) in bytes.iter_mut().zip(id) {
        *place = *byte;
    }
    bytes
}

/// Orders spans.
pub(super) fn place_spans(
    batch: &RecordBatch,
    traces: &Traces,
    now: UnixNanos,
) -> Result<Vec<Placed>, ArrowError> {
    let hours = Hours::new(batch, Signal::Spans, now)?;
    // What of a trace goes to one file stays together: there are fewer traces than spans to sort.
    let mut stretches: Vec<(i64, u64, Range<usize>)> = Vec::with_capacity(traces.runs.len());
    for run in &traces.runs {
        let starts = traces.rows[run.clone()].iter().map(|row| hours.times.unsigned(*row));
        let begin = starts.filter(|start| *start != 0).min().unwrap_or(0);
        for place in run.clone() {
            let hour = hours.of(traces.rows[place]);
            match stretches.last_mut() {
                Some((of, _, last)) if *of == hour && place > run.start => last.end += 1,
                _ => stretches.push((hour, begin, place..place + 1)),
            }
        }
    }
    stretches.sort_unstable_by_key(|(hour, begin, places)| (*hour, *begin, places.start));
    let place = |(hour, row): (i64, usize)| Placed { hour, row, time: hours.times.time(row) };
    let rows = |(hour, _, places): (i64, u64, Range<usize>)| {
        traces.rows[places].iter().map(move |row| (hour, *row))
    };
    Ok(stretches.into_iter().flat_map(rows).map(place).collect())
}

/// Orders log records.
pub(super) fn place_logs(batch: &RecordBatch, now: UnixNanos) -> Result<Vec<Placed>, ArrowError> {
    let hours = Hours::new(batch, Signal::Logs, now)?;
    let services = Words::of(batch, "service")?;
    let mut placed: Vec<Placed> = (0..batch.num_rows())
        .map(|row| Placed { hour: hours.of(row), row, time: hours.times.time(row) })
        .collect();
    placed.sort_unstable_by_key(|placed| {
        let slot = placed.time.0 / SLOT_NANOS;
        (placed.hour, slot, word(services.as_ref(), placed.row), placed.time, placed.row)
    });
    Ok(placed)
}

struct Hours {
    times: Column<Int64Array>,
    received: Column<Int64Array>,
    now: UnixNanos,
}

impl Hours {
    fn new(batch: &RecordBatch, signal: Signal, now: UnixNanos) -> Result<Self, ArrowError> {
        Ok(Self {
            times: Column::of(batch, signal.time_column())?,
            received: Column::of(batch, "received_unix_nanos")?,
            now,
        })
    }

    fn of(&self, row: usize) -> i64 {
        let time = self.times.unsigned(row);
        let earliest = self.now.0.saturating_sub(PAST_NANOS).max(1);
        let latest = self.now.0.saturating_add(FUTURE_NANOS);
        let plausible = (earliest..=latest).contains(&time);
        let time = if plausible { time } else { self.received.unsigned(row) };
        (time / HOUR_NANOS).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{columns::span_rows, samples};

    proptest! {
        #[test]
        fn spans_are_ordered_by_hour_then_by_when_their_trace_began_then_by_trace_and_start(
            request in samples::traces(),
        ) {
            let batch = span_rows(&request, samples::NOW).unwrap();
            let ids = Column::<BinaryArray>::of(&batch, "trace_id").unwrap();
            let starts = Column::<Int64Array>::of(&batch, "start_unix_nanos").unwrap();
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
            let hours = Hours::new(&batch, Signal::Spans, samples::NOW).unwrap();
            rows.sort_by_key(|row| (hours.of(*row), begin(*row), within(*row)));
            let placed = place_spans(&batch, &traces, samples::NOW).unwrap();
            prop_assert_eq!(placed.iter().map(|placed| placed.row).collect::<Vec<_>>(), rows);
        }
    }
}
