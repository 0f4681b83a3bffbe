//! `traces`: one row for each trace.
//!
//! All spans of a trace must be read to know its start and its number of spans. So a filter is used
//! in two passes. The first pass finds the traces in which a span may make the trace match, and the
//! second reads all spans of those.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidings_proto::{SpanId, TraceId, UnixNanos, otlp::StatusCode};
use tidings_storage::{Projection, SpanFilter, SpanRows, TimeRange};

use super::{
    Condition, Predicate, View, pushdown, spans_view::scan_spans, view_columns::timestamp,
};
use crate::{
    SqlError,
    limits::BATCH_ROWS,
    scan::{RowOutput, Source, Stored},
};

/// Maximum number of traces looked up by id; beyond it a full scan is cheaper.
const FOUND_MAX: usize = 10_000;
/// Memory of a trace in bytes, without its spans' hashes.
const BYTES_EACH: usize = 240;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("trace_id", DataType::Utf8),
        field("root_service", DataType::Utf8),
        field("root_operation", DataType::Utf8),
        field("has_root", DataType::Boolean),
        field("start_time", timestamp()),
        field("end_time", timestamp()),
        field("duration_nanos", DataType::Int64),
        field("spans", DataType::Int64),
        field("errors", DataType::Int64),
        field("services", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))),
        field("service_count", DataType::Int64),
    ]))
});

/// The view.
#[derive(Debug)]
pub(super) struct Traces;

impl View for Traces {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, conditions: &[Condition]) -> bool {
        TraceFilters::from_conditions(conditions) != TraceFilters::default()
    }

    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        Arc::new(TraceSource { columns, wanted: TraceFilters::from_conditions(conditions) })
    }
}

/// Filters of a scan of traces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct TraceFilters {
    trace_ids: Option<Vec<TraceId>>,
    /// Start of the traces.
    start: TimeRange,
    root_services: Option<Vec<String>>,
    root_operation: Option<String>,
}

impl TraceFilters {
    fn from_conditions(conditions: &[Condition]) -> Self {
        let mut wanted = Self::default();
        for condition in conditions {
            match (condition.subject.column(), &condition.predicate) {
                (Some("trace_id"), Predicate::OneOf(values)) => {
                    wanted.trace_ids = wanted.trace_ids.or(pushdown::trace_ids(values));
                }
                (Some("root_service"), Predicate::OneOf(values)) => {
                    wanted.root_services = wanted.root_services.or(pushdown::texts(values));
                }
                (Some("root_operation"), Predicate::OneOf(values)) => {
                    let texts = pushdown::texts(values).filter(|texts| texts.len() == 1);
                    let text = texts.and_then(|mut texts| texts.pop());
                    wanted.root_operation = wanted.root_operation.or(text);
                }
                (Some("start_time"), predicate) => {
                    pushdown::narrow(&mut wanted.start, predicate);
                }
                _ => {}
            }
        }
        wanted
    }

    /// Returns a filter that at least one span of each wanted trace passes; `None` where every span
    /// would.
    fn one_span(&self) -> Option<SpanFilter> {
        let entry = SpanFilter {
            services: self.root_services.clone(),
            operation: self.root_operation.clone(),
            ..SpanFilter::default()
        };
        // The first span need not be the entry span.
        let first = SpanFilter { start: self.start, ..SpanFilter::default() };
        let any = SpanFilter::default();
        [entry, first].into_iter().find(|filter| *filter != any)
    }
}

#[derive(Debug)]
struct TraceSource {
    columns: Vec<usize>,
    wanted: TraceFilters,
}

