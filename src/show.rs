//! `tidings trace ID`: a waterfall in the terminal.

mod draw;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use tidings_proto::api::{ProblemDetails, ResolveResult, TraceSkeleton};

use crate::{cli, client::Client, client_identity::ClientIdentity, settings::Sources};

/// Asks the API for the trace and draws it.
pub(crate) fn run(matches: &ArgMatches, sources: &Sources) -> Result<()> {
    let id = matches.get_one::<String>("id").map(String::as_str).unwrap_or_default();
    let width = matches.get_one::<u16>("width").copied().unwrap_or(120);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&ClientIdentity::from_matches(matches, sources)?)?;
    let trace = runtime.block_on(fetch(&client, &sources.text("http"), id))?;
    cli::print(&draw::waterfall(&trace, usize::from(width)))
}

async fn fetch(client: &Client, server: &str, id: &str) -> Result<TraceSkeleton> {
    let resolved: ResolveResult =
        get(client, server, &format!("/api/v1/resolve?text={}", escape(id))).await?;
    let Some(found) = resolved.matches.first() else {
        bail!("nothing stored matches {id:?}; it was tried as {}", resolved.tried.join(", "));
    };
    get(client, server, &format!("/api/v1/traces/{}/skeleton", found.trace_id)).await
}

async fn get<T: serde::de::DeserializeOwned>(
    client: &Client,
    server: &str,
    path: &str,
) -> Result<T> {
    let answer = client.get(server, path).await?;
    if !answer.status.is_success() {
        let detail = serde_json::from_slice::<ProblemDetails>(&answer.body)
            .map_or_else(|_| answer.status.to_string(), |problem| problem.detail);
        bail!("{detail}");
    }
    serde_json::from_slice(&answer.body).context("the answer is not what this version expects")
}

/// Percent-encodes everything but letters, digits, `-`, `.` and `_`.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
