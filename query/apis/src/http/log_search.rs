//! `/api/v1/logs`.

use ::http::{HeaderMap, Uri};
use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::api::LogSearchResult;
use tidings_query::{LogCursor, LogOrder, LogSearch, QueryError, QueryService, TraceName, trace};
use tidings_storage::LogFilter;

use super::{
    encoding,
    filters::{CURSOR, LOG_FILTERS, LOG_TIMES},
    problem::{ApiError, Problems},
    searching,
    traces::TraceParameters,
    unread_budget::UnreadBudget,
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{self, Word},
    malformed, trace_in_path,
};

endpoints![search: __path_search, of_trace: __path_of_trace];

const DESCENDING: &str = "desc";
const ASCENDING: &str = "asc";

/// Parameters of a log search.
pub(super) struct LogSearchParameters;

impl HasParameters for LogSearchParameters {
    const LISTS: ParameterLists = &[
        LOG_FILTERS,
        LOG_TIMES,
        &[
            query(
                "order",
                Word(&[DESCENDING, ASCENDING]),
                "`desc` (newest first, the default) or `asc`",
            ),
            limit(100, 1_000, "Records on a page"),
            CURSOR,
        ],
    ];
}

/// Finds log records.
///
/// Newest first, or oldest first with `order=asc`. A record that came twice is shown once.
/// `Accept: text/event-stream` gives `progress` events while the search goes on, and then the
/// answer as the data of a `result` event, or what went wrong as that of a `problem` event.
#[utoipa::path(
    get,
    path = "/api/v1/logs",
    tag = "logs",
    operation_id = "searchLogs",
    params(ParametersOf<LogSearchParameters>),
    responses(
        (status = 200, content(
            (LogSearchResult = "application/json"),
            (serde_json::Value = "text/event-stream"),
        )),
        Problems
    )
)]
async fn search(
    State(service): State<QueryService>,
    Extension(room): Extension<UnreadBudget>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::read::<LogSearchParameters>(&uri)?;
    let filters = vec![log_filter(&service, &params).await?];
    let ((order, cursor), limit) = (place(&params)?, params.limit());
    let rows_max = service.search_rows_max();
    let search = LogSearch { filters, order, limit, cursor, rows_max };
    Ok(searching::answer(service, room, &headers, |service| async move {
        let mut found = service.logs(search).await?;
        found.next_cursor = found.next_cursor.map(|cursor| params.next_cursor(cursor));
        Ok(found)
    })
    .await?)
}

/// The log records of a trace.
///
/// Records that name the trace, and those from a minute before its first span to a minute after its
/// last that name none and have its id in a field or in their text, in any notation: `correlation`
/// says where. The newest 1,000, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/logs",
    tag = "traces",
    operation_id = "getTraceLogs",
    params(ParametersOf<TraceParameters>),
    responses((status = 200, body = LogSearchResult), Problems)
)]
async fn of_trace(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::read::<TraceParameters>(&uri)?;
    let name = trace_in_path(&path?)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(
        admission,
        service.ask(move |reader| trace::log_records(reader, name)).await?,
    )
    .await?)
}

/// The records that the parameters select.
pub(super) async fn log_filter(
    service: &QueryService,
    params: &Params,
) -> Result<LogFilter, QueryError> {
    let condition = match params.owned("q") {
        Some(query) => Some(service.log_condition(query).await?),
        None => None,
    };
    Ok(LogFilter {
        condition,
        trace_ids: trace_ids(params)?,
        span_id: params.span_id()?,
        time: params.time_range()?,
        services: params.services(),
        severity_min: params.severity()?,
        text: params.owned("text"),
        attributes: params.attributes()?,
        ..LogFilter::default()
    })
}

fn trace_ids(params: &Params) -> Result<Option<Vec<tidings_proto::TraceId>>, QueryError> {
    Ok(match params.trace_name()? {
        None => None,
        Some(TraceName::Id(trace_id)) => Some(vec![trace_id]),
        Some(TraceName::Low64(low64)) => {
            let id = format!("{low64:032x}");
            Some(vec![id.parse().map_err(|_| malformed("traceId", &id, ParameterForm::TraceName))?])
        }
    })
}

/// The order, and the end of the previous page, which must agree.
fn place(params: &Params) -> Result<(LogOrder, Option<LogCursor>), QueryError> {
    let order = match params.text("order") {
        Some(ASCENDING) => LogOrder::Oldest,
        _ => LogOrder::Newest,
    };
    let of_order = |text: &str| LogCursor::decode(text).filter(|cursor| cursor.order == order);
    Ok((order, params.cursor(of_order)?))
}