impl Source for TraceSource {
    fn describe(&self) -> String {
        let names: Vec<_> =
            self.columns.iter().map(|place| SCHEMA.field(*place).name().as_str()).collect();
        format!("traces, columns [{}], found by {:?}", names.join(", "), self.wanted)
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let mut filter = SpanFilter::default();
        let mut among = None;
        if let Some(ids) = &self.wanted.trace_ids {
            filter.trace_ids = Some(ids.clone());
        } else if let Some(one_span) = self.wanted.one_span() {
            let found = self.find(stored, &one_span, out)?;
            if found.len() <= FOUND_MAX {
                filter.trace_ids = Some(found.into_iter().collect());
            } else {
                among = Some(found);
            }
        }
        let mut traces = TraceAggregation { among, ..TraceAggregation::default() };
        scan_spans(stored, &filter, Projection::Facts, out, |rows, out| {
            traces.add(rows);
            out.keep(traces.bytes())?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.push_rows(traces, out)
    }
}

impl TraceSource {
    /// Finds the traces in which a span passes the filter.
    fn find(
        &self,
        stored: &Stored,
        filter: &SpanFilter,
        out: &mut RowOutput<'_>,
    ) -> Result<HashSet<TraceId>, SqlError> {
        let mut found = HashSet::new();
        scan_spans(stored, filter, Projection::Ids, out, |rows, out| {
            found.extend((0..rows.len()).map(|row| rows.trace_id(row)));
            out.keep(found.capacity() * 24)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn push_rows(&self, traces: TraceAggregation, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let TraceAggregation { of, names, .. } = traces;
        let mut of: Vec<(TraceId, TraceAggregate)> = of.into_iter().collect();
        of.sort_unstable_by_key(|(id, trace)| (trace.start.unwrap_or_default(), *id));
        for part in of.rchunks(BATCH_ROWS) {
            let batch = batch(part, &names.texts)
                .and_then(|batch| batch.project(&self.columns))
                .map_err(|error| SqlError::Defect { reason: error.to_string() })?;
            if out.push_rows(&batch)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Numbers of texts.
#[derive(Debug, Default)]
struct TextNumbers {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
    bytes: usize,
}

impl TextNumbers {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.bytes += 2 * text.len() + 96;
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// The traces, aggregated while their spans arrive.
#[derive(Debug, Default)]
struct TraceAggregation {
    of: HashMap<TraceId, TraceAggregate>,
    names: TextNumbers,
    /// Limits the traces to these; `None` takes all.
    among: Option<HashSet<TraceId>>,
    spans: usize,
}

#[derive(Debug, Default)]
struct TraceAggregate {
    start: Option<UnixNanos>,
    end: Option<UnixNanos>,
    errors: i64,
    /// Content hashes of its spans, so that a repeated span counts once.
    spans: HashSet<u64>,
    services: BTreeSet<u32>,
    entry: Option<Entry>,
}

/// The entry span of a trace: the smallest by this order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    has_parent: bool,
    is_without_start: bool,
    start: UnixNanos,
    span_id: SpanId,
    content_hash: u64,
    service: u32,
    operation: u32,
}

impl TraceAggregation {
    fn add(&mut self, rows: &SpanRows) {
        for row in 0..rows.len() {
            let id = rows.trace_id(row);
            if self.among.as_ref().is_some_and(|among| !among.contains(&id)) {
                continue;
            }
            let trace = self.of.entry(id).or_default();
            if !trace.spans.insert(rows.content_hash(row)) {
                continue;
            }
            self.spans += 1;
            let (start, end) = (rows.start(row), rows.end(row));
            let known = |time: UnixNanos| (time.0 != 0).then_some(time);
            if let Some(start) = known(start) {
                trace.start = Some(trace.start.map_or(start, |first| first.min(start)));
            }
            trace.end = trace.end.max(known(end)).max(known(start));
            trace.errors += i64::from(rows.status(row) == StatusCode::Error);
            let service = self.names.number(rows.service(row));
            trace.services.insert(service);
            let entry = Entry {
                has_parent: rows.parent_span_id(row).is_some(),
                is_without_start: start.0 == 0,
                start,
                span_id: rows.span_id(row),
                content_hash: rows.content_hash(row),
                service,
                operation: self.names.number(rows.name(row)),
            };
            if trace.entry.as_ref().is_none_or(|known| entry < *known) {
                trace.entry = Some(entry);
            }
        }
    }

    fn bytes(&self) -> usize {
        let among = self.among.as_ref().map_or(0, |among| among.capacity() * 24);
        self.of.len() * BYTES_EACH + self.spans * 24 + self.names.bytes + among
    }
}

fn batch(
    traces: &[(TraceId, TraceAggregate)],
    names: &[String],
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let name = |number: u32| names.get(number as usize).map(String::as_str);
    let entry = |part: fn(&Entry) -> u32| -> ArrayRef {
        let texts = traces.iter().map(|(_, trace)| name(part(trace.entry.as_ref()?)));
        Arc::new(texts.collect::<StringArray>())
    };
    let nanos = |time: Option<UnixNanos>| time.and_then(|time| i64::try_from(time.0).ok());
    let times = |time: fn(&TraceAggregate) -> Option<UnixNanos>| -> ArrayRef {
        let times = traces.iter().map(|(_, trace)| nanos(time(trace)));
        Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    };
    let count = |count: fn(&TraceAggregate) -> Option<i64>| -> ArrayRef {
        Arc::new(traces.iter().map(|(_, trace)| count(trace)).collect::<Int64Array>())
    };
    let mut services = ListBuilder::new(StringBuilder::new());
    for (_, trace) in traces {
        let mut texts: Vec<_> = trace.services.iter().filter_map(|number| name(*number)).collect();
        texts.sort_unstable();
        services.append_value(texts.into_iter().map(Some));
    }
    let has_root =
        traces.iter().map(|(_, trace)| trace.entry.as_ref().map(|entry| !entry.has_parent));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(traces.iter().map(|(id, _)| Some(id.to_string())).collect::<StringArray>()),
        entry(|entry| entry.service),
        entry(|entry| entry.operation),
        Arc::new(has_root.collect::<BooleanArray>()),
        times(|trace| trace.start),
        times(|trace| trace.end),
        count(|trace| i64::try_from(trace.end?.since(trace.start?).0).ok()),
        count(|trace| i64::try_from(trace.spans.len()).ok()),
        count(|trace| Some(trace.errors)),
        Arc::new(services.finish()),
        count(|trace| i64::try_from(trace.services.len()).ok()),
    ];
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
}
