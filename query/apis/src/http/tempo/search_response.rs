//! `GET /api/search`.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};
use tidings_proto::TraceId;
use tidings_query::{
    QueryError, QueryService,
    traceql::{
        self,
        display::DisplayLimits,
        native::stages_of,
        overlap::TimeSelection,
        spanset_search::{FoundSpan, FoundSpanset, FoundTrace, TraceqlResult, TraceqlSearch},
        tags::of_tags,
    },
};
use tidings_storage::ScanStats;
use tidings_traceql::{Field, Name, Stage, Value};

use super::{
    TempoError,
    query_range::labels,
    tempo_parameters::{TempoParams, invalid},
};
use crate::http::encoding::{self, LazyList};

pub(super) const LIMIT_DEFAULT: usize = 20;
pub(super) const LIMIT_MAX: usize = 1_000;
pub(super) const SPANS_SHOWN_DEFAULT: usize = 3;
pub(super) const SPANS_SHOWN_MAX: usize = 1_000;
/// Tempo's placeholder for an unknown root service.
pub(super) const NO_ROOT: &str = "<root span not yet received>";
/// The parameters that are not tags.
const RESERVED: [&str; 8] =
    ["q", "tags", "minDuration", "maxDuration", "limit", "start", "end", "spss"];

/// Finds traces.
pub(super) async fn search(
    State(service): State<QueryService>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let search = search_of(&params)?;
    let written = service.ask(move |reader| {
        let found = traceql::spanset_search::found(reader, &search()?)?;
        encode_search(&found, reader.limits.answer_bytes_max())
    });
    Ok(encoding::json_response(written.await?))
}

/// Builds the search; called on the thread that runs it.
fn search_of(
    params: &TempoParams,
) -> Result<impl FnOnce() -> Result<TraceqlSearch, QueryError> + Send + 'static, TempoError> {
    let start = params.seconds()?;
    let (query, tags) = (params.text("q"), params.text("tags"));
    if query.is_some() && tags.is_some() {
        return Err(invalid("request", "can't specify tags and q in the same query"));
    }
    let wanted = match (query, tags) {
        (Some(query), _) => TempoCondition::Query(query.to_owned()),
        (None, tags) => {
            let min = params.duration("minDuration")?;
            let max = params.duration("maxDuration")?;
            if min.zip(max).is_some_and(|(min, max)| min > max) {
                return Err(invalid("maxDuration", "must be greater than minDuration"));
            }
            let bare = tags.is_none() && start.start.is_none();
            let tags = match tags {
                Some(tags) => logfmt(tags)?,
                // The oldest clients send each tag as a parameter of its own.
                None if bare => {
                    let others = params.pairs().filter(|(name, _)| !RESERVED.contains(name));
                    others.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
                }
                None => Vec::new(),
            };
            let nanos = |nanos: Option<u64>| nanos.and_then(|nanos| i64::try_from(nanos).ok());
            TempoCondition::Tags { tags, min_nanos: nanos(min), max_nanos: nanos(max) }
        }
    };
    let limit = params.count("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let shown = DisplayLimits::spans(params.bound("spss", SPANS_SHOWN_DEFAULT, SPANS_SHOWN_MAX)?);
    let times = TimeSelection::OfTrace(start);
    Ok(move || {
        Ok(TraceqlSearch {
            stages: wanted.stages()?,
            times,
            limit,
            shown,
            after: None,
            among: None,
        })
    })
}

/// Search as requested, not parsed yet.
pub(super) enum TempoCondition {
    Query(String),
    Tags { tags: Vec<(String, String)>, min_nanos: Option<i64>, max_nanos: Option<i64> },
}

impl TempoCondition {
    /// Parses the stages on a blocking thread, because compiling patterns takes time.
    pub(super) fn stages(&self) -> Result<Vec<Stage>, QueryError> {
        match self {
            Self::Query(query) => stages_of(query),
            Self::Tags { tags, min_nanos, max_nanos } => of_tags(tags, *min_nanos, *max_nanos),
        }
    }
}

/// Parses `key=value key="quoted value" key`.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, TempoError> {
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() || key.contains('"') {
            let at = text.len() - rest.len();
            return Err(invalid("tags", &format!("a key was expected at pos {at}")));
        }
        let mut value = String::new();
        rest = match after.strip_prefix("=\"") {
            Some(quoted) => {
                let mut chars = quoted.char_indices();
                loop {
                    match chars.next() {
                        None => return Err(invalid("tags", "unterminated quoted value")),
                        Some((at, '"')) => break &quoted[at + 1..],
                        Some((_, '\\')) => value.extend(chars.next().map(|(_, next)| next)),
                        Some((_, next)) => value.push(next),
                    }
                }
            }
            None => {
                let bare = after.strip_prefix('=').unwrap_or(after);
                let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
                value.push_str(&bare[..end]);
                &bare[end..]
            }
        };
        if tags.iter().any(|(known, _)| known == key) {
            return Err(invalid("tags", &format!("tag {key} has been set twice")));
        }
        tags.push((key.to_owned(), value));
        rest = rest.trim_start();
    }
    Ok(tags)
}

