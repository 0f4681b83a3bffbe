//! A worker's process: its arguments are its limits. A server that is built without the engine starts
//! it; `tidings sql-worker` is the same in one program with the server.

use std::{convert::Infallible, io};

use tidings_sql::WorkerLimits;
use tidings_sql_engine::run_worker;

fn main() -> io::Result<Infallible> {
    let mut limits = std::env::args().skip(1).map(|limit| limit.parse().map_err(io::Error::other));
    let mut limit = || limits.next().unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()));
    run_worker(WorkerLimits { address_bytes_max: limit()?, cpu_seconds_max: limit()? })
}
