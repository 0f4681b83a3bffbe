//! `/api/v1/red` and `/api/v1/heatmap`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{Heatmap, RedResult};

use super::{
    encoding,
    filters::{SPAN_FILTERS, SPAN_QUERY, STEP, WINDOW, span_filter, span_query},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::{HeatmapSearch, RedKey, RedKeys, RedSearch, heatmap, red},
    params::{
        Params,
        declared::{Lists, Of, Takes, limit, query},
        form::ParameterForm::{Flag, Keys},
    },
};

endpoints![red, heatmap];

/// Parameters of RED metrics.
pub(super) struct Red;

impl Takes for Red {
    const LISTS: Lists = &[
        SPAN_FILTERS,
        WINDOW,
        &[
            STEP,
            query(
                "by",
                Keys,
                "What to group by: any of `service`, `operation`, `kind`, `served` (whether spans serve a call: `server` and `consumer` do), `status` and one attribute of the span or its resource, as `attribute:service.version`, with commas between; `service` when not given. By an attribute, spans are read, so that it takes longer and ends at the row budget",
            ),
            query("histogram", Flag, "`true`: with the groups' histograms"),
            limit(50, 1_000, "At most so many groups, those with most calls"),
        ],
    ];
}

/// Rate, errors and duration of spans.
///
/// Counts every span once that matches the filters and starts in the window, by group and step.
/// Histograms have the same buckets everywhere (below 64 ns one for each nanosecond, from there on
/// 64 for each power of two), so they can be added up.
#[utoipa::path(
    get,
    path = "/api/v1/red",
    tag = "analysis",
    operation_id = "getRed",
    params(Of<Red>),
    responses((status = 200, body = RedResult), Problems)
)]
async fn red(State(service): State<QueryService>, uri: Uri) -> Result<Response, QueryError> {
    let params = Params::read::<Red>(&uri)?;
    let search = RedSearch {
        filter: span_filter(&params)?,
        step: params.step()?,
        by: params
            .keys()?
            .unwrap_or_else(|| RedKeys { keys: vec![RedKey::Service], attribute: None }),
        histogram: params.flag("histogram"),
        limit: params.limit(),
    };
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.ask(move |reader| red::red(reader, &search)).await?).await
}

/// Parameters of a heatmap.
pub(super) struct HeatmapParameters;

impl Takes for HeatmapParameters {
    const LISTS: Lists = &[SPAN_FILTERS, WINDOW, &[STEP, SPAN_QUERY]];
}

/// Heatmap of span durations over time.
///
/// Counts every span that matches the filters, or that the query finds, and starts in the window
/// once, by step and by duration. There are four rows for each power of two of nanoseconds. A query
/// is evaluated on spans and traces that are read, the newest first, within the row budget and most
/// of the time that a request has; when either ends, `searched.complete` is false.
#[utoipa::path(
    get,
    path = "/api/v1/heatmap",
    tag = "analysis",
    operation_id = "getHeatmap",
    params(Of<HeatmapParameters>),
    responses((status = 200, body = Heatmap), Problems)
)]
async fn heatmap(State(service): State<QueryService>, uri: Uri) -> Result<Response, QueryError> {
    let params = Params::read::<HeatmapParameters>(&uri)?;
    let search = HeatmapSearch {
        filter: span_filter(&params)?,
        query: span_query(&params)?,
        step: params.step()?,
    };
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.ask(move |reader| heatmap::heatmap(reader, &search)).await?).await
}
