//! `tidings sql-worker`: the process in which a server's query runs. Nobody calls it by hand.

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use tidings_sql::{WorkerLimits, run_worker};

/// The command's name.
pub(crate) const NAME: &str = "sql-worker";

/// The command, which help does not list.
pub(crate) fn command() -> Command {
    let limit = |name: &'static str| Arg::new(name).required(true).value_parser(value_parser!(u64));
    Command::new(NAME)
        .hide(true)
        .about("Run one query in SQL for the server at the other end of standard input")
        .arg(limit("address-bytes-max"))
        .arg(limit("cpu-seconds-max"))
}

/// Runs the query and ends the process.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let limit = |name| matches.get_one::<u64>(name).copied().context("a limit is missing");
    let limits = WorkerLimits {
        address_bytes_max: limit("address-bytes-max")?,
        cpu_seconds_max: limit("cpu-seconds-max")?,
    };
    match run_worker(limits).context("this is no process of a server")? {}
}
