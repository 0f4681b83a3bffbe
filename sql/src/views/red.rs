//! `red`: rate, errors and duration of spans, a row for each minute, service, operation, kind and
//! status, out of the store's rollups where these know.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{Call, CallKey, Calls, Latency, SpanFilter, Tally, TallyBounds};

use super::{
    Stored, View,
    columns::{kind_word, status_word, timestamp},
    pushdown::{self, Condition, Subject},
};
use crate::{
    SqlError,
    limits::BATCH_ROWS,
    meter::Meter,
    source::{Out, Source},
};

/// How long a row's time is.
pub(super) const MINUTE: DurationNanos = DurationNanos(60_000_000_000);
/// What a group takes in memory besides its durations.
const BYTES_EACH: usize = 320;
/// Groups that are added up between two looks at the budget.
const GROUPS_BETWEEN_CHECKS: usize = 1_000;

/// A column that says how long some calls took, and its reading.
type DurationColumn = (&'static str, fn(&Latency) -> DurationNanos);

const DURATIONS: [DurationColumn; 8] = [
    ("duration_sum_nanos", |latency| latency.stats().sum_nano),
    ("duration_min_nanos", |latency| latency.stats().min_nano),
    ("p50_nanos", |latency| latency.stats().p50_nano),
    ("p90_nanos", |latency| latency.stats().p90_nano),
    ("p95_nanos", |latency| latency.stats().p95_nano),
    ("p99_nanos", |latency| latency.stats().p99_nano),
    ("duration_max_nanos", |latency| latency.stats().max_nano),
    ("timed", |latency| DurationNanos(latency.count())),
];

/// Those columns' fields.
pub(super) fn duration_fields() -> impl Iterator<Item = Field> {
    DURATIONS.iter().map(|(name, _)| Field::new(*name, DataType::Int64, true))
}

/// Those columns; null where no call has ended.
pub(super) fn durations<'a>(
    of: impl Iterator<Item = &'a Latency> + Clone,
) -> impl Iterator<Item = ArrayRef> {
    DURATIONS.iter().map(move |(name, read)| {
        let values = of.clone().map(|latency| {
            let known = latency.count() > 0 || *name == "timed";
            known.then(|| i64::try_from(read(latency).0).unwrap_or(i64::MAX))
        });
        Arc::new(values.collect::<Int64Array>()) as ArrayRef
    })
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

    fn uses(&self, filter: &Expr) -> bool {
        wanted(std::slice::from_ref(filter)) != SpanFilter::default()
    }

    fn source(&self, stored: &Stored, columns: Vec<usize>, filters: &[Expr]) -> Arc<dyn Source> {
        Arc::new(RedSource { stored: stored.clone(), columns, filter: wanted(filters) })
    }
}

fn wanted(filters: &[Expr]) -> SpanFilter {
    let mut of = SpanFilter::default();
    for condition in pushdown::conditions(filters) {
        match &condition {
            Condition::OneOf(Subject::Column("service"), values) => {
                of.services = of.services.or(pushdown::texts(values));
            }
            Condition::OneOf(Subject::Column(name), values) if values.len() == 1 => match *name {
                "operation" => {
                    let text = pushdown::texts(values).and_then(|mut texts| texts.pop());
                    of.operation = of.operation.or(text);
                }
                "kind" => of.kind = of.kind.or(pushdown::kind(values[0])),
                "status" => of.status = of.status.or(pushdown::status(values[0])),
                "minute" => pushdown::narrow(&mut of.start, &condition),
                _ => {}
            },
            Condition::Least(Subject::Column("minute"), _)
            | Condition::Most(Subject::Column("minute"), _) => {
                pushdown::narrow(&mut of.start, &condition);
            }
            _ => {}
        }
    }
    // What began in a minute began up to a minute after it.
    of.start.end = of.start.end.map(|end| UnixNanos(end.0.saturating_add(MINUTE.0)));
    of
}

#[derive(Debug)]
struct RedSource {
    stored: Stored,
    columns: Vec<usize>,
    filter: SpanFilter,
}

impl Source for RedSource {
    fn describe(&self) -> String {
        format!("red, added up of {}", pushdown::said(&self.filter))
    }

