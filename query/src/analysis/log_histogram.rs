//! Log records by step and severity.
//!
//! The counts in data files answer where they can. Elsewhere rows are read.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{LogHistogram, LogsInStep},
    otlp::Severity,
};
use tidings_storage::{CountedLogs, DeduplicationSet, LogFilter, Projection, Scan};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    version::mixed,
};

/// Selection of log records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogHistogramSearch {
    /// Filter of the records; their time is in the window.
    pub filter: LogFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
}

/// The records by step.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn log_histogram(
    reader: &Reader,
    search: &LogHistogramSearch,
) -> Result<LogHistogram, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let filter = LogFilter { time: window.range(), ..search.filter.clone() };
    let CountedLogs { cells, uncounted } = reader.count_logs(&filter, window.step())?;
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let mut steps: BTreeMap<UnixNanos, LogsInStep> = BTreeMap::new();
    let scan = Scan { detail: Projection::Facts, rows_max: reader.settings.search_rows_max };
    let mut add = |start_unix_nano: UnixNanos, severity_number: i32, count: u64| {
        let step = steps
            .entry(start_unix_nano)
            .or_insert_with(|| LogsInStep { start_unix_nano, ..LogsInStep::default() });
        step.count += count;
        *match Severity::from_number(severity_number) {
            None => &mut step.unspecified,
            Some(Severity::Trace) => &mut step.trace,
            Some(Severity::Debug) => &mut step.debug,
            Some(Severity::Info) => &mut step.info,
            Some(Severity::Warn) => &mut step.warn,
            Some(Severity::Error) => &mut step.error,
            Some(Severity::Fatal) => &mut step.fatal,
        } += count;
    };
    cells.iter().for_each(|bucket| add(bucket.step, bucket.severity_number, bucket.count));
    let stats = reader.logs_within(&filter, &uncounted, scan, |rows| {
        for row in 0..rows.len() {
            let time = rows.time(row);
            if seen.is_new(mixed(time.0) ^ rows.content_hash(row)) {
                add(window.step_of(time), rows.severity_number(row), 1);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(LogHistogram {
        window: window.view(),
        count: steps.values().map(|step| step.count).sum(),
        steps: steps.into_values().collect(),
        repeats_counted: seen.forgot,
        searched: search_stats(reader, stats),
    })
}
