//! Seeded telemetry, and measurements of the real server with it.
//!
//! [`Corpus`] makes OTLP requests that are cheap to send: encoded once, with ids, times and values
//! filled in anew each time. [`measure`] starts the server, sends, asks, and makes a [`Report`] of
//! what storing costs; [`measure_keys`] one of what keys and TLS cost, [`measure_queries`] one of how
//! long questions take, [`measure_logs`] one of log records, and [`measure_peers`] one of what other
//! systems need for the same. Never ships, and knows of the server only what a
//! client does: its command line, its ports and what Linux tells about its process. The example
//! `layout` looks into data files instead.

mod bench_report;
mod call_graph;
mod client;
mod corpus;
mod cost;
mod facts;
mod fsync;
mod keyed_ingest;
mod latency_samples;
mod load;
mod log_bench;
mod machine;
mod peers;
mod piece;
mod process;
mod query;
mod random;
mod server;
mod span;
mod storage;
mod tracegen;
mod world;

pub use bench_report::Report;
pub use corpus::{Corpus, Plan, Send, SentTrace, TelemetryKind};
pub use keyed_ingest::{KeysOptions, measure_keys};
pub use log_bench::{LogsOptions, measure_logs};
pub use peers::{PeersOptions, measure_peers};
pub use query::{QueryOptions, measure_queries};
pub use storage::{StorageOptions, measure};
