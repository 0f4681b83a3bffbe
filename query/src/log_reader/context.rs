//! The records around one: what the same sender said just before and after.
//!
//! The same sender is the same resource: one instance of one service. Each side is a scan that stops
//! when it has the nearest records.

use std::{collections::BTreeSet, ops::ControlFlow};

use tidings_proto::{
    UnixNanos,
    api::{LogContext, LogView},
};
use tidings_storage::{Detail, LogFilter, LogRows, Scan, ScanStats, TimeRange};

use super::{RecordKey, is_before, log_view, pop_last_key, read, rows_needed, scan_in_order};
use crate::{
    QueryError,
    cursor::LogOrder,
    execution::{Reader, searched},
};

/// Around which record, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogContextSearch {
    /// The record's content hash, which is its id.
    pub id: u64,
    /// Its time; every record is looked at when it is not known.
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

/// The record with those around it.
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
    // The nearest first: those are shown if there is no room for all.
    let mut before = read(reader, &filters, LogOrder::Newest, before)?;
    let after = read(reader, &filters, LogOrder::Oldest, after)?;
    stats.complete &= before.cut.is_none() && after.cut.is_none();
    before.logs.reverse();
    Ok(LogContext {
        before: before.logs,
        after: after.logs,
        log: found.log,
        searched: searched(reader, stats),
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
    let scan = Scan { detail: Detail::Full, rows_max: reader.settings.search_rows_max };
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
    // A record that was found ended the scan.
    Ok((found, ScanStats { complete: stats.complete || is_found, ..stats }))
}

fn add(stats: &mut ScanStats, more: ScanStats) {
    stats.rows = stats.rows.saturating_add(more.rows);
    stats.files = stats.files.saturating_add(more.files);
}

/// The keys of what the record's sender said.
fn of_sender(rows: &LogRows, found: &ContextRecord) -> impl Iterator<Item = RecordKey> {
    let same = |row: &usize| rows.resource_key(*row) == found.resource;
    (0..rows.len()).filter(same).map(|row| (rows.time(row), rows.content_hash(row)))
}

/// The keys of the records of its sender that are nearest to it in this order, `count` at most.
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
    let scan = Scan { detail: Detail::Attributes, rows_max };
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
    // A scan that had enough left rows out; one that did not may have missed some.
    stats.complete &= read.complete || (keys.len() >= count && read.rows < rows_max);
    Ok(keys)
}
