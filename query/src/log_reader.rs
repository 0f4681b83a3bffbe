//! Finds log records.
//!
//! The order is time, then content hash, newest first unless requested otherwise. Records that are
//! equal in both are one record that arrived twice. There are two scans: the first finds the keys
//! of the page and counts, the second reads the records of these keys. When data files have the
//! counts for the query, the first scan ends with the page, and a third counts the remaining rows.

pub(crate) mod context;
pub(crate) mod correlated;
pub(crate) mod log_tail;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
};

use ahash::RandomState;
use prost::Message;
use tidings_log_query::parse;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{LogSearchResult, LogView},
    otlp::{AnyValue, Severity, Value},
};
use tidings_storage::{
    CountedLogs, LogCondition, LogFilter, LogRows, Projection, RowsNeeded, Scan, ScanStats,
    TimeRange,
};

use crate::{
    QueryError,
    cursor::{LogCursor, LogOrder},
    execution::{Reader, search_stats, total},
};

/// Step of the counts that are added up to the total.
const COUNT_STEP: DurationNanos = DurationNanos(24 * 3_600 * 1_000_000_000);

/// Selection of log records, and of a page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSearch {
    /// Filters, of which a record must match at least one.
    pub filters: Vec<LogFilter>,
    /// Order of the records.
    pub order: LogOrder,
    /// Maximum number of records on a page; 0 only counts.
    pub limit: usize,
    /// Position at which the previous page ended; its order is [`Self::order`].
    pub cursor: Option<LogCursor>,
    /// Maximum number of rows that are read.
    pub rows_max: u64,
}

impl LogSearch {
    /// Creates a search for the newest records that match, without a limit of rows.
    #[must_use]
    pub fn newest(filter: LogFilter, limit: usize) -> Self {
        Self {
            filters: vec![filter],
            order: LogOrder::Newest,
            limit,
            cursor: None,
            rows_max: u64::MAX,
        }
    }
}

/// Parses a query of log records. Compiling its patterns takes time, so this runs on a blocking
/// thread.
///
/// # Errors
/// `Parameter` names the character at which the text is not a query, and the expected syntax.
pub fn log_condition(text: &str) -> Result<LogCondition, QueryError> {
    Ok(LogCondition::new(parse(text)?))
}

/// Time and content hash, which identify a record.
pub(crate) type RecordKey = (UnixNanos, u64);

/// A page of the records that match.
pub(crate) fn search(reader: &Reader, search: &LogSearch) -> Result<LogSearchResult, QueryError> {
    let counted = count(reader, search)?;
    let counted_rows = counted.as_ref().map_or(reader.limits.counted_logs_min, |_| 0);
    let mut page = PageKeys::default();
    let mut stats = ScanStats::NOTHING;
    let has_page = search.limit > 0 || counted.is_none();
    for filter in search.filters.iter().filter(|_| has_page) {
        stats += page.find(reader, search, filter, counted_rows)?;
    }
    let found = page.keys.len() as u64;
    let has_all_of_page = found >= search.limit as u64
        || counted.as_ref().is_some_and(|counted| found >= counted.records);
    let RecordPage { logs, cut } = read(reader, &search.filters, search.order, page.keys.clone())?;
    page.keys.retain(|key| cut.is_none_or(|cut| is_before(search.order, *key, cut)));
    let seen = search.cursor.map_or(0, |cursor| cursor.seen);
    let matched = page.counted.len() as u64;
    let is_exact = stats.complete && !page.overflowed;
    let ends_here = match &counted {
        Some(counted) if counted.is_exact => page.keys.len() as u64 >= counted.records,
        _ => page.keys.len() as u64 >= matched && is_exact,
    };
    let last = last_key(&page.keys, search.order).filter(|_| !ends_here);
    let next = last.map(|(time, content_hash)| LogCursor {
        order: search.order,
        time,
        content_hash,
        seen: seen.saturating_add(page.keys.len() as u64),
    });
    Ok(LogSearchResult {
        logs,
        next_cursor: next.map(|cursor| cursor.encode()),
        total: match &counted {
            Some(counted) => total(seen.saturating_add(counted.records), counted.is_exact),
            None => total(seen.saturating_add(matched), is_exact),
        },
        searched: search_stats(
            reader,
            counted.map_or(stats, |counted| ScanStats {
                rows: stats.rows.saturating_add(counted.rows),
                complete: stats.complete || (has_all_of_page && counted.is_exact),
                ..stats
            }),
        ),
    })
}

/// The counted records after the cursor.
struct CountedRecords {
    records: u64,
    /// True if no further records exist.
    is_exact: bool,
    /// Number of rows read.
    rows: u64,
}

