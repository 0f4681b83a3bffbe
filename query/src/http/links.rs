//! `/api/v1/traces/{traceId}/links`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::TraceLinks;

use super::{answer, problem::Problems};
use crate::{
    QueryError, QueryService,
    params::{Params, trace_in_path},
};

/// The links of a trace, both ways.
///
/// What its spans link to, and the spans of other traces that link to its spans, which are looked
/// for from a minute before the trace to a day after it.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/links",
    tag = "traces",
    operation_id = "getTraceLinks",
    params(("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them")),
    responses((status = 200, body = TraceLinks), Problems)
)]
pub(super) async fn links(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    Params::read::<__path_links>(&uri)?;
    answer::json(service.links(trace_in_path(&path?)?).await?).await
}
