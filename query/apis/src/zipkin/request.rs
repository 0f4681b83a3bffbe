//! Zipkin's search request and its test of a trace.
//!
//! Conditions apply to the trace and not to one span. Different spans of the requested service can
//! meet different conditions.

use tidings_proto::zipkin::Span;

/// Selection of traces. Names are in lower case; times are in milliseconds, durations in
/// microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Request {
    /// Service of the spans that the other conditions apply to.
    pub service: Option<String>,
    /// Remote service of a span.
    pub remote_service: Option<String>,
    /// Name of a span.
    pub span_name: Option<String>,
    /// Tags; with an empty text, tags or annotations.
    pub terms: Vec<(String, String)>,
    /// Minimum duration of a span in microseconds.
    pub duration_min: Option<u64>,
    /// Maximum duration of the same span in microseconds.
    pub duration_max: Option<u64>,
    /// Latest time at which the trace began.
    pub end_millis: u64,
    /// Length of the range before `end_millis`.
    pub lookback_millis: u64,
    /// Maximum number of traces; the newest are returned.
    pub limit: usize,
}

/// Maximum number of terms of an annotation query; the last one takes the rest.
const TERMS_MAX: usize = 100;

/// Parses the terms of `http.method=GET and error`. A key alone does not replace a key with a
/// value; of two values the last counts.
pub(crate) fn terms(query: &str) -> Vec<(String, String)> {
    let mut terms: Vec<(String, String)> = Vec::new();
    if query.is_empty() {
        return terms;
    }
    for term in query.splitn(TERMS_MAX, " and ") {
        let (key, value) = match term.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (term.trim(), None),
        };
        match (terms.iter_mut().find(|(known, _)| known == key), value) {
            (Some(known), Some(value)) => value.clone_into(&mut known.1),
            (Some(_), None) => {}
            (None, value) => terms.push((key.to_owned(), value.unwrap_or_default().to_owned())),
        }
    }
    terms
}

/// Returns the start of a trace: its root's time, otherwise its earliest; 0 when no span has a
/// time.
pub(crate) fn began(spans: &[Span]) -> u64 {
    let timed = || spans.iter().filter(|span| span.timestamp > 0);
    let root = timed().find(|span| span.parent_id.is_empty());
    let earliest = || timed().map(|span| span.timestamp).min().unwrap_or_default();
    root.map_or_else(earliest, |root| root.timestamp)
}

impl Request {
    /// Returns the first and the last time in microseconds, both included.
    pub(crate) fn micros(&self) -> (u64, u64) {
        let begin = self.end_millis.saturating_sub(self.lookback_millis);
        (begin.saturating_mul(1_000), self.end_millis.saturating_mul(1_000))
    }

    /// Tests the spans of a trace, given in any order.
    pub(crate) fn matches(&self, spans: &[Span]) -> bool {
        let (from, to) = self.micros();
        let began = began(spans);
        if began == 0 || began < from || began > to {
            return false;
        }
        let mut terms: Vec<&(String, String)> = self.terms.iter().collect();
        let mut service = self.service.is_none();
        let mut remote = self.remote_service.is_none();
        let mut name = self.span_name.is_none();
        let mut duration = self.duration_min.is_none();
        for span in spans {
            let local = span.local_endpoint.as_ref().map_or("", |local| &local.service_name);
            if self.service.as_deref().is_some_and(|service| service != local) {
                continue;
            }
            service = true;
            terms.retain(|term| !meets(span, term));
            let other = span.remote_endpoint.as_ref().map(|remote| remote.service_name.as_str());
            remote |= other.is_some() && other == self.remote_service.as_deref();
            name |= Some(span.name.as_str()) == self.span_name.as_deref();
            duration |= self.duration_min.is_some_and(|min| span.duration >= min)
                && self.duration_max.is_none_or(|max| span.duration <= max);
        }
        service && remote && name && duration && terms.is_empty()
    }
}

fn meets(span: &Span, (key, value): &(String, String)) -> bool {
    let annotated = || span.annotations.iter().any(|annotation| annotation.value == *key);
    let tagged =
        span.tags.iter().any(|tag| tag.key == *key && (value.is_empty() || tag.value == *value));
    tagged || (value.is_empty() && annotated())
}
