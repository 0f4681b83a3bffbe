//! `tidings backup` and `tidings restore`: copies of a data directory, made beside a server or
//! without one, and their restoration.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tidings_access::TenantName;
use tidings_storage::{
    BackupId, BackupLocation, BackupMonitor, BackupReport, BackupSource, Finding, ListedBackup,
    RestoreReport, SystemClock, back_up, list_backups, restore_backup, verify_backup,
};

use crate::{
    VERSION, audit_log, keys_command::store_tenant_arg, log, settings::Settings, tenants, terminal,
};

/// Builds the command that backs up; `settings` are the arguments that locate the data directory.
pub(crate) fn backup_command(settings: Vec<Arg>) -> Command {
    Command::new("backup")
        .about("Copy a data directory into a folder or a bucket, also while a server works on it")
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .arg(place_arg("to", "Where backups go: a folder, or s3://bucket/prefix").required(true))
        .arg(
            Arg::new("keep")
                .long("keep")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("Afterwards delete all but the N newest backups [default: none is deleted]"),
        )
        .args(store_args())
        .arg(store_tenant_arg())
        .args(settings.clone())
        .subcommand(
            Command::new("list")
                .about("Print the backups that there are")
                .arg(
                    place_arg("from", "Where they are: a folder, or s3://bucket/prefix")
                        .required(true),
                )
                .args(store_args())
                .args(settings),
        )
}

/// Builds the command that restores.
pub(crate) fn restore_command(settings: Vec<Arg>) -> Command {
    Command::new("restore")
        .about("Restore a backup into an empty data directory, or verify it")
        .arg(place_arg("from", "Where backups are: a folder, or s3://bucket/prefix").required(true))
        .arg(
            Arg::new("backup")
                .long("backup")
                .value_name("ID")
                .value_parser(value_parser!(BackupId))
                .help("Which backup [default: the newest]"),
        )
        .arg(
            Arg::new("verify")
                .long("verify")
                .action(ArgAction::SetTrue)
                .help("Read every file of the backup and compare it; restore nothing"),
        )
        .args(store_args())
        .arg(store_tenant_arg())
        .args(settings)
        .after_help("Credentials come from AWS's variables, as those for tables in a bucket do")
}

fn place_arg(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("DIR|URL").help(help)
}

fn store_args() -> [Arg; 2] {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        text("endpoint", "URL", "S3-compatible store of the backups [default: tables-endpoint]"),
        text("region", "REGION", "Region of the backups' bucket [default: tables-region]"),
    ]
}

/// Makes a backup and prints its contents, or lists the existing backups.
pub(crate) fn backup(matches: &ArgMatches, settings: &Settings) -> Result<()> {
    if let Some(("list", matches)) = matches.subcommand() {
        let backups = run(settings, list_backups(place(matches, "from", settings)?))?;
        return print_list(&backups);
    }
    let to = place(matches, "to", settings)?;
    let stored = settings.store.clone();
    let source = BackupSource {
        data_dir: stored.data_dir,
        tables: stored.tables,
        program: VERSION.to_owned(),
        keep: matches.get_one::<u32>("keep").and_then(|keep| usize::try_from(*keep).ok()),
    };
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("tidings: warning: the limit of open files stays as it is: {error}");
    }
    let report = run(settings, back_up(source, to, monitor()));
    // A backup copies everything that is stored, so it is recorded as a change is.
    let words = |report: &BackupReport| format!("backup {}", report.id);
    if settings.store.data_dir.is_dir() {
        audit_log::record_command(settings, "data.backup", &report, words);
    }
    let report = report?;
    if settings.keys_file.as_ref().is_some_and(|keys| !keys.starts_with(&settings.store.data_dir)) {
        eprintln!("tidings: warning: keys-file is not in the data directory and not in the backup");
    }
    for warning in &report.warnings {
        eprintln!("tidings: warning: {warning}");
    }
    terminal::print(&(summary(&report) + &left_out(settings)?))
}

/// Names the other things in the data directory that its backup lacks: other tenants, and the audit
/// log.
fn left_out(settings: &Settings) -> Result<String> {
    let tenants = tenants::folders(&settings.store.data_dir)?;
    let names: Vec<_> = tenants.iter().map(TenantName::as_str).collect();
    let mut left_out = Vec::new();
    if !names.is_empty() {
        left_out.push(format!("the tenants {} (--tenant NAME)", names.join(", ")));
    }
    if settings.audit_dir.is_none() && settings.audit_folder().is_dir() {
        left_out.push(format!("the audit log ({})", settings.audit_folder().display()));
    }
    match left_out.is_empty() {
        true => Ok(String::new()),
        false => Ok(format!("without  {}\n", left_out.join(", "))),
    }
}

