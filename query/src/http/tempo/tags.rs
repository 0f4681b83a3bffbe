//! What queries are completed from: `/api/search/tags`, `/api/search/tag/{tag}/values` and their
//! second versions.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode};

use super::{
    answer::TempoError,
    params::{Params, decode, invalid},
};
use crate::{
    QueryService,
    http::answer,
    traceql::{
        syntax::{Intrinsic, Name, Scope},
        tags::{self, TagSearch, field_named, intrinsics},
        value::Value,
    },
};

pub(super) const LIMIT_MAX: usize = 10_000;

/// The names of all scopes in one list.
pub(super) async fn names(
    State(service): State<QueryService>,
    params: Params,
) -> Result<Response, TempoError> {
    let scopes = scopes_of(&params)?;
    let mut found: Vec<String> = Vec::new();
    for (_, names) in scoped(&service, tag_search(&params)?, scopes).await? {
        found.extend(names);
    }
    found.sort_unstable();
    found.dedup();
    Ok(answer::json(json!({ "tagNames": found, "metrics": {} })).await?)
}

/// The names by scope.
pub(super) async fn names_v2(
    State(service): State<QueryService>,
    params: Params,
) -> Result<Response, TempoError> {
    let scopes = scopes_of(&params)?;
    let found = scoped(&service, tag_search(&params)?, scopes).await?;
    let scopes: Vec<Json> =
        found.into_iter().map(|(name, tags)| json!({ "name": name, "tags": tags })).collect();
    Ok(answer::json(json!({ "scopes": scopes, "metrics": {} })).await?)
}

/// Which scopes are asked for, and whether intrinsics are.
fn scopes_of(params: &Params) -> Result<(Vec<Scope>, bool), TempoError> {
    scopes_named(params.text("scope").unwrap_or_default())
}

/// The scopes of this name, and whether intrinsics are among them.
pub(super) fn scopes_named(name: &str) -> Result<(Vec<Scope>, bool), TempoError> {
    match name {
        "" | "none" | "all" => Ok((Scope::NAMED.to_vec(), true)),
        "intrinsic" => Ok((Vec::new(), true)),
        word => match Scope::of(word) {
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
    if !scopes.is_empty() {
        let names = service.ask(move |reader| tags::names(reader, &search, &scopes)).await?;
        let names = names.into_iter().filter(|(_, names)| !names.is_empty());
        found.extend(names.map(|(scope, names)| (scope.word(), names.into_iter().collect())));
    }
    if with_intrinsics {
        let names = intrinsics().into_iter().map(str::to_owned).collect();
        found.push(("intrinsic", names));
    }
    Ok(found)
}

fn tag_search(params: &Params) -> Result<TagSearch, TempoError> {
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
    params: Params,
) -> Result<Response, TempoError> {
    let mut values: Vec<String> = found_values(&service, &path?, &params).await?;
    values.sort_unstable();
    values.dedup();
    Ok(answer::json(json!({ "tagValues": values, "metrics": {} })).await?)
}

async fn found_values(
    service: &QueryService,
    tag: &str,
    params: &Params,
) -> Result<Vec<String>, TempoError> {
    let values = typed_values(service, tag, tag_search(params)?).await?;
    Ok(values.iter().map(Value::shown).collect())
}

/// The values of a tag with their types.
pub(super) async fn values_v2(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Response, TempoError> {
    let values = typed_values(&service, &path?, tag_search(&params)?).await?;
    let values =
        values.iter().map(|value| json!({ "type": kind_of(value), "value": value.shown() }));
    let values: Vec<Json> = values.collect();
    Ok(answer::json(json!({ "tagValues": values, "metrics": {} })).await?)
}

/// What Tempo calls the type of a value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "duration",
        Value::Status(_) | Value::Kind(_) => "keyword",
        _ => "string",
    }
}

/// The values of a tag.
pub(super) async fn typed_values(
    service: &QueryService,
    tag: &str,
    search: TagSearch,
) -> Result<Vec<Value>, TempoError> {
    // Grafana encodes the name twice.
    let field = field_named(&decode(tag));
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
        // Nobody picks one of these from a list.
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
