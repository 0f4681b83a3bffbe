//! The command line: the commands and their arguments.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, Id, builder::PossibleValuesParser, value_parser};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use tidings_access::{KeyFileError, TenantName};
use tidings_collector::TlsError;
use tidings_storage::StorageError;

use crate::{
    VERSION, backup,
    client_identity::ClientIdentity,
    demo,
    health::TaskFailure,
    import, keys_command, maintenance, serve,
    settings::{MemoryFiles, SETTINGS, Setting, Settings, SettingsError, Sources},
    show, sql_command, tail_command,
    tenants::settings_of,
    terminal::{InvalidArgument, print},
    web,
};

/// The program's name.
const NAME: &str = "tidings";

/// Builds the whole command line.
pub(crate) fn command() -> Command {
    Command::new(NAME)
        .version(VERSION)
        .about("Collects traces and logs durably and rebuilds any transaction hop by hop")
        .args_conflicts_with_subcommands(true)
        .arg(recover_arg())
        .args(setting_args())
        .subcommand(
            Command::new("serve")
                .about("Receive, store and answer (the default)")
                .arg(recover_arg())
                .args(setting_args()),
        )
        .subcommand(demo_command())
        .subcommand(import_command())
        .subcommand(trace_command())
        .subcommand(sql_command())
        .subcommands(sql_command::worker_command())
        .subcommand(tail_command())
        .subcommand(compact_command())
        .subcommand(erase_command())
        .subcommand(check_command())
        .subcommand(backup::backup_command(setting_args()))
        .subcommand(backup::restore_command(setting_args()))
        .subcommand(keys_command::command(setting_args()))
        .subcommand(
            Command::new("config")
                .about("Print the effective settings with where each came from")
                .args(setting_args()),
        )
        .subcommand(
            Command::new("completions").about("Print the completions of a shell").arg(
                Arg::new("shell")
                    .required(true)
                    .value_name("SHELL")
                    .value_parser(value_parser!(Shell))
                    .help("The shell that reads them"),
            ),
        )
        .subcommand(Command::new("man").about("Print the manual page, in roff"))
        .subcommand(
            Command::new("notices").about("Print the licences of the crates this is built from"),
        )
}

fn recover_arg() -> Arg {
    Arg::new("recover").long("recover").action(ArgAction::SetTrue).help(
        "Start without what cannot be read of the write-ahead log; it is set aside in quarantine/",
    )
}

fn demo_command() -> Command {
    Command::new("demo")
        .about("Send the traffic of a shop and a payment system")
        .arg(number("rate", "5", "Transactions per second"))
        .arg(number("duration", "30", "How long to send, in seconds"))
        .arg(number(
            "backfill",
            "0",
            "First send this many transactions dated over the last 15 minutes",
        ))
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Makes the same transactions again (by default, new ones each time)"),
        )
        .arg(
            Arg::new("incident")
                .long("incident")
                .value_name("NAME")
                .value_parser(PossibleValuesParser::new(demo::INCIDENTS.map(|(name, _)| name)))
                .help(
                    "Sends two hours of the past first (3,000 transactions unless --backfill says \
                     otherwise); this goes wrong from ten minutes ago on",
                ),
        )
        .arg(server("otlp-grpc", "The OTLP/gRPC receiver"))
        .arg(server("otlp-http", "The OTLP/HTTP receiver"))
        .arg(server("zipkin", "The Zipkin receiver"))
        .args(ClientIdentity::args())
        .arg(config_arg())
}

fn import_command() -> Command {
    Command::new("import")
        .about("Send files of spans and logs: OTLP (JSON, protobuf), Zipkin v2, Jaeger UI JSON; gzip or zstd")
        .arg(
            Arg::new("file")
                .required(true)
                .num_args(1..)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("What to import; - is standard input"),
        )
        .arg(server("otlp-http", "The OTLP/HTTP receiver"))
        .args(ClientIdentity::args())
        .arg(config_arg())
}

