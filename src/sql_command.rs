//! `tidings sql QUERY`: the rows of a query as a table in the terminal. And `tidings sql-worker`:
//! the process in which a server's query runs, which nobody calls by hand. Without the feature
//! `sql-engine` that process is a program of its own beside this one, and the command does not exist.

use std::io;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value as Json;
use tidings_access::is_printable;
use tidings_proto::api::SqlResult;
use tidings_sql::WorkerProgram;

use crate::{client::Client, client_identity::ClientIdentity, settings::Sources, terminal};

/// Maximum width of a column in characters.
const COLUMN_MAX: usize = 60;

/// Sends the query to the API and prints the rows.
pub(crate) fn run(matches: &ArgMatches, sources: &Sources) -> Result<()> {
    let query = match matches.get_one::<String>("query").map(String::as_str) {
        Some("-") => terminal::standard_input()?,
        query => query.unwrap_or_default().to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&ClientIdentity::from_matches(matches, sources)?)?;
    let result = runtime.block_on(fetch(&client, &sources.text("http"), query))?;
    terminal::print(&table(&result))
}

async fn fetch(client: &Client, server: &str, query: String) -> Result<SqlResult> {
    let answer = client.post(server, "/api/v1/sql", "application/sql", query.into()).await?;
    if !answer.status.is_success() {
        bail!("{}", answer.detail());
    }
    serde_json::from_slice(&answer.body).context("the answer is not what this version expects")
}

fn table(result: &SqlResult) -> String {
    let names = result.columns.iter().map(|column| drawn(&Json::String(column.name.clone())));
    let rows = result.rows.iter().map(|row| row.iter().map(drawn).collect());
    let lines: Vec<Vec<String>> = std::iter::once(names.collect()).chain(rows).collect();
    let width = |place: usize| {
        let cells = lines.iter().filter_map(|line| line.get(place));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..result.columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !result.complete {
        text.push_str("… and more: the answer is cut\n");
    }
    text
}

/// Formats a value on one line, without control sequences of a terminal.
fn drawn(value: &Json) -> String {
    let text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut signs = text.chars().map(|sign| if is_printable(sign) { sign } else { '·' });
    let mut cell: String = signs.by_ref().take(COLUMN_MAX).collect();
    if signs.next().is_some() {
        cell.push('…');
    }
    cell
}

/// Name of the worker's command.
pub(crate) const WORKER: &str = "sql-worker";

/// The program of a worker beside a server that is built without the engine.
const WORKER_PROGRAM: &str = "tidings-sql-worker";

/// Returns the program that runs the queries of a server.
///
/// # Errors
/// Fails if the system does not tell the path of this program.
pub(crate) fn worker_program() -> io::Result<WorkerProgram> {
    match cfg!(feature = "sql-engine") {
        true => WorkerProgram::this(WORKER),
        false => WorkerProgram::beside(WORKER_PROGRAM),
    }
}

/// Builds the worker's command, which the help does not list; `None` where this program has no
/// engine.
pub(crate) fn worker_command() -> Option<Command> {
    let limit = |name: &'static str| Arg::new(name).required(true).value_parser(value_parser!(u64));
    cfg!(feature = "sql-engine").then(|| {
        Command::new(WORKER)
            .hide(true)
            .about("Run one query in SQL for the server at the other end of standard input")
            .arg(limit("address-bytes-max"))
            .arg(limit("cpu-seconds-max"))
    })
}

/// Runs the query of a worker and ends the process.
#[cfg(feature = "sql-engine")]
pub(crate) fn run_worker_process(matches: &ArgMatches) -> Result<()> {
    let limit = |name| matches.get_one::<u64>(name).copied().context("a limit is missing");
    let limits = tidings_sql::WorkerLimits {
        address_bytes_max: limit("address-bytes-max")?,
        cpu_seconds_max: limit("cpu-seconds-max")?,
    };
    match tidings_sql_engine::run_worker(limits).context("this is no process of a server")? {}
}

/// Refuses: this program has no engine.
#[cfg(not(feature = "sql-engine"))]
pub(crate) fn run_worker_process(_: &ArgMatches) -> Result<()> {
    bail!("this program has no SQL engine")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::api::SqlResult;

    #[test]
    fn rows_are_columns_of_text_that_no_terminal_obeys() {
        let result: SqlResult = serde_json::from_value(json!({
            "columns": [{"name": "service", "type": "text"}, {"name": "n", "type": "bigint"}],
            "rows": [["shop", 7], ["\u{1b}[31mred\r\n", null]],
            "rowCount": 2,
            "complete": false,
            "lacks": ["rows"],
            "read": {"rows": 9, "files": 0},
            "repeatsCounted": false,
            "elapsedNano": "5",
        }))
        .unwrap();
        let table = super::table(&result);
        assert_eq!(
            table,
            "service     n\nshop        7\n·[31mred··\n… and more: the answer is cut\n"
        );
    }
}
