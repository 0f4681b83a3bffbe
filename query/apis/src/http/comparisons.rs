//! `/api/v1/compare`, `/api/v1/explain` and `/api/v1/traces/{traceId}/repeats`.

use ::http::Uri;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::{
    TraceId,
    api::{Comparison, Explanation, RepeatList},
};
use tidings_query::{
    CompareSearch, ComparedWith, ExplainSearch, QueryError, QueryService,
    analysis::{explain, trace_comparison},
    trace,
};

use super::{
    encoding,
    filters::{
        SELECTED, SPAN_FILTERS, SPAN_QUERY, WINDOW, baseline_times, selection, span_filter,
        span_query,
    },
    problem::{ApiError, Problems},
    traces::TraceParameters,
};
use crate::params::{
    Params, TYPICAL,
    declared::{HasParameters, ParameterLists, ParametersOf, limit, query},
    form::ParameterForm::{Time, TraceIds, TraceIdsOrTypical},
    trace_in_path,
};

endpoints![compare: __path_compare, repeats: __path_repeats, explain: __path_explain];

/// Maximum number of traces on one side.
const TRACES_MAX: usize = 500;

/// Parameters of a comparison.
pub(super) struct ComparisonParameters;

impl HasParameters for ComparisonParameters {
    const LISTS: ParameterLists = &[
        &[
            query(
                "left",
                TraceIds,
                "Trace ids of 32 hex digits, at most 500: up to 124 in a list with commas \
                 between, and the parameter again for another list",
            )
            .repeated()
            .required(),
            query(
                "right",
                TraceIdsOrTypical,
                "As `left`, or `typical` for transactions of the same kind",
            )
            .repeated()
            .required(),
        ],
        WINDOW,
    ];
}

/// How traces differ in the shape of their trees.
///
/// Lays the traces on the left over those on the right: calls of one operation at one place of the
/// tree are one row, with how often, how long and how failing on either side, and how the left
/// deviates: missing, extra, slower, newly failing calls and so on. `right=typical` compares with
/// up to 200 transactions of the same kind: medians over them are what is typical, and their range
/// tells what is out of the ordinary. `impacts` ranks the calls by their part of the difference.
#[utoipa::path(
    get,
    path = "/api/v1/compare",
    tag = "analysis",
    operation_id = "compareTraces",
    params(ParametersOf<ComparisonParameters>),
    responses((status = 200, body = Comparison), Problems)
)]
async fn compare(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<ComparisonParameters>(&uri)?;
    let range = params.time_range()?;
    let right = match params.texts("right")[..] {
        [TYPICAL] => ComparedWith::Typical(range),
        _ => ComparedWith::Traces(trace_ids(&params, "right")?),
    };
    let search = CompareSearch { left: trace_ids(&params, "left")?, right };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| trace_comparison::compare(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}

/// The calls that a trace makes again and again.
///
/// Five or more calls of one operation and kind by one span are a group; `nPlusOne` says whether it
/// looks like one query for each row of another.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/repeats",
    tag = "analysis",
    operation_id = "getRepeatedCalls",
    params(ParametersOf<TraceParameters>),
    responses((status = 200, body = RepeatList), Problems)
)]
async fn repeats(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::read::<TraceParameters>(&uri)?;
    let name = trace_in_path(&path?)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.ask(move |reader| trace::repeats(reader, name)).await?)
        .await?)
}

/// The ids of one side, each once.
fn trace_ids(params: &Params, name: &str) -> Result<Vec<TraceId>, QueryError> {
    let ids = params.trace_ids(name)?;
    if ids.is_empty() || ids.len() > TRACES_MAX {
        let reason = format!("`{name}` must be 1 to {TRACES_MAX} traces; there are {}", ids.len());
        return Err(QueryError::parameter(name, reason));
    }
    Ok(ids)
}

/// Parameters of an explanation.
pub(super) struct ExplanationParameters;

impl HasParameters for ExplanationParameters {
    const LISTS: ParameterLists = &[
        SPAN_FILTERS,
        WINDOW,
        SELECTED,
        &[
            query(
                "baselineStart",
                Time,
                "Compared with the spans from here on, in place of the other spans of the window; needs `baselineEnd`",
            ),
            query("baselineEnd", Time, "To here, later than `baselineStart`"),
            SPAN_QUERY,
            limit(20, 200, "At most so many differences"),
        ],
    ];
}

/// Attributes that distinguish selected spans from the rest.
///
/// Among the spans that match the filters, or that the query finds, in the window, those for which
/// every `select…` parameter holds are compared with all others. Attributes are ranked by the
/// difference in the shares of their values. Differences that chance explains (G-test, corrected
/// for the number of values) and ids are left out. Attributes that select the same spans are shown
/// together. At least one `select…` parameter is required without a baseline. With `baselineStart`
/// and `baselineEnd`, the selected spans of the window are compared with the spans of that time;
/// without a `select…` parameter, all spans of the window are. A query has the bounds that it has in
/// `/api/v1/heatmap`: `searched.complete` is false when one left spans out, and `partial` says on
/// which side.
#[utoipa::path(
    get,
    path = "/api/v1/explain",
    tag = "analysis",
    operation_id = "explain",
    params(ParametersOf<ExplanationParameters>),
    responses((status = 200, body = Explanation), Problems)
)]
async fn explain(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<ExplanationParameters>(&uri)?;
    let (selected, baseline) = (selection(&params)?, baseline_times(&params)?);
    if selected == Default::default() && baseline.is_none() {
        let reason = "one of the `select…` parameters must say which spans are to be explained, \
                      or `baselineStart` and `baselineEnd` with which time the window is compared";
        return Err(QueryError::parameter("selectMinDuration", reason).into());
    }
    let search = ExplainSearch {
        filter: span_filter(&params)?,
        query: span_query(&params)?,
        selected,
        baseline,
        limit: params.limit(),
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(
        admission,
        service.ask(move |reader| explain::explain(reader, &search)).await?,
    )
    .await?)
}
