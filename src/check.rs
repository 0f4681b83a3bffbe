//! `tidings check`: verifies a data directory and prints what is wrong with it, a line each.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use thiserror::Error;
use tidings_storage::{Finding, StorageError};

/// There is nothing to verify.
#[derive(Debug, Error)]
#[error("the data directory cannot be read")]
pub(crate) struct Unreadable;

/// Reads everything; an error when something is wrong.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let dir = matches.get_one::<PathBuf>("dir").context("a data directory")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut written = Ok(());
    let mut report = |finding: &Finding| {
        if written.is_ok() {
            written = writeln!(io::stdout(), "{finding}");
        }
    };
    let checked = runtime.block_on(tidings_storage::check(dir, &mut report));
    let checked = checked.map_err(|error| match error {
        StorageError::Io { .. } => anyhow::Error::from(error).context(Unreadable),
        other => other.into(),
    })?;
    written.context("standard output")?;
    let summary = format!(
        "{} log segments with {} records, {} commits, {} data files with {} rows",
        checked.segments, checked.records, checked.commits, checked.data_files, checked.rows
    );
    if checked.findings > 0 {
        bail!("{} findings in {summary}", checked.findings);
    }
    writeln!(io::stdout(), "{summary}: all is well").context("standard output")
}
