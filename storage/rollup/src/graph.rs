//! Calls between services, added up by minute beside every data file of spans.
//!
//! Calls are known only from whole traces, and a trace can be in several files and in memory. A
//! file's rollups count the calls of its traces as if the file had all of them. A query assembles
//! split traces, and traces cut by its range, from their rows. It retracts the file's counts for
//! them and adds the counts of the whole trace. Nearly all traces need no correction.
//!
//! `trace_calls` extracts the calls of a trace, for rollups and for rows. `key` is their group key,
//! and `peers` names uninstrumented peers. `build` aggregates while a file is written, and
//! `GraphSection` is the index section. `peer_keys` caches where the files have the names of peers.
//! `tidings_snapshot::rollup_query` answers queries.

pub mod build;
pub mod key;
pub mod peer_keys;
pub mod peers;
pub mod trace_calls;

use std::ops::Range;

use super::rollup_encoding::{Directory, push_uncounted_rows, take_uncounted_rows};
use crate::index_bytes::Reader as Bytes;

pub(super) use build::COLUMNS;
pub(crate) use build::GraphBuilder;
pub use key::GraphKey;
pub(super) use key::{LIMITS, NameTable};
pub use peer_keys::PeerKeys;
pub use peers::Peer;
pub use trace_calls::{GraphCall, GraphPart, GraphSpan, graph_calls, split_at_gaps};

/// Part of the index section that stays in memory. It locates a file's calls between services, and
/// lists the omitted rows: no rollup bucket counts the calls of their traces.
#[derive(Debug)]
pub struct GraphSection {
    /// Rows that the rollup buckets omit, as ascending and disjoint ranges.
    pub left_out: Vec<Range<u64>>,
    /// Locations of the rollup buckets.
    pub cells: Directory,
}

/// Returns the section of a file without such rollups.
fn empty_section(offset: u64) -> (Vec<u8>, Vec<u8>) {
    (encoded(&[], &offset.to_le_bytes()), Vec::new())
}

/// Returns the section. `cells` is the encoded directory of the rollup buckets.
fn encoded(rows: &[Range<u64>], cells: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    push_uncounted_rows(&mut section, rows);
    section.extend(cells);
    section
}

impl GraphSection {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let left_out = take_uncounted_rows(&mut section)?;
        Some(Self { left_out, cells: Directory::decode(section.rest())? })
    }

    /// Returns its heap memory in bytes.
    pub fn bytes(&self) -> usize {
        self.left_out.len() * size_of::<Range<u64>>() + self.cells.bytes()
    }
}
