//! Bytes that a damaged disk or a process that was taken over gives: the store's files, frames of
//! workers, messages of Flight SQL.

use tidings_access::fuzzed_credentials::read_key_file;
use tidings_sql::fuzzed_messages::{read_flight_message, read_server_frames, read_worker_frames};
use tidings_storage::fuzzed_files::{read_index, read_log_segment, read_pins};

pub(crate) fn sql_frames(input: &[u8]) {
    let _ = (read_worker_frames(input), read_server_frames(input));
}

pub(crate) fn flight_sql(input: &[u8]) {
    let _ = read_flight_message(input);
}

/// Every sound record of a segment is found, whatever is between them.
pub(crate) fn log_segment(input: &[u8]) {
    let (records, lost) = read_log_segment(input).expect("a file in memory can be read");
    assert!(records + lost <= 2 * (input.len() as u64), "more than there is");
}

/// The first two bytes are the length of the sections, the pages follow them.
pub(crate) fn index_file(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (sections, pages) = rest.split_at(length);
    let _ = read_index(sections, pages);
}

pub(crate) fn pins_and_keys(input: &[u8]) {
    let _ = (read_pins(input), read_key_file(input));
}
