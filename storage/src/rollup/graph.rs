//! Calls between services, added up by minute beside every data file of spans.
//!
//! Calls are known only from whole traces, and a trace can be in several files and in memory. A
//! file's rollups count the calls of its traces as if the file had all of them. A query assembles
//! split traces, and traces cut by its range, from their rows. It retracts the file's counts for
//! them and adds the counts of the whole trace. Nearly all traces need no correction.
//!
//! `trace_calls` extracts the calls of a trace, for rollups and for rows. `key` is their group key,
//! and `peers` names uninstrumented peers. `build` aggregates while a file is written, and
//! `graph_section` is the index section. `peer_keys` caches where the files have the names of
//! peers. `crate::rollup_query` answers queries.

pub(crate) mod build;
mod graph_section;
pub(crate) mod key;
pub(crate) mod peer_keys;
pub(crate) mod peers;
pub(crate) mod trace_calls;

pub use key::GraphKey;
pub use peers::Peer;
pub use trace_calls::{GraphCall, GraphPart, GraphSpan, graph_calls, split_at_gaps};

pub(super) use build::COLUMNS;
pub(crate) use build::GraphBuilder;
pub(crate) use graph_section::GraphSection;
pub(super) use key::{LIMITS, NameTable};
pub(crate) use peer_keys::PeerKeys;
