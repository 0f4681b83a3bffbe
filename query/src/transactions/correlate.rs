//! Finds the log records of traces that do not say so in OTLP: the id stands in a field or in the
//! message, in whatever notation its shipper writes.
//!
//! A record that names a trace in OTLP belongs to that trace and to no other. Of the rest, those
//! from a minute before to a minute after the transaction are read; a field or the message counts
//! when `proto::tid` recognises one of the transaction's trace ids in it, whole or by its last 64
//! bits. The answer says for each such record how it was found.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId, UnixNanos,
    api::{CorrelatedBy, LogCorrelation, LogView},
    otlp::{KeyValue, Value},
    tid::{CandidateId, recognise},
};
use tidings_storage::{Detail, LogFilter, LogRows, Scan, TimeRange};

use crate::{
    QueryError,
    cursor::LogOrder,
    execution::Reader,
    logs::{self, RecordKey},
};

/// Logs are looked for so long before and after the spans.
const MARGIN_NANOS: u64 = 60_000_000_000;
/// No notation of an id is shorter.
const ID_BYTES_MIN: usize = 15;

/// The trace ids that are looked for.
struct Ids {
    whole: HashSet<TraceId>,
    low64s: HashSet<u64>,
}

/// Records that belong to these traces by an id in them, at most the newest `shown_max`, oldest
/// first, and how many there are.
pub(super) fn logs(
    reader: &Reader,
    ids: &[TraceId],
    (start, end): (UnixNanos, UnixNanos),
    shown_max: usize,
) -> Result<(Vec<LogView>, u64), QueryError> {
    if ids.is_empty() || start.0 == 0 {
        return Ok((Vec::new(), 0));
    }
    let ids = Ids {
        whole: ids.iter().copied().collect(),
        low64s: ids.iter().map(TraceId::low64).collect(),
    };
    let time = TimeRange {
        start: Some(UnixNanos(start.0.saturating_sub(MARGIN_NANOS))),
        end: Some(UnixNanos(end.0.saturating_add(MARGIN_NANOS))),
    };
    let filter = LogFilter { time, ..LogFilter::default() };
    let scan = Scan { detail: Detail::Attributes, rows_max: reader.settings.search_rows_max };
    let mut found: BTreeMap<RecordKey, LogCorrelation> = BTreeMap::new();
    let mut dropped = 0;
    reader.logs(&filter, scan, |rows| {
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
    let count = found.len() as u64 + dropped;
    let keys = found.keys().copied().collect();
    let mut views = logs::read(reader, &[filter], LogOrder::Newest, keys)?.logs;
    for (view, correlation) in views.iter_mut().zip(found.into_values().rev()) {
        view.correlation = Some(correlation);
    }
    views.reverse();
    Ok((views, count))
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
        match attribute.value()? {
            Value::String(text) => self.bits_of_text(text),
            // Datadog's ids are numbers; any other number may be equal by chance.
            Value::Int(number) if attribute.key.to_ascii_lowercase().contains("trace") => {
                self.low64s.contains(&number.cast_unsigned()).then_some(64)
            }
            _ => None,
        }
    }

    /// Number of bits of a searched id that the text contains; `None` when it contains none.
    fn bits_of_text(&self, text: &str) -> Option<u32> {
        if !may_hold_id(text) {
            return None;
        }
        recognise(text).into_iter().find_map(|candidate| match candidate.id {
            CandidateId::Trace(id) if self.whole.contains(&id) => Some(128),
            CandidateId::Trace(id) => {
                let is_short = id.as_bytes()[..8] == [0; 8];
                (is_short && self.low64s.contains(&id.low64())).then_some(64)
            }
            CandidateId::Low64(low64) => self.low64s.contains(&low64).then_some(64),
        })
    }
}

/// Cheap precheck: reports whether the text has a word as long as an id, which few messages have.
fn may_hold_id(text: &str) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    text.as_bytes().split(|byte| !is_part(byte)).any(|word| word.len() >= ID_BYTES_MIN)
}
