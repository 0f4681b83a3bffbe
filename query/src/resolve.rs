//! Resolves a pasted text to the traces that it may mean.
//!
//! `proto::tid` lists the ids that a text can stand for. This module looks them up in the store.

use std::collections::BTreeSet;

use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    api::{ResolveResult, Resolved},
    otlp::Severity,
    tid::{Candidate, CandidateId, recognise, span_alone},
};
use tidings_storage::{AttributeFilter, LogFilter, Projection, RowsNeeded, Scan};

use crate::{
    QueryError,
    execution::Reader,
    search::summaries,
    trace::TraceName,
    trace_lookup::{MATCHES_MAX, SPAN_ROWS_MAX, stored, traces_of_span},
    transactions,
};

/// Reason of a match through a log record's message.
const MESSAGE: &str = "text of a log record";
/// Minimum length of a searched message, in bytes. Shorter texts are in too many messages. Texts
/// above the maximum are not searched.
const MESSAGE_BYTES_MIN: usize = 6;
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Maximum number of words that may stand before a message.
const PREFIX_WORDS_MAX: usize = 5;

/// A pasted text to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveSearch {
    /// The text.
    pub text: String,
    /// True to look up ids and values of transaction keys only, and no text of log records.
    pub exact: bool,
}

/// The stored traces that the text may mean, best first.
pub(crate) fn resolve(
    reader: &Reader,
    search: &ResolveSearch,
) -> Result<ResolveResult, QueryError> {
    let text = search.text.as_str();
    let mut result = ResolveResult { matches: Vec::new(), tried: Vec::new() };
    for Candidate { id, span_id, reason } in recognise(text) {
        let name = match id {
            CandidateId::Trace(trace_id) => TraceName::Id(trace_id),
            CandidateId::Low64(low64) => TraceName::Low64(low64),
        };
        result.tried.push(reason.to_owned());
        for trace_id in stored(reader, name)? {
            push(&mut result, resolved(trace_id, span_id, reason));
        }
    }
    resolve_values(reader, text, &mut result)?;
    if let (true, Some(span_id)) = (result.matches.is_empty(), span_alone(text)) {
        let reason = "span id".to_owned();
        result.tried.push(format!("{reason} among the newest {SPAN_ROWS_MAX} spans"));
        for trace_id in traces_of_span(reader, span_id)? {
            push(&mut result, resolved(trace_id, Some(span_id), &reason));
        }
    }
    if result.matches.is_empty() && !search.exact {
        resolve_messages(reader, text, &mut result)?;
    }
    if result.matches.len() > 1 {
        add_summaries(reader, &mut result)?;
    }
    Ok(result)
}

fn resolved(trace_id: TraceId, span_id: Option<SpanId>, reason: &str) -> Resolved {
    Resolved { trace_id, span_id, reason: reason.to_owned(), summary: None }
}

/// Adds summaries when there are several matches to choose from.
fn add_summaries(reader: &Reader, result: &mut ResolveResult) -> Result<(), QueryError> {
    let ids = result.matches.iter().take(MATCHES_MAX).map(|one| one.trace_id);
    let ids: BTreeSet<TraceId> = ids.collect();
    let ids: Vec<TraceId> = ids.into_iter().collect();
    let summaries = summaries(reader, &ids)?;
    for one in result.matches.iter_mut().take(MATCHES_MAX) {
        let summary = summaries.iter().find(|summary| summary.trace_id == one.trace_id);
        one.summary = summary.cloned();
    }
    Ok(())
}

