//! Receivers: OTLP over gRPC and HTTP, Zipkin; limits, normalisation, acknowledgement.
//!
//! Owns the listeners and everything between a socket and [`Sink::append`]: bounds of size, time
//! and memory, decompression, normalising, the mapping of errors to each protocol's statuses,
//! counts. Does not own wire formats (`tidings_proto`) and durability (`tidings_storage`), and
//! reads no tables.
//!
//! ```text
//! listener ─► connection ─► server (host, origin, phase) ─► receiver (protocol)
//!                                                              │ body (size, time)
//!  answer ◄── receiver ◄── Sink::append ◄── normalise ◄── decode ◄── decompress, weigh
//! ```

mod admit;
mod body;
mod collector;
mod connection;
mod counters;
mod decompress;
mod explained;
mod guard;
mod ingest;
mod listener;
mod normalise;
mod phase;
mod reads;
mod receive;
mod refusal;
mod server;
mod settings;
mod sink;
mod stall;
mod unread;
mod weigh;

pub use collector::{Collector, RefusalCount};
pub use explained::{Explain, Explained, Explanation, HEAD_STATUSES};
pub use guard::{
    ForeignRequest, Guard, SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE, is_from_browser,
};
pub use normalise::{
    ATTRIBUTES_MAX, InPlace, Prepared, Signal, accept_in_place, prepare_logs, prepare_traces,
};
pub use reads::{ReadApi, ReplyBody};
pub use settings::{CollectorLimits, CollectorSettings};
pub use sink::Sink;
pub use stall::{STALL, Stall};
pub use unread::{StreamTasks, Unread};