fn trace_command() -> Command {
    Command::new("trace")
        .about("Draw a trace in the terminal")
        .arg(
            Arg::new("id")
                .required(true)
                .value_name("ID")
                .help("A trace id or a transaction id, in any form"),
        )
        .arg(server("http", "The API"))
        .args(ClientIdentity::args())
        .arg(config_arg())
        .arg(
            Arg::new("width")
                .long("width")
                .value_name("COLUMNS")
                .value_parser(value_parser!(u16).range(60..=400))
                .default_value("120")
                .help("How wide to draw"),
        )
}

fn sql_command() -> Command {
    Command::new("sql")
        .about("Ask a query over spans, logs, traces, red and edges, and print its rows")
        .arg(
            Arg::new("query").required(true).value_name("QUERY").help(
                "The query, or - for standard input, where lists of processes do not show it",
            ),
        )
        .arg(server("http", "The API"))
        .args(ClientIdentity::args())
        .arg(config_arg())
}

fn tail_command() -> Command {
    Command::new("tail")
        .about("Print log records as the server stores them, until Ctrl-C")
        .arg(
            Arg::new("query").value_name("QUERY").help(
                "A query for log records, as `severity:>=warn declined` [default: every record]",
            ),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print each record as a line of JSON, as the API shows it"),
        )
        .arg(server("http", "The API"))
        .args(ClientIdentity::args())
        .arg(config_arg())
}

fn compact_command() -> Command {
    Command::new("compact")
        .about("Merge files and delete what is no longer kept, on a directory no server works on")
        .arg(keys_command::store_tenant_arg())
        .arg(
            Arg::new("clock-is-right")
                .long("clock-is-right")
                .action(ArgAction::SetTrue)
                .help("Delete by age although the clock differs from what the tables have seen"),
        )
        .args(setting_args())
}

fn erase_command() -> Command {
    Command::new("erase")
        .about("Erase spans and log records for good, on a directory no server works on")
        .after_help("A running server erases by POST /api/v1/erasures, or on its System page")
        .arg(keys_command::store_tenant_arg())
        .arg(Arg::new("attribute").long("attribute").value_name("KEY").help(
            "Everything with this attribute, also on its resource, scope, events or links; its \
             value is read from standard input, where lists of processes do not show it",
        ))
        .arg(
            Arg::new("trace")
                .long("trace")
                .value_name("ID")
                .conflicts_with("attribute")
                .help("Everything of this trace"),
        )
        .args(setting_args())
}

fn check_command() -> Command {
    Command::new("check")
        .about("Verify a data directory that no server works on; repairs nothing")
        .arg(
            Arg::new("dir")
                .required(true)
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("The data directory"),
        )
        .after_help("Exits with 0 when all is well, 1 when something is wrong, 2 when it was called wrongly or DIR cannot be read. What keeps the log shut is set aside by `tidings serve --recover`")
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    text(name, default, help).value_name("N").value_parser(value_parser!(u32).range(0..=1_000_000))
}

fn text(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help)
}

/// Builds the argument by which a client command finds a listener: the setting of this name.
fn server(name: &'static str, about: &str) -> Arg {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    let setting = setting.expect("invariant: every listener has a setting");
    Arg::new(name).long(name).value_name("ADDRESS").help(help(about, setting))
}

fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A TOML file with settings [env: TIDINGS_CONFIG]")
}

fn setting_args() -> Vec<Arg> {
    let settings = SETTINGS.iter().map(|setting| {
        Arg::new(setting.name)
            .long(setting.name)
            .value_name("VALUE")
            .action(ArgAction::Set)
            .hide_short_help(setting.name.ends_with("-max"))
            .help(help(setting.help, setting))
    });
    std::iter::once(config_arg()).chain(settings).collect()
}

fn help(help: &str, setting: &Setting) -> String {
    format!("{help} [default: {}] [env: {}]", setting.default_text(), setting.variable())
}

