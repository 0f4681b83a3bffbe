//! A trace's log records by the row of their span.
//!
//! Owns the look-up from a row to its records. Records are sorted by time. A record without a span,
//! or of a span that is not in the trace, belongs to no row.

use tidings_proto::{UnixNanos, api::LogView};

use super::{model::TraceModel, row_index::RowIndex};

/// Log records, each with its row.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct LogIndex {
    logs: Vec<LogView>,
    rows: Vec<Option<u32>>,
    by_row: RowIndex,
    trace_start: UnixNanos,
}

impl LogIndex {
    pub(crate) fn new(model: &TraceModel, mut logs: Vec<LogView>) -> Self {
        logs.sort_by_key(|log| log.time_unix_nano);
        let rows: Vec<Option<u32>> = logs
            .iter()
            .map(|log| log.span_id.and_then(|id| model.rows_with(id).first().copied()))
            .collect();
        let by_row = RowIndex::new(model.len(), &rows);
        Self { logs, rows, by_row, trace_start: model.summary.start_unix_nano }
    }

    pub(crate) fn all(&self) -> &[LogView] {
        &self.logs
    }

    /// Returns the indexes of the row's records, in order of time.
    pub(crate) fn of_row(&self, row: u32) -> &[u32] {
        self.by_row.of_row(row)
    }

    /// Returns the number of records of the rows below `row`.
    pub(crate) fn count_below(&self, model: &TraceModel, row: u32) -> u32 {
        self.by_row.count(row + 1..model.after(row))
    }

    pub(crate) fn get(&self, log: u32) -> Option<&LogView> {
        self.logs.get(log as usize)
    }

    /// Returns the row of the record's span.
    pub(crate) fn row(&self, log: u32) -> Option<u32> {
        self.rows.get(log as usize).copied().flatten()
    }

    /// Returns the time of the record, in nanoseconds after the trace's start.
    pub(crate) fn offset(&self, log: &LogView) -> i64 {
        let (at, start) = (log.time_unix_nano.0, self.trace_start.0);
        0_i64
            .saturating_add_unsigned(at.saturating_sub(start))
            .saturating_sub_unsigned(start.saturating_sub(at))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{model::TraceModel, samples},
        LogIndex,
    };

    #[test]
    fn records_are_counted_at_and_below_their_row() {
        let shop = TraceModel::new(samples::shop());
        let logs = LogIndex::new(
            &shop,
            vec![
                samples::log(Some(samples::id(9)), 460, "a"),
                samples::log(Some(samples::id(10)), 470, "b"),
                samples::log(Some(samples::id(10)), 480, "c"),
                samples::log(Some(samples::id(77)), 490, "of a span that never came"),
            ],
        );
        assert_eq!((logs.of_row(9).len(), logs.count_below(&shop, 9)), (1, 2));
        assert_eq!(logs.count_below(&shop, 0), 3);
        assert_eq!((logs.row(1), logs.row(3)), (Some(10), None));
        assert_eq!(logs.of_row(500), [0_u32; 0]);
    }

    #[test]
    fn a_record_before_the_trace_has_a_negative_offset() {
        let shop = TraceModel::new(samples::shop());
        let mut early = samples::log(None, 0, "early");
        early.time_unix_nano.0 -= 5;
        let logs = LogIndex::new(&shop, vec![early, samples::log(None, 3, "late")]);
        let offsets: Vec<i64> = logs.all().iter().map(|log| logs.offset(log)).collect();
        assert_eq!(offsets, [-5, 3_000]);
    }
}