    fn read(&self, out: &mut Out<'_>) -> Result<(), SqlError> {
        let bounds =
            TallyBounds { rows_max: u64::MAX, remembered_max: out.meter.limits.remembered_max };
        let mut groups = Groups { of: HashMap::new(), out, kept: 0, failure: None };
        let tallied =
            self.stored.snapshot.tally_spans(&self.filter, MINUTE, bounds, &mut groups)?;
        let Groups { of, failure, .. } = groups;
        if let Some(failure) = failure {
            return Err(failure);
        }
        out.meter.check()?;
        if !tallied.scan.complete {
            out.meter.lack();
        }
        if tallied.repeats_counted {
            out.meter.count_repeats();
        }
        let mut rows: Vec<(Group, Calls)> = of.into_iter().collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for part in rows.chunks(BATCH_ROWS) {
            let batch = batch(part)
                .and_then(|batch| batch.project(&self.columns))
                .map_err(|error| SqlError::Defect { reason: error.to_string() })?;
            if out.give(&batch)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Group {
    minute: u64,
    service: Arc<str>,
    operation: Arc<str>,
    kind: i32,
    status: i32,
}

impl Group {
    fn of(key: CallKey<'_>, start: UnixNanos) -> Self {
        Self {
            minute: start.0 / MINUTE.0,
            service: key.service.into(),
            operation: key.operation.into(),
            kind: key.kind.into(),
            status: key.status.into(),
        }
    }

    fn bytes(&self) -> usize {
        BYTES_EACH + self.service.len() + self.operation.len()
    }
}

/// The groups as their calls come.
struct Groups<'a, 'b> {
    of: HashMap<Group, Calls>,
    out: &'a mut Out<'b>,
    /// What they take.
    kept: usize,
    failure: Option<SqlError>,
}

impl Groups<'_, '_> {
    fn group(&mut self, key: CallKey<'_>, start: UnixNanos) -> &mut Calls {
        let group = Group::of(key, start);
        let known = self.of.len();
        let bytes = group.bytes();
        let new = !self.of.contains_key(&group);
        if new {
            self.kept += bytes;
        }
        if new && known.is_multiple_of(GROUPS_BETWEEN_CHECKS) && self.failure.is_none() {
            self.failure = self.out.keep(self.kept).err();
        }
        self.of.entry(group).or_default()
    }
}

impl Tally for Groups<'_, '_> {
    fn begin(&mut self) {
        self.of.clear();
        self.kept = 0;
    }

    fn call(&mut self, key: CallKey<'_>, call: &Call) {
        self.group(key, call.exemplar.start_unix_nano).add(call);
    }

    fn calls(&mut self, key: CallKey<'_>, start: UnixNanos, calls: &Calls) {
        self.group(key, start).merge(calls);
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        let meter: &Meter = self.out.meter;
        let check = match self.failure.take() {
            Some(failure) => Err(failure),
            None => meter.check(),
        };
        match check {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

/// The minute's begin as the engine has it.
pub(super) fn minutes(of: impl Iterator<Item = u64>) -> ArrayRef {
    let nanos = of.map(|minute| i64::try_from(minute.saturating_mul(MINUTE.0)).ok());
    Arc::new(nanos.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

fn batch(rows: &[(Group, Calls)]) -> Result<RecordBatch, ArrowError> {
    let text = |text: fn(&Group) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|(group, _)| Some(text(group))).collect::<StringArray>())
    };
    let count = |count: fn(&Calls) -> u64| -> ArrayRef {
        let counts = rows.iter().map(|(_, calls)| i64::try_from(count(calls)).ok());
        Arc::new(counts.collect::<Int64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        minutes(rows.iter().map(|(group, _)| group.minute)),
        text(|group| &group.service),
        text(|group| &group.operation),
        text(|group| kind_word(SpanKind::try_from(group.kind).unwrap_or(SpanKind::Unspecified))),
        text(|group| status_word(StatusCode::try_from(group.status).unwrap_or(StatusCode::Unset))),
        count(|calls| calls.count),
        count(|calls| calls.errors),
    ];
    columns.extend(durations(rows.iter().map(|(_, calls)| &calls.latency)));
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
}
