//! A worker's process for the tests of this crate: its arguments are its limits.

use std::{convert::Infallible, io};

use tidings_sql::{WorkerLimits, run_worker};

fn main() -> io::Result<Infallible> {
    let mut limits = std::env::args().skip(1).map(|limit| limit.parse().map_err(io::Error::other));
    let mut limit = || limits.next().unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()));
    run_worker(WorkerLimits { address_bytes_max: limit()?, cpu_seconds_max: limit()? })
}
