//! `red`: rate, errors and duration of spans. There is one row for each minute, service, operation,
//! kind and status. It is read from the store's rollups where they have the counts.

mod minutes;

use std::{
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_array::{ArrayRef, Int64Array, TimestampNanosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidings_proto::{DurationNanos, UnixNanos, api::LatencyStats};
use tidings_storage::{CallAccumulator, CallAggregate, CallBounds, Latency, SpanFilter};

use super::{Condition, Predicate, View, pushdown, view_columns::timestamp};
use crate::{
    SqlError,
    scan::{RowOutput, Source, Stored},
};

use minutes::{AllMinutes, RowSink};

/// Length of a row's time bucket.
pub(super) const MINUTE: DurationNanos = DurationNanos(60_000_000_000);
/// A duration column, and the function that reads its value.
type DurationColumn = (&'static str, fn(&LatencyStats) -> DurationNanos);

const DURATIONS: [DurationColumn; 7] = [
    ("duration_sum_nanos", |stats| stats.sum_nano),
    ("duration_min_nanos", |stats| stats.min_nano),
    ("p50_nanos", |stats| stats.p50_nano),
    ("p90_nanos", |stats| stats.p90_nano),
    ("p95_nanos", |stats| stats.p95_nano),
    ("p99_nanos", |stats| stats.p99_nano),
    ("duration_max_nanos", |stats| stats.max_nano),
];
/// Name of the column with the number of calls that have a duration.
const TIMED: &str = "timed";

/// Fields of the duration columns.
pub(super) fn duration_fields() -> impl Iterator<Item = Field> {
    let names = DURATIONS.iter().map(|(name, _)| *name).chain([TIMED]);
    names.map(|name| Field::new(name, DataType::Int64, true))
}

/// Values of the duration columns; null where no call has ended.
pub(super) fn durations<'a>(of: impl Iterator<Item = &'a Latency>) -> Vec<ArrayRef> {
    let stats: Vec<_> = of.map(|latency| (latency.stats(), latency.count())).collect();
    let columns = DURATIONS.iter().map(|(_, read)| {
        let value = |(stats, count): &(LatencyStats, u64)| {
            (*count > 0).then(|| i64::try_from(read(stats).0).unwrap_or(i64::MAX))
        };
        Arc::new(stats.iter().map(value).collect::<Int64Array>()) as ArrayRef
    });
    let timed = stats.iter().map(|(_, count)| i64::try_from(*count).ok());
    columns.chain([Arc::new(timed.collect::<Int64Array>()) as ArrayRef]).collect()
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let mut fields = vec![
        field("minute", timestamp()),
        field("service", DataType::Utf8),
        field("operation", DataType::Utf8),
        field("kind", DataType::Utf8),
        field("status", DataType::Utf8),
        field("calls", DataType::Int64),
        field("errors", DataType::Int64),
    ];
    fields.extend(duration_fields());
    Arc::new(Schema::new(fields))
});

/// The view.
#[derive(Debug)]
pub(super) struct Red;

impl View for Red {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, conditions: &[Condition]) -> bool {
        wanted(conditions) != SpanFilter::default()
    }

    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        Arc::new(RedSource { columns, filter: wanted(conditions) })
    }
}

fn wanted(conditions: &[Condition]) -> SpanFilter {
    let mut of = SpanFilter::default();
    for condition in conditions {
        match (condition.subject.column(), &condition.predicate) {
            (Some("service"), Predicate::OneOf(values)) => {
                of.services = of.services.or(pushdown::texts(values));
            }
            (Some("minute"), predicate) => pushdown::narrow(&mut of.start, predicate),
            (Some(name), Predicate::OneOf(values)) if values.len() == 1 => match name {
                "operation" => {
                    let text = pushdown::texts(values).and_then(|mut texts| texts.pop());
                    of.operation = of.operation.or(text);
                }
                "kind" => of.kind = of.kind.or(pushdown::kind(&values[0])),
                "status" => of.status = of.status.or(pushdown::status(&values[0])),
                _ => {}
            },
            _ => {}
        }
    }
    // A span that began in a minute may have begun up to a minute after the minute's begin.
    of.start.end = of.start.end.map(|end| UnixNanos(end.0.saturating_add(MINUTE.0)));
    of
}

#[derive(Debug)]
struct RedSource {
    columns: Vec<usize>,
    filter: SpanFilter,
}

impl Source for RedSource {
    fn describe(&self) -> String {
        format!("red, added up of {}", pushdown::describe(&self.filter))
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let meter = out.meter;
        let bounds = CallBounds {
            rows_max: u64::MAX,
            remembered_max: meter.limits.remembered_max,
            threads_max: 1,
        };
        let giving = RowSink::new(out, &self.columns);
        let all = AllMinutes { giving: &giving };
        let watch = || match meter.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let aggregate =
            stored.snapshot.aggregate_calls(&self.filter, MINUTE, bounds, &all, &watch)?;
        let CallAggregate { scan, repeats_counted, shares, .. } = aggregate;
        for mut share in shares {
            // Minutes of spans that came in no order.
            share.finish_from(UnixNanos(0));
        }
        let is_done = giving.finish()?;
        meter.check()?;
        if !scan.complete && !is_done {
            meter.mark_partial();
        }
        if repeats_counted {
            meter.count_repeats();
        }
        Ok(())
    }
}

/// Returns the begins of minutes as timestamps; null for spans without a start, as in `spans`.
pub(super) fn minutes(of: impl Iterator<Item = u64>) -> ArrayRef {
    let nanos = of.map(|minute| {
        let nanos = i64::try_from(minute.saturating_mul(MINUTE.0)).ok();
        nanos.filter(|nanos| *nanos > 0)
    });
    Arc::new(nanos.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}
