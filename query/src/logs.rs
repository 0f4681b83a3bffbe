//! Finds log records.
//!
//! The order is time, then content hash, newest first unless asked otherwise; records that are
//! equal in both are one record that came twice. Two scans: the first finds the keys of the page
//! and counts, the second reads the records of the page.

pub(crate) mod context;
pub(crate) mod tail;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
};

use prost::Message;
use tidings_proto::{
    UnixNanos,
    api::{LogSearchResult, LogView},
    otlp::{AnyValue, Severity, Value},
};
use tidings_storage::{Detail, LogFilter, LogRows, RowsNeeded, Scan, ScanStats};

use crate::{
    QueryError,
    cursor::{LogCursor, LogOrder},
    execution::Reader,
    search::{searched, total},
};

/// Which log records, and which page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSearch {
    /// A record matches when one of these does.
    pub filters: Vec<LogFilter>,
    /// Which come first.
    pub order: LogOrder,
    /// Maximum number of records on a page; 0 only counts.
    pub limit: usize,
    /// Where the page before ended; its order is [`Self::order`].
    pub cursor: Option<LogCursor>,
    /// Stop after looking at this many rows.
    pub rows_max: u64,
}

impl LogSearch {
    /// The newest records that match, looking at everything.
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

/// Time and content hash: what names a record.
pub(crate) type RecordKey = (UnixNanos, u64);

/// A page of the records that match.
pub(crate) fn search(reader: &Reader, search: &LogSearch) -> Result<LogSearchResult, QueryError> {
    let mut page = Page::default();
    let mut stats = ScanStats::NOTHING;
    for filter in &search.filters {
        let part = page.find(reader, search, filter)?;
        stats.rows = stats.rows.saturating_add(part.rows);
        stats.files = stats.files.saturating_add(part.files);
        stats.complete &= part.complete;
    }
    let RecordPage { logs, cut } = read(reader, &search.filters, search.order, page.keys.clone())?;
    page.keys.retain(|key| cut.is_none_or(|cut| is_before(search.order, *key, cut)));
    let seen = search.cursor.map_or(0, |cursor| cursor.seen);
    let matched = page.met.len() as u64;
    let ends_here = page.keys.len() as u64 >= matched && stats.complete && !page.overflowed;
    let last = match search.order {
        LogOrder::Newest => page.keys.first(),
        LogOrder::Oldest => page.keys.last(),
    };
    let next = last.filter(|_| !ends_here).map(|(time, content_hash)| LogCursor {
        order: search.order,
        time: *time,
        content_hash: *content_hash,
        seen: seen.saturating_add(page.keys.len() as u64),
    });
    Ok(LogSearchResult {
        logs,
        next_cursor: next.map(|cursor| cursor.encode()),
        total: total(seen.saturating_add(matched), stats.complete && !page.overflowed),
        searched: searched(reader, stats),
    })
}

/// The keys of the page and of everything counted so far.
#[derive(Debug, Default)]
struct Page {
    keys: BTreeSet<RecordKey>,
    met: HashSet<RecordKey>,
    overflowed: bool,
}

impl Page {
    fn find(
        &mut self,
        reader: &Reader,
        search: &LogSearch,
        filter: &LogFilter,
    ) -> Result<ScanStats, QueryError> {
        let filter = narrowed(filter, search);
        let scan = Scan { detail: Detail::Ids, rows_max: search.rows_max };
        reader.newest_logs(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let key = (rows.time(row), rows.content_hash(row));
                if is_after(key, search.cursor) {
                    self.meet(key, search, reader.limits.counted_max);
                }
            }
            reader.found(self.met.len());
            let is_full = search.order == LogOrder::Newest && self.keys.len() >= search.limit;
            Ok(match self.keys.first() {
                Some((oldest, _)) if is_full => RowsNeeded::Since(*oldest),
                _ => RowsNeeded::All,
            })
        })
    }

    fn meet(&mut self, key: RecordKey, search: &LogSearch, counted_max: usize) {
        if self.met.len() < counted_max {
            self.met.insert(key);
        } else if !self.met.contains(&key) {
            self.overflowed = true;
        }
        self.keys.insert(key);
        if self.keys.len() > search.limit {
            match search.order {
                LogOrder::Newest => self.keys.pop_first(),
                LogOrder::Oldest => self.keys.pop_last(),
            };
        }
    }
}

/// The filter without the times that lie before the cursor.
fn narrowed(filter: &LogFilter, search: &LogSearch) -> LogFilter {
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
    /// The first that there was no room for.
    cut: Option<RecordKey>,
}

/// The records with these keys, in this order: as many of the first as there is room for.
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
        let mut filter = filter.clone();
        filter.time.start = Some(first.0);
        filter.time.end = Some(UnixNanos(last.0.0.saturating_add(1)));
        reader.logs(&filter, Scan { detail: Detail::Full, rows_max: u64::MAX }, |rows| {
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

/// About how much memory what a sender said takes.
fn size(log: &LogView) -> u64 {
    let attributes = log.attributes.iter().map(Message::encoded_len).sum::<usize>();
    let body = log.body.as_ref().map_or(0, Message::encoded_len);
    (log.text.len() + body + attributes + log.resource.encoded_len()) as u64
}

/// One record as people and programs are shown it.
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

/// The name of a severity's number, as `/api/v1/logs` says it; empty for none.
#[must_use]
pub fn severity_name(number: i32) -> &'static str {
    match Severity::from_number(number) {
        None => "",
        Some(Severity::Trace) => "trace",
        Some(Severity::Debug) => "debug",
        Some(Severity::Info) => "info",
        Some(Severity::Warn) => "warn",
        Some(Severity::Error) => "error",
        Some(Severity::Fatal) => "fatal",
    }
}
