//! End-to-end specifications with the real binary, real clients and a real browser.
//!
//! All tests form one program, so that it links once. This file is its table of contents.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints what it measured, and lives in real time"
)]

/// The system's allocator keeps memory that thousands of rounds free: 1,000 rounds of `kill` took
/// 21 GiB.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod architecture;
mod audit;
mod backup;
mod bench;
mod browser;
mod callers;
mod certified_issuer;
mod changes;
mod check;
mod clients;
mod corpora;
mod dashboards;
mod described;
mod documentation;
mod ended_keys;
mod engines;
mod flight;
mod floods;
mod forged_answers;
mod harness;
mod heads;
mod heavy_reads;
mod hostile;
mod keys;
mod kill;
mod lens;
mod lifecycle;
mod limits;
mod metric_values;
mod objects;
mod origins;
mod otlp_push;
mod overload;
mod own_telemetry;
mod pins;
mod readers;
mod recovery;
mod redaction;
mod reflection;
mod searching;
mod sign_in;
mod sql;
mod sql_generated;
mod sql_processes;
mod storm;
mod syscalls;
mod tail;
mod task_failure;
mod tenants;
mod tls;
mod tokens;
mod transports;
mod unread_answers;
