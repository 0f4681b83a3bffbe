//! Jaeger's gRPC services on the HTTP address: `api_v2` and `api_v3`, which its clients call, and
//! `storage.v2`, through which Jaeger's own query service and UI read.

use std::collections::BTreeMap;

use ::http::{HeaderMap, HeaderValue};
use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use prost::Message;
use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    jaeger::{
        self, Seconds, Span,
        rpc::{self, TraceQuery},
    },
    otlp::{ExportTraceServiceRequest, ScopeSpans, SpanKind},
};
use tidings_query::QueryService;
use tidings_storage::TimeRange;
use tonic::{Code, Status, metadata::MetadataMap};

use super::{
    BUDGET_SPENT,
    envelope::{INCOMPLETE, incomplete, not_counted},
    query_parameters,
};
use crate::{
    error_status::query_status,
    http::grpc_calls::{EncodedMessages, answer as call, in_memory, unknown_method},
    jaeger::{
        dependencies,
        find_traces::{JaegerSearch, kind, search},
        traces::{self, JaegerTraces, RepeatedFields},
    },
    rpc_status::rpc_status,
};

/// Maximum size of a request; the largest ones are lists of trace ids.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Maximum number of spans in one message: below the 4 MiB that clients accept, unless spans are
/// enormous.
const CHUNK_SPANS: usize = 200;
/// Number of traces of a search without a limit.
const DEPTH_DEFAULT: i32 = 100;

type RpcResult = Result<RpcAnswer, Status>;

/// The messages of an answer.
struct RpcAnswer {
    messages: Vec<Vec<u8>>,
    /// Reason why the answer is partial, sent as its metadata.
    incomplete: Option<&'static str>,
}

impl RpcAnswer {
    fn into_response(self) -> tonic::Response<EncodedMessages> {
        let mut response = in_memory(self.messages);
        if let Some(what) = self.incomplete {
            let headers = HeaderMap::from_iter([(INCOMPLETE, HeaderValue::from_static(what))]);
            *response.metadata_mut() = MetadataMap::from_headers(headers);
        }
        response
    }
}

/// API of Jaeger that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    V2,
    V3,
    Storage,
}

pub(super) async fn v2(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    answer(Api::V2, service, &method, request).await
}

pub(super) async fn v3(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    answer(Api::V3, service, &method, request).await
}

pub(super) async fn storage(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    answer(Api::Storage, service, &method, request).await
}

async fn answer(api: Api, service: QueryService, method: &str, request: Request) -> Response {
    let to = (service, request);
    match (method, api) {
        ("GetServices", _) => reply(to, |service, ()| services(service)).await,
        ("GetOperations", _) => {
            reply(to, move |service, asked| operations(api, service, asked)).await
        }
        ("GetTrace", Api::V2) => reply(to, trace_by_bytes).await,
        ("GetTrace", Api::V3) => reply(to, trace_by_text).await,
        ("GetTraces", Api::Storage) => reply(to, traces_by_id).await,
        ("FindTraces", Api::Storage) => {
            reply(to, move |service, asked: rpc::FindStoredTraces| {
                find_traces(api, service, asked.query.map(Into::into))
            })
            .await
        }
        ("FindTraces", _) => {
            reply(to, move |service, asked: rpc::FindTraces| find_traces(api, service, asked.query))
                .await
        }
        ("FindTraceIDs", Api::Storage) => reply(to, find_trace_ids).await,
        ("GetDependencies", _) => reply(to, links).await,
        ("ArchiveTrace", Api::V2) => {
            let message = "archive span storage was not configured";
            rpc_status(Code::Unimplemented, message).into_http()
        }
        (other, _) => unknown_method(other),
    }
}

/// Answers a call with what `handler` returns for its message.
async fn reply<M, F>(
    (service, request): (QueryService, Request),
    handler: impl Fn(QueryService, M) -> F,
) -> Response
where
    M: Message + Default + 'static,
    F: Future<Output = RpcResult>,
{
    let handler = move |service, message| {
        let answered = handler(service, message);
        async move { answered.await.map(RpcAnswer::into_response) }
    };
    call(service, request, REQUEST_BYTES_MAX, handler).await
}

async fn services(service: QueryService) -> RpcResult {
    let services = service.ask(crate::jaeger::services).await.map_err(query_status)?;
    one(&rpc::Services { services })
}

