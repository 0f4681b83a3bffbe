//! Receivers: OTLP over gRPC and HTTP, Zipkin; limits, normalisation, acknowledgement.
//!
//! Owns the listeners and everything between a socket and [`Sink::append`]: bounds of size, time
//! and memory, decompression, normalising, redaction of secrets, the mapping of errors to each
//! protocol's statuses, and counts. Does not own wire formats (`tidings_proto`) and durability
//! (`tidings_storage`), and reads no tables. The HTTP address uses the same connections
//! ([`listen`], [`Endpoint`]), so that the same bounds apply to all listeners.
//!
//! ```text
//! listener ─► connection (TLS) ─► server (host, origin, phase) ─► receiver (protocol)
//!    shares: connections, requests                                   │ body (size, pace, memory)
//!  answer ◄── receiver ◄── Sink::append ◄── normalise ◄── decode ◄── decompress, weigh
//! ```

mod activity;
mod admit;
mod body;
mod collector;
mod connection;
mod counters;
mod decompress;
mod destination;
mod endpoint;
mod frame_meter;
mod guard;
mod head_errors;
mod ingest;
mod listener;
mod normalise;
mod pace;
mod phase;
mod receive;
mod redact;
mod refusal;
mod sender_service;
mod server;
mod settings;
mod shares;
mod sink;
mod stall;
mod stalled_streams;
mod tls;
mod transport;
mod trusted_proxies;
mod weight_cache;
mod weight_estimate;

pub use body::discard_arrived;
pub use collector::{Collector, RefusalCount};
pub use connection::listen;
pub use destination::{Destination, DestinationError, Destinations};
pub use endpoint::{ConnectionLimits, Endpoint, UnreadableHead};
pub use guard::{
    ForeignRequest, Guard, SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE, is_from_browser,
};
pub use head_errors::{Explain, Explained, Explanation, HEAD_STATUSES};
pub use listener::{ConnectionCounts, Listening};
pub use normalise::{
    ATTRIBUTES_MAX, InPlace, Prepared, Signal, accept_in_place, prepare_logs, prepare_traces,
};
pub use pace::{PACE_WINDOW, Pace};
pub use phase::{Phase, Phases};
#[doc(hidden)]
pub use receive::fuzzed_bodies;
pub use receive::{RECEIVERS, RegisteredReceiver};
pub use redact::{MARKER, RedactionSettings, Redactor};
pub use settings::{CollectorLimits, CollectorSettings};
pub use shares::{
    BudgetExhausted, BudgetKind, BudgetShare, HolderState, PeerAddress, RequestHolder, ShareHolder,
    Shares,
};
pub use sink::{ReadApi, ReplyBody, Sink};
pub use stall::{LiveAnswer, STALL, Stall};
pub use stalled_streams::{StreamTasks, WatchedBody};
pub use tls::{Tls, TlsError, TlsFiles};
pub use transport::{TLS_NEEDED, TLS_UNKNOWN};
pub use trusted_proxies::TrustedProxies;
