//! `/api/v1/deployments`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::VersionChangeList;

use super::{answer, filters::WINDOW, problem::Problems};
use crate::{
    QueryError, QueryService,
    analysis::DeploymentSearch,
    params::{
        Params,
        declared::{Lists, Of, Takes, query},
        form::ParameterForm::Text,
    },
};

/// The parameters of a question for version changes.
pub(super) struct Deployments;

impl Takes for Deployments {
    const LISTS: Lists = &[&[query("service", Text, "`service.name`").required()], WINDOW];
}

/// Version changes of a service.
///
/// The versions (`service.version` of the resource) that were first seen in the window after
/// another one. Of more than 65,536 spans of the service, versions are looked for in 16 samples of
/// the window: one that few spans have may be left out.
#[utoipa::path(
    get,
    path = "/api/v1/deployments",
    tag = "analysis",
    operation_id = "listDeployments",
    params(Of<Deployments>),
    responses((status = 200, body = VersionChangeList), Problems)
)]
pub(super) async fn deployments(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Deployments>(&uri)?;
    let search = DeploymentSearch {
        service: params.required("service")?.to_owned(),
        start: params.time_range()?,
    };
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.deployments(search).await?).await
}