async fn trace_by_bytes(service: QueryService, asked: rpc::GetTraceByBytes) -> RpcResult {
    let id = TraceId::from_wire(&asked.trace_id);
    let id = id.ok_or_else(|| invalid("uninitialized TraceID is not allowed"))?;
    trace(Api::V2, &service, id, asked.raw_traces).await
}

async fn trace_by_text(service: QueryService, asked: rpc::GetTraceByText) -> RpcResult {
    let id = query_parameters::trace_id(&asked.trace_id);
    let id = id.map_err(|wrong| invalid(format!("malform trace ID: {wrong}")))?;
    let id = id.ok_or_else(|| rpc_status(Code::NotFound, "trace not found"))?;
    trace(Api::V3, &service, id, asked.raw_traces).await
}

async fn traces_by_id(service: QueryService, asked: rpc::GetTraces) -> RpcResult {
    let ids = asked.query.iter().filter_map(|query| TraceId::from_wire(&query.trace_id));
    let ids: Vec<TraceId> = ids.collect();
    let ask = move |reader: &_| {
        let found = traces::get(reader, &ids, true, repeated_fields(Api::Storage))?;
        Ok(require_complete(found.left_out).map(|()| encode_traces(Api::Storage, found)))
    };
    service.ask(ask).await.map_err(query_status)?
}

async fn find_traces(api: Api, service: QueryService, asked: Option<TraceQuery>) -> RpcResult {
    let (search, raw) = query(api, asked)?;
    let ask = move |reader: &_| {
        Ok(encode_traces(api, traces::find(reader, &search, raw, repeated_fields(api))?))
    };
    service.ask(ask).await.map_err(query_status)
}

async fn find_trace_ids(service: QueryService, asked: rpc::FindStoredTraces) -> RpcResult {
    let (question, _) = query(Api::Storage, asked.query.map(Into::into))?;
    let found = service.ask(move |reader| search(reader, &question)).await.map_err(query_status)?;
    let incomplete = found.budget_spent.then_some(BUDGET_SPENT);
    let shown = |id: TraceId| rpc::FoundTraceId { trace_id: id.as_bytes().to_vec() };
    let trace_ids = found.ids.into_iter().map(shown).collect();
    one(&rpc::FoundTraceIds { trace_ids }).map(|ids| RpcAnswer { incomplete, ..ids })
}

/// Status of a malformed request.
fn invalid(message: impl Into<String>) -> Status {
    rpc_status(Code::InvalidArgument, message)
}

fn one(message: &impl Message) -> RpcResult {
    Ok(RpcAnswer { messages: vec![message.encode_to_vec()], incomplete: None })
}

/// Fails when traces were left out: traces requested by id are returned completely or not at all.
fn require_complete(left_out: usize) -> Result<(), Status> {
    if left_out == 0 {
        return Ok(());
    }
    let message = format!("{left_out} traces do not fit into one answer: ask for fewer");
    Err(rpc_status(Code::ResourceExhausted, message))
}

async fn operations(api: Api, service: QueryService, asked: rpc::GetOperations) -> RpcResult {
    let name = asked.service;
    let wanted = Some(asked.span_kind.as_str()).filter(|kind| !kind.is_empty()).map(kind);
    let found = match wanted {
        // No span has a kind with an unknown name.
        Some(SpanKind::Unspecified) => Vec::new(),
        wanted => service
            .ask(move |reader| crate::jaeger::operations(reader, &name, wanted))
            .await
            .map_err(query_status)?,
    };
    let mut operation_names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    operation_names.dedup();
    let operations = found
        .into_iter()
        .map(|(name, kind)| rpc::Operation { name, span_kind: jaeger::kind(kind).to_owned() });
    let operations = operations.collect();
    if api == Api::V2 {
        return one(&rpc::NamedOperations { operation_names, operations });
    }
    one(&rpc::Operations { operations })
}

async fn trace(api: Api, service: &QueryService, id: TraceId, raw: bool) -> RpcResult {
    let ask = move |reader: &_| {
        let found = traces::get(reader, &[id], raw, repeated_fields(api))?;
        let is_there = !found.traces.is_empty();
        Ok(is_there.then(|| encode_traces(api, found)))
    };
    let answered = service.ask(ask).await.map_err(query_status)?;
    answered.ok_or_else(|| rpc_status(Code::NotFound, "trace not found"))
}

/// The parts of a trace that the messages of an API repeat.
fn repeated_fields(api: Api) -> RepeatedFields {
    match api {
        Api::V2 => RepeatedFields::ScopesAndProcesses,
        Api::V3 | Api::Storage => RepeatedFields::Messages(CHUNK_SPANS),
    }
}

