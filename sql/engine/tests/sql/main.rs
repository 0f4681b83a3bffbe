//! Queries over a real store: their answers, their refusals and their cost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and lives in real time"
)]

mod bounds;
mod documented;
mod flight;
mod forms;
mod harness;
mod hostile;
mod http;
mod names;
mod numbers;
mod red;
mod refusals;
mod slow_readers;
mod snapshots;
mod times;
mod views;
