//! `tidings keys`: makes, lists and revokes keys in the file of keys, with or without a running
//! server.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use tidings_access::{KeyFile, KeyRecord, KeyRequest, Role, TenantName};
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, SystemClock};

use crate::{
    audit_log,
    settings::{Settings, parse_age, parse_bytes},
    tenants::possible,
    terminal::{self, InvalidArgument},
};

const NANOS_PER_DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Builds the command; `settings` are the arguments that locate the file of keys.
pub(crate) fn command(settings: Vec<Arg>) -> Command {
    Command::new("keys")
        .about("Make, list and revoke keys of senders and readers (see require-keys)")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(create_command().args(settings.clone()))
        .subcommand(
            Command::new("list")
                .about("Print the keys that there are, without their secrets")
                .args(settings.clone()),
        )
        .subcommand(
            Command::new("revoke")
                .about("Revoke a key: a running server refuses it within a second")
                .arg(
                    Arg::new("key").required(true).value_name("ID|NAME").help("Its id or its name"),
                )
                .arg(tenant_arg(
                    "The tenant that it belongs to, where keys of several have its name",
                ))
                .args(settings),
        )
}

fn create_command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("create")
        .about("Make a key and print it, this once: only a digest of it is kept")
        .arg(text("name", "NAME", "What it is for, as `collector prod`").required(true))
        .arg(
            text("role", "ROLE", "ingest sends; read reads; admin does everything")
                .required(true)
                .value_parser(PossibleValuesParser::new(Role::ALL.map(Role::name))),
        )
        .arg(tenant_arg(
            "The tenant that it belongs to, whose telemetry is kept apart [default: default]",
        ))
        .arg(
            Arg::new("tenants")
                .long("tenants")
                .value_name("NAME,…")
                .value_delimiter(',')
                .value_parser(value_parser!(TenantName))
                .help(
                    "Tenants that its requests may choose beside it, by the header X-Scope-OrgID",
                ),
        )
        .arg(text("service", "NAME", "It may send the telemetry of this service.name only"))
        .arg(text("expires", "AGE", "It ends after this time, as 90d, 12h, 45m [default: never]"))
        .arg(text(
            "bytes-per-second",
            "BYTES",
            "It may send so much, decompressed and on average, as 1MiB; then it is told to wait",
        ))
        .arg(text(
            "bytes-per-day",
            "BYTES",
            "It may send so much, decompressed, in a day, as 20GiB; what it sent flows back evenly",
        ))
        .arg(
            Arg::new("requests-per-second")
                .long("requests-per-second")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("It may make so many requests, on average; then it is told to wait"),
        )
}

/// The argument that names one tenant.
fn tenant_arg(help: &'static str) -> Arg {
    let name = Arg::new("tenant").long("tenant").value_name("NAME");
    name.value_parser(value_parser!(TenantName)).help(help)
}

/// Builds the argument that chooses a tenant's store.
pub(crate) fn store_tenant_arg() -> Arg {
    tenant_arg("The tenant whose store it is [default: default]")
}

/// Runs the command.
pub(crate) fn run(matches: &ArgMatches, settings: &Settings) -> Result<()> {
    let file = KeyFile::new(settings.key_file()).with_tenants_max(possible(settings));
    match matches.subcommand() {
        Some(("create", matches)) => {
            let made = create(&file, matches, settings);
            audit_log::record_command(settings, "key.create", &made, KeyRecord::describe);
            made.map(drop)
        }
        Some(("list", _)) => {
            let keys = file.read()?;
            if !file.path().exists() {
                eprintln!("no key was made yet: {} does not exist", file.path().display());
            }
            terminal::print(&table(&keys, SystemClock.now()))
        }
        Some(("revoke", matches)) => {
            let wanted = matches.get_one::<String>("key").cloned().unwrap_or_default();
            let of_tenant = matches.get_one::<TenantName>("tenant");
            let revoked = file.revoke(&wanted, of_tenant).map_err(anyhow::Error::from);
            audit_log::record_command(settings, "key.revoke", &revoked, KeyRecord::describe);
            let revoked = revoked?;
            terminal::print(&format!("revoked {} {:?}\n", revoked.id, revoked.name))
        }
        _ => bail!("keys create, keys list or keys revoke is needed"),
    }
}

