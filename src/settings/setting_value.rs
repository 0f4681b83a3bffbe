//! Reads values from texts. A text that is no value gives the reason.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::http::{Uri, uri::Authority};
use tidings_access::IssuerUrl;
use tidings_collector::TrustedProxies;
use tidings_proto::TraceId;
use tidings_sql::RUNNING_QUERIES_MAX;
use tidings_storage::{AttributeFilter, RetentionCondition, RetentionRule, TablesAt};

pub(super) use super::own_signals::{endpoint, records};
use super::{BucketAccess, SqlAt, memory::BUDGET_MIN};

/// A folder.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path is needed".to_owned()) } else { Ok(text.into()) }
}

/// A file, if any.
#[expect(clippy::unnecessary_wraps, reason = "every setting is read by one kind of function")]
pub(super) fn file(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Any text.
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// The place of the tables: `local`, or an address in an object store, without access to it yet.
pub(super) fn tables(text: &str) -> Result<TablesAt, String> {
    if text == "local" {
        return Ok(TablesAt::DataDirectory);
    }
    text.parse().map(|address| TablesAt::ObjectStore(BucketAccess::default().at(address)))
}

/// Checks a filter of log lines, in the syntax of `RUST_LOG`.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An address and port; `localhost` is allowed, port 0 lets the system choose.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| "an address and a port are needed, as 127.0.0.1:4317".to_owned())
}

/// `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false is needed".to_owned())
}

/// The listeners that answer queries in SQL.
pub(super) fn sql(text: &str) -> Result<SqlAt, String> {
    match text {
        "loopback" => Ok(SqlAt::Loopback),
        "on" => Ok(SqlAt::On),
        "off" => Ok(SqlAt::Off),
        _ => Err("loopback, on or off is needed".to_owned()),
    }
}

/// A positive whole number.
pub(super) fn count<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let number = text.parse::<u64>().ok().filter(|number| *number > 0);
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| "a whole number above 0 is needed".to_owned())
}

/// A number of queries in SQL that may run at once.
pub(super) fn sql_queries(text: &str) -> Result<usize, String> {
    let number = count::<usize>(text).ok().filter(|number| *number <= RUNNING_QUERIES_MAX);
    number.ok_or_else(|| format!("a whole number from 1 to {RUNNING_QUERIES_MAX} is needed"))
}

/// A positive whole number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    count(text).map(Duration::from_secs)
}

/// A number of bytes, with or without a binary unit.
pub(crate) fn bytes<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let wrong = || "a number of bytes is needed, as 4MiB (B, KiB, MiB, GiB)".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes > 0);
    bytes.and_then(|bytes| N::try_from(bytes).ok()).ok_or_else(wrong)
}

/// A number of bytes with which everything works, or `auto`.
pub(super) fn budget(text: &str) -> Result<Option<u64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    let budget: u64 = bytes(text).map_err(|wrong| format!("{wrong}, or auto"))?;
    if budget < BUDGET_MIN {
        return Err(format!("at least {}MiB are needed", BUDGET_MIN >> 20));
    }
    Ok(Some(budget))
}

/// A number of bytes, or `none`.
pub(super) fn limit(text: &str) -> Result<Option<u64>, String> {
    if text == "none" { Ok(None) } else { bytes(text).map(Some) }
}

/// A number of bytes, or `none`, which is read as 0.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    limit(text).map(Option::unwrap_or_default)
}

/// A number of days, hours or minutes above 0, or `forever`. At the age of 0 everything would be
/// deleted as soon as it is stored.
pub(crate) fn age(text: &str) -> Result<Option<Duration>, String> {
    match age_or_zero(text)? {
        Some(age) if age.is_zero() => Err("a time above 0 is needed, or forever".to_owned()),
        age => Ok(age),
    }
}

fn age_or_zero(text: &str) -> Result<Option<Duration>, String> {
    const MINUTE: u64 = 60;
    let wrong = || "a time is needed, as 30d, 12h, 45m or forever".to_owned();
    if text == "forever" {
        return Ok(None);
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "d" => 24 * 60 * MINUTE,
        "h" => 60 * MINUTE,
        "m" => MINUTE,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Some(Duration::from_secs(number.checked_mul(unit).ok_or_else(wrong)?)))
}

/// As [`age`], or 0; `forever` is the longest time.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    age_or_zero(text).map(|age| age.unwrap_or(Duration::MAX))
}

/// Rules of retention with commas between them.
pub(super) fn rules(text: &str) -> Result<Vec<RetentionRule>, String> {
    list(text)?.iter().map(|rule| self::rule(rule)).collect()
}

fn rule(text: &str) -> Result<RetentionRule, String> {
    let wrong = || format!("`{text}` is no rule, as errors:30d or service=NAME:14d");
    let (what, kept) = text.rsplit_once(':').ok_or_else(wrong)?;
    let condition = match what.split_once('=') {
        None if what == "errors" => RetentionCondition::Errors,
        Some(("service", name)) if !name.is_empty() => RetentionCondition::Service(name.to_owned()),
        Some(("trace", id)) => RetentionCondition::Trace(trace_id(id)?),
        Some(("attribute", pair)) => RetentionCondition::Attribute(attribute(pair)?),
        _ => return Err(wrong()),
    };
    Ok(RetentionRule { condition, age: age(kept)? })
}

/// A trace id in hexadecimal.
pub(crate) fn trace_id(text: &str) -> Result<TraceId, String> {
    text.parse().map_err(|_| format!("`{text}` is no trace id of 32 hexadecimal digits"))
}

/// `KEY=VALUE`.
fn attribute(text: &str) -> Result<AttributeFilter, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(AttributeFilter::new(key, Some(value.to_owned())))
        }
        _ => Err(format!("`{text}` is no attribute, as KEY=VALUE")),
    }
}

/// Texts with commas between them.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Networks of proxies with commas between them.
pub(super) fn proxies(text: &str) -> Result<TrustedProxies, String> {
    TrustedProxies::read(&list(text)?)
}

/// Origins with commas between them, in the form that browsers send.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    list(text)?.into_iter().map(|origin| origin_of(&origin)).collect()
}

/// An origin, if any.
pub(super) fn origin(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() { Ok(None) } else { origin_of(text).map(Some) }
}

/// The address of an issuer, if any.
pub(super) fn issuer(text: &str) -> Result<Option<IssuerUrl>, String> {
    if text.is_empty() { Ok(None) } else { IssuerUrl::read(text).map(Some) }
}

fn origin_of(text: &str) -> Result<String, String> {
    let origin = text.to_ascii_lowercase();
    let wrong =
        || format!("`{text}` is no origin as http://localhost:3000 or https://dash.example");
    let (scheme, usual_port) = match origin.split_once("://") {
        Some(("http", _)) => ("http", Some(80)),
        Some(("https", _)) => ("https", Some(443)),
        _ => return Err(wrong()),
    };
    let url: Uri = origin.parse().map_err(|_| wrong())?;
    let authority = url.authority().map(Authority::as_str).unwrap_or_default();
    let whole = format!("{scheme}://{authority}") == origin;
    // Browsers leave out the default port: an origin with it would match no request.
    let is_usual = url.port_u16().is_some() && url.port_u16() == usual_port;
    let host = url.host().unwrap_or_default();
    if whole && !is_usual && !host.is_empty() && !authority.contains(['@', '*']) {
        Ok(origin)
    } else {
        Err(wrong())
    }
}

/// Returns a value of the file as the text it would be on the command line.
pub(super) fn file_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

/// Returns the Levenshtein distance of two texts.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