/// The newest traces with a log record that contains the text.
fn resolve_messages(
    reader: &Reader,
    text: &str,
    result: &mut ResolveResult,
) -> Result<(), QueryError> {
    let messages = messages(text);
    if !messages.is_empty() {
        result.tried.push(MESSAGE.to_owned());
    }
    for message in messages {
        let filter = LogFilter { text: Some(message.to_owned()), ..LogFilter::default() };
        let scan = Scan { detail: Projection::Facts, rows_max: reader.settings.search_rows_max };
        let mut found: Vec<(UnixNanos, TraceId, Option<SpanId>)> = Vec::new();
        reader.newest_logs(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let Some(trace_id) = rows.trace_id(row) else { continue };
                if found.iter().all(|(_, known, _)| *known != trace_id) {
                    found.push((rows.time(row), trace_id, rows.span_id(row)));
                }
            }
            let is_full = found.len() >= MATCHES_MAX;
            let oldest = found.iter().map(|(time, ..)| *time).min();
            Ok(oldest.filter(|_| is_full).map_or(RowsNeeded::All, RowsNeeded::Since))
        })?;
        found.sort_unstable_by(|one, other| other.cmp(one));
        for (_, trace_id, span_id) in found.into_iter().take(MATCHES_MAX) {
            push(result, resolved(trace_id, span_id, MESSAGE));
        }
        if !result.matches.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

/// The messages that a pasted line of a log may have, the likeliest first. They are its longest
/// line, and that line without the time, the severity and the service that often stand before a
/// message.
fn messages(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(line) = lines.max_by_key(|line| line.len()) else { return Vec::new() };
    let mut messages = vec![line];
    let mut rest = line;
    let mut words = 0;
    while let Some((word, after)) = rest.split_once(char::is_whitespace)
        && is_prefix(word)
        && words < PREFIX_WORDS_MAX
    {
        rest = after.trim_start();
        words += 1;
    }
    if words > 0 {
        // A service has no fixed form, so the next word may be one.
        messages
            .extend([Some(rest), rest.split_once(' ').map(|(_, rest)| rest)].into_iter().flatten());
    }
    messages.retain(|message| (MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&message.len()));
    messages
}

/// Reports whether a word looks like a time, a date or a severity.
fn is_prefix(word: &str) -> bool {
    let word = word.trim_matches(['[', ']', '(', ')', ':', '|', '-']);
    let is_time = word.starts_with(|sign: char| sign.is_ascii_digit())
        && (word.contains(':') || word.matches(['-', '/']).count() == 2);
    is_time || Severity::from_name(word).is_some() || word.eq_ignore_ascii_case("notice")
}

/// The newest traces in which transaction keys have the values that the text may mean.
fn resolve_values(
    reader: &Reader,
    text: &str,
    result: &mut ResolveResult,
) -> Result<(), QueryError> {
    let reason = |attribute: &AttributeFilter| format!("attribute {}", attribute.key);
    let interpretations = transactions::interpretations(text, &reader.settings.transaction_keys);
    for reason in interpretations.iter().map(reason) {
        if !result.tried.contains(&reason) {
            result.tried.push(reason);
        }
    }
    for attribute in transactions::stored(reader, &interpretations) {
        let attribute = attribute?;
        let (traces, _) = transactions::traces_with(reader, attribute)?;
        for trace_id in transactions::newest(&traces, MATCHES_MAX) {
            push(result, resolved(trace_id, None, &reason(attribute)));
        }
    }
    Ok(())
}

fn push(result: &mut ResolveResult, resolved: Resolved) {
    let known = result.matches.iter().any(|known| {
        known.trace_id == resolved.trace_id
            && (known.span_id == resolved.span_id || resolved.span_id.is_none())
    });
    if !known {
        result.matches.push(resolved);
    }
}

#[cfg(test)]
mod tests {
    use super::messages;

    #[test]
    fn the_message_is_looked_for_without_what_stands_before_it() {
        for (text, wanted) in [
            ("confirmation sent order=A-34838", &["confirmation sent order=A-34838"][..]),
            (
                "14:03:59.100 INFO checkout confirmation sent",
                &[
                    "14:03:59.100 INFO checkout confirmation sent",
                    "checkout confirmation sent",
                    "confirmation sent",
                ],
            ),
            (
                "2026-11-20 14:03:59,100 [ERROR] no connection",
                &["2026-11-20 14:03:59,100 [ERROR] no connection", "no connection", "connection"],
            ),
            // The lines have the form in which a page's text is copied.
            ("14:03:59.100\nINFO\ncheckout\nconfirmation sent\ntrace", &["confirmation sent"]),
            ("ok", &[]),
            ("", &[]),
        ] {
            assert_eq!(messages(text), wanted, "{text}");
        }
    }
}
