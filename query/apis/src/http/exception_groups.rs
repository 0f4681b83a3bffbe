//! `/api/v1/exceptions` and the transactions that they affect.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{ExceptionList, ExceptionTransactions};
use tidings_query::{
    ExceptionSearch, ExceptionTransactionSearch, QueryService,
    analysis::{exception_transactions::exception_transactions, exceptions},
};

use super::{
    encoding,
    filters::{STEP, WINDOW},
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Flag, Text},
};

endpoints![exceptions: __path_exceptions, transactions: __path_transactions];

/// Parameters of a list of exceptions.
pub(super) struct Exceptions;

impl HasParameters for Exceptions {
    const LISTS: ParameterLists = &[
        &[
            query("service", Text, "`service.name`; repeat it for any of several").repeated(),
            query("operation", Text, "The span's name, whole; no log records then"),
            query("type", Text, "`exception.type`, whole"),
        ],
        WINDOW,
        &[
            STEP,
            query(
                "compare",
                Flag,
                "`true`: with the count of each group in as long a time before the window, and whether it is new or multiplied",
            ),
            query(
                "sources",
                Flag,
                "`true`: the same as `compare`, and the listed group that a group follows from by sampled traces, with each group listed after the one that it follows from",
            ),
            limit(50, 500, "At most so many groups, the most frequent"),
        ],
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
    params(ParametersOf<Exceptions>),
    responses((status = 200, body = ExceptionList), Problems)
)]
async fn exceptions(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<Exceptions>(&uri)?;
    let sources = params.flag("sources");
    let search = ExceptionSearch {
        start: params.time_range()?,
        step: params.step()?,
        services: params.services(),
        operation: params.owned("operation"),
        exception_type: params.owned("type"),
        compare: sources || params.flag("compare"),
        sources,
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| exceptions::exceptions(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}

/// Parameters of the transactions that exceptions affect.
pub(super) struct AffectedTransactions;

impl HasParameters for AffectedTransactions {
    const LISTS: ParameterLists = &[
        &[
            query("service", Text, "`service.name`; repeat it for any of several").repeated(),
            query("operation", Text, "The span's name, whole"),
            query("type", Text, "`exception.type`, whole"),
            query("group", Text, "`id` of a group of exceptions; any group when not given"),
        ],
        WINDOW,
        &[limit(20, 200, "At most so many transaction types, those with most transactions")],
    ];
}

/// Transactions with an exception, by transaction type.
///
/// Of the `exception` events of spans; those of log records are left out. A transaction counts once
/// for the type of its whole trace. Types are those of at most 1,000 transactions (`analysedCount`).
#[utoipa::path(
    get,
    path = "/api/v1/exceptions/transactions",
    tag = "analysis",
    operation_id = "listExceptionTransactions",
    params(ParametersOf<AffectedTransactions>),
    responses((status = 200, body = ExceptionTransactions), Problems)
)]
async fn transactions(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<AffectedTransactions>(&uri)?;
    let search = ExceptionTransactionSearch {
        start: params.time_range()?,
        services: params.services(),
        operation: params.owned("operation"),
        exception_type: params.owned("type"),
        group: params.owned("group"),
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| exception_transactions(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}
