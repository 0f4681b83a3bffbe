//! Finds the log records of traces whose OTLP fields do not name the trace: the id is in an
//! attribute or in the message, in the notation of the shipper.
//!
//! A record that names a trace in OTLP belongs to that trace and to no other. Other records are
//! read from a minute before to a minute after the traces, for at most their last hour. An
//! attribute or the message counts when `proto::tid` recognises one of the trace ids in it, whole
//! or by its last 64 bits. The answer has the reason for each such record.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId, UnixNanos,
    api::{CorrelatedBy, LogCorrelation, LogView},
    otlp::{KeyValue, Value},
    tid::{CandidateId, hex_ids, recognise},
};
use tidings_storage::{LogFilter, LogRows, Projection, Scan, ScanStats, TimeRange};

use super::RecordKey;
use crate::{QueryError, cursor::LogOrder, execution::Reader};

/// Time before and after the spans in which logs are searched.
const MARGIN_NANOS: u64 = 60_000_000_000;
/// Maximum length of the time in which logs are searched. Of a longer time, the last hour is: the
/// times of a span may claim centuries.
const WINDOW_NANOS: u64 = 3_600_000_000_000;
/// Minimum length of an id in any notation, in bytes.
const ID_BYTES_MIN: usize = 15;

/// The trace ids that are searched.
struct Ids {
    whole: HashSet<TraceId>,
    low64s: HashSet<u64>,
}

/// Records that belong to traces by an id in their attributes or message.
#[derive(Debug)]
pub(crate) struct CorrelatedLogs {
    /// The newest of these records, oldest first.
    pub(crate) logs: Vec<LogView>,
    /// Number of all these records.
    pub(crate) count: u64,
    /// Statistics of the scan. It is incomplete when it left out records between the first start
    /// and the last end.
    pub(crate) stats: ScanStats,
}

/// Finds the records that belong to these traces by an id in them. At most `shown_max` of the
/// newest are returned.
pub(crate) fn correlated(
    reader: &Reader,
    ids: &[TraceId],
    (start, end): (UnixNanos, UnixNanos),
    shown_max: usize,
) -> Result<CorrelatedLogs, QueryError> {
    if ids.is_empty() || start.0 == 0 {
        return Ok(CorrelatedLogs { logs: Vec::new(), count: 0, stats: ScanStats::NOTHING });
    }
    let ids = Ids {
        whole: ids.iter().copied().collect(),
        low64s: ids.iter().map(TraceId::low64).collect(),
    };
    let first = start.max(UnixNanos(end.0.saturating_sub(WINDOW_NANOS)));
    let time = TimeRange {
        start: Some(UnixNanos(first.0.saturating_sub(MARGIN_NANOS))),
        end: Some(UnixNanos(end.0.saturating_add(MARGIN_NANOS))),
    };
    let filter = LogFilter { time, ..LogFilter::default() };
    let scan = Scan { detail: Projection::Attributes, rows_max: reader.settings.search_rows_max };
    let mut found: BTreeMap<RecordKey, LogCorrelation> = BTreeMap::new();
    let mut dropped = 0;
    let mut stats = reader.logs(&filter, scan, |rows| {
        for row in (0..rows.len()).filter(|row| rows.trace_id(*row).is_none()) {
            if let Some(correlation) = ids.correlation(rows, row) {
                found.insert((rows.time(row), rows.content_hash(row)), correlation);
            }
            if found.len() > shown_max {
                found.pop_first();
                dropped += 1;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    stats.complete &= first == start;
    let count = found.len() as u64 + dropped;
    let keys = found.keys().copied().collect();
    let mut views = super::read(reader, &[filter], LogOrder::Newest, keys)?.logs;
    for (view, correlation) in views.iter_mut().zip(found.into_values().rev()) {
        view.correlation = Some(correlation);
    }
    views.reverse();
    Ok(CorrelatedLogs { logs: views, count, stats })
}

impl Ids {
    fn correlation(&self, rows: &LogRows, row: usize) -> Option<LogCorrelation> {
        let attributes = rows.attributes(row);
        let field = attributes.into_iter().find_map(|attribute| {
            let bits = self.bits_of_field(&attribute)?;
            Some(LogCorrelation { by: CorrelatedBy::Field, key: Some(attribute.key), bits })
        });
        field.or_else(|| {
            let bits = self.bits_of_text(rows.text(row))?;
            Some(LogCorrelation { by: CorrelatedBy::Text, key: None, bits })
        })
    }

    fn bits_of_field(&self, attribute: &KeyValue) -> Option<u32> {
        let value = attribute.value()?;
        match value {
            Value::String(text) => self.bits_of_text(text),
            // Datadog's ids are numbers. Any other number may be equal by chance.
            Value::Int(number) if attribute.key.to_ascii_lowercase().contains("trace") => {
                self.low64s.contains(&number.cast_unsigned()).then_some(64)
            }
            Value::Array(_) | Value::Kvlist(_) => self.bits_of_text(&value.to_text()),
            _ => None,
        }
    }

    /// Returns the number of bits of a searched id in the text; `None` without an id.
    fn bits_of_text(&self, text: &str) -> Option<u32> {
        if !may_hold_id(text) {
            return None;
        }
        let likely = recognise(text).into_iter().find_map(|found| self.bits(found.id));
        // Beyond the bounds of the recogniser, ids are expected in their usual form.
        likely.or_else(|| hex_ids(text).find_map(|id| self.bits(id)))
    }

    fn bits(&self, id: CandidateId) -> Option<u32> {
        match id {
            CandidateId::Trace(id) if self.whole.contains(&id) => Some(128),
            CandidateId::Trace(id) => {
                let is_short = id.as_bytes()[..8] == [0; 8];
                (is_short && self.low64s.contains(&id.low64())).then_some(64)
            }
            CandidateId::Low64(low64) => self.low64s.contains(&low64).then_some(64),
        }
    }
}

/// Cheap precheck: reports whether the text has a word as long as an id. Few messages have one.
fn may_hold_id(text: &str) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    text.as_bytes().split(|byte| !is_part(byte)).any(|word| word.len() >= ID_BYTES_MIN)
}
