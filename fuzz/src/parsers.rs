//! Texts that people and dashboards type, credentials, and bytes that a damaged disk or a
//! compromised process returns: the store's files, frames of workers, messages of Flight SQL.

use tidings_access::{
    IssuerUrl,
    fuzzed_credentials::{
        read_headers, read_issuer_answer, read_key_file, read_key_set, read_token,
    },
};
use tidings_apis::well_encoded;
use tidings_audit::AuditPosition;
use tidings_proto::tid;
use tidings_query::{LogCursor, RankCursor, TraceCursor, TraceRank, suggest};
use tidings_sql::fuzzed_messages::{read_flight_message, read_server_frames, read_worker_frames};
use tidings_sql_engine::may_be_planned;
use tidings_storage::fuzzed_files::{read_index, read_log_segment, read_pins};

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "transaction_ids", run: transaction_ids },
    FuzzTarget { name: "traceql", run: traceql },
    FuzzTarget { name: "promql", run: promql },
    FuzzTarget { name: "log_query", run: log_query },
    FuzzTarget { name: "cursors", run: cursors },
    FuzzTarget { name: "sql_statement", run: sql_statement },
    FuzzTarget { name: "sql_frames", run: sql_frames },
    FuzzTarget { name: "flight_sql", run: flight_sql },
    FuzzTarget { name: "log_segment", run: log_segment },
    FuzzTarget { name: "index_file", run: index_file },
    FuzzTarget { name: "pins_and_keys", run: pins_and_keys },
    FuzzTarget { name: "credentials", run: credentials },
];

/// A well-formed signed token. No key of an input has signed it.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzIn0.c2lnbmF0dXJl";

fn credentials(input: &[u8]) {
    let _ = (read_headers(input), read_key_set(input, TOKEN), read_issuer_answer(input));
    if let Ok(text) = str::from_utf8(input) {
        let _ = (read_token(text), IssuerUrl::read(text).is_ok());
    }
}

/// Returns the input as text. The HTTP layer refuses what is not UTF-8.
fn text(input: &[u8]) -> &str {
    str::from_utf8(input).unwrap_or_default()
}

fn transaction_ids(input: &[u8]) {
    let text = text(input);
    let keys = ["order.id".to_owned(), "request_id".to_owned()];
    for candidate in tid::recognise(text) {
        assert!(!candidate.reason.is_empty());
    }
    let _ = (tid::span_alone(text), tid::values(text, &keys).len());
}

fn traceql(input: &[u8]) {
    let _ = tidings_traceql::parse(text(input)).is_ok();
}

fn promql(input: &[u8]) {
    let _ = tidings_promql::parse(text(input)).is_ok();
}

fn log_query(input: &[u8]) {
    let _ = tidings_log_query::parse(text(input)).is_ok();
}

/// Checks that a cursor that decodes is encoded as the same text.
fn cursors(input: &[u8]) {
    let text = text(input);
    if let Some(cursor) = TraceCursor::decode(text) {
        assert_eq!(cursor.encode(), text);
    }
    if let Some(cursor) = LogCursor::decode(text) {
        assert_eq!(cursor.encode(), text);
    }
    if let Some(position) = AuditPosition::parse(text) {
        assert_eq!(position.to_string(), text);
    }
    for rank in TraceRank::ALL {
        if let Some(cursor) = RankCursor::decode(rank, text) {
            assert_eq!(cursor.encode(), text);
        }
    }
    let _ = (well_encoded(text).is_ok(), suggest::closest(text, ["service", "operation", "limit"]));
}

fn sql_statement(input: &[u8]) {
    let _ = may_be_planned(text(input));
}

fn sql_frames(input: &[u8]) {
    let _ = (read_worker_frames(input), read_server_frames(input));
}

fn flight_sql(input: &[u8]) {
    let _ = read_flight_message(input);
}

/// Checks that every sound record of a segment is found, whatever lies between them.
fn log_segment(input: &[u8]) {
    let (records, lost) = read_log_segment(input).expect("a file in memory can be read");
    assert!(records + lost <= 2 * (input.len() as u64), "more than there is");
}

/// Reads an index file. The first two bytes are the length of the sections, and the pages follow
/// them.
fn index_file(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (sections, pages) = rest.split_at(length);
    let _ = read_index(sections, pages);
}

fn pins_and_keys(input: &[u8]) {
    let _ = (read_pins(input), read_key_file(input));
}
