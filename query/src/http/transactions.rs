//! `/api/v1/transactions`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::{TransactionKindList, TransactionView};

use super::{
    answer,
    filters::{InSteps, InWindow},
    problem::Problems,
};
use crate::{KindSearch, QueryError, QueryService, params::Params};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 200;
/// The longest transaction id, in bytes.
const TID_BYTES_MAX: usize = 1_024;

/// The kinds of transactions: where they enter, how often, how long they take, and where that time
/// goes.
///
/// A kind is the service and operation of a trace's entry: its earliest span without a parent, or
/// its earliest span when there is none. Where the time goes is added up over whole traces, at
/// most 1,000 of them over all kinds; `analysedCount` says how many.
#[utoipa::path(
    get,
    path = "/api/v1/transactions",
    tag = "transactions",
    operation_id = "listTransactionKinds",
    params(
        ("service" = Option<String>, Query, description = "Only transactions that enter this service"),
        ("operation" = Option<String>, Query, description = "Only transactions that enter at this operation"),
        InWindow,
        InSteps,
        ("above" = Option<String>, Query, description = "Add up only the slow ones: those that took at least as long as a percentile of their kind (`p95`), or so long (`250ms`); all when not given"),
        ("limit" = Option<u32>, Query, description = "At most so many kinds, the most frequent, 1 to 200; 20 when not given"),
    ),
    responses((status = 200, body = TransactionKindList), Problems)
)]
pub(super) async fn kinds(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_kinds>(&uri)?;
    let search = KindSearch {
        start: params.time_range()?,
        step: params.step()?,
        service: params.text("service")?.map(str::to_owned),
        operation: params.text("operation")?.map(str::to_owned),
        above: params.above()?,
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    };
    answer::json(service.transaction_kinds(search).await?).await
}

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
