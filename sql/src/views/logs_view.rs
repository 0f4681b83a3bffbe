//! `logs`: one row for each log record; `matching_logs(query)`: the records that match a query in
//! the log query language.

use std::{
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tidings_query::log_condition;
use tidings_storage::{LogFilter, LogRows, Projection, Scan};

use super::{
    Argument, Condition, Repeats, View, pushdown,
    spans_view::finish,
    view_columns::{self, Column, Origin, column},
};
use crate::{
    SqlError,
    scan::{RowOutput, Source, Stored},
};

use Projection::{Attributes, Facts, Full, Ids};

const COLUMNS: &[Column] = &[
    column("time", Origin::Time("time_unix_nanos"), Ids),
    column("observed_time", Origin::Time("observed_unix_nanos"), Facts),
    column("severity_number", Origin::Int("severity_number"), Facts),
    column("severity", Origin::Severity, Facts),
    column("severity_text", Origin::Word("severity_text"), Facts),
    column("service", Origin::Word("service"), Facts),
    column("text", Origin::Word("text"), Facts),
    column("trace_id", Origin::Hex("trace_id"), Ids),
    column("span_id", Origin::Hex("span_id"), Ids),
    column("attributes", Origin::Attributes, Attributes),
    column("resource", Origin::Resource, Attributes),
    column("event_name", Origin::Word("event_name"), Full),
    column("scope_name", Origin::ScopeName, Full),
    column("scope_version", Origin::ScopeVersion, Full),
    column("flags", Origin::Long("flags"), Full),
];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| view_columns::schema(COLUMNS));

/// Name of the function that selects records.
pub(super) const MATCHING_LOGS: &str = "matching_logs";

/// The view, or the records of it that a query selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// A query in the log query language; `None` selects all records.
    query: Option<String>,
}

impl Logs {
    /// Returns the view of all records.
    pub(super) fn all() -> Self {
        Self { query: None }
    }

    /// Returns the records that a call of `matching_logs` with these arguments selects.
    pub(super) fn of_call(arguments: &[Argument<'_>]) -> Result<Self, String> {
        match arguments {
            [Argument::Later] => Ok(Self::all()),
            [query] => {
                let query = query.text().ok_or_else(wrong_call)?;
                log_condition(query).map_err(|error| error.to_string())?;
                Ok(Self { query: Some(query.to_owned()) })
            }
            _ => Err(wrong_call()),
        }
    }
}

fn wrong_call() -> String {
    format!("{MATCHING_LOGS}() takes a query of log records, as a text")
}

impl View for Logs {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, conditions: &[Condition]) -> bool {
        pushdown::logs(conditions) != LogFilter::default()
    }

    fn time_column(&self) -> Option<&'static str> {
        Some("time")
    }

    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        let filter = pushdown::logs(conditions);
        let columns = columns.into_iter().map(|place| COLUMNS[place]).collect();
        Arc::new(LogSource { columns, filter, query: self.query.clone() })
    }
}

#[derive(Debug)]
struct LogSource {
    columns: Vec<Column>,
    filter: LogFilter,
    /// Selects among the records that pass the filter.
    query: Option<String>,
}

impl LogSource {
    /// Returns the filter of the scan. Compiling a query's patterns takes time.
    fn filter(&self) -> Result<LogFilter, SqlError> {
        let condition = self.query.as_deref().map(log_condition).transpose();
        let condition =
            condition.map_err(|error| SqlError::Evaluation { reason: error.to_string() })?;
        Ok(LogFilter { condition, ..self.filter.clone() })
    }
}

impl Source for LogSource {
    fn describe(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
        let matching = match &self.query {
            Some(query) => format!(" that match {query:?}"),
            None => String::new(),
        };
        format!("logs{matching}, columns [{}], scanned by {:?}", names.join(", "), self.filter)
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let (schema, filter) = (view_columns::schema(&self.columns), self.filter()?);
        let detail = self.columns.iter().map(|column| column.detail).max().unwrap_or(Ids);
        let mut repeats = Repeats::default();
        let mut push_rows = |rows: &LogRows, out: &mut RowOutput<'_>| {
            if rows.is_empty() {
                // These batches only report the progress of the scan, and have no columns.
                return Ok(ControlFlow::Continue(()));
            }
            view_columns::in_portions(rows, |rows| {
                let batch = view_columns::batch(rows, &self.columns, Arc::clone(&schema))
                    .map_err(|error| SqlError::Defect { reason: error.to_string() })?;
                let batch = repeats.without(rows.columns(), batch, out)?;
                out.push_rows(&batch)
            })
        };
        if !out.narrows() {
            return scan_logs(stored, &filter, detail, out, push_rows);
        }
        let of = |time| LogFilter { time, ..filter.clone() };
        let (timeless, timed) = pushdown::split_timeless(filter.time);
        if let Some(timeless) = timeless {
            scan_logs(stored, &of(timeless), detail, out, &mut push_rows)?;
        }
        let scan = Scan { detail, rows_max: u64::MAX };
        let snapshot = &stored.snapshot;
        let mut ended = Ok(ControlFlow::Continue(()));
        snapshot.scan_newest_logs(&of(timed), scan, 0, &mut |rows, _| {
            ended = out.meter.check().and_then(|()| push_rows(rows, out));
            pushdown::rows_needed(&ended, out.since())
        })?;
        finish(ended, !snapshot.may_miss_logs(), out)
    }
}

/// Passes matching records to `visit`, as long as it needs more and the query may go on.
fn scan_logs(
    stored: &Stored,
    filter: &LogFilter,
    detail: Projection,
    out: &mut RowOutput<'_>,
    mut visit: impl FnMut(&LogRows, &mut RowOutput<'_>) -> Result<ControlFlow<()>, SqlError>,
) -> Result<(), SqlError> {
    let mut ended = Ok(ControlFlow::Continue(()));
    let scan = Scan { detail, rows_max: u64::MAX };
    let stats = stored.snapshot.scan_logs(filter, scan, &mut |rows| {
        ended = out.meter.check().and_then(|()| visit(rows, out));
        match ended {
            Ok(flow) => flow,
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    finish(ended, stats.complete, out)
}
