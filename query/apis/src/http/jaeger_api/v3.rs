//! `/jaeger/api/v3`: OTLP/JSON, as the gateway of Jaeger's gRPC service writes it.

use std::collections::{BTreeMap, HashSet};

use ::http::Uri;
use axum::{
    extract::{RawPathParams, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tidings_proto::{
    jaeger,
    otlp::{ExportTraceServiceRequest, ResourceSpans, SpanKind},
};
use tidings_query::{
    Admission, QueryError, QueryService, Reader,
    search::trees,
    trace::{trace_rows::Names, tree::Tree},
};

use super::{
    BUDGET_SPENT,
    envelope::{V3Error, incomplete, json, mark, not_counted},
    query_parameters,
};
use crate::{
    jaeger::{
        dependencies,
        find_traces::{JaegerSearch, kind, search as find_ids},
        traces::{self, JaegerTraces, RepeatedFields},
    },
    params::raw::RawParameters,
};

type V3Result = Result<Response, V3Error>;

#[derive(Debug, Serialize)]
struct Services {
    services: Vec<String>,
}

/// Lists every service.
pub(super) async fn services(State(service): State<QueryService>) -> V3Result {
    let (service, admission) = service.holding_permits();
    let services = service.ask(crate::jaeger::services).await?;
    Ok(json(admission, Services { services }, false).await?)
}

#[derive(Debug, Serialize)]
struct Operations {
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    name: String,
    span_kind: &'static str,
}

/// The operations of a service; spans without a kind count as internal.
pub(super) async fn operations(State(service): State<QueryService>, uri: Uri) -> V3Result {
    let given = RawParameters::read(&uri)?;
    let wanted = given.either(&["spanKind", "span_kind"]).map(|(_, text)| kind(text));
    let Some(name) = given.text("service").map(str::to_owned) else {
        return Ok(json(Admission::default(), Operations { operations: Vec::new() }, false).await?);
    };
    let (service, admission) = service.holding_permits();
    let found = match wanted {
        // No span has a kind with an unknown name.
        Some(SpanKind::Unspecified) => Vec::new(),
        wanted => {
            service.ask(move |reader| crate::jaeger::operations(reader, &name, wanted)).await?
        }
    };
    let shown = |(name, kind)| {
        let kind = if kind == SpanKind::Unspecified { SpanKind::Internal } else { kind };
        Operation { name, span_kind: jaeger::kind(kind) }
    };
    let operations = found.into_iter().map(shown).collect();
    Ok(json(admission, Operations { operations }, false).await?)
}

#[derive(Debug, Serialize)]
struct Wrapper {
    result: ExportTraceServiceRequest,
}

/// Returns one trace.
pub(super) async fn trace(
    State(service): State<QueryService>,
    path: RawPathParams,
    uri: Uri,
) -> V3Result {
    let given = RawParameters::read(&uri)?;
    let id = path.iter().find(|(name, _)| *name == "id").map_or("", |(_, id)| id);
    let id = query_parameters::trace_id(id);
    let id =
        id.map_err(|wrong| V3Error::invalid(format!("malformed parameter trace_id: {wrong}")))?;
    let raw = query_parameters::v3_trace(&given).map_err(V3Error::invalid)?;
    let id = id.ok_or_else(V3Error::not_found)?;
    let (service, admission) = service.holding_permits();
    let found =
        service.ask(move |reader| traces::get(reader, &[id], raw, RepeatedFields::Nothing)).await?;
    answer(admission, found).await
}

/// Returns every span of the traces found, in one answer.
pub(super) async fn search(State(service): State<QueryService>, uri: Uri) -> V3Result {
    let given = RawParameters::read(&uri)?;
    let (search, raw) = query_parameters::v3_search(&given).map_err(V3Error::invalid)?;
    let (service, admission) = service.holding_permits();
    let found = service
        .ask(move |reader| traces::find(reader, &search, raw, RepeatedFields::Nothing))
        .await?;
    answer(admission, found).await
}

async fn answer(admission: Admission, found: JaegerTraces) -> V3Result {
    let incomplete = incomplete(&found);
    if found.traces.is_empty() {
        let none = found.budget_spent.then(V3Error::budget_exhausted);
        let none = none.unwrap_or_else(V3Error::not_found);
        return Ok(mark(none.into_response(), incomplete));
    }
    let resource_spans = found.traces.into_iter().flat_map(|trace| trace.resource_spans);
    let resource_spans = resource_spans.map(complete).collect();
    let response =
        json(admission, Wrapper { result: ExportTraceServiceRequest { resource_spans } }, false)
            .await?;
    Ok(mark(response, incomplete))
}

/// Adds empty messages where Jaeger writes them.
fn complete(mut group: ResourceSpans) -> ResourceSpans {
    group.resource.get_or_insert_default();
    for scope in &mut group.scope_spans {
        scope.scope.get_or_insert_default();
        for span in &mut scope.spans {
            span.status.get_or_insert_default();
        }
    }
    group
}

#[derive(Debug, Serialize)]
struct Summaries {
    summaries: Vec<Summary>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    trace_id: String,
    root_service_name: String,
    root_operation_name: String,
    min_start_time_unix_nano: String,
    max_end_time_unix_nano: String,
    span_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error_span_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    orphan_span_count: u64,
    services: Vec<ServiceSummary>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSummary {
    name: String,
    span_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error_span_count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Returns one row for each trace found.
pub(super) async fn summaries(State(service): State<QueryService>, uri: Uri) -> V3Result {
    let given = RawParameters::read(&uri)?;
    let (search, _) = query_parameters::v3_search(&given).map_err(V3Error::invalid)?;
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| summarize(reader, &search)).await?;
    let (summaries, incomplete) = found;
    Ok(mark(json(admission, Summaries { summaries }, false).await?, incomplete))
}

/// Builds the summaries, and the reason when they do not cover all matches.
fn summarize(
    reader: &Reader,
    search: &JaegerSearch,
) -> Result<(Vec<Summary>, Option<&'static str>), QueryError> {
    let found = find_ids(reader, search)?;
    let (trees, gathered) = trees(reader, &found.ids)?;
    let summaries = trees.iter().map(|tree| summary(tree, &gathered.names)).collect();
    Ok((summaries, found.budget_spent.then_some(BUDGET_SPENT)))
}

fn summary(tree: &Tree, names: &Names) -> Summary {
    let root = tree.entry.filter(|_| tree.has_root()).map(|node| tree.fact(node));
    let name = |number| names.text(number).to_owned();
    let mut services: BTreeMap<u32, ServiceSummary> = BTreeMap::new();
    let known: HashSet<_> = tree.indexes().map(|node| tree.fact(node).span_id).collect();
    let mut orphans = 0;
    for node in tree.indexes() {
        let fact = tree.fact(node);
        let failed = u64::from(tree.failed(node));
        let service = services.entry(fact.service).or_default();
        service.span_count += 1;
        service.error_span_count += failed;
        orphans += u64::from(fact.parent_span_id.is_some_and(|parent| !known.contains(&parent)));
    }
    let mut services: Vec<ServiceSummary> = services
        .into_iter()
        .map(|(number, summary)| ServiceSummary { name: name(number), ..summary })
        .collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    Summary {
        trace_id: tree.trace_id.to_string(),
        root_service_name: root.map(|fact| name(fact.service)).unwrap_or_default(),
        root_operation_name: root.map(|fact| name(fact.operation)).unwrap_or_default(),
        min_start_time_unix_nano: tree.start.0.to_string(),
        max_end_time_unix_nano: tree.end.0.to_string(),
        span_count: tree.indexes().len() as u64,
        error_span_count: services.iter().map(|service| service.error_span_count).sum(),
        orphan_span_count: orphans,
        services,
    }
}

#[derive(Debug, Serialize)]
struct Dependencies {
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    parent: String,
    child: String,
    call_count: String,
}

/// Returns the calls between services.
pub(super) async fn dependencies(State(service): State<QueryService>, uri: Uri) -> V3Result {
    let range =
        query_parameters::v3_dependencies(&RawParameters::read(&uri)?).map_err(V3Error::invalid)?;
    let (service, admission) = service.holding_permits();
    let counted = service.ask(move |reader| dependencies::dependencies(reader, range)).await?;
    let (links, complete) = counted;
    let dependencies = links.into_iter().map(|link| Dependency {
        parent: link.parent,
        child: link.child,
        call_count: link.call_count.to_string(),
    });
    let response =
        json(admission, Dependencies { dependencies: dependencies.collect() }, false).await?;
    Ok(mark(response, not_counted(complete)))
}
