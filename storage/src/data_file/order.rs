//! Where rows go: into which file and in which order.
//!
//! Files hold one hour each. In a file, spans are ordered by their trace's earliest start, then
//! trace, then start: a trace is one run of rows, and rows follow time. They come in about that
//! order too, so what a flush copies side by side lies side by side in memory. Log records are
//! ordered by time slot, service and time. `merge` keeps both orders.

use std::ops::Range;

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
    // Comparing what lies side by side is several times faster than looking it up each time.
    let mut keys: Vec<(u128, UnixNanos, usize)> = (0..batch.num_rows())
        .map(|row| (trace_key(ids.bytes(row).unwrap_or_default()), starts.time(row), row))
        .collect();
    keys.sort_unstable();
    let mut end = 0;
    let runs = keys
        .chunk_by(|left, right| left.0 == right.0)
        .map(|run| {
            let start = end;
            end += run.len();
            start..end
        })
        .collect();
    let rows = keys.into_iter().map(|(_, _, row)| row).collect();
    Ok(Traces { rows, runs })
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
    let mut placed = Vec::with_capacity(traces.rows.len());
    for (trace, run) in traces.runs.iter().enumerate() {
        let rows = &traces.rows[run.clone()];
        let starts = rows.iter().map(|row| hours.times.unsigned(*row));
        let begin = starts.filter(|start| *start != 0).min().unwrap_or(0);
        for (position, row) in rows.iter().enumerate() {
            placed.push(((hours.of(*row), begin, trace, position), *row));
        }
    }
    placed.sort_unstable();
    Ok(placed
        .into_iter()
        .map(|((hour, ..), row)| Placed { hour, row, time: hours.times.time(row) })
        .collect())
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
