//! The records around one record: those of the same sender just before and after.
//!
//! The same sender means the same resource: one instance of one service. Each side is a scan that
//! stops when it has the nearest records.

use std::{collections::BTreeSet, ops::ControlFlow};

use tidings_proto::{
    UnixNanos,
    api::{LogContext, LogView},
};
use tidings_storage::{LogFilter, LogRows, Projection, Scan, ScanStats, TimeRange};

use super::{RecordKey, is_before, log_view, pop_last_key, read, rows_needed, scan_in_order};
use crate::{
    QueryError,
    cursor::LogOrder,
    execution::{Reader, search_stats},
};

/// Selection of a record, and the number of records around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogContextSearch {
    /// The record's content hash, which is its id.
    pub id: u64,
    /// The record's time. Without it, every record is read.
    pub time: Option<UnixNanos>,
    /// Maximum number of records before it.
    pub before: usize,
    /// Maximum number of records after it.
    pub after: usize,
}

/// The record and its sender.
struct ContextRecord {
    key: RecordKey,
    log: LogView,
    service: String,
    resource: String,
}

/// Returns the record with those around it.
pub(crate) fn context(
    reader: &Reader,
    search: &LogContextSearch,
) -> Result<LogContext, QueryError> {
    let (found, mut stats) = find(reader, search)?;
    let Some(found) = found else {
        let at = search.time.map_or_else(String::new, |time| format!(" at {}", time.0));
        let what = if stats.complete {
            format!("no log record with id {:016x} is stored{at}", search.id)
        } else {
            let (rows, id) = (stats.rows, search.id);
            format!(
                "no log record with id {id:016x} is among the {rows} rows{at} that were looked \
                 at, which are not all; its time narrows the search"
            )
        };
        return Err(QueryError::NotFound { what });
    };
    let services = (!found.service.is_empty()).then(|| vec![found.service.clone()]);
    let filter = LogFilter { services, ..LogFilter::default() };
    let before = (LogOrder::Newest, search.before);
    let before = nearest(reader, &filter, &found, before, &mut stats)?;
    let after = (LogOrder::Oldest, search.after);
    let after = nearest(reader, &filter, &found, after, &mut stats)?;
    let filters = [filter];
    // The nearest records come first: they are shown when not all fit.
    let mut before = read(reader, &filters, LogOrder::Newest, before)?;
    let after = read(reader, &filters, LogOrder::Oldest, after)?;
    stats.complete &= before.cut.is_none() && after.cut.is_none();
    before.logs.reverse();
    Ok(LogContext {
        before: before.logs,
        after: after.logs,
        log: found.log,
        searched: search_stats(reader, stats),
    })
}

fn find(
    reader: &Reader,
    search: &LogContextSearch,
) -> Result<(Option<ContextRecord>, ScanStats), QueryError> {
    let end = |time: UnixNanos| UnixNanos(time.0.saturating_add(1));
    let time = TimeRange { start: search.time, end: search.time.map(end) };
    let filter = LogFilter { time, ..LogFilter::default() };
    let mut found = None;
    let scan = Scan { detail: Projection::Full, rows_max: reader.settings.search_rows_max };
    let stats = reader.logs(&filter, scan, |rows| {
        let Some(row) = (0..rows.len()).find(|row| rows.content_hash(*row) == search.id) else {
            return Ok(ControlFlow::Continue(()));
        };
        found = Some(ContextRecord {
            key: (rows.time(row), search.id),
            log: log_view(rows, row),
            service: rows.service(row).to_owned(),
            resource: rows.resource_key(row).to_owned(),
        });
        Ok(ControlFlow::Break(()))
    })?;
    let is_found = found.is_some();
    // The scan ended because it found the record.
    Ok((found, ScanStats { complete: stats.complete || is_found, ..stats }))
}

fn add(stats: &mut ScanStats, more: ScanStats) {
    stats.rows = stats.rows.saturating_add(more.rows);
    stats.files = stats.files.saturating_add(more.files);
}

/// Returns the keys of records from the record's sender.
fn of_sender(rows: &LogRows, found: &ContextRecord) -> impl Iterator<Item = RecordKey> {
    let same = |row: &usize| rows.resource_key(*row) == found.resource;
    (0..rows.len()).filter(same).map(|row| (rows.time(row), rows.content_hash(row)))
}

/// Returns at most `count` keys of records of its sender that are nearest to it in this order.
fn nearest(
    reader: &Reader,
    filter: &LogFilter,
    found: &ContextRecord,
    (order, count): (LogOrder, usize),
    stats: &mut ScanStats,
) -> Result<BTreeSet<RecordKey>, QueryError> {
    let mut keys: BTreeSet<RecordKey> = BTreeSet::new();
    if count == 0 {
        return Ok(keys);
    }
    let start = found.key.0;
    let time = match order {
        LogOrder::Newest => {
            TimeRange { start: None, end: Some(UnixNanos(start.0.saturating_add(1))) }
        }
        LogOrder::Oldest => TimeRange { start: Some(start), end: None },
    };
    let filter = LogFilter { time, ..filter.clone() };
    let rows_max = reader.settings.search_rows_max;
    let scan = Scan { detail: Projection::Attributes, rows_max };
    let visit = |rows: &LogRows| {
        for key in of_sender(rows, found).filter(|key| is_before(order, found.key, *key)) {
            keys.insert(key);
            if keys.len() > count {
                pop_last_key(&mut keys, order);
            }
        }
        Ok(rows_needed(&keys, order, count))
    };
    let read = scan_in_order(reader, (order, 0), &filter, scan, visit)?;
    add(stats, read);
    // A scan with enough records left rows out on purpose; one without may have missed records.
    stats.complete &= read.complete || (keys.len() >= count && read.rows < rows_max);
    Ok(keys)
}
