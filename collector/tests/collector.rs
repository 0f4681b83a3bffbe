//! The receivers over real sockets, with a sink of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may stop at what they did not expect"
)]

#[path = "collector/bodies.rs"]
mod bodies;
#[path = "collector/bounds.rs"]
mod bounds;
#[path = "collector/fairness.rs"]
mod fairness;
#[path = "collector/grpc.rs"]
mod grpc;
#[path = "collector/harness.rs"]
mod harness;
#[path = "collector/hostile.rs"]
mod hostile;
#[path = "collector/http.rs"]
mod http_protocol;
#[path = "collector/reads.rs"]
mod reads;
#[path = "collector/samples.rs"]
mod samples;
#[path = "collector/stopping.rs"]
mod stopping;
#[path = "collector/transports.rs"]
mod transports;
#[path = "collector/unread.rs"]
mod unread;
#[path = "collector/zipkin.rs"]
mod zipkin;
