//! `/api/v1/logs`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::LogSearchResult;
use tidings_storage::LogFilter;

use super::{answer, filters::LogFilters, problem::Problems};
use crate::{
    LogCursor, LogOrder, LogSearch, QueryError, QueryService, TraceName,
    params::{Params, malformed, trace_in_path},
};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Finds log records.
///
/// Newest first, or oldest first with `order=asc`. A record that came twice is shown once.
#[utoipa::path(
    get,
    path = "/api/v1/logs",
    tag = "logs",
    operation_id = "searchLogs",
    params(
        LogFilters,
        ("start" = Option<String>, Query, description = "At this time or later: Unix nanoseconds or RFC 3339"),
        ("end" = Option<String>, Query, description = "Before this time"),
        ("order" = Option<String>, Query, description = "`desc` (newest first, the default) or `asc`"),
        ("limit" = Option<u32>, Query, description = "Records on a page, 1 to 1,000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
    ),
    responses((status = 200, body = LogSearchResult), Problems)
)]
pub(super) async fn search(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_search>(&uri)?;
    let filter = log_filter(&params)?;
    let (order, cursor) = place(&params)?;
    let limit = params.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let rows_max = service.search_rows_max();
    let search = LogSearch { filters: vec![filter], order, limit, cursor, rows_max };
    answer::json(service.logs(search).await?).await
}

/// The records that the parameters select.
pub(super) fn log_filter(params: &Params) -> Result<LogFilter, QueryError> {
    let services: Vec<String> = params.texts("service").into_iter().map(str::to_owned).collect();
    Ok(LogFilter {
        trace_ids: trace_ids(params)?,
        span_id: params.parsed("spanId", "a span id of 16 hex digits", |text| text.parse().ok())?,
        time: params.time_range()?,
        services: (!services.is_empty()).then_some(services),
        severity_min: params.severity()?,
        text: params.text("text")?.map(str::to_owned),
        attributes: params.attributes()?,
    })
}

fn trace_ids(params: &Params) -> Result<Option<Vec<tidings_proto::TraceId>>, QueryError> {
    let Some(text) = params.text("traceId")? else { return Ok(None) };
    Ok(Some(vec![match trace_in_path(text)? {
        TraceName::Id(trace_id) => trace_id,
        TraceName::Low64(low64) => {
            let id = format!("{low64:032x}");
            id.parse().map_err(|_| malformed("traceId", text, "a trace id"))?
        }
    }]))
}

/// The order and where the page before ended, which must agree.
fn place(params: &Params) -> Result<(LogOrder, Option<LogCursor>), QueryError> {
    let order = params.parsed("order", "`desc` or `asc`", |text| match text {
        "desc" => Some(LogOrder::Newest),
        "asc" => Some(LogOrder::Oldest),
        _ => None,
    })?;
    let order = order.unwrap_or_default();
    let form = "the `nextCursor` of a page in the same order";
    let of_order = |text: &str| LogCursor::decode(text).filter(|cursor| cursor.order == order);
    Ok((order, params.parsed("cursor", form, of_order)?))
}
