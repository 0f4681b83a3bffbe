//! Texts that people and dashboards type: query languages, ids, cursors.

use tidings_proto::tid;
use tidings_query::{
    LogCursor, RankCursor, TraceCursor, TraceRank,
    fuzzed_texts::{read_log_query, read_promql, read_traceql},
    suggest, well_encoded,
};
use tidings_sql::fuzzed_messages::read_statement;

/// The input as a text: what is no UTF-8 ends at the HTTP layer.
fn text(input: &[u8]) -> &str {
    str::from_utf8(input).unwrap_or_default()
}

pub(crate) fn transaction_ids(input: &[u8]) {
    let text = text(input);
    let keys = ["order.id".to_owned(), "request_id".to_owned()];
    for candidate in tid::recognise(text) {
        assert!(!candidate.reason.is_empty());
    }
    let _ = (tid::span_alone(text), tid::values(text, &keys).len());
}

pub(crate) fn traceql(input: &[u8]) {
    let _ = read_traceql(text(input));
}

pub(crate) fn promql(input: &[u8]) {
    let _ = read_promql(text(input));
}

pub(crate) fn log_query(input: &[u8]) {
    let _ = read_log_query(text(input));
}

/// A cursor that is taken is the one that was given out.
pub(crate) fn cursors(input: &[u8]) {
    let text = text(input);
    if let Some(cursor) = TraceCursor::decode(text) {
        assert_eq!(cursor.encode(), text);
    }
    if let Some(cursor) = LogCursor::decode(text) {
        assert_eq!(cursor.encode(), text);
    }
    for rank in [TraceRank::Duration, TraceRank::Errors, TraceRank::Spans] {
        if let Some(cursor) = RankCursor::decode(rank, text) {
            assert_eq!(cursor.encode(), text);
        }
    }
    let _ = (well_encoded(text).is_ok(), suggest::closest(text, ["service", "operation", "limit"]));
}

pub(crate) fn sql_statement(input: &[u8]) {
    let _ = read_statement(text(input));
}
