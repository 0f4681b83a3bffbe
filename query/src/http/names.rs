//! `/api/v1/services`, `/api/v1/operations` and `/api/v1/attributes`: what filters are completed
//! from.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{AttributeKeyList, NameList};

use super::{answer, problem::Problems};
use crate::{NameSearch, QueryError, QueryService, params::Params};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// The services that sent spans, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    tag = "names",
    operation_id = "listServices",
    params(
        ("prefix" = Option<String>, Query, description = "Names that start with this, in any case"),
        ("start" = Option<String>, Query, description = "From spans that start at this time or later; the last 24 hours of data when neither time is given"),
        ("end" = Option<String>, Query, description = "From spans that start before this time"),
        ("limit" = Option<u32>, Query, description = "At most so many names, 1 to 1,000; 100 when not given"),
    ),
    responses((status = 200, body = NameList), Problems)
)]
pub(super) async fn services(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_services>(&uri)?;
    answer::json(service.services(name_search(&params)?).await?).await
}

/// The operations of a service or of all, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    tag = "names",
    operation_id = "listOperations",
    params(
        ("service" = Option<String>, Query, description = "Only of this service"),
        ("prefix" = Option<String>, Query, description = "Names that start with this, in any case"),
        ("start" = Option<String>, Query, description = "From spans that start at this time or later; the last 24 hours of data when neither time is given"),
        ("end" = Option<String>, Query, description = "From spans that start before this time"),
        ("limit" = Option<u32>, Query, description = "At most so many names, 1 to 1,000; 100 when not given"),
    ),
    responses((status = 200, body = NameList), Problems)
)]
pub(super) async fn operations(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_operations>(&uri)?;
    answer::json(service.operations(name_search(&params)?).await?).await
}

/// The attribute keys of spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/keys",
    tag = "names",
    operation_id = "listAttributeKeys",
    params(
        ("service" = Option<String>, Query, description = "Only of this service"),
        ("prefix" = Option<String>, Query, description = "Keys that start with this, in any case"),
        ("start" = Option<String>, Query, description = "From spans that start at this time or later; the last 24 hours of data when neither time is given"),
        ("end" = Option<String>, Query, description = "From spans that start before this time"),
        ("limit" = Option<u32>, Query, description = "At most so many keys, 1 to 1,000; 100 when not given"),
    ),
    responses((status = 200, body = AttributeKeyList), Problems)
)]
pub(super) async fn attribute_keys(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_attribute_keys>(&uri)?;
    answer::json(service.attribute_keys(name_search(&params)?).await?).await
}

/// The values of an attribute on spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/values",
    tag = "names",
    operation_id = "listAttributeValues",
    params(
        ("key" = String, Query, description = "The attribute"),
        ("service" = Option<String>, Query, description = "Only of this service"),
        ("prefix" = Option<String>, Query, description = "Values that start with this, in any case"),
        ("start" = Option<String>, Query, description = "From spans that start at this time or later; the last 24 hours of data when neither time is given"),
        ("end" = Option<String>, Query, description = "From spans that start before this time"),
        ("limit" = Option<u32>, Query, description = "At most so many values, 1 to 1,000; 100 when not given"),
    ),
    responses((status = 200, body = NameList), Problems)
)]
pub(super) async fn attribute_values(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_attribute_values>(&uri)?;
    let key = params.required("key")?.to_owned();
    answer::json(service.attribute_values(key, name_search(&params)?).await?).await
}

fn name_search(params: &Params) -> Result<NameSearch, QueryError> {
    Ok(NameSearch {
        prefix: params.text("prefix")?.unwrap_or_default().to_owned(),
        start: params.time_range()?,
        service: params.text("service")?.map(str::to_owned),
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    })
}
