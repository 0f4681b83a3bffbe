//! `/api/v1/services`, `/api/v1/operations` and `/api/v1/attributes`: names for the completion of
//! filters.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{AttributeKeyList, NameList};

use super::{encoding, problem::Problems};
use crate::{
    NameSearch, QueryError, QueryService,
    params::{
        Params,
        declared::{Declared, Lists, Of, Takes, limit, query},
        form::ParameterForm::{Text, Time},
    },
};

endpoints![services, operations, attribute_keys, attribute_values];

const NAMES: &[Declared] = &[
    query("prefix", Text, "Those that start with this, in any case"),
    query(
        "start",
        Time,
        "From spans that start at this time or later; the last 24 hours of data when neither time is given",
    ),
    query("end", Time, "From spans that start before this time, which is later than `start`"),
    limit(100, 1_000, "At most so many"),
];
const OF_SERVICE: Declared = query("service", Text, "Only of this service");

/// Parameters of a list of services.
pub(super) struct ServiceListParameters;

impl Takes for ServiceListParameters {
    const LISTS: Lists = &[NAMES];
}

/// Parameters of a list of operations or of attribute keys.
pub(super) struct NameParameters;

impl Takes for NameParameters {
    const LISTS: Lists = &[&[OF_SERVICE], NAMES];
}

/// Parameters of a list of attribute values.
pub(super) struct Values;

impl Takes for Values {
    const LISTS: Lists = &[&[query("key", Text, "The attribute").required(), OF_SERVICE], NAMES];
}

/// The services that sent spans, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    tag = "names",
    operation_id = "listServices",
    params(Of<ServiceListParameters>),
    responses((status = 200, body = NameList), Problems)
)]
async fn services(State(service): State<QueryService>, uri: Uri) -> Result<Response, QueryError> {
    let params = Params::read::<ServiceListParameters>(&uri)?;
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.services(name_search(&params)?).await?).await
}

/// The operations of a service or of all, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    tag = "names",
    operation_id = "listOperations",
    params(Of<NameParameters>),
    responses((status = 200, body = NameList), Problems)
)]
async fn operations(State(service): State<QueryService>, uri: Uri) -> Result<Response, QueryError> {
    let params = Params::read::<NameParameters>(&uri)?;
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.operations(name_search(&params)?).await?).await
}

/// The attribute keys of spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/keys",
    tag = "names",
    operation_id = "listAttributeKeys",
    params(Of<NameParameters>),
    responses((status = 200, body = AttributeKeyList), Problems)
)]
async fn attribute_keys(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<NameParameters>(&uri)?;
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.attribute_keys(name_search(&params)?).await?).await
}

/// The values of an attribute on spans and their resources, most spans first.
#[utoipa::path(
    get,
    path = "/api/v1/attributes/values",
    tag = "names",
    operation_id = "listAttributeValues",
    params(Of<Values>),
    responses((status = 200, body = NameList), Problems)
)]
async fn attribute_values(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Values>(&uri)?;
    let key = params.required("key")?.to_owned();
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.attribute_values(key, name_search(&params)?).await?).await
}

fn name_search(params: &Params) -> Result<NameSearch, QueryError> {
    Ok(NameSearch {
        prefix: params.owned("prefix").unwrap_or_default(),
        start: params.time_range()?,
        service: params.owned("service"),
        limit: params.limit(),
    })
}
