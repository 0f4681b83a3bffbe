//! Sends other projects' fixtures to the real server and checks that their documented results hold.
//!
//! Each test reads every file of a family, so an added case runs by itself. Where Tidings deviates
//! on purpose, the test says so and why. Metrics, Zipkin v1 and the correction of clock skew are
//! not supported yet, so they are not checked. The answers of Jaeger's and Zipkin's APIs are
//! checked in the crates `query` and `proto`.

mod critical_path;
mod jaeger;
mod nezha;
mod otlp;
mod otlp_http;
mod schemas;
mod search;
mod source;
mod statistics;
mod stored;
mod zipkin;
mod zipkin_trees;
