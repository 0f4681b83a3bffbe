//! `/api/v1/exceptions`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::ExceptionList;

use super::{
    encoding,
    filters::{STEP, WINDOW},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::ExceptionSearch,
    params::{
        Params,
        declared::{Lists, Of, Takes, limit, query},
        form::ParameterForm::Text,
    },
};

/// Parameters of a list of exceptions.
pub(super) struct Exceptions;

impl Takes for Exceptions {
    const LISTS: Lists = &[
        &[
            query("service", Text, "`service.name`; repeat it for any of several").repeated(),
            query("operation", Text, "The span's name, whole; no log records then"),
            query("type", Text, "`exception.type`, whole"),
        ],
        WINDOW,
        &[STEP, limit(50, 500, "At most so many groups, the most frequent")],
    ];
}

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
    params(Of<Exceptions>),
    responses((status = 200, body = ExceptionList), Problems)
)]
pub(super) async fn exceptions(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Exceptions>(&uri)?;
    let search = ExceptionSearch {
        start: params.time_range()?,
        step: params.step()?,
        services: params.services(),
        operation: params.owned("operation"),
        exception_type: params.owned("type"),
        limit: params.limit(),
    };
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.exceptions(search).await?).await
}