fn create(file: &KeyFile, matches: &ArgMatches, settings: &Settings) -> Result<KeyRecord> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let text = |name: &str| matches.get_one::<String>(name);
    let wrong = |name: &str, reason: String| InvalidArgument(format!("--{name}: {reason}"));
    let age = text("expires").map(|age| parse_age(age)).transpose();
    let age = age.map_err(|reason| wrong("expires", reason))?.flatten();
    let end = age.map(|age: Duration| {
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        UnixNanos(clock.now().0.saturating_add(nanos))
    });
    let bytes = |name: &str| {
        let bytes = text(name).map(|bytes| parse_bytes(bytes)).transpose();
        bytes.map_err(|reason| wrong(name, reason))
    };
    let role = text("role").map(String::as_str).unwrap_or_default();
    let request = KeyRequest {
        name: text("name").cloned().unwrap_or_default(),
        role: role.parse().map_err(|reason| wrong("role", reason))?,
        tenant: matches.get_one::<TenantName>("tenant").cloned().unwrap_or_default(),
        tenants: matches.get_many::<TenantName>("tenants").into_iter().flatten().cloned().collect(),
        service: text("service").cloned(),
        expires_unix_nanos: end,
        bytes_per_second: bytes("bytes-per-second")?,
        bytes_per_day: bytes("bytes-per-day")?,
        requests_per_second: matches.get_one::<u64>("requests-per-second").copied(),
    };
    let (token, record) = file.create(request, clock.now()).context("no key was made")?;
    let key = token.reveal();
    terminal::print(&format!("{key}\n"))?;
    eprintln!("{}", hint(&record, settings));
    Ok(record)
}

/// Describes how the key is used.
fn hint(record: &KeyRecord, settings: &Settings) -> String {
    let usage = match record.role {
        Role::Ingest => "senders: OTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer <key>\"",
        Role::Read | Role::Admin => {
            "clients: `Authorization: Bearer <key>`, or <key> as Basic's password; browsers ask for it"
        }
    };
    let unused = if settings.asks_who() {
        ""
    } else {
        "\nthe server asks nobody for a key until require-keys = true is set"
    };
    format!("key {} {:?} is shown this once; {usage}{unused}", record.id, record.name)
}

/// Draws the keys, one a line.
fn table(keys: &[KeyRecord], now: UnixNanos) -> String {
    let (ends, tenant) = ("ENDS", "TENANT");
    let mut text =
        format!("{:<10}{:<8}{ends:<14}{tenant:<16}{:<22}NAME, LIMITS\n", "ID", "ROLE", "SERVICE");
    for key in keys {
        let ends = match key.expires_unix_nanos {
            None => "never".to_owned(),
            Some(end) if end <= now => "has expired".to_owned(),
            Some(end) => format!("in {} d", (end.0 - now.0).div_ceil(NANOS_PER_DAY)),
        };
        let service = key.service.as_deref().unwrap_or("any");
        let (id, role) = (key.id.to_string(), key.role.name());
        let tenants = std::iter::once(&key.tenant).chain(&key.tenants);
        let tenants = tenants.map(TenantName::as_str).collect::<Vec<_>>().join(",");
        let name_and_limits = [vec![key.name.clone()], key.limits()].concat().join(", ");
        text +=
            &format!("{id:<10}{role:<8}{ends:<14}{tenants:<16}{service:<22}{name_and_limits}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use tidings_access::{KeyFile, KeyRequest, Role};
    use tidings_proto::UnixNanos;

    use super::{NANOS_PER_DAY, table};

    #[test]
    fn keys_are_listed_with_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        for (name, end) in [("a", None), ("b", Some(10)), ("c", Some(3 * NANOS_PER_DAY))] {
            let tenants = if name == "c" { &["x", "y"][..] } else { &["default"] };
            let mut tenants = tenants.iter().map(|tenant| tenant.parse().unwrap());
            let request = KeyRequest {
                tenant: tenants.next().unwrap(),
                tenants: tenants.collect(),
                service: (name == "c").then(|| "shop".to_owned()),
                requests_per_second: (name == "c").then_some(5),
                expires_unix_nanos: end.map(UnixNanos),
                ..KeyRequest::new(name, Role::Ingest)
            };
            file.create(request, UnixNanos(5)).unwrap();
        }
        let text = table(&file.read().unwrap(), UnixNanos(20));
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["ROLE", "ENDS", "TENANT", "SERVICE", "NAME,", "LIMITS"],
                vec!["ingest", "never", "default", "any", "a"],
                vec!["ingest", "has", "expired", "default", "any", "b"],
                vec![
                    "ingest", "in", "3", "d", "x,y", "shop", "c,", "5", "requests", "per",
                    "second",
                ],
            ]
        );
    }
}
