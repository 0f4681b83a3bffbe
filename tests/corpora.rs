//! Other projects' fixtures, sent to the real server: what each documents holds here.
//!
//! Every file of a family is read, so that a case that is added is a case that is run. Where
//! Tidings answers otherwise on purpose, the test says so and why. What is not claimed yet, and so
//! not checked: metrics, Zipkin v1, the correction of clocks. What Jaeger's and Zipkin's APIs answer is
//! checked beside them, in `query` and `proto`.

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
