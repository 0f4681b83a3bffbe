//! Finds the spans of one trace that contain a text, or that a query selects.
//!
//! A text is searched in all fields of a span: service, operation, id, attributes, resource, events
//! with their exceptions, status. Rows are those of the skeleton. Only the key of a span is kept,
//! so a trace of any size can be searched.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use tidings_proto::{
    SpanId,
    api::SpanMatches,
    otlp::{AnyValue, KeyValue, StatusCode, ValueForm},
};
use tidings_storage::{Projection, Scan, SpanRows};

use crate::{
    QueryError,
    execution::Reader,
    trace::{TraceRequest, facts_tree, hosts_max, locate, of_trace, with_clocks},
    traceql,
};

#[cfg(test)]
mod tests;

/// Maximum number of words of a text; a text with more is refused.
const WORDS_MAX: usize = 32;
/// Maximum number of rows that are listed.
const ROWS_MAX: usize = 100_000;
/// Minimum number of digits with which the beginning of a span's id matches.
const ID_DIGITS_MIN: usize = 4;

/// A search within one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanSearch {
    /// Words that a span must contain, each in any field.
    Text(String),
    /// A TraceQL query.
    Query(String),
}

/// Identity of a span within a trace: id and content hash.
type SpanIdentity = (SpanId, u64);

/// Returns the rows of the matching spans.
pub(crate) fn find(
    reader: &Reader,
    request: TraceRequest,
    search: &SpanSearch,
) -> Result<SpanMatches, QueryError> {
    let trace_id = locate(reader, request.name)?;
    let (tree, _) = facts_tree(reader, trace_id, hosts_max(reader, request.clocks))?;
    let (tree, _) = with_clocks(tree, request.clocks);
    let found = match search {
        SpanSearch::Text(text) => {
            let mut found = HashSet::new();
            let words = words(text)?;
            let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
            reader.spans(&of_trace(trace_id), scan, |rows| {
                add_matches(rows, &words, &mut found);
                Ok(ControlFlow::Continue(()))
            })?;
            found
        }
        SpanSearch::Query(query) => traceql::filter::selected_span_keys(reader, trace_id, query)?,
    };
    let is_found = |row: &usize| {
        let fact = tree.fact(*row);
        found.contains(&(fact.span_id, fact.content_hash))
    };
    let rows = tree.indexes().filter(is_found).filter_map(|row| u32::try_from(row).ok());
    let mut rows: Vec<u32> = rows.collect();
    let match_count = rows.len() as u64;
    rows.truncate(ROWS_MAX);
    Ok(SpanMatches { rows, match_count, span_count: tree.assembled.nodes.len() as u64 })
}

/// The words of a text, in lower case.
fn words(text: &str) -> Result<Vec<String>, QueryError> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    match words.len() {
        0 => Err(QueryError::parameter("text", "`text` must have a word")),
        1..=WORDS_MAX => Ok(words),
        _ => {
            let reason = format!("`text` has more than {WORDS_MAX} words");
            Err(QueryError::parameter("text", reason))
        }
    }
}

fn add_matches(rows: &SpanRows, words: &[String], found: &mut HashSet<SpanIdentity>) {
    let all = u64::MAX >> (64 - words.len());
    let mut of_resources: HashMap<Option<usize>, u64> = HashMap::new();
    for row in 0..rows.len() {
        let mut matched = WordMatch { words, matched_bits: 0 };
        matched.match_text(rows.service(row));
        matched.match_text(rows.name(row));
        matched.match_id(&rows.span_id(row).to_string());
        matched.match_text(rows.status_message(row));
        matched.match_text(match rows.status(row) {
            StatusCode::Unset => "",
            status => status.word(),
        });
        let resource = of_resources.entry(rows.resource_number(row)).or_insert_with(|| {
            let mut matched = WordMatch { words, matched_bits: 0 };
            matched.match_attributes(&rows.resource(row).unwrap_or_default().attributes);
            matched.matched_bits
        });
        matched.matched_bits |= *resource;
        if matched.matched_bits != all {
            matched.match_attributes(&rows.attributes(row));
        }
        if matched.matched_bits != all && rows.event_count(row) > 0 {
            for event in rows.events(row) {
                matched.match_text(&event.name);
                matched.match_attributes(&event.attributes);
            }
        }
        if matched.matched_bits == all {
            found.insert((rows.span_id(row), rows.content_hash(row)));
        }
    }
}

/// The words of a text that a span has contained so far.
struct WordMatch<'w> {
    words: &'w [String],
    matched_bits: u64,
}

impl WordMatch<'_> {
    fn match_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = text.to_lowercase();
        for (at, word) in self.words.iter().enumerate() {
            if self.matched_bits & 1 << at == 0 && text.contains(word.as_str()) {
                self.matched_bits |= 1 << at;
            }
        }
    }

    fn match_id(&mut self, id: &str) {
        for (at, word) in self.words.iter().enumerate() {
            if word.len() >= ID_DIGITS_MIN && id.starts_with(word.as_str()) {
                self.matched_bits |= 1 << at;
            }
        }
    }

    /// Matches keys and values, and `key=value` as one word. It is not recursive, because a client
    /// may have nested them deeply.
    fn match_attributes(&mut self, attributes: &[KeyValue]) {
        let mut pending: Vec<&AnyValue> = Vec::new();
        for attribute in attributes {
            self.match_text(&attribute.key);
            if let Some(value) = &attribute.value {
                if let Some(text) = value.value.as_ref().and_then(crate::name_search::value_text) {
                    self.match_text(&format!("{}={text}", attribute.key));
                }
                pending.push(value);
            }
        }
        while let Some(value) = pending.pop() {
            let Some(value) = &value.value else { continue };
            match value.form() {
                ValueForm::List(values) => pending.extend(values),
                ValueForm::Map(entries) => {
                    for entry in entries {
                        self.match_text(&entry.key);
                        pending.extend(&entry.value);
                    }
                }
                ValueForm::Text(_)
                | ValueForm::Bool(_)
                | ValueForm::Int(_)
                | ValueForm::Double(_)
                | ValueForm::Bytes(_) => {
                    self.match_text(&crate::name_search::value_text(value).unwrap_or_default());
                }
            }
        }
    }
}