/// Encodes the answer; runs on a blocking thread and holds the query's permits.
fn encode_traces(api: Api, found: JaegerTraces) -> RpcAnswer {
    let incomplete = incomplete(&found);
    RpcAnswer { messages: messages(api, found.traces), incomplete }
}

/// Returns the search, and whether traces are requested as stored.
fn query(api: Api, asked: Option<TraceQuery>) -> Result<(JaegerSearch, bool), Status> {
    let query = asked.ok_or_else(|| invalid("missing query"))?;
    // The zero time of Go is in the year 1.
    let time = |time: Option<Seconds>| time.and_then(Seconds::to_nanos);
    let (from, to) = (time(query.start_time_min), time(query.start_time_max));
    if api == Api::V3 && (from.is_none() || to.is_none()) {
        return Err(invalid("start time min and max are required parameters"));
    }
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(invalid("start_time_min must be before start_time_max"));
    }
    let depth = if query.search_depth > 0 { query.search_depth } else { DEPTH_DEFAULT };
    let text = |text: String| (!text.is_empty()).then_some(text);
    let duration = |duration: Option<Seconds>| time(duration).filter(|nanos| *nanos > 0);
    let search = JaegerSearch {
        service: text(query.service_name),
        operation: text(query.operation_name),
        tags: query.tags.into_iter().collect::<BTreeMap<_, _>>(),
        start: range(from, to),
        duration_min: duration(query.duration_min).map(DurationNanos),
        duration_max: duration(query.duration_max).map(DurationNanos),
        limit: usize::try_from(depth).unwrap_or_default().min(query_parameters::LIMIT_MAX),
    };
    Ok((search, query.raw_traces))
}

/// Returns the range between two times, both included.
fn range(from: Option<u64>, to: Option<u64>) -> TimeRange {
    let after = to.map(|to| UnixNanos(to.saturating_add(1)));
    TimeRange { start: from.map(UnixNanos), end: after }
}

async fn links(service: QueryService, asked: rpc::GetDependencies) -> RpcResult {
    let time = |time: Option<Seconds>| time.and_then(Seconds::to_nanos);
    let (Some(from), Some(to)) = (time(asked.start_time), time(asked.end_time)) else {
        return Err(invalid("StartTime and EndTime must be initialized."));
    };
    let range = range(Some(from), Some(to));
    let ask = move |reader: &_| dependencies::dependencies(reader, range);
    let (dependencies, complete) = service.ask(ask).await.map_err(query_status)?;
    let incomplete = not_counted(complete);
    one(&rpc::Dependencies { dependencies }).map(|links| RpcAnswer { incomplete, ..links })
}

/// Splits the traces into messages of a bounded number of spans, each of one trace.
fn messages(api: Api, traces: Vec<ExportTraceServiceRequest>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for trace in traces {
        if api == Api::V2 {
            let mut spans = jaeger::from_otlp(&trace).into_spans().peekable();
            while spans.peek().is_some() {
                let spans: Vec<Span> = spans.by_ref().take(CHUNK_SPANS).collect();
                messages.push(rpc::SpansResponseChunk { spans }.encode_to_vec());
            }
        } else {
            messages.extend(chunks(trace).iter().map(Message::encode_to_vec));
        }
    }
    messages
}

/// Splits a trace into parts. A resource is repeated in each part that has spans of it, but not for
/// each of its scopes.
fn chunks(trace: ExportTraceServiceRequest) -> Vec<ExportTraceServiceRequest> {
    let mut chunks: Vec<ExportTraceServiceRequest> = Vec::new();
    let mut room = 0;
    for mut group in trace.resource_spans {
        let scopes = std::mem::take(&mut group.scope_spans);
        let mut is_open = false;
        for mut scope in scopes {
            let mut spans = std::mem::take(&mut scope.spans).into_iter().peekable();
            while spans.peek().is_some() {
                if room == 0 {
                    chunks.push(ExportTraceServiceRequest::default());
                    (room, is_open) = (CHUNK_SPANS, false);
                }
                let spans: Vec<_> = spans.by_ref().take(room).collect();
                room -= spans.len();
                let Some(groups) = chunks.last_mut().map(|last| &mut last.resource_spans) else {
                    continue;
                };
                if !is_open {
                    groups.push(group.clone());
                    is_open = true;
                }
                if let Some(group) = groups.last_mut() {
                    group.scope_spans.push(ScopeSpans { spans, ..scope.clone() });
                }
            }
        }
    }
    chunks
}
