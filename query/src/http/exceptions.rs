//! `/api/v1/exceptions`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::ExceptionList;

use super::{
    answer,
    filters::{InSteps, InWindow},
    problem::Problems,
};
use crate::{QueryError, QueryService, analysis::ExceptionSearch, params::Params};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;

/// Exceptions, the same ones together.
///
/// Of the `exception` events of spans and of log records with `exception.*` attributes. A group is
/// a service, an operation, a type, and the stack without what differs from time to time: numbers,
/// addresses, messages.
#[utoipa::path(
    get,
    path = "/api/v1/exceptions",
    tag = "analysis",
    operation_id = "listExceptions",
    params(
        ("service" = Option<Vec<String>>, Query, description = "`service.name`; repeat it for any of several"),
        ("operation" = Option<String>, Query, description = "The span's name, whole; no log records then"),
        ("type" = Option<String>, Query, description = "`exception.type`, whole"),
        InWindow,
        InSteps,
        ("limit" = Option<u32>, Query, description = "At most so many groups, the most frequent, 1 to 500; 50 when not given"),
    ),
    responses((status = 200, body = ExceptionList), Problems)
)]
pub(super) async fn exceptions(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_exceptions>(&uri)?;
    let services: Vec<String> = params.texts("service").into_iter().map(str::to_owned).collect();
    let search = ExceptionSearch {
        start: params.time_range()?,
        step: params.step()?,
        services: (!services.is_empty()).then_some(services),
        operation: params.text("operation")?.map(str::to_owned),
        exception_type: params.text("type")?.map(str::to_owned),
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    };
    answer::json(service.exceptions(search).await?).await
}