/// Counts the records after the cursor from counts of data files, and from rows where these are
/// incomplete. `None` when data files have no counts for the search.
fn count(reader: &Reader, search: &LogSearch) -> Result<Option<CountedRecords>, QueryError> {
    let [filter] = search.filters.as_slice() else { return Ok(None) };
    let mut filter = filter.clone();
    let mut of_cursor = None;
    if let Some(cursor) = search.cursor {
        // Some records with the cursor's time come before the cursor.
        let (time, next) = (cursor.time, UnixNanos(cursor.time.0.saturating_add(1)));
        let at_cursor = TimeRange { start: Some(time), end: Some(next) };
        of_cursor = filter.time.contains(time).then_some(at_cursor);
        let range = &mut filter.time;
        match search.order {
            LogOrder::Newest => range.end = Some(range.end.map_or(time, |end| end.min(time))),
            LogOrder::Oldest => range.start = Some(range.start.map_or(next, |from| from.max(next))),
        }
    }
    let CountedLogs { cells, mut uncounted } = reader.count_logs(&filter, COUNT_STEP)?;
    if cells.is_empty() {
        return Ok(None);
    }
    uncounted.extend(of_cursor);
    let (mut seen, mut overflowed) = (HashSet::with_hasher(RandomState::default()), false);
    let rows_max = reader.limits.counted_rows_min.min(search.rows_max);
    let scan = Scan { detail: Projection::Keys, rows_max };
    let stats = reader.logs_within(&filter, &uncounted, scan, |rows| {
        for row in 0..rows.len() {
            let key = (rows.time(row), rows.content_hash(row));
            if !is_after(key, search.cursor) {
                continue;
            }
            if seen.len() < reader.limits.counted_max {
                seen.insert(key);
            } else {
                overflowed |= !seen.contains(&key);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let of_cells: u64 = cells.iter().map(|cell| cell.count).sum();
    Ok(Some(CountedRecords {
        records: of_cells.saturating_add(seen.len() as u64),
        is_exact: stats.complete && !overflowed,
        rows: stats.rows,
    }))
}

/// The keys of the page and of all records counted so far.
#[derive(Debug, Default)]
struct PageKeys {
    keys: BTreeSet<RecordKey>,
    counted: HashSet<RecordKey, RandomState>,
    overflowed: bool,
}

impl PageKeys {
    fn find(
        &mut self,
        reader: &Reader,
        search: &LogSearch,
        filter: &LogFilter,
        counted_rows: u64,
    ) -> Result<ScanStats, QueryError> {
        let filter = after_cursor(filter, search);
        let scan = Scan { detail: Projection::Keys, rows_max: search.rows_max };
        let visit = |rows: &LogRows| {
            for row in 0..rows.len() {
                let key = (rows.time(row), rows.content_hash(row));
                if is_after(key, search.cursor) {
                    self.add_key(key, search, reader.limits.counted_max);
                }
            }
            reader.report_matches(self.counted.len());
            Ok(rows_needed(&self.keys, search.order, search.limit))
        };
        scan_in_order(reader, (search.order, counted_rows), &filter, scan, visit)
    }

    fn add_key(&mut self, key: RecordKey, search: &LogSearch, counted_max: usize) {
        if self.counted.len() < counted_max {
            self.counted.insert(key);
        } else if !self.counted.contains(&key) {
            self.overflowed = true;
        }
        if self.keys.len() < search.limit {
            self.keys.insert(key);
            return;
        }
        let last = last_key(&self.keys, search.order);
        if last.is_some_and(|last| is_before(search.order, key, last)) && self.keys.insert(key) {
            pop_last_key(&mut self.keys, search.order);
        }
    }
}

/// Scans records in this order, with this minimum number of rows for counting.
fn scan_in_order(
    reader: &Reader,
    (order, counted_rows): (LogOrder, u64),
    filter: &LogFilter,
    scan: Scan,
    visit: impl FnMut(&LogRows) -> Result<RowsNeeded, QueryError>,
) -> Result<ScanStats, QueryError> {
    match order {
        LogOrder::Newest => reader.newest_logs_counting(counted_rows, filter, scan, visit),
        LogOrder::Oldest => reader.oldest_logs_counting(counted_rows, filter, scan, visit),
    }
}

/// Returns the last key in this order.
fn last_key(keys: &BTreeSet<RecordKey>, order: LogOrder) -> Option<RecordKey> {
    match order {
        LogOrder::Newest => keys.first().copied(),
        LogOrder::Oldest => keys.last().copied(),
    }
}

fn pop_last_key(keys: &mut BTreeSet<RecordKey>, order: LogOrder) {
    match order {
        LogOrder::Newest => keys.pop_first(),
        LogOrder::Oldest => keys.pop_last(),
    };
}

/// Returns the rows that a search for the first `count` keys in this order still needs when it has
/// these keys.
fn rows_needed(keys: &BTreeSet<RecordKey>, order: LogOrder, count: usize) -> RowsNeeded {
    match (last_key(keys, order).filter(|_| keys.len() >= count), order) {
        (None, _) => RowsNeeded::All,
        (Some((time, _)), LogOrder::Newest) => RowsNeeded::Since(time),
        (Some((time, _)), LogOrder::Oldest) => RowsNeeded::Until(time),
    }
}

/// Returns the filter without the times before the cursor.
fn after_cursor(filter: &LogFilter, search: &LogSearch) -> LogFilter {
    let mut filter = filter.clone();
    let Some(cursor) = search.cursor else { return filter };
    let time = &mut filter.time;
    match cursor.order {
        LogOrder::Newest => {
            let end = UnixNanos(cursor.time.0.saturating_add(1));
            time.end = Some(time.end.map_or(end, |given| given.min(end)));
        }
        LogOrder::Oldest => {
            time.start = Some(time.start.map_or(cursor.time, |given| given.max(cursor.time)));
        }
    }
    filter
}

fn is_after(key: RecordKey, cursor: Option<LogCursor>) -> bool {
    cursor.is_none_or(|last| is_before(last.order, (last.time, last.content_hash), key))
}

/// Reports whether `key` comes before `other` in this order.
fn is_before(order: LogOrder, key: RecordKey, other: RecordKey) -> bool {
    match order {
        LogOrder::Newest => key > other,
        LogOrder::Oldest => key < other,
    }
}

/// Records in their order.
#[derive(Debug, Default)]
pub(crate) struct RecordPage {
    pub(crate) logs: Vec<LogView>,
    /// The first record that did not fit.
    cut: Option<RecordKey>,
}

/// Reads the records with these keys, in this order, until the bound of memory is reached.
pub(crate) fn read(
    reader: &Reader,
    filters: &[LogFilter],
    order: LogOrder,
    mut keys: BTreeSet<RecordKey>,
) -> Result<RecordPage, QueryError> {
    let (Some(first), Some(last)) = (keys.first().copied(), keys.last().copied()) else {
        return Ok(RecordPage::default());
    };
    let mut found: BTreeMap<RecordKey, (LogView, u64)> = BTreeMap::new();
    let (mut bytes, mut cut) = (0, None);
    for filter in filters {
        if keys.is_empty() {
            break;
        }
        let mut filter = filter.clone();
        filter.time.start = Some(first.0);
        filter.time.end = Some(UnixNanos(last.0.0.saturating_add(1)));
        // The first scan evaluated the filter, so its texts are not read again.
        filter.keys = Some(keys.iter().copied().collect());
        reader.logs(&filter, Scan { detail: Projection::Full, rows_max: u64::MAX }, |rows| {
            for row in 0..rows.len() {
                let key = (rows.time(row), rows.content_hash(row));
                if !keys.remove(&key) || cut.is_some_and(|cut| !is_before(order, key, cut)) {
                    continue;
                }
                let log = log_view(rows, row);
                let size = size(&log);
                bytes += size;
                found.insert(key, (log, size));
                while bytes > reader.limits.logs_bytes_max && found.len() > 1 {
                    let last = match order {
                        LogOrder::Newest => found.pop_first(),
                        LogOrder::Oldest => found.pop_last(),
                    };
                    let Some((key, (_, size))) = last else { break };
                    bytes -= size;
                    cut = Some(key);
                }
            }
            let done = keys.is_empty();
            Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    let logs = found.into_values().map(|(log, _)| log);
    let logs = match order {
        LogOrder::Newest => logs.rev().collect(),
        LogOrder::Oldest => logs.collect(),
    };
    Ok(RecordPage { logs, cut })
}

/// Estimates the memory of a record's content.
fn size(log: &LogView) -> u64 {
    let attributes = log.attributes.iter().map(Message::encoded_len).sum::<usize>();
    let body = log.body.as_ref().map_or(0, Message::encoded_len);
    let sender = log.resource.encoded_len() + log.scope.encoded_len();
    let schemas = log.resource_schema_url.len() + log.scope_schema_url.len();
    (log.text.len() + body + attributes + sender + schemas) as u64
}

/// Builds the API view of a record.
fn log_view(rows: &LogRows, row: usize) -> LogView {
    let record = rows.log_record(row);
    LogView {
        id: format!("{:016x}", rows.content_hash(row)),
        time_unix_nano: rows.time(row),
        observed_unix_nano: rows.observed(row),
        severity_number: rows.severity_number(row),
        severity_text: rows.severity_text(row).to_owned(),
        severity: severity_name(rows.severity_number(row)).to_owned(),
        service: rows.service(row).to_owned(),
        text: rows.text(row).to_owned(),
        body: record.body.filter(|body| !is_text(body)),
        trace_id: rows.trace_id(row),
        span_id: rows.span_id(row),
        flags: record.flags,
        event_name: record.event_name,
        attributes: record.attributes,
        dropped_attributes_count: record.dropped_attributes_count,
        resource: rows.resource(row).unwrap_or_default(),
        resource_schema_url: rows.resource_schema_url(row).to_owned(),
        scope: rows.scope(row).unwrap_or_default(),
        scope_schema_url: rows.scope_schema_url(row).to_owned(),
        correlation: None,
    }
}

fn is_text(body: &AnyValue) -> bool {
    matches!(body.value, None | Some(Value::String(_)))
}

/// Returns the name of a severity number as in `/api/v1/logs`; empty when it has none.
#[must_use]
pub fn severity_name(number: i32) -> &'static str {
    Severity::from_number(number).map_or("", Severity::word)
}
