//! Prometheus's HTTP API under `/prometheus`, for dashboards over the metrics of traces.
//!
//! Owns the routes, the parameters and the shapes of the answers, which are Prometheus's, errors
//! included. Does not own the meaning of a query, which is in [`crate::prometheus`]. Parameters can
//! come as a form in the body, as Grafana sends them. Unknown ones are ignored.

mod api_response;
mod empty_responses;
mod request_parameters;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State, rejection::PathRejection},
    response::Response,
    routing::{any, get},
};
use serde_json::{Value as Json, json};
use tidings_promql::ValueType;
use tidings_query::{QueryService, Reader};

use crate::{
    http::encoding::json_response,
    prometheus::{
        EvaluationTimes, PromqlError,
        metric_names::METRICS,
        query::{self, POINTS_MAX, QueryAnswer},
        series::{self, SeriesSearch},
    },
};
use api_response::{PrometheusError, constant_response, list, list_labels, success_of};
use request_parameters::{PrometheusParams, WantedSeries, bad, expression_of};

/// The version of Prometheus whose API is provided. Grafana switches features by it.
const PROMETHEUS_VERSION: &str = "2.55.0";

/// The routes. Every other path under `/prometheus` has an answer, too.
pub(super) fn routes() -> Router<QueryService> {
    let paths = [
        ("/query", get(query_at).post(query_at)),
        ("/query_range", get(query_range).post(query_range)),
        ("/labels", get(labels).post(labels)),
        ("/label/{name}/values", get(label_values)),
        ("/series", get(series_list).post(series_list)),
        ("/metadata", get(metadata)),
        ("/status/buildinfo", get(buildinfo)),
    ];
    let routes = paths.into_iter().fold(Router::new(), |routes, (path, handler)| {
        routes.route(&format!("/prometheus/api/v1{path}"), handler)
    });
    routes
        .merge(empty_responses::routes())
        .route("/prometheus", any(api_response::no_such_path))
        .route("/prometheus/", any(api_response::no_such_path))
        .route("/prometheus/{*path}", any(api_response::no_such_path))
        .method_not_allowed_fallback(api_response::method_not_allowed)
        .layer(DefaultBodyLimit::max(request_parameters::FORM_BYTES_MAX))
}

/// Handles an instant query.
async fn query_at(
    State(service): State<QueryService>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let now = service.now();
    let time = params.time("time")?.unwrap_or_else(|| request_parameters::millis_of(now));
    let query = params.query();
    let asked = EvaluationTimes {
        start_ms: time,
        end_ms: time,
        step_ms: 1,
        lookback_ms: params.lookback()?,
    };
    let written = service.ask_with_timeout(params.timeout()?, move |reader| {
        let answer = evaluate_instant(reader, &query, asked);
        Ok(answer.and_then(|answer| {
            Ok(success_of(&answer, Some(time), reader.limits.answer_bytes_max())?)
        }))
    });
    Ok(json_response(written.await??))
}

/// Handles a range query.
async fn query_range(
    State(service): State<QueryService>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let start_ms = params.time("start")?.ok_or_else(|| bad("start", "it is missing"))?;
    let end_ms = params.time("end")?.ok_or_else(|| bad("end", "it is missing"))?;
    if end_ms < start_ms {
        return Err(bad("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.step()?;
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        let reason = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing \
                      the query resolution (?step=XX)";
        return Err(PrometheusError::bad_data(reason));
    }
    let query = params.query();
    let asked = EvaluationTimes { start_ms, end_ms, step_ms, lookback_ms: params.lookback()? };
    let written = service.ask_with_timeout(params.timeout()?, move |reader| {
        let answer = evaluate_range(reader, &query, asked);
        Ok(answer
            .and_then(|answer| Ok(success_of(&answer, None, reader.limits.answer_bytes_max())?)))
    });
    Ok(json_response(written.await??))
}

/// Evaluates a query at one time. Parses it on the thread that answers, because compiling its
/// patterns takes time.
fn evaluate_instant(
    reader: &Reader,
    query: &str,
    asked: EvaluationTimes,
) -> Result<QueryAnswer, PrometheusError> {
    Ok(query::evaluate_instant(reader, &expression_of(query)?, asked)?)
}

/// Evaluates a query over a range, in the same way as [`evaluate_instant`].
fn evaluate_range(
    reader: &Reader,
    query: &str,
    asked: EvaluationTimes,
) -> Result<QueryAnswer, PrometheusError> {
    let query = expression_of(query)?;
    if !matches!(query.kind(), ValueType::Scalar | ValueType::Vector) {
        let kind = query.kind().words();
        let reason = "invalid expression type";
        let wanted = "for range query, must be Scalar or instant Vector";
        return Err(bad("query", &format!("{reason} {kind:?} {wanted}")));
    }
    Ok(query::evaluate_range(reader, &query, asked)?)
}

async fn labels(
    State(service): State<QueryService>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let (search, limit) = (params.series(false)?, params.limit()?);
    ask(&service, search, move |reader, search| {
        Ok(list(series::label_names(reader, search)?, limit, reader.limits.answer_bytes_max())?)
    })
    .await
}

async fn label_values(
    State(service): State<QueryService>,
    name: Result<Path<String>, PathRejection>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let Path(name) = name.map_err(|rejected| PrometheusError::bad_data(rejected.body_text()))?;
    let (search, limit) = (params.series(false)?, params.limit()?);
    ask(&service, search, move |reader, search| {
        Ok(list(
            series::label_values(reader, &name, search)?,
            limit,
            reader.limits.answer_bytes_max(),
        )?)
    })
    .await
}

async fn series_list(
    State(service): State<QueryService>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let (search, limit) = (params.series(true)?, params.limit()?);
    ask(&service, search, move |reader, search| {
        Ok(list_labels(series::series(reader, search)?, limit, reader.limits.answer_bytes_max())?)
    })
    .await
}

/// Answers with the bytes that `write` produces for the selected series.
async fn ask(
    service: &QueryService,
    wanted: WantedSeries,
    write: impl FnOnce(&Reader, &SeriesSearch) -> Result<Vec<u8>, PromqlError> + Send + 'static,
) -> Result<Response, PrometheusError> {
    let written =
        move |reader: &Reader| Ok::<_, PrometheusError>(write(reader, &wanted.search()?)?);
    Ok(json_response(service.ask(move |reader| Ok(written(reader))).await??))
}

/// Handles `/metadata`: type and help of each metric.
async fn metadata(params: PrometheusParams) -> Result<Response, PrometheusError> {
    let wanted = params.text("metric");
    let mut metrics = serde_json::Map::new();
    for metric in METRICS {
        let name = metric.described();
        if wanted.is_none_or(|wanted| wanted == name) {
            let about = json!([{ "type": metric.kind, "help": metric.help, "unit": "" }]);
            metrics.insert(name.to_owned(), about);
        }
    }
    let limit = params.limit()?;
    let metrics: serde_json::Map<String, Json> = metrics.into_iter().take(limit).collect();
    constant_response(&metrics)
}

async fn buildinfo() -> Result<Response, PrometheusError> {
    let info = json!({
        "version": PROMETHEUS_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "tidings",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    constant_response(&info)
}
