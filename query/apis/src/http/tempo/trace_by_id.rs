//! Returns one trace, in JSON or protobuf.

use ::http::HeaderMap;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use prost::Message;
use serde::{Serialize, Serializer, ser::Error};
use tidings_proto::{
    TraceId,
    otlp::{ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans},
};
use tidings_query::{
    Admission, QueryError, QueryService, TraceName,
    traceql::filter::{KeptLevels, Levels, filter_trace},
};

use super::{
    EmptyObject, TempoError, protobuf, span_json,
    tempo_parameters::{TempoParams, invalid},
    wants_protobuf,
};
use crate::http::encoding::{self, LazyList};

/// `tempopb.PartialStatus`.
const PARTIAL: i32 = 1;
/// Tempo's message for a trace from which a filter removed spans.
const FILTERED: &str = "Trace filtered, only a subset of spans matching the filter is returned";

/// `tempopb.Trace`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `tempopb.TraceByIDMetrics`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceMetrics {
    #[prost(uint64, tag = "1")]
    inspected_bytes: u64,
}

/// `tempopb.TraceByIDResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<Trace>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<TraceMetrics>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

/// `GET /api/traces/{traceId}`.
pub(super) async fn trace(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    params: TempoParams,
) -> Result<Response, TempoError> {
    check_hints(&params)?;
    let (service, admission) = service.holding_permits();
    let found = find(&service, &path?).await?;
    if wants_protobuf(&headers) {
        return protobuf(admission, Trace { resource_spans: found.resource_spans }).await;
    }
    let bytes_max = admission.answer_bytes_max;
    json_of(admission, move || {
        encoding::encode_json(&Batches { batches: groups(&found.resource_spans) }, bytes_max)
    })
    .await
}

/// `GET /api/v2/traces/{traceId}`. `q` keeps only the spans that it selects. `keep_hierarchy` also
/// keeps `ancestor_depth` levels above them. `match_depth` is the number of levels below them.
pub(super) async fn trace_v2(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let path = path?;
    check_hints(&params)?;
    check_pruning(&params)?;
    let (service, admission) = service.holding_permits();
    // A blank query counts as no query.
    let query = params.text("q").map(str::trim).filter(|query| !query.is_empty());
    let (found, is_part) = match query {
        None => (find(&service, &path).await?, false),
        Some(query) => {
            let (trace_id, kept_levels, query) =
                (trace_id(&path)?, kept_levels(&params)?, query.to_owned());
            let found = service
                .ask(move |reader| filter_trace(reader, trace_id, &query, kept_levels))
                .await?;
            (found.request, found.is_part)
        }
    };
    let (status, message) = if is_part { (PARTIAL, FILTERED) } else { (0, "") };
    if wants_protobuf(&headers) {
        let trace = Some(Trace { resource_spans: found.resource_spans });
        let (metrics, message) = (Some(TraceMetrics::default()), message.to_owned());
        return protobuf(admission, TraceResponse { trace, metrics, status, message }).await;
    }
    let bytes_max = admission.answer_bytes_max;
    json_of(admission, move || {
        let filtered = FilteredResponse {
            message: is_part.then_some(FILTERED),
            metrics: EmptyObject {},
            status: is_part.then_some("PARTIAL"),
            trace: TraceJson { resource_spans: groups(&found.resource_spans) },
        };
        encoding::encode_json(&filtered, bytes_max)
    })
    .await
}

/// Levels of ancestors and descendants to keep around selected spans.
fn kept_levels(params: &TempoParams) -> Result<KeptLevels, TempoError> {
    let levels = |name, default| Ok::<_, TempoError>(params.levels(name)?.unwrap_or(default));
    let is_hierarchy = params.flag("keep_hierarchy")?;
    let descendants = levels("match_depth", Levels::Upto(0))?;
    let ancestors =
        if is_hierarchy { levels("ancestor_depth", Levels::All)? } else { Levels::Upto(0) };
    Ok(KeptLevels { ancestors, descendants })
}

/// Checks the parameters that tell Tempo where to look for a trace, and refuses the values that
/// Tempo refuses. The trace is found without them.
fn check_hints(params: &TempoParams) -> Result<(), TempoError> {
    match params.text("mode") {
        // Tempo reads no other parameter in this mode.
        Some("ingesters") => return Ok(()),
        None | Some("all" | "blocks" | "external") => {}
        Some(_) => {
            return Err(invalid("mode", "it must be all, ingesters, blocks or external"));
        }
    }
    params.uuid("blockStart")?;
    params.uuid("blockEnd")?;
    let form = "a time in seconds since 1970";
    let (start, end) = (params.integer("start", form)?, params.integer("end", form)?);
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        return Err(invalid("start", "start must be before end"));
    }
    Ok(())
}

/// Checks the parameters that fold similar spans, in the same way as [`check_hints`]. Spans are not
/// folded here.
fn check_pruning(params: &TempoParams) -> Result<(), TempoError> {
    params.flag("span_pruning")?;
    params.integer("span_pruning_min_spans", "a number of spans")?;
    params.integer("span_pruning_max_parent_depth", "a number of levels, or -1")?;
    Ok(())
}

async fn find(service: &QueryService, id: &str) -> Result<ExportTraceServiceRequest, TempoError> {
    Ok(service.otlp(TraceName::Id(trace_id(id)?)).await?)
}

fn trace_id(id: &str) -> Result<TraceId, TempoError> {
    let wrong = |error| {
        QueryError::parameter("traceID", format!("trace IDs are up to 32 hex digits: {error}"))
    };
    Ok(TraceId::from_short_hex(id).map_err(wrong)?)
}

async fn json_of(
    admission: Admission,
    write: impl FnOnce() -> Result<Vec<u8>, QueryError> + Send + 'static,
) -> Result<Response, TempoError> {
    Ok(encoding::json_response(encoding::blocking(admission, write).await?))
}

/// The answer of the first version. Objects have their keys in order, as everywhere in this API.
#[derive(Serialize)]
struct Batches<G> {
    batches: G,
}

/// The answer of the second version.
#[derive(Serialize)]
struct FilteredResponse<G> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    metrics: EmptyObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    trace: TraceJson<G>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceJson<G> {
    resource_spans: G,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceJson<'a, S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<SortedKeys<'a, Resource>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_spans: Option<S>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scope<'a, S> {
    #[serde(skip_serializing_if = "str::is_empty")]
    schema_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<SortedKeys<'a, InstrumentationScope>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<S>,
}

/// A message whose keys are written in order. One tree at a time is built from it: the attributes
/// of a sender are cut to 64 KiB when they arrive.
struct SortedKeys<'a, T>(&'a T);

impl<T: Serialize> Serialize for SortedKeys<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_value(self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

fn groups(resource_spans: &[ResourceSpans]) -> impl Serialize {
    LazyList(|| resource_spans.iter().map(group))
}

fn group(of: &ResourceSpans) -> impl Serialize {
    ResourceJson {
        resource: of.resource.as_ref().map(SortedKeys),
        schema_url: &of.schema_url,
        scope_spans: (!of.scope_spans.is_empty())
            .then_some(LazyList(|| of.scope_spans.iter().map(scope))),
    }
}

fn scope(of: &ScopeSpans) -> impl Serialize {
    Scope {
        schema_url: &of.schema_url,
        scope: of.scope.as_ref().map(SortedKeys),
        spans: (!of.spans.is_empty()).then_some(LazyList(|| of.spans.iter().map(span_json::span))),
    }
}