/// An answer. Objects have their keys in order, as everywhere in this API.
#[derive(Serialize)]
struct SearchAnswer<T> {
    metrics: Json,
    traces: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceEntry<'a, S, L> {
    duration_ms: u64,
    root_service_name: &'a str,
    root_trace_name: &'a str,
    service_stats: ServiceStats<'a>,
    span_set: Option<S>,
    span_sets: L,
    start_time_unix_nano: String,
    #[serde(rename = "traceID")]
    trace_id: String,
}

/// Spans and errors by service.
struct ServiceStats<'a>(&'a BTreeMap<String, (u64, u64)>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceEntry {
    error_count: u64,
    span_count: u64,
}

#[derive(Serialize)]
struct SpansetEntry<A, S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<A>,
    matched: usize,
    spans: S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanEntry<'a> {
    attributes: Attributes,
    duration_nanos: String,
    name: &'a str,
    #[serde(rename = "spanID")]
    span_id: String,
    start_time_unix_nano: String,
}

/// Attributes in OTLP's JSON.
struct Attributes(Vec<(String, Value)>);

impl Serialize for ServiceStats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(service, (span_count, error_count))| {
            (service, ServiceEntry { error_count: *error_count, span_count: *span_count })
        }))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(labels(&self.0))
    }
}

/// Encodes the answer directly from the result.
fn encode_search(found: &TraceqlResult, bytes_max: u64) -> Result<Vec<u8>, QueryError> {
    let mut metrics = metrics_json(found.stats);
    metrics["inspectedTraces"] = found.inspected.into();
    let traces = LazyList(|| found.traces.iter().map(trace_entry));
    encoding::encode_json(&SearchAnswer { metrics, traces }, bytes_max)
}

/// Statistics of the scan. A client sees from the completed jobs whether the answer is complete.
pub(super) fn metrics_json(stats: ScanStats) -> Json {
    json!({
        "inspectedBytes": "0",
        "inspectedSpans": stats.rows.to_string(),
        "totalBlocks": stats.files,
        "completedJobs": u8::from(stats.complete),
        "totalJobs": 1,
    })
}

fn trace_entry(trace: &FoundTrace) -> impl Serialize {
    let (service, name) = match &trace.root {
        Some((service, name)) => (service.as_str(), name.as_str()),
        None => (NO_ROOT, ""),
    };
    TraceEntry {
        duration_ms: trace.duration.0 / 1_000_000,
        root_service_name: service,
        root_trace_name: name,
        service_stats: ServiceStats(&trace.services),
        span_set: trace.spansets.first().map(spanset_entry),
        span_sets: LazyList(|| trace.spansets.iter().map(spanset_entry)),
        start_time_unix_nano: trace.start.0.to_string(),
        trace_id: short_id(trace.trace_id),
    }
}

/// Formats an id without its leading zeros, as Tempo does.
pub(super) fn short_id(trace_id: TraceId) -> String {
    trace_id.to_string().trim_start_matches('0').to_owned()
}

fn spanset_entry(spanset: &FoundSpanset) -> impl Serialize {
    let attributes = &spanset.attributes;
    SpansetEntry {
        attributes: (!attributes.is_empty()).then_some(LazyList(|| labels(attributes))),
        matched: spanset.matched,
        spans: LazyList(|| spanset.spans.iter().map(span_entry)),
    }
}

fn span_entry(span: &FoundSpan) -> SpanEntry<'_> {
    SpanEntry {
        attributes: Attributes(named(&span.attributes)),
        duration_nanos: span.duration.0.to_string(),
        name: &span.name,
        span_id: span.span_id.to_string(),
        start_time_unix_nano: span.start.0.to_string(),
    }
}

/// The values of a span under Tempo's names, which are attributes without their scope.
pub(super) fn named(values: &[(Field, Value)]) -> Vec<(String, Value)> {
    let name = |field: &Field| match &field.name {
        Name::Attribute(_, name) if !field.parent => name.clone(),
        _ => field.to_string(),
    };
    let mut all: Vec<(String, Value)> =
        values.iter().map(|(field, value)| (name(field), value.clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

#[cfg(test)]
mod tests {
    use super::logfmt;

    #[test]
    fn tags_are_logfmt() {
        let tags = logfmt(r#" service.name=shop  http.url="a \"b\" c" error "#).unwrap();
        let tags: Vec<(&str, &str)> =
            tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("service.name", "shop"), ("http.url", "a \"b\" c"), ("error", "")]);
        for broken in ["=x", "a=\"x", "a=1 a=2", "\"a\"=1"] {
            assert!(logfmt(broken).is_err(), "{broken}");
        }
    }
}
