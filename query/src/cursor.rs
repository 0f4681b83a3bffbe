//! Where a page ended: the key of its last entry and how many entries came before.
//!
//! Owns the text form: base64 (URL alphabet, no padding) of a version and kind byte, the time, the
//! rest of the key and the count, all big endian. A cursor names a place in the order, not a place
//! in a result, so it stays good while data comes in and across restarts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tidings_proto::{TraceId, UnixNanos};

const VERSION: u8 = 1;
const TRACES: u8 = b't';
const LOGS_NEWEST: u8 = b'n';
const LOGS_OLDEST: u8 = b'o';

/// The end of a page of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceCursor {
    /// The earliest matching start of the last trace.
    pub start: UnixNanos,
    /// The last trace.
    pub trace_id: TraceId,
    /// How many traces the pages so far had.
    pub seen: u64,
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

/// The end of a page of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    /// Which way the pages go.
    pub order: LogOrder,
    /// The time of the last record.
    pub time: UnixNanos,
    /// The content hash of the last record.
    pub content_hash: u64,
    /// How many records the pages so far had.
    pub seen: u64,
}

impl TraceCursor {
    /// The text a client sends back.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION, TRACES];
        bytes.extend(self.start.0.to_be_bytes());
        bytes.extend(self.trace_id.as_bytes());
        bytes.extend(self.seen.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in a text that [`Self::encode`] made; `None` for any other text.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 34] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let rest = bytes.strip_prefix(&[VERSION, TRACES])?;
        let (start, rest) = rest.split_first_chunk()?;
        let (trace_id, seen) = rest.split_first_chunk()?;
        Some(Self {
            start: UnixNanos(u64::from_be_bytes(*start)),
            trace_id: TraceId::from_bytes(*trace_id)?,
            seen: u64::from_be_bytes(seen.try_into().ok()?),
        })
    }
}

impl LogCursor {
    /// The text a client sends back.
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

    /// The cursor in a text that [`Self::encode`] made; `None` for any other text.
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

    use super::{LogCursor, LogOrder, TraceCursor, TraceId, UnixNanos};

    proptest! {
        #[test]
        fn a_trace_cursor_survives_its_text(start: u64, id in 1_u8.., seen: u64) {
            let trace_id = TraceId::from_bytes([id; 16]).unwrap();
            let cursor = TraceCursor { start: UnixNanos(start), trace_id, seen };
            prop_assert_eq!(TraceCursor::decode(&cursor.encode()), Some(cursor));
            prop_assert_eq!(LogCursor::decode(&cursor.encode()), None);
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
