//! `/jaeger/api`: the JSON that Jaeger's UI and Grafana's Jaeger data source read.

use std::collections::{HashMap, HashSet};

use ::http::{StatusCode, Uri};
use axum::{
    body::Bytes,
    extract::{RawPathParams, State, rejection::BytesRejection},
    response::Response,
};
use prost::Message;
use serde::Serialize;
use tidings_proto::{
    TraceId, jaeger,
    otlp::{ExportTraceServiceRequest, SpanKind, decode_json},
};
use tidings_query::{Admission, QueryError, QueryService};

use super::{
    envelope::{Envelope, EnvelopeError, V1Error, json, mark, not_counted},
    query_parameters::{self, V1Search},
};
use crate::{
    jaeger::{
        dependencies,
        find_traces::kind,
        traces::{self, JaegerTraces, RepeatedFields},
    },
    params::raw::{RawParameters, unescaped},
};

type V1Result = Result<Response, V1Error>;

/// Lists every service.
pub(super) async fn services(State(service): State<QueryService>, uri: Uri) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let (service, admission) = service.holding_permits();
    let names = service.ask(crate::jaeger::services).await?;
    let total = names.len();
    Ok(json(admission, Envelope::new(names, total), query_parameters::pretty(&given)).await?)
}

/// `/services/{service}/operations`. A service may have slashes in its name, encoded or not.
pub(super) async fn operations_of_service(
    State(service): State<QueryService>,
    uri: Uri,
) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let path = uri.path().strip_prefix("/jaeger/api/services/").unwrap_or_default();
    let name = path.strip_suffix("/operations").filter(|name| !name.is_empty());
    let Some(name) = name.map(decoded) else {
        return Ok(super::no_such_page().await);
    };
    let (service, admission) = service.holding_permits();
    let operations =
        service.ask(move |reader| crate::jaeger::operations(reader, &name, None)).await?;
    let mut names: Vec<String> = operations.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    let total = names.len();
    Ok(json(admission, Envelope::new(names, total), query_parameters::pretty(&given)).await?)
}

/// Decodes a text of a path, where a plus sign is a blank, as in a query.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&unescaped(&text.replace('+', " ")).0).into_owned()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationJson {
    name: String,
    span_kind: &'static str,
}

/// The operations of a service, each with its kind.
pub(super) async fn operations(State(service): State<QueryService>, uri: Uri) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let Some(name) = given.text("service").map(str::to_owned) else {
        return Err(V1Error::invalid("parameter 'service' is required"));
    };
    let wanted = given.text("spanKind").map(str::to_owned);
    let of_kind = wanted.as_deref().map(kind);
    if wanted.is_some() && of_kind == Some(SpanKind::Unspecified) {
        // No span has a kind with an unknown name.
        return Ok(json(
            Admission::default(),
            Envelope::new(Vec::<OperationJson>::new(), 0),
            false,
        )
        .await?);
    }
    let (service, admission) = service.holding_permits();
    let operations =
        service.ask(move |reader| crate::jaeger::operations(reader, &name, of_kind)).await?;
    let operations: Vec<OperationJson> = operations
        .into_iter()
        .map(|(name, kind)| OperationJson { name, span_kind: jaeger::kind(kind) })
        .collect();
    let total = operations.len();
    Ok(json(admission, Envelope::new(operations, total), query_parameters::pretty(&given)).await?)
}

/// Finds traces, or gets those of the given ids.
pub(super) async fn search(State(service): State<QueryService>, uri: Uri) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let (service, admission) = service.holding_permits();
    let (envelope, pretty) = service
        .ask(move |reader| {
            // The parameters are parsed inside, because default times count from the arrival of the
            // query.
            let wrong = |wrong| QueryError::parameter("", wrong);
            let asked = query_parameters::search(&given, reader.now).map_err(wrong)?;
            let raw = query_parameters::truth(&given, "raw").map_err(wrong)?;
            let found = match asked {
                V1Search::Traces(ids) => traces::get(reader, &ids, raw, RepeatedFields::Scopes)?,
                V1Search::Search(search) => {
                    traces::find(reader, &search, raw, RepeatedFields::Scopes)?
                }
            };
            Ok((trace_envelope(found), query_parameters::pretty(&given)))
        })
        .await?;
    Ok(json(admission, envelope, pretty).await?)
}

fn trace_envelope(found: JaegerTraces) -> Envelope<Vec<jaeger::Trace>> {
    let JaegerTraces { traces, missing, left_out, budget_spent } = found;
    let mut errors: Vec<EnvelopeError> = missing.into_iter().map(EnvelopeError::missing).collect();
    errors.extend((left_out > 0).then(|| EnvelopeError::left_out(left_out)));
    errors.extend(budget_spent.then(EnvelopeError::budget_spent));
    let traces = traces.iter().map(jaeger::from_otlp).collect();
    Envelope { errors: (!errors.is_empty()).then_some(errors), ..Envelope::new(traces, 0) }
}

/// Parses the trace id in a path; `None` is a well-formed id that no trace has.
fn named(path: &RawPathParams) -> Result<Option<TraceId>, V1Error> {
    let id = path.iter().find(|(name, _)| *name == "id").map_or("", |(_, id)| id);
    query_parameters::trace_id(id).map_err(V1Error::invalid)
}

