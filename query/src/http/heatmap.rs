//! `/api/v1/heatmap`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::Heatmap;

use super::{
    answer,
    filters::{SPAN_FILTERS, STEP, WINDOW, span_filter},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::HeatmapSearch,
    params::{
        Params,
        declared::{Lists, Of, Takes},
    },
};

/// Parameters of a heatmap.
pub(super) struct Map;

impl Takes for Map {
    const LISTS: Lists = &[SPAN_FILTERS, WINDOW, &[STEP]];
}

/// Heatmap of span durations over time.
///
/// Counts every span that matches the filters and starts in the window once, by step and by
/// duration. There are four rows for each power of two of nanoseconds.
#[utoipa::path(
    get,
    path = "/api/v1/heatmap",
    tag = "analysis",
    operation_id = "getHeatmap",
    params(Of<Map>),
    responses((status = 200, body = Heatmap), Problems)
)]
pub(super) async fn heatmap(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Map>(&uri)?;
    let search = HeatmapSearch { filter: span_filter(&params)?, step: params.step()? };
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.heatmap(search).await?).await
}
