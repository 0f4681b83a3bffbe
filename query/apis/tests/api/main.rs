//! The query service through its API: requests to the router over a real store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests say what they expect by panicking"
)]

mod assembly;
mod bad_requests;
mod changes;
mod deployments;
mod differences;
mod documented;
mod exceptions;
mod exports;
mod graph;
mod graph_rows;
mod harness;
mod headers;
mod jaeger;
mod jaeger_grpc;
mod large_traces;
mod live_logs;
mod log_analysis;
mod log_conditions;
mod log_patterns;
mod log_query;
mod logs;
mod model;
mod names;
mod pages;
mod patterns;
mod prometheus;
mod red;
mod resolve;
mod searching;
mod tempo;
mod traces;
mod traffic_end;
mod transaction_types;
mod transactions;
mod zipkin;
