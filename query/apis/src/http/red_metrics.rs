//! `/api/v1/red` and `/api/v1/heatmap`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{Heatmap, RedResult};
use tidings_query::{
    HeatmapSearch, QueryError, QueryService, RedKey, RedKeys, RedSearch,
    analysis::{heatmap, red},
};

use super::{
    encoding,
    filters::{SPAN_FILTERS, SPAN_QUERY, STEP, WINDOW, span_filter, span_query},
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Flag, Keys},
};

endpoints![red: __path_red, heatmap: __path_heatmap];

/// Parameters of RED metrics.
pub(super) struct Red;

impl HasParameters for Red {
    const LISTS: ParameterLists = &[
        SPAN_FILTERS,
        WINDOW,
        &[
            STEP,
            SPAN_QUERY,
            query(
                "by",
                Keys,
                "What to group by: any of `service`, `operation`, `operationPattern` in its place (names that differ only in ids are one group), `kind`, `served` (whether spans serve a call: `server` and `consumer` do), `status` and one attribute of the span or its resource, as `attribute:service.version`, with commas between; `service` when not given. By an attribute, spans are read, so that it takes longer and ends at the row budget. `operationPattern` goes neither with an attribute nor with `q`",
            ),
            query("histogram", Flag, "`true`: with the groups' histograms"),
            query(
                "compare",
                Flag,
                "`true`: with the calls of each group in as long a time before the window, and whether they are slower or fail more. Not by an attribute, and not with `q`",
            ),
            query(
                "beforeSteps",
                Flag,
                "`true`: the same as `compare`, with the steps of the time before",
            ),
            limit(50, 1_000, "At most so many groups, those with most calls"),
        ],
    ];
}

/// Rate, errors and duration of spans.
///
/// Counts every span once that matches the filters, or that the query finds, and starts in the
/// window, by group and step. A query is evaluated as for a heatmap. Histograms have the same
/// buckets everywhere (below 64 ns one for each nanosecond, from there on 64 for each power of two),
/// so they can be added up. With `compare`, the groups are compared by the rule of the service
/// graph. By an attribute, each value is compared with all others.
#[utoipa::path(
    get,
    path = "/api/v1/red",
    tag = "analysis",
    operation_id = "getRed",
    params(ParametersOf<Red>),
    responses((status = 200, body = RedResult), Problems)
)]
async fn red(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<Red>(&uri)?;
    let by =
        params.keys()?.unwrap_or_else(|| RedKeys { keys: vec![RedKey::Service], attribute: None });
    let before_steps = params.flag("beforeSteps");
    let compare = before_steps || params.flag("compare");
    let query = span_query(&params)?;
    if compare && (query.is_some() || by.attribute.is_some()) {
        let name = if before_steps { "beforeSteps" } else { "compare" };
        let reason = match query {
            Some(_) => format!("`{name}` does not go with `q`"),
            None => "calls by an attribute are not compared with the time before".to_owned(),
        };
        return Err(QueryError::parameter(name, reason).into());
    }
    if let Some(reason) = refused_pattern(&by, query.is_some()) {
        return Err(QueryError::parameter("by", reason).into());
    }
    let search = RedSearch {
        filter: span_filter(&params)?,
        query,
        step: params.step()?,
        by,
        histogram: params.flag("histogram"),
        compare,
        before_steps,
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.ask(move |reader| red::red(reader, &search)).await?)
        .await?)
}

/// Returns the reason why calls cannot be grouped by the pattern of the operation, where they
/// should be.
fn refused_pattern(by: &RedKeys, has_query: bool) -> Option<&'static str> {
    if !by.keys.contains(&RedKey::OperationPattern) {
        return None;
    }
    if by.keys.contains(&RedKey::Operation) {
        return Some("`operationPattern` takes the place of `operation`");
    }
    if has_query {
        return Some("`operationPattern` does not go with `q`");
    }
    by.attribute.is_some().then_some("`operationPattern` does not go with an attribute")
}

/// Parameters of a heatmap.
pub(super) struct HeatmapParameters;

impl HasParameters for HeatmapParameters {
    const LISTS: ParameterLists = &[SPAN_FILTERS, WINDOW, &[STEP, SPAN_QUERY]];
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
    params(ParametersOf<HeatmapParameters>),
    responses((status = 200, body = Heatmap), Problems)
)]
async fn heatmap(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<HeatmapParameters>(&uri)?;
    let search = HeatmapSearch {
        filter: span_filter(&params)?,
        query: span_query(&params)?,
        step: params.step()?,
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(
        admission,
        service.ask(move |reader| heatmap::heatmap(reader, &search)).await?,
    )
    .await?)
}
