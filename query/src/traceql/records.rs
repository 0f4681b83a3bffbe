//! The log records of spans, for queries with conditions on them.
//!
//! Owns the assignment of records to spans: a record belongs to the span whose trace id and span id
//! it has. A record without a span id belongs to no span. Records are read for the evaluated
//! traces, trace by trace, within bounds. A query without conditions on logs reads none.
//! `necessary_filters` determines the traces that need not be evaluated.

pub(super) mod necessary_filters;

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use tidings_proto::{SpanId, TraceId, UnixNanos, otlp::Severity};
use tidings_storage::{LogFilter, LogRows, Projection, Scan, ScanStats, SpanFilter, TimeRange};
use tidings_traceql::{CompiledStage, Fields, Intrinsic, Name, Value};

use super::read::list_value;
use crate::{
    QueryError,
    execution::Reader,
    search::log_traces::{LogTraces, find_log_traces},
};

/// Maximum number of records that are held in memory at once.
pub(super) const RECORDS_MAX: usize = 200_000;
/// Bytes of memory of a record without its text.
const RECORD_BYTES: usize = 100;

/// Maximum number of traces that are evaluated without a previous scan of the logs.
const TRACES_FEW: usize = 1_000;

/// Fields of a log record that the query reads.
#[derive(Debug)]
struct Record {
    /// Identity within the records of its span: time and content hash.
    key: (UnixNanos, u64),
    body: Option<Arc<str>>,
    severity: Option<Severity>,
}

/// The log records of some traces, by their spans.
#[derive(Debug, Default)]
pub(crate) struct SpanLogRecords {
    of_spans: HashMap<(TraceId, SpanId), Vec<Record>>,
}

impl SpanLogRecords {
    /// Values of an intrinsic in the records of the span, oldest first.
    pub(super) fn value(&self, intrinsic: Intrinsic, trace_id: TraceId, span_id: SpanId) -> Value {
        let records = self.of_spans.get(&(trace_id, span_id));
        let records = records.into_iter().flatten();
        list_value(records.filter_map(|record| match intrinsic {
            Intrinsic::LogBody => record.body.as_ref().map(|body| Value::Text(Arc::clone(body))),
            Intrinsic::LogSeverity => record.severity.map(Value::Severity),
            _ => None,
        }))
    }

    /// Sorts the records of each span and removes duplicates.
    fn sort_and_dedup(&mut self) {
        for records in self.of_spans.values_mut() {
            records.sort_unstable_by_key(|record| record.key);
            records.dedup_by_key(|record| record.key);
        }
    }
}

/// Result of reading the records of some traces.
pub(super) enum RecordsRead {
    All(SpanLogRecords),
    /// The records do not fit in memory.
    TooMany,
    /// A bound of the query was reached.
    Exhausted,
}

/// Fields of log records that a query reads.
#[derive(Debug, Clone, Copy)]
struct RecordColumns {
    body: bool,
    severity: bool,
}

/// Reads log records for a query.
pub(super) struct RecordReader<'a> {
    reader: &'a Reader,
    columns: RecordColumns,
    /// Time in which records count.
    time: TimeRange,
    /// Statistics of the scans so far; not complete when a bound of the query was reached.
    pub(super) stats: ScanStats,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(reader: &'a Reader, fields: &Fields, time: TimeRange) -> Self {
        let reads = |intrinsic| {
            let name = Name::Intrinsic(intrinsic);
            fields.iter().any(|field| field.name == name)
        };
        let (body, severity) = (reads(Intrinsic::LogBody), reads(Intrinsic::LogSeverity));
        Self { reader, columns: RecordColumns { body, severity }, time, stats: ScanStats::NOTHING }
    }

    /// Maximum bytes of the records that are held in memory at once.
    pub(super) fn bytes_max(&self) -> u64 {
        self.reader.limits.view_bytes_max / 2
    }

    /// Reads the records of these traces.
    pub(super) fn read(&mut self, ids: &[TraceId]) -> Result<RecordsRead, QueryError> {
        let mut records = SpanLogRecords::default();
        if !self.columns.body && !self.columns.severity {
            return Ok(RecordsRead::All(records));
        }
        let filter =
            LogFilter { trace_ids: Some(ids.to_vec()), time: self.time, ..LogFilter::default() };
        let rows_max = self.reader.settings.search_rows_max.saturating_sub(self.stats.rows);
        let scan = Scan { detail: Projection::Facts, rows_max };
        let (mut count, mut bytes, mut late) = (0, 0, false);
        let (columns, bytes_max) = (self.columns, self.bytes_max());
        let stats = self.reader.logs(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let Some((span, record)) = read_record(rows, row, columns) else { continue };
                count += 1;
                bytes += RECORD_BYTES + record.body.as_ref().map_or(0, |body| body.len());
                records.of_spans.entry(span).or_default().push(record);
            }
            late = self.reader.is_late(7);
            let is_full = count > RECORDS_MAX || bytes as u64 > bytes_max;
            Ok(if is_full || late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        self.stats.rows += stats.rows;
        self.stats.files += stats.files;
        if count > RECORDS_MAX || bytes as u64 > bytes_max {
            return Ok(RecordsRead::TooMany);
        }
        if late || !stats.complete {
            self.stats.complete = false;
            return Ok(RecordsRead::Exhausted);
        }
        records.sort_and_dedup();
        Ok(RecordsRead::All(records))
    }
}

/// Returns the record of this row with its span, if it has one.
fn read_record(
    rows: &LogRows,
    row: usize,
    columns: RecordColumns,
) -> Option<((TraceId, SpanId), Record)> {
    let span = (rows.trace_id(row)?, rows.span_id(row)?);
    let number = rows.severity_number(row);
    let record = Record {
        key: (rows.time(row), rows.content_hash(row)),
        body: columns.body.then(|| rows.text(row).into()),
        severity: Severity::from_number(number).filter(|_| columns.severity),
    };
    Some((span, record))
}

/// Restricts the filters to traces whose log records can meet the conditions of the stages. Returns
/// the statistics of the scans for that, which are complete when no trace was left out that can
/// match.
pub(super) fn restrict_to_log_traces(
    reader: &Reader,
    (stages, fields): (&[CompiledStage], &Fields),
    time: TimeRange,
    filters: &mut [SpanFilter],
) -> Result<ScanStats, QueryError> {
    let is_few =
        |filter: &SpanFilter| filter.trace_ids.as_ref().is_some_and(|ids| ids.len() <= TRACES_FEW);
    if filters.iter().all(is_few) {
        return Ok(ScanStats::NOTHING);
    }
    let Some(needed) = necessary_filters::from_stages(stages, fields) else {
        return Ok(ScanStats::NOTHING);
    };
    let needed: Vec<LogFilter> =
        needed.into_iter().map(|filter| LogFilter { time, ..filter }).collect();
    let LogTraces { traces, overflowed, stats } = find_log_traces(reader, &needed)?;
    if overflowed {
        // With this many candidates, matches are found soon without an index.
        return Ok(ScanStats { complete: true, ..stats });
    }
    for filter in filters {
        filter.trace_ids = Some(match filter.trace_ids.take() {
            Some(ids) => ids.into_iter().filter(|id| traces.contains(id)).collect(),
            None => traces.iter().copied().collect(),
        });
    }
    Ok(stats)
}