/// Returns one trace.
pub(super) async fn trace(
    State(service): State<QueryService>,
    path: RawPathParams,
    uri: Uri,
) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let id = named(&path)?;
    query_parameters::check_hints(&given).map_err(V1Error::invalid)?;
    let raw = query_parameters::truth(&given, "raw").map_err(V1Error::invalid)?;
    let id = id.ok_or_else(V1Error::not_found)?;
    let (service, admission) = service.holding_permits();
    let envelope = service
        .ask(move |reader| {
            traces::get(reader, &[id], raw, RepeatedFields::Scopes).map(trace_envelope)
        })
        .await?;
    if envelope.data.is_empty() {
        return Err(V1Error::not_found());
    }
    Ok(json(admission, envelope, query_parameters::pretty(&given)).await?)
}

/// Refuses to archive: there is no archive, and traces stay until retention removes them.
pub(super) async fn archive(path: RawPathParams) -> V1Result {
    named(&path)?;
    let message = "archive span storage was not configured";
    Err(V1Error::new(StatusCode::NOT_IMPLEMENTED, message))
}

/// Converts OTLP/JSON to Jaeger's JSON, with which the UI opens files. Returns one trace for each
/// trace id.
pub(super) async fn transform(
    State(service): State<QueryService>,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let body = body.map_err(|error| V1Error::new(error.status(), error.body_text()))?;
    let (service, admission) = service.holding_permits();
    let traces =
        service.ask(move |_| Ok(transformed(&body))).await?.map_err(|wrong| match wrong {
            ConversionError::Malformed(reason) => V1Error::invalid(reason),
            ConversionError::TooLarge => {
                V1Error::new(StatusCode::PAYLOAD_TOO_LARGE, "the file has too many spans or traces")
            }
        })?;
    Ok(json(admission, Envelope::new(traces, 0), query_parameters::pretty(&given)).await?)
}

/// Reason why a file cannot be converted.
enum ConversionError {
    Malformed(String),
    TooLarge,
}

/// Maximum number of objects, which take memory however short they are written.
const OBJECTS_MAX: usize = 600_000;
/// Limit in bytes for fields that many traces share and that are copied for each trace, and for names
/// and versions of scopes, which are copied for each span.
const COPIES_BYTES_MAX: usize = 64 << 20;

fn transformed(body: &[u8]) -> Result<Vec<jaeger::Trace>, ConversionError> {
    if body.iter().filter(|byte| **byte == b'{').count() > OBJECTS_MAX {
        return Err(ConversionError::TooLarge);
    }
    let request: ExportTraceServiceRequest =
        decode_json(body).map_err(|error| ConversionError::Malformed(error.to_string()))?;
    Ok(by_trace(request)?.iter().map(jaeger::from_otlp).collect())
}

/// Splits the request by trace id, in order of first mention.
fn by_trace(
    request: ExportTraceServiceRequest,
) -> Result<Vec<ExportTraceServiceRequest>, ConversionError> {
    let mut traces: Vec<ExportTraceServiceRequest> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut copied = RepeatedFields::Scopes.bytes(&request);
    for mut group in request.resource_spans {
        let scopes = std::mem::take(&mut group.scope_spans);
        let size = group.encoded_len();
        // Indexes of the traces that have this group, and of those that have this scope of it.
        let mut grouped: HashSet<usize> = HashSet::new();
        for mut scope in scopes {
            let spans = std::mem::take(&mut scope.spans);
            let mut scoped: HashSet<usize> = HashSet::new();
            let scope_size = scope.encoded_len();
            for span in spans {
                let place = *places.entry(span.trace_id.clone()).or_insert_with(|| {
                    traces.push(ExportTraceServiceRequest::default());
                    traces.len() - 1
                });
                let trace = &mut traces[place];
                if grouped.insert(place) {
                    copied = copied.saturating_add(size);
                    trace.resource_spans.push(group.clone());
                }
                let scopes = trace.resource_spans.last_mut().map(|group| &mut group.scope_spans);
                let Some(scopes) = scopes else { continue };
                if scoped.insert(place) {
                    copied = copied.saturating_add(scope_size);
                    scopes.push(scope.clone());
                }
                if copied > COPIES_BYTES_MAX {
                    return Err(ConversionError::TooLarge);
                }
                if let Some(last) = scopes.last_mut() {
                    last.spans.push(span);
                }
            }
        }
    }
    Ok(traces)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkJson {
    parent: String,
    child: String,
    call_count: u64,
}

/// Returns the calls between services.
pub(super) async fn dependencies(State(service): State<QueryService>, uri: Uri) -> V1Result {
    let given = RawParameters::read(&uri)?;
    let (service, admission) = service.holding_permits();
    let (links, complete, pretty) = service
        .ask(move |reader| {
            let range = query_parameters::dependencies(&given, reader.now);
            let range = range.map_err(|wrong| QueryError::parameter("", wrong))?;
            let (links, complete) = dependencies::dependencies(reader, range)?;
            let of = given.text("service");
            let asked = |link: &jaeger::DependencyLink| {
                of.is_none_or(|service| link.parent == service || link.child == service)
            };
            let links = links.into_iter().filter(asked).map(|link| LinkJson {
                parent: link.parent,
                child: link.child,
                call_count: link.call_count,
            });
            Ok((links.collect::<Vec<_>>(), complete, query_parameters::pretty(&given)))
        })
        .await?;
    let response = json(admission, Envelope::new(links, 0), pretty).await?;
    Ok(mark(response, not_counted(complete)))
}
