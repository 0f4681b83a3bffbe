//! `/api/v1/resolve`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::ResolveResult;

use super::{answer, problem::Problems};
use crate::{
    QueryError, QueryService,
    params::{
        Params,
        declared::{Lists, Of, Takes, query},
        form::ParameterForm::Text,
    },
};

/// Parameters of resolving a pasted text.
pub(super) struct Pasted;

impl Takes for Pasted {
    const LISTS: Lists = &[&[query("text", Text, "The text").required()]];
}

/// The stored traces a pasted text may mean: an id in any encoding, a header, a URL, a log line.
#[utoipa::path(
    get,
    path = "/api/v1/resolve",
    tag = "transactions",
    operation_id = "resolve",
    params(Of<Pasted>),
    responses((status = 200, body = ResolveResult), Problems)
)]
pub(super) async fn resolve(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Pasted>(&uri)?;
    let text = params.required("text")?.to_owned();
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.resolve(text).await?).await
}
