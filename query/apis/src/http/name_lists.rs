//! `/api/v1/services`, `/api/v1/operations` and `/api/v1/attributes`: names for the completion of
//! filters. `/api/v1/names`: names that have all words of a text.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{AttributeKeyList, FoundNameList, NameList};
use tidings_query::{NameSearch, QueryError, QueryService, WordSearch};

use super::{
    encoding,
    filters::WINDOW,
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParameterSpec, ParametersOf, limit, query},
    form::ParameterForm::{Text, Time},
};

endpoints![
    services: __path_services,
    operations: __path_operations,
    attribute_keys: __path_attribute_keys,
    attribute_values: __path_attribute_values,
    found_names: __path_found_names,
];

const NAMES: &[ParameterSpec] = &[
    query("prefix", Text, "Those that start with this, in any case"),
    query(
        "start",
        Time,
        "From spans that start at this time or later; the last 24 hours of data when neither time is given",
    ),
    query("end", Time, "From spans that start before this time, which is later than `start`"),
    limit(100, 1_000, "At most so many"),
];
const OF_SERVICE: ParameterSpec = query("service", Text, "Only of this service");

/// Parameters of a list of services.
pub(super) struct ServiceListParameters;

impl HasParameters for ServiceListParameters {
    const LISTS: ParameterLists = &[NAMES];
}

/// Parameters of a list of operations or of attribute keys.
pub(super) struct NameParameters;

impl HasParameters for NameParameters {
    const LISTS: ParameterLists = &[&[OF_SERVICE], NAMES];
}

/// Parameters of a list of attribute values.
pub(super) struct AttributeValueParameters;

impl HasParameters for AttributeValueParameters {
    const LISTS: ParameterLists =
        &[&[query("key", Text, "The attribute").required(), OF_SERVICE], NAMES];
}

/// Parameters of a list of names that have all words of a text.
pub(super) struct FoundNameParameters;

impl HasParameters for FoundNameParameters {
    const LISTS: ParameterLists = &[
        &[query("text", Text, "The words, in any order and case").required()],
        WINDOW,
        &[limit(5, 100, "At most so many of each kind, the best")],
    ];
}

/// The services that sent spans, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    tag = "names",
    operation_id = "listServices",
    params(ParametersOf<ServiceListParameters>),
    responses((status = 200, body = NameList), Problems)
)]
async fn services(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<ServiceListParameters>(&uri)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.services(name_search(&params)?).await?).await?)
}

/// The operations of a service or of all, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    tag = "names",
    operation_id = "listOperations",
    params(ParametersOf<NameParameters>),
    responses((status = 200, body = NameList), Problems)
)]
async fn operations(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<NameParameters>(&uri)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.operations(name_search(&params)?).await?).await?)
}

/// The attribute keys of spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/keys",
    tag = "names",
    operation_id = "listAttributeKeys",
    params(ParametersOf<NameParameters>),
    responses((status = 200, body = AttributeKeyList), Problems)
)]
async fn attribute_keys(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<NameParameters>(&uri)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.attribute_keys(name_search(&params)?).await?).await?)
}

/// The values of an attribute on spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/values",
    tag = "names",
    operation_id = "listAttributeValues",
    params(ParametersOf<AttributeValueParameters>),
    responses((status = 200, body = NameList), Problems)
)]
async fn attribute_values(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<AttributeValueParameters>(&uri)?;
    let key = params.required("key")?.to_owned();
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.attribute_values(key, name_search(&params)?).await?)
        .await?)
}

/// Operations, versions, exceptions and peers whose name or service has every word of a text.
#[utoipa::path(
    get,
    path = "/api/v1/names",
    tag = "names",
    operation_id = "findNames",
    params(ParametersOf<FoundNameParameters>),
    responses((status = 200, body = FoundNameList), Problems)
)]
async fn found_names(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<FoundNameParameters>(&uri)?;
    let search = WordSearch {
        text: params.required("text")?.to_owned(),
        start: params.time_range()?,
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.found_names(search).await?).await?)
}

fn name_search(params: &Params) -> Result<NameSearch, QueryError> {
    Ok(NameSearch {
        prefix: params.owned("prefix").unwrap_or_default(),
        start: params.time_range()?,
        service: params.owned("service"),
        limit: params.limit(),
    })
}