/// Runs the command that the command line names.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        None => serve(matches),
        Some(("serve", matches)) => serve(matches),
        Some(("compact", matches)) => maintenance::compact(matches, &of_tenant(matches)?),
        Some(("erase", matches)) => maintenance::erase(matches, &of_tenant(matches)?),
        Some(("config", matches)) => print_config(&sources(matches)?),
        Some(("demo", matches)) => {
            demo::run(&demo::DemoOptions::from_matches(matches, &sources(matches)?)?)
        }
        Some(("import", matches)) => import::run(matches, &sources(matches)?),
        Some(("trace", matches)) => show::run(matches, &sources(matches)?),
        Some(("sql", matches)) => sql_command::run(matches, &sources(matches)?),
        Some(("tail", matches)) => tail_command::run(matches, &sources(matches)?),
        Some(("check", matches)) => maintenance::check(matches),
        Some(("backup", matches)) => {
            let (_, given) = matches.subcommand().unwrap_or(("", matches));
            backup::backup(matches, &of_tenant(given)?)
        }
        Some(("restore", matches)) => backup::restore(matches, &of_tenant(matches)?),
        Some(("keys", matches)) => {
            let (_, given) = matches.subcommand().unwrap_or(("", matches));
            keys_command::run(matches, &sources(given)?.settings()?)
        }
        Some(("completions", matches)) => print_completions(matches),
        Some(("man", _)) => print_manual(),
        Some(("notices", _)) => print_notices(),
        Some((sql_command::WORKER, matches)) => sql_command::run_worker_process(matches),
        Some((other, _)) => anyhow::bail!("there is no command `{other}`"),
    }
}

/// Reads the settings for a command that works on one tenant's store.
fn of_tenant(matches: &ArgMatches) -> Result<Settings> {
    let settings = sources(matches)?.settings()?;
    let tenant = matches.try_get_one::<TenantName>("tenant").ok().flatten();
    Ok(settings_of(&settings, tenant.unwrap_or(&TenantName::default()))?)
}

/// Prints the script with which a shell completes this command line.
fn print_completions(matches: &ArgMatches) -> Result<()> {
    let shell: Shell = *matches.get_one("shell").context("a shell")?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), NAME, &mut text);
    print(&String::from_utf8(text)?)
}

/// Prints the manual page of this command line, with a section for each subcommand. The settings
/// are described once, among the options of the program.
fn print_manual() -> Result<()> {
    // As --help, the page describes every option.
    let mut top =
        command().disable_help_subcommand(true).mut_args(|arg| arg.hide_short_help(false));
    top.build();
    let mut text: Vec<u8> = Vec::new();
    let page = Man::new(top.clone());
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let settings = setting_args();
    let is_setting = |id: &Id| settings.iter().any(|setting| setting.get_id() == id);
    let subcommands = top
        .get_subcommands()
        .flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
    for subcommand in subcommands.filter(|command| !command.is_hide_set()) {
        let given = subcommand.get_arguments().filter(|arg| is_setting(arg.get_id()));
        let takes_settings = given.count() == settings.len();
        let mut head = Roff::new();
        let name = subcommand.get_bin_name().unwrap_or_else(|| subcommand.get_name());
        head.control("SH", [name.to_uppercase().as_str()]);
        for about in [subcommand.get_about(), subcommand.get_after_help()].into_iter().flatten() {
            head.control("PP", []);
            head.text([roman(about.to_string())]);
        }
        if takes_settings {
            head.control("PP", []);
            head.text([roman("Takes every setting under OPTIONS, too.")]);
        }
        head.to_writer(&mut text)?;
        let own = Man::new(subcommand.clone().mut_args(|arg| {
            let is_known = arg.get_id() == "help" || (takes_settings && is_setting(arg.get_id()));
            if is_known { arg.hide(true) } else { arg }
        }));
        let mut sections = Vec::new();
        own.render_synopsis_section(&mut sections)?;
        own.render_options_section(&mut sections)?;
        // They are parts of the subcommand's section.
        let sections = String::from_utf8(sections)?.replace("\n.SH ", "\n.SS ");
        text.extend_from_slice(sections.as_bytes());
    }
    page.render_version_section(&mut text)?;
    print(&String::from_utf8(text)?)
}

/// Prints the licences and notices of third parties.
fn print_notices() -> Result<()> {
    let text = web::third_party_notices().context("embedded notices")?;
    print(&text.context("this program was built without them: `cargo xtask ui` makes them")?)
}

/// Runs the server; its warnings go to its log.
fn serve(matches: &ArgMatches) -> Result<()> {
    let sources = read_sources(matches)?;
    let mut settings = sources.settings()?;
    settings.store.recover = matches.get_flag("recover");
    serve::run(settings, sources.warnings())
}

