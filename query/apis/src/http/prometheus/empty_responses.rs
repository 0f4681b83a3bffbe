//! Empty answers for Prometheus features that do not exist here: rules, alerts, targets, TSDB
//! status. Its clients request them and expect empty lists.

use axum::{Router, extract::State, response::Response, routing::get};
use serde_json::{Value as Json, json};
use tidings_query::QueryService;

use super::{
    api_response::{PrometheusError, constant_response},
    request_parameters::{PrometheusParams, bad, expression_of},
};

/// The time of an event that never happened, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A path, and Prometheus's empty answer there.
type EmptyEndpoint = (&'static str, fn() -> Json);

/// Routes with empty answers.
pub(super) fn routes() -> Router<QueryService> {
    let endpoints: [EmptyEndpoint; 9] = [
        ("/rules", || json!({ "groups": [] })),
        ("/alerts", || json!({ "alerts": [] })),
        ("/alertmanagers", || json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] })),
        ("/targets", targets),
        ("/targets/metadata", || json!([])),
        ("/status/config", || json!({ "yaml": "" })),
        ("/status/flags", || json!({})),
        ("/status/runtimeinfo", runtime),
        ("/status/tsdb", tsdb),
    ];
    let routes = endpoints.into_iter().fold(Router::new(), |routes, (path, data)| {
        let answer = get(move || async move { constant_response(&data()) });
        routes.route(&format!("/prometheus/api/v1{path}"), answer)
    });
    routes.route("/prometheus/api/v1/query_exemplars", get(exemplars).post(exemplars))
}

fn targets() -> Json {
    json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })
}

fn runtime() -> Json {
    json!({
        "startTime": NEVER,
        "CWD": "",
        "reloadConfigSuccess": true,
        "lastConfigTime": NEVER,
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": 0,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    })
}

fn tsdb() -> Json {
    json!({
        "headStats": {
            "numSeries": 0,
            "numLabelPairs": 0,
            "chunkCount": 0,
            "minTime": 0,
            "maxTime": 0,
        },
        "seriesCountByMetricName": [],
        "labelValueCountByLabelName": [],
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    })
}

/// Series have no exemplars; a malformed query is still an error.
async fn exemplars(
    State(service): State<QueryService>,
    params: PrometheusParams,
) -> Result<Response, PrometheusError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(bad("end", "end timestamp must not be before start time"));
    }
    let query = params.query();
    service.ask(move |_| Ok(expression_of(&query).map(drop))).await??;
    constant_response(&json!([]))
}
