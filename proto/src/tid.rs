//! Recognises ids in a pasted text: an id in any system's notation, a header, a log line, a URL of
//! another tool.
//!
//! Owns the notations (`notation.rs`), the values of transaction keys (`values.rs`) and the order
//! of likelihood. Knows nothing of what is stored: the caller looks up the candidates in order. A
//! notation that names itself (a `traceparent`) comes before one that many things look like (16 hex
//! digits).

mod notation;
mod values;

pub use values::{KeyedValue, VALUE_BYTES_MAX, VALUES_MAX, values};

use crate::{SpanId, TraceId};

/// Maximum bytes of a text that are searched: an id stands near the front of a log line.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Maximum number of candidates.
pub const CANDIDATES_MAX: usize = 16;

/// An interpretation of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Id to look up.
    pub id: CandidateId,
    /// The span that the text names within the trace.
    pub span_id: Option<SpanId>,
    /// Name of the notation for people, as `traceparent header`.
    pub reason: &'static str,
}

/// An id to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CandidateId {
    /// A trace.
    Trace(TraceId),
    /// The last 64 bits of a trace's id, or a whole shorter id.
    Low64(u64),
}

/// Returns the traces that the text may name, the likeliest first and each once. Searches at most
/// [`TEXT_BYTES_MAX`].
#[must_use]
pub fn recognise(text: &str) -> Vec<Candidate> {
    let text = trimmed(text);
    let mut candidates: Vec<Candidate> = Vec::new();
    for found in notation::all(text) {
        match candidates.iter().position(|known| known.id == found.id) {
            Some(place) => {
                let known = &mut candidates[place];
                known.span_id = known.span_id.or(found.span_id);
            }
            None if candidates.len() < CANDIDATES_MAX => candidates.push(found),
            None => break,
        }
    }
    candidates
}

/// Finds all ids of 32 or 16 hex digits in a text of any length.
pub fn hex_ids(text: &str) -> impl Iterator<Item = CandidateId> {
    notation::hex_ids(text)
}

/// Returns the id of a span, where the text has nothing else.
#[must_use]
pub fn span_alone(text: &str) -> Option<SpanId> {
    trimmed(text).parse().ok()
}

/// Returns the text to examine: its first [`TEXT_BYTES_MAX`] bytes at most, without surrounding
/// white space and quotes.
fn trimmed(text: &str) -> &str {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    text.trim().trim_matches(['"', '\'', '`']).trim()
}

#[cfg(test)]
mod tests;