fn summary(report: &BackupReport) -> String {
    let mut text = format!(
        "backup   {}\nhas      {} files ({} bytes)\ncopied   {} files ({} bytes)\n",
        report.id, report.files, report.bytes, report.new_files, report.new_bytes
    );
    if report.deleted_backups > 0 || report.deleted_bytes > 0 {
        text += &format!(
            "deleted  {} backups ({} bytes)\n",
            report.deleted_backups, report.deleted_bytes
        );
    }
    text
}

/// Restores or verifies a backup.
pub(crate) fn restore(matches: &ArgMatches, settings: &Settings) -> Result<()> {
    let from = place(matches, "from", settings)?;
    let id = matches.get_one::<BackupId>("backup").cloned();
    if matches.get_flag("verify") {
        return verify(settings, from, id);
    }
    let stored = settings.store.clone();
    let restoring = restore_backup(from, id, stored.data_dir, stored.tables, monitor());
    let report = run(settings, restoring);
    let words = |report: &RestoreReport| format!("backup {}", report.id);
    audit_log::record_command(settings, "data.restore", &report, words);
    let report = report?;
    terminal::print(&format!(
        "restored {}\nhas      {} files ({} bytes)\nin       {}\n",
        report.id,
        report.files,
        report.bytes,
        settings.store.data_dir.display()
    ))
}

fn verify(settings: &Settings, from: BackupLocation, id: Option<BackupId>) -> Result<()> {
    let found = |finding: &Finding| {
        // The exit code reports the findings even when nobody reads these lines.
        let _ = writeln!(io::stdout(), "{finding}");
    };
    let report = run(settings, verify_backup(from, id, monitor(), found))?;
    let summary = format!("{}: {} files, {} bytes", report.id, report.files, report.bytes);
    if report.findings > 0 {
        bail!("{} findings in {summary}", report.findings);
    }
    terminal::print(&format!("{summary}: all is well\n"))
}

/// Prints backups, one a line, and fails when one of them cannot be read.
fn print_list(backups: &[ListedBackup]) -> Result<()> {
    let mut text =
        format!("{:<27}{:>10}{:>18}{:>18}  PROGRAM\n", "ID", "FILES", "BYTES", "NEW BYTES");
    let mut damaged = 0;
    for ListedBackup { id, content } in backups {
        let id = id.to_string();
        match content {
            Ok(content) => {
                let (files, bytes, new) = (content.files, content.bytes, content.new_bytes);
                text += &format!("{id:<27}{files:>10}{bytes:>18}{new:>18}  {}\n", content.program);
            }
            Err(reason) => {
                damaged += 1;
                text += &format!("{id:<27}{reason}\n");
            }
        }
    }
    terminal::print(&text)?;
    if damaged > 0 {
        bail!("{damaged} backups cannot be used");
    }
    Ok(())
}

/// Returns the place that an argument names, reached as the tables' bucket is.
fn place(matches: &ArgMatches, name: &str, settings: &Settings) -> Result<BackupLocation> {
    let text = matches.get_one::<String>(name).context("a place for backups")?;
    if !text.contains("://") {
        return Ok(BackupLocation::Folder(PathBuf::from(text)));
    }
    let address = text.parse().map_err(|_| {
        anyhow::anyhow!(
            "--{name}: `{text}` is neither a folder nor an address as s3://bucket/prefix"
        )
    })?;
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let mut bucket = settings.bucket.clone();
    bucket.endpoint = given("endpoint").unwrap_or(bucket.endpoint);
    bucket.region = given("region").unwrap_or(bucket.region);
    Ok(BackupLocation::ObjectStore(bucket.at(address)))
}

/// Reports progress on standard error.
fn monitor() -> BackupMonitor {
    BackupMonitor {
        clock: Arc::new(SystemClock),
        report: Arc::new(|line| eprintln!("tidings: {line}")),
    }
}

fn run<T>(
    settings: &Settings,
    work: impl Future<Output = std::result::Result<T, tidings_storage::StorageError>>,
) -> Result<T> {
    log::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}

#[cfg(test)]
mod tests {
    use tidings_storage::BackupReport;

    use super::summary;

    #[test]
    fn deletions_are_printed_when_there_are_some() {
        let report = BackupReport { files: 3, bytes: 30, new_bytes: 10, ..BackupReport::default() };
        let said = summary(&report);
        assert!(
            said.contains("has      3 files (30 bytes)") && !said.contains("deleted"),
            "{said}"
        );
        let said = summary(&BackupReport { deleted_backups: 2, deleted_bytes: 7, ..report });
        assert!(said.contains("deleted  2 backups (7 bytes)"), "{said}");
    }
}
