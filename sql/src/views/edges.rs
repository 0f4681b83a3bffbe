//! `edges`: calls of one service by another, one row for each minute, caller, callee and kind of
//! call.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range, RangeInclusive},
    sync::{Arc, LazyLock},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tidings_proto::{UnixNanos, api::EdgeKind};
use tidings_query::{BoundedSnapshot, PeriodEdge, QueryError, edges_between};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallBounds, CallKey, RollupBucket, SpanFilter,
    TimeRange,
};

use super::{
    Condition, View, pushdown,
    red::{MINUTE, duration_fields, durations, minutes},
    view_columns::timestamp,
};
use crate::{
    SqlError,
    limits::BATCH_ROWS,
    scan::{RowOutput, Source, Stored},
};

/// Minutes of a week. A longer time is aggregated one week after the other.
const MINUTES_AT_ONCE: u64 = 7 * 24 * 60;
/// Memory of one minute while edges are collected, in bytes.
const MINUTE_BYTES: usize = 32;
/// Memory of one edge in bytes.
const BYTES_EACH: usize = 700;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let mut fields = vec![
        field("minute", timestamp()),
        field("caller", DataType::Utf8),
        field("caller_kind", DataType::Utf8),
        field("called", DataType::Utf8),
        field("called_kind", DataType::Utf8),
        field("kind", DataType::Utf8),
        field("calls", DataType::Int64),
        field("errors", DataType::Int64),
    ];
    fields.extend(duration_fields());
    Arc::new(Schema::new(fields))
});

/// The view.
#[derive(Debug)]
pub(super) struct Edges;

impl View for Edges {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, conditions: &[Condition]) -> bool {
        wanted(conditions) != TimeRange::default()
    }

    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        Arc::new(EdgeSource { columns, minutes: wanted(conditions) })
    }
}

fn wanted(conditions: &[Condition]) -> TimeRange {
    let mut minutes = TimeRange::default();
    for condition in conditions {
        if condition.subject.column() == Some("minute") {
            pushdown::narrow(&mut minutes, &condition.predicate);
        }
    }
    minutes
}

#[derive(Debug)]
struct EdgeSource {
    columns: Vec<usize>,
    minutes: TimeRange,
}

