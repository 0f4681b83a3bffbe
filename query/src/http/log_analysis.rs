//! `/api/v1/logs/histogram` and `/api/v1/logs/patterns`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{LogHistogram, LogPatternList};

use super::{
    answer,
    filters::{LOG_FILTERS, STEP, WINDOW},
    logs::log_filter,
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::{LogHistogramSearch, PatternSearch},
    params::{
        Params,
        declared::{Lists, Of, Takes, limit},
    },
};

/// Parameters of a log histogram.
pub(super) struct Histogram;

impl Takes for Histogram {
    const LISTS: Lists = &[LOG_FILTERS, WINDOW, &[STEP]];
}

/// Parameters of a list of patterns.
pub(super) struct Patterns;

impl Takes for Patterns {
    const LISTS: Lists = &[
        LOG_FILTERS,
        WINDOW,
        &[STEP, limit(100, 1_000, "At most so many patterns, the most frequent")],
    ];
}

/// Log records by step and severity.
///
/// Counts every record once that matches the filters in the window.
#[utoipa::path(
    get,
    path = "/api/v1/logs/histogram",
    tag = "logs",
    operation_id = "getLogHistogram",
    params(Of<Histogram>),
    responses((status = 200, body = LogHistogram), Problems)
)]
pub(super) async fn histogram(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Histogram>(&uri)?;
    let search = LogHistogramSearch { filter: log_filter(&params)?, step: params.step()? };
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.log_histogram(search).await?).await
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
    params(Of<Patterns>),
    responses((status = 200, body = LogPatternList), Problems)
)]
pub(super) async fn patterns(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Patterns>(&uri)?;
    let search =
        PatternSearch { filter: log_filter(&params)?, step: params.step()?, limit: params.limit() };
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.log_patterns(search).await?).await
}
