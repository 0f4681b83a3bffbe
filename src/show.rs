//! `tidings trace ID`: a waterfall in the terminal. Telemetry is hostile text: control characters
//! never reach the terminal.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use tidings_access::is_printable;
use tidings_proto::{
    DurationNanos,
    api::{ResolveResult, SpanFlags, TraceSkeleton, TransactionState},
};

use crate::{
    client::{Client, percent_encoded},
    client_identity::ClientIdentity,
    settings::Sources,
    terminal,
};

/// Reads the trace from the API and draws it.
pub(crate) fn run(matches: &ArgMatches, sources: &Sources) -> Result<()> {
    let id = matches.get_one::<String>("id").map(String::as_str).unwrap_or_default();
    let width = matches.get_one::<u16>("width").copied().unwrap_or(120);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&ClientIdentity::from_matches(matches, sources)?)?;
    let trace = runtime.block_on(fetch(&client, &sources.text("http"), id))?;
    terminal::print(&waterfall(&trace, usize::from(width)))
}

async fn fetch(client: &Client, server: &str, id: &str) -> Result<TraceSkeleton> {
    let resolved: ResolveResult =
        get(client, server, &format!("/api/v1/resolve?text={}", percent_encoded(id))).await?;
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
        bail!("{}", answer.detail());
    }
    serde_json::from_slice(&answer.body).context("the answer is not what this version expects")
}

/// Depth from which on spans are indented no further.
const DEPTH_MAX: usize = 16;
/// Width of a duration in columns.
const DURATION_COLUMNS: usize = 11;

/// Draws the trace as lines of at most `width` columns.
fn waterfall(trace: &TraceSkeleton, width: usize) -> String {
    let mut out = String::new();
    let summary = &trace.summary;
    let state = match summary.state {
        TransactionState::Running => "running",
        TransactionState::Completed => "completed",
        TransactionState::Failed => "failed",
        TransactionState::Incomplete => "incomplete",
    };
    let _ = writeln!(
        out,
        "{} {}  {state}  {}  {} spans, {} errors, {} logs\n{}",
        cut(&printable(&summary.root_service), width / 2),
        cut(&printable(&summary.root_operation), width / 2),
        summary.duration_nano,
        summary.span_count,
        summary.error_count,
        trace.log_count,
        summary.trace_id,
    );
    for problem in &trace.problems {
        let _ = writeln!(out, "  ! {}", printable(&problem.message));
    }
    let listed = trace.problems.len() as u64;
    if summary.problem_count > listed {
        let _ = writeln!(out, "  ! and {} more problems", summary.problem_count - listed);
    }
    let bars = (width / 2).max(20);
    let names = width.saturating_sub(bars + DURATION_COLUMNS + 2);
    for row in 0..trace.spans.span_id.len() {
        let Some(span) = DrawnSpan::from_row(trace, row) else { continue };
        let _ = writeln!(
            out,
            "{} {:>DURATION_COLUMNS$} {}",
            fit(&span.name, names),
            DurationNanos(span.duration_nano),
            span.bar(summary.duration_nano.0, bars)
        );
    }
    out
}

/// Drawn parts of a span.
struct DrawnSpan {
    name: String,
    start_offset_nano: u64,
    duration_nano: u64,
    is_critical: bool,
}

impl DrawnSpan {
    /// Returns the span in this row, if the columns have one.
    fn from_row(trace: &TraceSkeleton, row: usize) -> Option<Self> {
        let spans = &trace.spans;
        let text = |names: &[String], number: u32| {
            let name = names.get(usize::try_from(number).ok()?);
            Some(printable(name.map_or("", String::as_str)))
        };
        let depth = usize::try_from(*spans.depth.get(row)?).unwrap_or(DEPTH_MAX).min(DEPTH_MAX);
        let error = if spans.flags.get(row)? & SpanFlags::ERROR != 0 { "✗ " } else { "" };
        let service = text(&trace.services, *spans.service.get(row)?)?;
        let operation = text(&trace.operations, *spans.operation.get(row)?)?;
        Some(Self {
            name: format!("{}{error}{service} {operation}", "  ".repeat(depth)),
            start_offset_nano: u64::try_from(*spans.start_offset_nano.get(row)?).unwrap_or(0),
            duration_nano: *spans.duration_nano.get(row)?,
            is_critical: *spans.critical_nano.get(row)? > 0,
        })
    }

    /// Draws its position in the time of the whole trace: `█` where it is on the critical path, `▒`
    /// elsewhere.
    fn bar(&self, total: u64, width: usize) -> String {
        let total = u128::from(total.max(1));
        let columns = u128::try_from(width).unwrap_or(1);
        let column = |nanos: u64| {
            usize::try_from(u128::from(nanos) * columns / total).unwrap_or(width).min(width)
        };
        let start = column(self.start_offset_nano).min(width - 1);
        let end = column(self.start_offset_nano.saturating_add(self.duration_nano));
        let fill = if self.is_critical { "█" } else { "▒" };
        format!("{}{}", " ".repeat(start), fill.repeat(end.clamp(start + 1, width) - start))
    }
}

/// Cuts a text with `…` or pads it to exactly `width` columns.
fn fit(text: &str, width: usize) -> String {
    let cut = cut(text, width);
    let rest = width.saturating_sub(cut.chars().count());
    format!("{cut}{}", " ".repeat(rest))
}

/// Cuts a text to at most `width` columns.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() > width {
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

/// Returns the text without control and direction-changing characters.
fn printable(text: &str) -> String {
    text.chars().map(|sign| if is_printable(sign) { sign } else { '\u{FFFD}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{fit, printable};

    #[test]
    fn hostile_names_cannot_move_the_cursor_or_the_columns() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("ab", 4), "ab  ");
    }
}
