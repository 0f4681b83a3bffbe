//! `/api/v1/compare` and `/api/v1/traces/{traceId}/repeats`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::{
    TraceId,
    api::{Comparison, RepeatList},
};

use super::{answer, filters::InWindow, problem::Problems};
use crate::{
    QueryError, QueryService,
    analysis::{CompareSearch, ComparedWith},
    params::{Params, malformed, trace_in_path},
};

/// Traces on one side.
const TRACES_MAX: usize = 500;
const TYPICAL: &str = "typical";

/// How traces differ in the shape of their trees.
///
/// Lays the traces on the left over those on the right: calls of one operation at one place of the
/// tree are one row, with how often, how long and how failing on either side, and how the left
/// deviates: missing, extra, slower, newly failing calls and so on. `right=typical` compares with
/// up to 200 transactions of the same kind.
#[utoipa::path(
    get,
    path = "/api/v1/compare",
    tag = "analysis",
    operation_id = "compareTraces",
    params(
        ("left" = Vec<String>, Query, description = "Trace ids of 32 hex digits, with commas between or repeated, at most 500"),
        ("right" = Vec<String>, Query, description = "As `left`, or `typical` for transactions of the same kind"),
        InWindow,
    ),
    responses((status = 200, body = Comparison), Problems)
)]
pub(super) async fn compare(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_compare>(&uri)?;
    let range = params.time_range()?;
    let right = match params.texts("right")[..] {
        [TYPICAL] => ComparedWith::Typical(range),
        _ => ComparedWith::Traces(trace_ids(&params, "right")?),
    };
    let search = CompareSearch { left: trace_ids(&params, "left")?, right };
    answer::json(service.compare(search).await?).await
}

/// The calls that a trace makes again and again.
///
/// Three or more calls of one operation by one span are a group; `nPlusOne` says whether it looks
/// like one query for each row of another.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/repeats",
    tag = "analysis",
    operation_id = "getRepeatedCalls",
    params(("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them")),
    responses((status = 200, body = RepeatList), Problems)
)]
pub(super) async fn repeats(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    Params::read::<__path_repeats>(&uri)?;
    answer::json(service.repeats(trace_in_path(&path?)?).await?).await
}

/// The ids of one side, each once.
fn trace_ids(params: &Params, name: &str) -> Result<Vec<TraceId>, QueryError> {
    let form = format!("1 to {TRACES_MAX} trace ids of 32 hex digits, with commas between");
    let mut ids: Vec<TraceId> = Vec::new();
    let given = params.texts(name);
    for text in given.iter().flat_map(|list| list.split(',')) {
        let id = text.trim().parse().map_err(|_| malformed(name, text, &form))?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > TRACES_MAX {
        let reason = format!("`{name}` must be {form}; there are {}", ids.len());
        return Err(QueryError::parameter(name, reason));
    }
    Ok(ids)
}
