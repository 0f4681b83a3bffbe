//! Recognises the ids in whatever somebody pasted: an id in any system's notation, a header, a log
//! line, an address of another tool.
//!
//! Owns the notations (`notation.rs`) and the order of likelihood. Knows nothing of what is stored:
//! the caller looks the candidates up in order. A notation that says what it is (a `traceparent`)
//! comes before one that many things look like (16 hex digits).

mod notation;

use crate::{SpanId, TraceId};

/// The most of a text that is looked at, in bytes: an id stands near the front of a log line.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// The most candidates that are returned, the text itself not counted.
pub const CANDIDATES_MAX: usize = 16;

/// Something that a text may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What to look for.
    pub id: CandidateId,
    /// The span that the text names within the trace.
    pub span_id: Option<SpanId>,
    /// How it was recognised, for people, as `traceparent header`.
    pub reason: &'static str,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CandidateId {
    /// A trace.
    Trace(TraceId),
    /// The last 64 bits of a trace's id, or all of a shorter one.
    Low64(u64),
    /// The value of a transaction key.
    Attribute(String),
}

/// What the text may mean, the likeliest first and each id once; the text itself, as a transaction
/// key's value, comes last. Nothing for a blank text. Looks at no more than [`TEXT_BYTES_MAX`].
#[must_use]
pub fn recognise(text: &str) -> Vec<Candidate> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let text = text.trim().trim_matches(['"', '\'', '`']).trim();
    if text.is_empty() {
        return Vec::new();
    }
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
    let id = CandidateId::Attribute(text.to_owned());
    candidates.push(Candidate { id, span_id: None, reason: "a transaction key's value" });
    candidates
}

#[cfg(test)]
mod tests;