/// Returns the exit code of an error:
/// - 78 (`EX_CONFIG`) when the settings are wrong or the data directory is not for this program,
/// - 73 (`EX_CANTCREAT`) when another process has the data directory,
/// - 74 (`EX_IOERR`) when a part of it cannot be read and acknowledged records could be lost
///   without it,
/// - 70 (`EX_SOFTWARE`) when an essential task failed and a restart continues,
/// - 2 when the command was called wrongly or `check` could not read the directory,
/// - 1 otherwise.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let of_keys = match error.downcast_ref::<KeyFileError>() {
        Some(KeyFileError::Storage(error)) => Some(error),
        _ => None,
    };
    let storage = error.chain().find_map(|cause| cause.downcast_ref::<StorageError>());
    let storage = storage.or(of_keys);
    match storage {
        _ if error.is::<SettingsError>() || error.is::<TlsError>() => 78,
        _ if error.is::<KeyFileError>() && storage.is_none() => 78,
        _ if error.is::<maintenance::Unreadable>() || error.is::<InvalidArgument>() => 2,
        _ if error.is::<TaskFailure>() => 70,
        Some(StorageError::Locked { .. }) => 73,
        Some(
            StorageError::NeedsRecovery { .. }
            | StorageError::UnknownFormat { .. }
            | StorageError::Corrupt { .. },
        ) => 74,
        Some(
            StorageError::Format { .. }
            | StorageError::Refused { .. }
            | StorageError::RefusedBackup { .. },
        ) => 78,
        Some(StorageError::Io { source, .. }) if is_setup(source.kind()) => 78,
        _ => 1,
    }
}

/// Reports whether an error needs a change of the machine's setup and not another try.
fn is_setup(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    matches!(kind, PermissionDenied | IsADirectory | NotADirectory | ReadOnlyFilesystem)
}

/// Reads the settings for a command that ends soon and writes their warnings to standard error.
fn sources(matches: &ArgMatches) -> Result<Sources, SettingsError> {
    let sources = read_sources(matches)?;
    for warning in sources.warnings() {
        eprintln!("tidings: warning: {}", warning.escape_debug());
    }
    Ok(sources)
}

/// Reads the settings for a command, which need not take every setting as a flag.
fn read_sources(matches: &ArgMatches) -> Result<Sources, SettingsError> {
    let given = SETTINGS.iter().filter_map(|setting| {
        let value = matches.try_get_one::<String>(setting.name).ok()??;
        Some((setting.name, value.clone()))
    });
    let mut sources =
        Sources::read(matches.get_one("config").cloned(), std::env::vars_os(), given)?;
    sources.divide_memory(MemoryFiles::default().limit());
    Ok(sources)
}

fn print_config(sources: &Sources) -> Result<()> {
    let _: Settings = sources.settings()?;
    let text: String = sources
        .lines()
        .map(|(setting, value, origin)| format!("{} = {value:?}  # {origin}\n", setting.key()))
        .collect();
    print(&text)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::{InvalidArgument, StorageError, TaskFailure, exit_code};

    #[test]
    fn failures_that_a_supervisor_tells_apart_have_exit_codes_of_their_own() {
        let error = anyhow::Error::new(TaskFailure("flush failed: no".to_owned()));
        assert_eq!(exit_code(&error), 70);
        assert_eq!(exit_code(&anyhow::anyhow!("anything else")), 1);
        assert_eq!(exit_code(&InvalidArgument("x".to_owned()).into()), 2);
        let (path, reason) = ("format".into(), "it does not say a format".to_owned());
        assert_eq!(exit_code(&StorageError::UnknownFormat { path, reason }.into()), 74);
        // A restart does not mend a folder where a file belongs, but it may mend a failing disk.
        let failed = |kind: ErrorKind| {
            let source = std::io::Error::from(kind);
            exit_code(&StorageError::Io { action: "read", path: "pins".into(), source }.into())
        };
        assert_eq!(failed(ErrorKind::IsADirectory), 78);
        assert_eq!(failed(ErrorKind::TimedOut), 1);
    }
}
