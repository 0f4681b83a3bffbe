//! `/api/v1/transactions`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::TransactionView;

use super::{answer, problem::Problems};
use crate::{QueryError, QueryService, params::Params};

/// The longest transaction id, in bytes.
const TID_BYTES_MAX: usize = 1_024;

/// Everything that belongs to a transaction id, hop by hop.
///
/// The id is a trace id in any encoding (hex, UUID, X-Ray, decimal, a `traceparent`), or the value
/// of a declared transaction key on a span or log record.
#[utoipa::path(
    get,
    path = "/api/v1/transactions/{tid}",
    tag = "transactions",
    operation_id = "getTransaction",
    params(
        ("tid" = String, Path, description = "A trace id, or the value of a transaction key"),
        ("after" = Option<String>, Query, description = "The `version` that is known: with `wait`, the answer is held back until there is another one"),
        ("wait" = Option<String>, Query, description = "Wait at most this long for another version, or for the first one: up to `60s`; the answer that is there when not given"),
    ),
    responses((status = 200, body = TransactionView), Problems)
)]
pub(super) async fn transaction(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_transaction>(&uri)?;
    let Path(tid) = path?;
    if tid.len() > TID_BYTES_MAX {
        let reason = format!("`tid` is longer than {TID_BYTES_MAX} bytes");
        return Err(QueryError::parameter("tid", reason));
    }
    answer::json(service.next_transaction(tid, params.wanted()?).await?).await
}
