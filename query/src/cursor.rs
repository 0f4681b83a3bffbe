//! Cursors: the key of a page's last entry, and the number of entries so far.
//!
//! Owns the text form, which is base64 (URL alphabet, no padding). It encodes a version and kind
//! byte, the sort key (mostly the time), the rest of the key and, where there is one, the count,
//! all big endian. A cursor names a position in the order and not in a result, so it stays valid
//! while data arrives and across restarts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tidings_proto::{TraceId, UnixNanos};

const VERSION: u8 = 1;
const TRACES: u8 = b't';
const LONGEST: u8 = b'd';
const MOST_ERRORS: u8 = b'e';
const MOST_SPANS: u8 = b's';
const LONGEST_SPAN: u8 = b'l';
const LOGS_NEWEST: u8 = b'n';
const LOGS_OLDEST: u8 = b'o';

/// Cursor of a list of traces: the end of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceCursor {
    /// The earliest matching start of the last trace.
    pub start: UnixNanos,
    /// The last trace.
    pub trace_id: TraceId,
    /// Number of traces on the pages so far.
    pub seen: u64,
}

/// Sort keys of trace lists; the highest value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceRank {
    /// Duration of the trace, from the first start to the last end.
    Duration,
    /// Number of failed spans.
    Errors,
    /// Number of spans.
    Spans,
    /// The duration of the longest span that matches.
    SpanDuration,
}

impl TraceRank {
    /// All sort keys.
    pub const ALL: [Self; 4] = [Self::Duration, Self::Errors, Self::Spans, Self::SpanDuration];
}

/// Cursor of a list of traces ordered by a [`TraceRank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankCursor {
    /// Sort key of the list.
    pub rank: TraceRank,
    /// Key of the last trace: nanoseconds, or a count.
    pub value: u64,
    /// The last trace.
    pub trace_id: TraceId,
}

/// The order of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Cursor of a list of log records: the end of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    /// Order of the pages.
    pub order: LogOrder,
    /// The time of the last record.
    pub time: UnixNanos,
    /// The content hash of the last record.
    pub content_hash: u64,
    /// Number of records on the pages so far.
    pub seen: u64,
}

impl TraceCursor {
    /// Returns the text that a client sends back.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = of_trace(TRACES, self.start.0, self.trace_id);
        bytes.extend(self.seen.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the cursor in a text from [`Self::encode`]; `None` for any other text.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 34] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (start, trace_id, seen) = trace_of(TRACES, &bytes)?;
        let seen = u64::from_be_bytes(seen.try_into().ok()?);
        Some(Self { start: UnixNanos(start), trace_id, seen })
    }
}

impl RankCursor {
    /// Returns the text that a client sends back.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(of_trace(self.rank.kind(), self.value, self.trace_id))
    }

    /// Returns the cursor in a text from [`Self::encode`] for this order; `None` for any other
    /// text.
    #[must_use]
    pub fn decode(rank: TraceRank, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (value, trace_id, rest) = trace_of(rank.kind(), &bytes)?;
        rest.is_empty().then_some(Self { rank, value, trace_id })
    }
}

impl TraceRank {
    fn kind(self) -> u8 {
        match self {
            Self::Duration => LONGEST,
            Self::Errors => MOST_ERRORS,
            Self::Spans => MOST_SPANS,
            Self::SpanDuration => LONGEST_SPAN,
        }
    }
}

fn of_trace(kind: u8, key: u64, trace_id: TraceId) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind];
    bytes.extend(key.to_be_bytes());
    bytes.extend(trace_id.as_bytes());
    bytes
}

/// Returns the key, the trace, and the remaining bytes.
fn trace_of(kind: u8, bytes: &[u8]) -> Option<(u64, TraceId, &[u8])> {
    let rest = bytes.strip_prefix(&[VERSION, kind])?;
    let (key, rest) = rest.split_first_chunk()?;
    let (trace_id, rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*key), TraceId::from_bytes(*trace_id)?, rest))
}

impl LogCursor {
    /// Returns the text that a client sends back.
    #[must_use]
    pub fn encode(&self) -> String {
        let kind = match self.order {
            LogOrder::Newest => LOGS_NEWEST,
            LogOrder::Oldest => LOGS_OLDEST,
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend(self.time.0.to_be_bytes());
        bytes.extend(self.content_hash.to_be_bytes());
        bytes.extend(self.seen.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the cursor in a text from [`Self::encode`]; `None` for any other text.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 26] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (order, rest) = match bytes.split_first_chunk()? {
            ([VERSION, LOGS_NEWEST], rest) => (LogOrder::Newest, rest),
            ([VERSION, LOGS_OLDEST], rest) => (LogOrder::Oldest, rest),
            _ => return None,
        };
        let (time, rest) = rest.split_first_chunk()?;
        let (content_hash, seen) = rest.split_first_chunk()?;
        Some(Self {
            order,
            time: UnixNanos(u64::from_be_bytes(*time)),
            content_hash: u64::from_be_bytes(*content_hash),
            seen: u64::from_be_bytes(seen.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{LogCursor, LogOrder, RankCursor, TraceCursor, TraceId, TraceRank, UnixNanos};

    proptest! {
        #[test]
        fn a_trace_cursor_survives_its_text(start: u64, id in 1_u8.., seen: u64) {
            let trace_id = TraceId::from_bytes([id; 16]).unwrap();
            let cursor = TraceCursor { start: UnixNanos(start), trace_id, seen };
            prop_assert_eq!(TraceCursor::decode(&cursor.encode()), Some(cursor));
            prop_assert_eq!(LogCursor::decode(&cursor.encode()), None);
        }

        #[test]
        fn a_cursor_of_an_order_is_of_no_other(value: u64, id in 1_u8.., at in 0..3_usize) {
            let ranks = TraceRank::ALL;
            let trace_id = TraceId::from_bytes([id; 16]).unwrap();
            let cursor = RankCursor { rank: ranks[at], value, trace_id };
            for rank in ranks {
                let expected = (rank == cursor.rank).then_some(cursor);
                prop_assert_eq!(RankCursor::decode(rank, &cursor.encode()), expected);
            }
            prop_assert_eq!(TraceCursor::decode(&cursor.encode()), None);
        }

        #[test]
        fn a_log_cursor_survives_its_text(time: u64, content_hash: u64, seen: u64, oldest: bool) {
            let order = if oldest { LogOrder::Oldest } else { LogOrder::Newest };
            let cursor = LogCursor { order, time: UnixNanos(time), content_hash, seen };
            prop_assert_eq!(LogCursor::decode(&cursor.encode()), Some(cursor));
            prop_assert_eq!(TraceCursor::decode(&cursor.encode()), None);
        }

        #[test]
        fn any_other_text_is_no_cursor(text in any::<String>()) {
            prop_assert_eq!(TraceCursor::decode(&text).map(|cursor| cursor.encode() == text), None);
        }
    }
}
