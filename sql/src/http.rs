//! `/api/v1/sql`.
//!
//! Owns how a query arrives, the format of its answer, and the statuses of its errors. The routes
//! stand beside those of the rest of the API, and the description is added to its document.

mod request;
mod sql_events;
mod sql_problems;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::TryStreamExt;
use tidings_proto::api::{SqlProgress, SqlResult};
use tidings_query::ClientId;
use tower_http::{compression::CompressionLayer, set_header::SetResponseHeaderLayer};
use utoipa::OpenApi;

use crate::{AnswerParts, Query, SqlError, SqlLimits, SqlService, SubmittedStatement, flight};
use request::{AnswerForm, SqlRequest};
use sql_problems::Problems;

/// The route.
const PATH: &str = "/api/v1/sql";
/// Header that tells in every format but events whether the answer is complete.
const COMPLETE: HeaderName = HeaderName::from_static("tidings-complete");

/// Reads a query and its maximum of rows from a body of JSON, for a fuzz target.
pub(crate) fn read_query_body(json: &[u8]) -> Option<(String, Option<usize>)> {
    SqlRequest::of_json(json, SqlLimits::default().rows_max).ok().map(|ask| (ask.query, ask.limit))
}

/// Builds the routes of queries, including Flight SQL's. With `None` they are switched off, and the
/// answer says so.
pub fn router(service: Option<SqlService>) -> Router {
    let always =
        |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    Router::new()
        .route(PATH, get(get_sql).post(post_sql))
        .method_not_allowed_fallback(wrong_method)
        .merge(flight::routes())
        .with_state(service)
        .layer(CompressionLayer::new().gzip(true))
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// Returns the description of the route.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    SqlApi::openapi()
}

#[derive(Debug, OpenApi)]
#[openapi(
    paths(get_sql, post_sql),
    components(schemas(SqlResult, SqlProgress, SqlRequest, tidings_proto::api::ProblemDetails))
)]
struct SqlApi;

/// Rows of a query.
///
/// One query (`SELECT`, `WITH`, `VALUES`, or `EXPLAIN` of one) over the views `spans`, `logs`,
/// `traces`, `red` and `edges`, all read at one moment. The answer is JSON unless `Accept` prefers
/// `text/csv` or `application/vnd.apache.arrow.stream`; the header `Tidings-Complete` says in each
/// of these whether it has all rows. `Accept: text/event-stream` gives `progress` events while the
/// query runs, and then the answer as JSON in a `result` event, or what went wrong in a `problem`
/// event.
#[utoipa::path(
    get,
    path = PATH,
    tag = "sql",
    operation_id = "getSql",
    params(
        ("query" = String, Query, description = "The query, of 8 KiB at most", min_length = 1, max_length = 8192, example = "SELECT 1"),
        ("limit" = Option<u64>, Query, description = "Maximum number of rows, from 1 to 100,000, which is also the default", minimum = 1, maximum = 100_000),
    ),
    responses(
        (status = 200, content(
            (SqlResult = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
            (serde_json::Value = "text/event-stream"),
        )),
        Problems
    )
)]
async fn get_sql(
    State(service): State<Option<SqlService>>,
    client: Option<Extension<ClientId>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, SqlError> {
    let service = SqlService::for_client(service, client)?;
    let ask = SqlRequest::of_uri(&uri, service.limits().rows_max)?;
    answer(&service, &headers, ask).await
}

/// Rows of a query that is posted.
///
/// As `GET`, for a query that an address has no room for: as JSON, or alone as
/// `application/sql` or `text/plain`.
#[utoipa::path(
    post,
    path = PATH,
    tag = "sql",
    operation_id = "postSql",
    request_body(content(
        (SqlRequest = "application/json"),
        (String = "application/sql"),
        (String = "text/plain"),
    )),
    responses(
        (status = 200, content(
            (SqlResult = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
            (serde_json::Value = "text/event-stream"),
        )),
        Problems
    )
)]
async fn post_sql(
    State(service): State<Option<SqlService>>,
    client: Option<Extension<ClientId>>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, SqlError> {
    let service = SqlService::for_client(service, client)?;
    let ask = SqlRequest::of_body(&headers, &uri, body, service.clock(), service.limits().rows_max)
        .await?;
    let asked = SubmittedStatement(ask.query.clone());
    let mut response = answer(&service, &headers, ask).await.into_response();
    response.extensions_mut().insert(asked);
    Ok(response)
}

async fn answer(
    service: &SqlService,
    headers: &HeaderMap,
    ask: SqlRequest,
) -> Result<Response, SqlError> {
    let query = Query { rows_max: ask.limit, ..Query::new(ask.query) };
    let form = match request::form(headers) {
        AnswerForm::Whole(form) => form,
        AnswerForm::Events => return sql_events::answer(service, query).await,
    };
    let answer = service.ask(query).await?;
    let complete = HeaderValue::from_static(if answer.is_complete() { "true" } else { "false" });
    let media_type = HeaderValue::from_static(request::media_type(form));
    let headers = [(header::CONTENT_TYPE, media_type), (COMPLETE, complete)];
    Ok((headers, answer_body(answer.parts(form))).into_response())
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    sql_problems::wrong_method(&method, &uri)
}

/// The body of an answer: each part is written when the connection takes it.
fn answer_body(parts: AnswerParts) -> Body {
    Body::from_stream(parts.inspect_err(|error| tracing::error!(%error, "an answer broke off")))
}
