//! `spans`: one row for each span.

use std::{
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_schema::SchemaRef;
use tidings_storage::{Projection, Scan, SpanFilter, SpanRows};

use super::{
    Condition, Repeats, View, pushdown,
    view_columns::{self, Column, Origin, column},
};
use crate::{
    SqlError,
    scan::{RowOutput, Source, Stored},
};

use Projection::{Attributes, Facts, Full, Ids};

/// The columns of the view.
pub(super) const COLUMNS: &[Column] = &[
    column("trace_id", Origin::Hex("trace_id"), Ids),
    column("span_id", Origin::Hex("span_id"), Ids),
    column("parent_span_id", Origin::Hex("parent_span_id"), Facts),
    column("is_root", Origin::IsRoot, Facts),
    column("start_time", Origin::Time("start_unix_nanos"), Ids),
    column("end_time", Origin::Time("end_unix_nanos"), Facts),
    column("duration_nanos", Origin::Duration, Facts),
    column("service", Origin::Word("service"), Facts),
    column("operation", Origin::Word("name"), Facts),
    column("kind", Origin::Kind, Facts),
    column("status", Origin::Status, Facts),
    column("status_message", Origin::Word("status_message"), Facts),
    column("event_count", Origin::Int("event_count"), Facts),
    column("link_count", Origin::Int("link_count"), Facts),
    column("has_exception", Origin::Truth("has_exception"), Facts),
    column("received_time", Origin::Time("received_unix_nanos"), Facts),
    column("attributes", Origin::Attributes, Attributes),
    column("resource", Origin::Resource, Attributes),
    column("scope_name", Origin::ScopeName, Full),
    column("scope_version", Origin::ScopeVersion, Full),
    column("trace_state", Origin::Word("trace_state"), Full),
    column("flags", Origin::Long("flags"), Full),
];

pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| view_columns::schema(COLUMNS));

/// The view.
#[derive(Debug)]
pub(super) struct Spans;

impl View for Spans {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, conditions: &[Condition]) -> bool {
        pushdown::spans(conditions) != SpanFilter::default()
    }

    fn time_column(&self) -> Option<&'static str> {
        Some("start_time")
    }

    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        let filter = pushdown::spans(conditions);
        let columns = columns.into_iter().map(|place| COLUMNS[place]).collect();
        Arc::new(SpanSource { columns, filter })
    }
}

#[derive(Debug)]
struct SpanSource {
    columns: Vec<Column>,
    filter: SpanFilter,
}

impl Source for SpanSource {
    fn describe(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
        format!(
            "spans, columns [{}], scanned by {}",
            names.join(", "),
            pushdown::describe(&self.filter)
        )
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let schema = view_columns::schema(&self.columns);
        // `Facts` has the hash by which repeated rows are found.
        let detail = self.columns.iter().map(|column| column.detail).max().unwrap_or(Facts);
        let detail = detail.max(Facts);
        let mut repeats = Repeats::default();
        let mut push_rows = |rows: &SpanRows, out: &mut RowOutput<'_>| {
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
            return scan_spans(stored, &self.filter, detail, out, push_rows);
        }
        let of = |start| SpanFilter { start, ..self.filter.clone() };
        let (timeless, timed) = pushdown::split_timeless(self.filter.start);
        if let Some(timeless) = timeless {
            scan_spans(stored, &of(timeless), detail, out, &mut push_rows)?;
        }
        let scan = Scan { detail, rows_max: u64::MAX };
        let snapshot = &stored.snapshot;
        let mut ended = Ok(ControlFlow::Continue(()));
        snapshot.scan_newest_spans(&of(timed), scan, 0, &mut |rows, _| {
            ended = out.meter.check().and_then(|()| push_rows(rows, out));
            pushdown::rows_needed(&ended, out.since())
        })?;
        finish(ended, !snapshot.may_miss_spans(), out)
    }
}

/// Passes matching spans to `visit`, as long as it needs more and the query may go on.
pub(super) fn scan_spans(
    stored: &Stored,
    filter: &SpanFilter,
    detail: Projection,
    out: &mut RowOutput<'_>,
    mut visit: impl FnMut(&SpanRows, &mut RowOutput<'_>) -> Result<ControlFlow<()>, SqlError>,
) -> Result<(), SqlError> {
    let mut ended = Ok(ControlFlow::Continue(()));
    let scan = Scan { detail, rows_max: u64::MAX };
    let stats = stored.snapshot.scan_spans(filter, scan, &mut |rows| {
        ended = out.meter.check().and_then(|()| visit(rows, out));
        match ended {
            Ok(flow) => flow,
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    finish(ended, stats.complete, out)
}

/// Turns the end of a scan into a result; checks the deadline even when nothing was visited.
pub(super) fn finish(
    ended: Result<ControlFlow<()>, SqlError>,
    complete: bool,
    out: &RowOutput<'_>,
) -> Result<(), SqlError> {
    if ended?.is_break() {
        return Ok(()); // Nobody wants more.
    }
    out.meter.check()?;
    if !complete {
        out.meter.mark_partial();
    }
    Ok(())
}
