//! `tidings compact` and `tidings erase`, which work on a data directory without a server; and
//! `tidings check`, which verifies one.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use thiserror::Error;
use tidings_storage::{AttributeFilter, Erasure, Finding, StorageError, Store, SystemClock};

use crate::{
    audit_log, log,
    settings::{Settings, setting_value},
    terminal::{InvalidArgument, standard_input},
};

/// Advice about a directory that a server works on.
const ASK_THE_SERVER: &str = "a server works on the directory and erases itself: send it \
                              POST /api/v1/erasures (with a key of the role admin where keys are \
                              required), or use its System page";

/// The error of a value that was given as an argument. The text does not repeat the value, because
/// its reader need not know it.
const VALUE_IN_ARGUMENTS: &str = "a value is not taken as an argument, which lists of processes and the history of the shell \
     show: give --attribute KEY alone, and the value on standard input";

/// Does all maintenance that is due and prints what it did.
pub(crate) fn compact(matches: &ArgMatches, settings: &Settings) -> Result<()> {
    let clock_is_right = matches.get_flag("clock-is-right");
    on_store(settings, async |store| {
        let report = store.compact(clock_is_right).await?;
        let counts = store.counts();
        let mut out = io::stdout().lock();
        writeln!(out, "{report}")?;
        writeln!(
            out,
            "left     {} files, {} spans, {} log records",
            counts.data_files, counts.spans, counts.log_records
        )?;
        drop(out);
        if let Some(path) = report.damaged_files.first() {
            let others = report.damaged_files.len() - 1;
            bail!("{} and {others} other files are damaged and were left alone", path.display());
        }
        if let Some(path) = report.stuck_files.first() {
            let others = report.stuck_files.len() - 1;
            bail!(
                "{} and {others} other files could not be merged, the log says why",
                path.display()
            );
        }
        if let Some(waiting) = report.waiting {
            bail!("{waiting}");
        }
        Ok(())
    })
}

/// Erases spans and log records and prints their number. The value of an attribute comes from
/// standard input only.
pub(crate) fn erase(matches: &ArgMatches, settings: &Settings) -> Result<()> {
    let wrong = |reason: String| anyhow::Error::from(InvalidArgument(reason));
    let what = match (matches.get_one::<String>("trace"), matches.get_one::<String>("attribute")) {
        (Some(id), None) => Erasure::Trace(setting_value::trace_id(id).map_err(wrong)?),
        (None, Some(key)) if key.contains('=') => return Err(wrong(VALUE_IN_ARGUMENTS.to_owned())),
        (None, Some(key)) if !key.is_empty() => {
            Erasure::Attribute(AttributeFilter::everywhere(key, standard_input()?))
        }
        _ => {
            let reason =
                "what is to be erased: --trace ID, or --attribute KEY and its value on stdin";
            return Err(wrong(reason.to_owned()));
        }
    };
    let erased = audit_log::describe_erasure(&what);
    let done = erase_from(settings, &what).map_err(|error| match error.downcast_ref() {
        Some(StorageError::Locked { .. }) => error.context(ASK_THE_SERVER),
        _ => error,
    });
    audit_log::record_command(settings, "data.erase", &done, |()| erased);
    done
}

fn erase_from(settings: &Settings, what: &Erasure) -> Result<()> {
    on_store(settings, async |store| {
        let report = store.erase(what).await?;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "erased   {} spans, {} log records from {} files",
            report.spans, report.log_records, report.files
        )?;
        writeln!(out, "noted    {}", report.record.display())?;
        for trace in &report.pinned {
            let rest = match report.unpinned.contains(trace) {
                true => "was pinned; nothing is left of it, and it is no longer pinned",
                false => "is pinned and lost some; its note stays, look at it",
            };
            writeln!(out, "pinned   {trace} {rest}")?;
        }
        for path in &report.unread_files {
            writeln!(out, "unread   {}", path.display())?;
        }
        drop(out);
        if let Some(path) = report.unread_files.first() {
            bail!(
                "not everything is erased: {} and {} other files cannot be read and may have some of it",
                path.display(),
                report.unread_files.len() - 1
            );
        }
        if report.left_files > 0 {
            bail!("{} files could not be deleted yet, run it again", report.left_files);
        }
        Ok(())
    })
}

fn on_store(settings: &Settings, work: impl AsyncFnOnce(&Store) -> Result<()>) -> Result<()> {
    log::start(&settings.log)?;
    if !settings.store.data_dir.join("format").is_file() {
        bail!("{} is no data directory", settings.store.data_dir.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = Store::open(settings.store.clone(), Arc::new(SystemClock)).await;
        let (store, _) = opened?;
        let done = work(&store).await;
        store.close().await.context("the last flush failed; the log has everything")?;
        done
    })
}

/// Error of a data directory that cannot be verified.
#[derive(Debug, Error)]
#[error("the data directory cannot be read")]
pub(crate) struct Unreadable;

/// Verifies everything in the directory; fails when something is wrong.
pub(crate) fn check(matches: &ArgMatches) -> Result<()> {
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
