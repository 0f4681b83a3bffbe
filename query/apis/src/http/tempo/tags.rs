//! Completion of queries: `/api/search/tags`, `/api/search/tag/{tag}/values` and their v2 forms.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde::Serialize;
use tidings_proto::otlp::{Severity, SpanKind, StatusCode};
use tidings_query::{
    QueryService,
    traceql::tags::{self, TagSearch, field_named, intrinsics},
};
use tidings_traceql::{Field, Intrinsic, Name, Scope, Value};

use super::{
    EmptyObject, TempoError,
    tempo_parameters::{TempoParams, decode, invalid},
};
use crate::http::encoding;

pub(super) const LIMIT_MAX: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagNames {
    metrics: EmptyObject,
    tag_names: Vec<String>,
}

#[derive(Serialize)]
struct TagScopes {
    metrics: EmptyObject,
    scopes: Vec<TagScope>,
}

#[derive(Serialize)]
struct TagScope {
    name: &'static str,
    tags: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagValues<V> {
    metrics: EmptyObject,
    tag_values: Vec<V>,
}

#[derive(Serialize)]
struct TypedValue {
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

/// The names of all scopes in one list.
pub(super) async fn names(
    State(service): State<QueryService>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let scope = params.text("scope").unwrap_or_default();
    let (service, admission) = service.holding_permits();
    let tag_names = listed(&service, tag_search(&params)?, scope).await?;
    Ok(encoding::json(admission, TagNames { metrics: EmptyObject {}, tag_names }).await?)
}

/// The names of a scope or of all scopes, each once. Intrinsics are included only on request.
pub(super) async fn listed(
    service: &QueryService,
    search: TagSearch,
    scope: &str,
) -> Result<Vec<String>, TempoError> {
    let limit = search.limit;
    let (scopes, with_intrinsics) = scopes_named(scope)?;
    let with_intrinsics = with_intrinsics && scopes.is_empty();
    let of_scopes = scoped(service, search, (scopes, with_intrinsics)).await?;
    let mut found: Vec<String> = of_scopes.into_iter().flat_map(|of| of.1).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(limit);
    Ok(found)
}

/// The names by scope.
pub(super) async fn names_v2(
    State(service): State<QueryService>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let scopes = scopes_of(&params)?;
    let (service, admission) = service.holding_permits();
    let found = scoped(&service, tag_search(&params)?, scopes).await?;
    let scopes = found.into_iter().map(|(name, tags)| TagScope { name, tags }).collect();
    Ok(encoding::json(admission, TagScopes { metrics: EmptyObject {}, scopes }).await?)
}

/// Returns the requested scopes, and true when intrinsics are requested.
fn scopes_of(params: &TempoParams) -> Result<(Vec<Scope>, bool), TempoError> {
    scopes_named(params.text("scope").unwrap_or_default())
}

/// Returns the scopes of this name, and true when it includes intrinsics.
pub(super) fn scopes_named(name: &str) -> Result<(Vec<Scope>, bool), TempoError> {
    match name {
        "" | "none" | "all" => Ok((Scope::NAMED.to_vec(), true)),
        "intrinsic" => Ok((Vec::new(), true)),
        word => match Scope::parse(word) {
            Some(scope) => Ok((vec![scope], false)),
            None => Err(invalid("scope", word)),
        },
    }
}

/// The names of each scope.
pub(super) async fn scoped(
    service: &QueryService,
    search: TagSearch,
    (scopes, with_intrinsics): (Vec<Scope>, bool),
) -> Result<Vec<(&'static str, Vec<String>)>, TempoError> {
    let mut found: Vec<(&'static str, Vec<String>)> = Vec::new();
    let limit = search.limit;
    if !scopes.is_empty() {
        let names = service.ask(move |reader| tags::names(reader, &search, &scopes)).await?;
        let names = names.into_iter().filter(|(_, names)| !names.is_empty());
        found.extend(names.map(|(scope, names)| (scope.word(), names.into_iter().collect())));
    }
    if with_intrinsics {
        let names = intrinsics().into_iter().take(limit).map(str::to_owned).collect();
        found.push(("intrinsic", names));
    }
    Ok(found)
}

fn tag_search(params: &TempoParams) -> Result<TagSearch, TempoError> {
    Ok(TagSearch {
        query: params.text("q").unwrap_or_default().to_owned(),
        start: params.seconds()?,
        limit: params.bound("limit", 0, LIMIT_MAX)?,
    })
}

/// The values of a tag as text.
pub(super) async fn values(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let (service, admission) = service.holding_permits();
    let tag_values = plain_values(&service, &path?, tag_search(&params)?).await?;
    Ok(encoding::json(admission, TagValues { metrics: EmptyObject {}, tag_values }).await?)
}

/// The values of a tag as text, each once. The tag can be the bare name of an attribute, or a name
/// that only searches by tags know.
pub(super) async fn plain_values(
    service: &QueryService,
    tag: &str,
    search: TagSearch,
) -> Result<Vec<String>, TempoError> {
    let (name, limit) = (decode(tag), search.limit);
    let always = match name.as_str() {
        "status.code" => StatusCode::ALL.map(StatusCode::word).to_vec(),
        "error" => vec!["true"],
        _ => Vec::new(),
    };
    let field = field_named(&name).unwrap_or_else(|| Field::attribute(Scope::Any, name));
    let values = values_of(service, field, search).await?;
    let mut values: Vec<String> = values.iter().map(Value::display_text).collect();
    values.sort_unstable();
    values.retain(|value| !always.contains(&value.as_str()));
    values.dedup();
    let mut values: Vec<String> =
        always.iter().map(|value| (*value).to_owned()).chain(values).collect();
    values.truncate(limit.max(always.len()));
    Ok(values)
}

/// The values of a tag with their types.
pub(super) async fn values_v2(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let (service, admission) = service.holding_permits();
    let values = typed_values(&service, &path?, tag_search(&params)?).await?;
    let typed = |value: &Value| TypedValue { kind: kind_of(value), value: value.display_text() };
    let tag_values: Vec<TypedValue> = values.iter().map(typed).collect();
    Ok(encoding::json(admission, TagValues { metrics: EmptyObject {}, tag_values }).await?)
}

/// Tempo's name for the type of a value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "duration",
        Value::Status(_) | Value::Kind(_) | Value::Severity(_) => "keyword",
        _ => "string",
    }
}

/// The values of a tag, whose name is written as in a query.
pub(super) async fn typed_values(
    service: &QueryService,
    tag: &str,
    search: TagSearch,
) -> Result<Vec<Value>, TempoError> {
    // Grafana encodes the name twice.
    let Some(field) = field_named(&decode(tag)) else {
        let reason = "write an attribute with its scope, as span.name or .name, or an intrinsic";
        return Err(invalid("tagName", reason));
    };
    values_of(service, field, search).await
}

async fn values_of(
    service: &QueryService,
    field: Field,
    search: TagSearch,
) -> Result<Vec<Value>, TempoError> {
    match field.name {
        Name::Intrinsic(Intrinsic::Status) => {
            let all = [StatusCode::Ok, StatusCode::Error, StatusCode::Unset];
            return Ok(all.map(Value::Status).to_vec());
        }
        Name::Intrinsic(Intrinsic::Kind) => {
            use SpanKind::{Client, Consumer, Internal, Producer, Server, Unspecified};
            let all = [Client, Server, Producer, Consumer, Internal, Unspecified];
            return Ok(all.map(Value::Kind).to_vec());
        }
        Name::Intrinsic(Intrinsic::LogSeverity) => {
            return Ok(Severity::ALL.map(Value::Severity).to_vec());
        }
        // Values of these intrinsics are too many to be picked from a list.
        Name::Intrinsic(
            Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::EventTimeSinceStart
            | Intrinsic::Parent,
        ) => return Ok(Vec::new()),
        _ => {}
    }
    Ok(service.ask(move |reader| tags::values(reader, &search, &field)).await?)
}
