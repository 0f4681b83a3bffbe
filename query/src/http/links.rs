//! `/api/v1/traces/{traceId}/links`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::TraceLinks;

use super::{answer, problem::Problems, traces::OneTrace};
use crate::{
    QueryError, QueryService,
    params::{Params, declared::Of, trace_in_path},
};

/// The links of a trace, both ways.
///
/// Returns the links of its spans, and the spans of other traces that link to its spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/links",
    tag = "traces",
    operation_id = "getTraceLinks",
    params(Of<OneTrace>),
    responses((status = 200, body = TraceLinks), Problems)
)]
pub(super) async fn links(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    Params::read::<OneTrace>(&uri)?;
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.links(trace_in_path(&path?)?).await?).await
}
