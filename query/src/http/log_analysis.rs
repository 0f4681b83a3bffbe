//! `/api/v1/logs/histogram` and `/api/v1/logs/patterns`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{LogHistogram, LogPatternList};

use super::{
    answer,
    filters::{InSteps, LogSelection},
    logs::log_filter,
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::{LogHistogramSearch, PatternSearch},
    params::Params,
};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Log records by step and severity.
///
/// Counts every record once that matches the filters in the window.
#[utoipa::path(
    get,
    path = "/api/v1/logs/histogram",
    tag = "logs",
    operation_id = "getLogHistogram",
    params(LogSelection, InSteps),
    responses((status = 200, body = LogHistogram), Problems)
)]
pub(super) async fn histogram(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_histogram>(&uri)?;
    let search = LogHistogramSearch { filter: log_filter(&params)?, step: params.step()? };
    answer::json(service.log_histogram(search).await?).await
}

/// Log messages that are alike.
///
/// Messages of one service that differ only in some words are a pattern. A pattern is new when it
/// is not seen in as long a time before the window.
#[utoipa::path(
    get,
    path = "/api/v1/logs/patterns",
    tag = "logs",
    operation_id = "listLogPatterns",
    params(
        LogSelection,
        InSteps,
        ("limit" = Option<u32>, Query, description = "At most so many patterns, the most frequent, 1 to 1,000; 100 when not given"),
    ),
    responses((status = 200, body = LogPatternList), Problems)
)]
pub(super) async fn patterns(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_patterns>(&uri)?;
    let search = PatternSearch {
        filter: log_filter(&params)?,
        step: params.step()?,
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    };
    answer::json(service.log_patterns(search).await?).await
}