impl Source for EdgeSource {
    fn describe(&self) -> String {
        format!("edges, of minutes in {:?}", self.minutes)
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let Some((first, last)) = stored.snapshot.span_times() else { return Ok(()) };
        let first = self.minutes.start.map_or(first, |start| start.max(first)).0 / MINUTE.0;
        let last = self.minutes.end.map_or(last, |end| end.min(last)).0 / MINUTE.0;
        if last < first {
            return Ok(());
        }
        let stretches = match last - first < MINUTES_AT_ONCE {
            true => vec![first..=last],
            false => stretches(&minutes_with_spans(stored, first..=last, out)?),
        };
        for minutes in stretches {
            out.meter.check()?;
            if self.push_rows(stored, &minutes, out)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl EdgeSource {
    /// Passes on the edges of these minutes.
    fn push_rows(
        &self,
        stored: &Stored,
        minutes: &RangeInclusive<u64>,
        out: &mut RowOutput<'_>,
    ) -> Result<ControlFlow<()>, SqlError> {
        let (first, last) = (*minutes.start(), *minutes.end());
        let bounds = (first..=last + 1).map(|minute| UnixNanos(minute.saturating_mul(MINUTE.0)));
        let bounds: Vec<_> = bounds.collect();
        let meter = &stored.meter;
        let bounded = BoundedSnapshot {
            snapshot: stored.snapshot.clone(),
            stop: Arc::clone(&meter.stop),
            clock: Arc::clone(&meter.clock),
            deadline: meter.deadline,
        };
        let mut found = edges_between(bounded, &bounds).map_err(|error| failure(error, meter))?;
        if !found.complete {
            out.meter.mark_partial();
        }
        out.keep(found.edges.len() * BYTES_EACH)?;
        found.edges.sort_by_key(|edge| edge.period);
        for part in found.edges.chunks(BATCH_ROWS) {
            let batch = batch(part, first)
                .and_then(|batch| batch.project(&self.columns))
                .map_err(|error| SqlError::Defect { reason: error.to_string() })?;
            if out.push_rows(&batch)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Returns those of the minutes in which a span began. A span without a start, or with a clock that
/// is years off, makes the time range long and almost empty.
fn minutes_with_spans(
    stored: &Stored,
    among: RangeInclusive<u64>,
    out: &mut RowOutput<'_>,
) -> Result<BTreeSet<u64>, SqlError> {
    let nanos = |minute: u64| UnixNanos(minute.saturating_mul(MINUTE.0));
    let start = TimeRange {
        start: Some(nanos(*among.start())),
        end: Some(nanos(among.end().saturating_add(1))),
    };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let meter = out.meter;
    let bounds = CallBounds {
        rows_max: u64::MAX,
        remembered_max: meter.limits.remembered_max,
        threads_max: 1,
    };
    let watch = || match meter.check() {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let snapshot = &stored.snapshot;
    let aggregate = snapshot.aggregate_calls(&filter, MINUTE, bounds, &AllMinutes, &watch)?;
    meter.check()?;
    if !aggregate.scan.complete {
        meter.mark_partial();
    }
    let mut all = aggregate.unordered.0.clone();
    all.extend(aggregate.shares.iter().flat_map(|share| &share.0));
    out.keep(all.len() * MINUTE_BYTES)?;
    all.retain(|minute| among.contains(minute));
    Ok(all)
}

/// Divides the minutes into ranges of [`MINUTES_AT_ONCE`] at most.
fn stretches(minutes: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut stretches: Vec<RangeInclusive<u64>> = Vec::new();
    for minute in minutes {
        match stretches.last_mut() {
            Some(last) if minute - last.start() < MINUTES_AT_ONCE => {
                *last = *last.start()..=*minute;
            }
            _ => stretches.push(*minute..=*minute),
        }
    }
    stretches
}

/// Creates sets of minutes.
struct AllMinutes;

/// The minutes in which spans began.
#[derive(Debug, Default)]
struct Minutes(BTreeSet<u64>);

impl CallAccumulatorFactory for AllMinutes {
    type Accumulator = Minutes;

    fn unordered(&self) -> Minutes {
        Minutes::default()
    }

    fn for_range(&self, _: Range<UnixNanos>, _: &Arc<Minutes>) -> Minutes {
        Minutes::default()
    }
}

impl CallAccumulator for Minutes {
    fn group(&mut self, _: CallKey<'_>) -> u32 {
        0
    }

    fn call(&mut self, _: u32, call: &Call) {
        self.0.insert(call.exemplar.start_unix_nano.0 / MINUTE.0);
    }

    fn add_bucket(&mut self, _: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        self.0.insert(bucket.start().0 / MINUTE.0);
        Some(())
    }
}

fn failure(error: QueryError, meter: &crate::meter::Meter) -> SqlError {
    match (meter.check(), error) {
        (Err(ended), _) => ended,
        (Ok(()), QueryError::Storage(error)) => SqlError::Storage(error),
        (Ok(()), error) => SqlError::Evaluation { reason: error.to_string() },
    }
}

fn edge_word(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Call => "call",
        EdgeKind::Message => "message",
    }
}

fn batch(edges: &[PeriodEdge], first: u64) -> Result<RecordBatch, ArrowError> {
    let text = |text: fn(&PeriodEdge) -> &str| -> ArrayRef {
        Arc::new(edges.iter().map(|edge| Some(text(edge))).collect::<StringArray>())
    };
    let count = |count: fn(&PeriodEdge) -> u64| -> ArrayRef {
        let counts = edges.iter().map(|edge| i64::try_from(count(edge)).ok());
        Arc::new(counts.collect::<Int64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        minutes(edges.iter().map(|edge| first + u64::from(edge.period))),
        text(|edge| &edge.from.1),
        text(|edge| edge.from.0.word()),
        text(|edge| &edge.to.1),
        text(|edge| edge.to.0.word()),
        text(|edge| edge_word(edge.kind)),
        count(|edge| edge.calls.count),
        count(|edge| edge.calls.errors),
    ];
    columns.extend(durations(edges.iter().map(|edge| &edge.calls.latency)));
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
}
