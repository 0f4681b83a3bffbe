//! `/api/v1/transactions` and `/api/v1/resolve`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::{ResolveResult, TransactionTypeList, TransactionView};
use tidings_query::{
    QueryService, ResolveSearch, TransactionTypeSearch, analysis::transaction_types,
};

use super::{
    encoding,
    filters::{AWAITED, STEP, WINDOW},
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, path, query},
    form::ParameterForm::{Above, Duration, Flag, Text},
    in_path,
};

endpoints![
    transaction_types: __path_transaction_types,
    transaction: __path_transaction,
    resolve: __path_resolve
];

/// Parameters of a list of transaction types.
pub(super) struct TransactionTypeParameters;

impl HasParameters for TransactionTypeParameters {
    const LISTS: ParameterLists = &[
        &[
            query("service", Text, "Only transactions that enter this service"),
            query("operation", Text, "Only transactions that enter at this operation"),
        ],
        WINDOW,
        &[
            STEP,
            query(
                "above",
                Above,
                "Add up only the slow ones: those that took at least as long as a percentile of their type (`p95`), or so long (`250ms`); all when not given",
            ),
            query(
                "than",
                Duration,
                "Say what share of each type took less than this (`shorterShare`), in place of where the time goes",
            ),
            query(
                "withoutBreakdown",
                Flag,
                "`true`: leaves `whereTimeGoes` out; no traces are read for it",
            ),
            limit(20, 200, "At most so many types, the most frequent"),
        ],
    ];
}

/// Parameters of a transaction.
pub(super) struct TransactionParameters;

impl HasParameters for TransactionParameters {
    const LISTS: ParameterLists =
        &[&[path("tid", Text, "A trace id, or the value of a transaction key")], AWAITED];
}

/// Transaction types: throughput, latency and the breakdown of time by service.
///
/// A transaction type is the service and operation of a trace's root: its earliest span without a
/// parent, or its earliest span when every span has one. A trace counts once, in the window in
/// which its root begins; it ends after an hour without a new span. The breakdown of time is
/// computed from whole traces, at most 1,000 of them over all types, or ten of each type if there
/// are more types than a hundred; `analysedCount` is their number.
#[utoipa::path(
    get,
    path = "/api/v1/transactions",
    tag = "transactions",
    operation_id = "listTransactionTypes",
    params(ParametersOf<TransactionTypeParameters>),
    responses((status = 200, body = TransactionTypeList), Problems)
)]
async fn transaction_types(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<TransactionTypeParameters>(&uri)?;
    let search = TransactionTypeSearch {
        start: params.time_range()?,
        step: params.step()?,
        service: params.owned("service"),
        operation: params.owned("operation"),
        above: params.above()?,
        than: params.duration("than")?,
        without_breakdown: params.flag("withoutBreakdown"),
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    let found =
        service.ask(move |reader| transaction_types::transaction_types(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
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
    params(ParametersOf<TransactionParameters>),
    responses((status = 200, body = TransactionView), Problems)
)]
async fn transaction(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<TransactionParameters>(&uri)?;
    let tid = in_path("tid", path?.0, Text)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.next_transaction(tid, params.version_wait()?).await?)
        .await?)
}

/// Parameters of resolving a pasted text.
pub(super) struct ResolveParameters;

impl HasParameters for ResolveParameters {
    const LISTS: ParameterLists = &[&[
        query("text", Text, "The text").required(),
        query(
            "exact",
            Flag,
            "`true`: ids and values of transaction keys only; it is not looked for in log records",
        ),
    ]];
}

/// The stored traces a pasted text may mean: an id in any encoding, a header, a URL, a log line.
#[utoipa::path(
    get,
    path = "/api/v1/resolve",
    tag = "transactions",
    operation_id = "resolve",
    params(ParametersOf<ResolveParameters>),
    responses((status = 200, body = ResolveResult), Problems)
)]
async fn resolve(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<ResolveParameters>(&uri)?;
    let text = params.required("text")?.to_owned();
    let search = ResolveSearch { text, exact: params.flag("exact") };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.resolve(search).await?).await?)
}
