//! `GET /api/metrics/query_range` and `GET /api/metrics/query`.

use axum::{extract::State, response::Response};
use serde_json::{Value as Json, json};

use super::{
    answer::TempoError,
    params::{Params, invalid},
    search::{attributes_json, metrics_json},
};
use crate::{
    QueryService,
    http::answer,
    traceql::{
        self,
        metrics::{Exemplar, MetricsFound, MetricsSearch, Range, Series},
        syntax::{Metrics, Root, Static},
    },
};

pub(super) const EXEMPLARS_DEFAULT: usize = 100;
pub(super) const EXEMPLARS_MAX: usize = 1_000;
pub(super) const SERIES_DEFAULT: usize = 1_000;
pub(super) const SERIES_MAX: usize = 10_000;

/// Series over time.
pub(super) async fn query_range(
    State(service): State<QueryService>,
    params: Params,
) -> Result<Response, TempoError> {
    let (metrics, exemplars) = parsed(&params)?;
    let (start, end) = params.bounds(service.now())?;
    let range = Range::steps(start, end, params.step()?)?;
    let series_max = params.bound("maxSeries", SERIES_DEFAULT, SERIES_MAX)?;
    let search = MetricsSearch { metrics, range, exemplars, series_max };
    let found = service.ask(move |reader| traceql::metrics::metrics(reader, &search)).await?;
    let series = found.series.iter().map(|series| series_json(series, &range)).collect();
    Ok(answer::json(found_json(&found, series)).await?)
}

/// One value for each series.
pub(super) async fn query(
    State(service): State<QueryService>,
    params: Params,
) -> Result<Response, TempoError> {
    let (metrics, _) = parsed(&params)?;
    let (start, end) = params.bounds(service.now())?;
    let range = Range::instant(start, end);
    let series_max = params.bound("maxSeries", SERIES_DEFAULT, SERIES_MAX)?;
    let search = MetricsSearch { metrics, range, exemplars: 0, series_max };
    let found = service.ask(move |reader| traceql::metrics::metrics(reader, &search)).await?;
    let series = found.series.iter().map(|series| {
        let value = series.values.first().copied().unwrap_or_default();
        json!({ "labels": attributes_json(&series.labels), "value": number_json(value) })
    });
    let series = series.collect();
    Ok(answer::json(found_json(&found, series)).await?)
}

/// The query, which can also be named as Prometheus names it, and how many exemplars it wants.
fn parsed(params: &Params) -> Result<(Metrics, usize), TempoError> {
    let Some(text) = params.text("q").or_else(|| params.text("query")) else {
        return Err(invalid("q", "a TraceQL metrics query is missing"));
    };
    let asked = params.bound("exemplars", EXEMPLARS_DEFAULT, EXEMPLARS_MAX)?;
    metrics_of(text, if params.text("exemplars") == Some("0") { 0 } else { asked })
}

/// The metrics of a query, and how many exemplars it wants when so many are asked for.
pub(super) fn metrics_of(text: &str, exemplars: usize) -> Result<(Metrics, usize), TempoError> {
    let query = traceql::parse(text)?;
    let hint = query.hints.iter().find(|(name, _)| name == "exemplars").map(|(_, value)| value);
    let exemplars = match hint {
        Some(Static::Bool(false)) => 0,
        Some(Static::Int(count)) => usize::try_from(*count).unwrap_or(0).min(EXEMPLARS_MAX),
        _ => exemplars,
    };
    match query.root {
        Root::Metrics(metrics) => Ok((metrics, exemplars)),
        Root::Search(_) => {
            let reason = "this finds traces; add a metric to it, as in `{} | rate()`";
            Err(invalid("TraceQL query", reason))
        }
    }
}

fn found_json(found: &MetricsFound, series: Vec<Json>) -> Json {
    let mut json = json!({ "series": series, "metrics": metrics_json(found.stats) });
    if let Some(why) = found.partial {
        json["status"] = "PARTIAL".into();
        json["message"] = why.into();
    }
    json
}

fn series_json(series: &Series, range: &Range) -> Json {
    let values = series.values.iter().enumerate().filter(|(_, value)| !value.is_nan());
    let samples = values.map(|(interval, value)| {
        json!({
            "timestampMs": (range.time_of(interval).0 / 1_000_000).to_string(),
            "value": number_json(*value),
        })
    });
    let samples: Vec<Json> = samples.collect();
    let mut json = json!({ "labels": attributes_json(&series.labels), "samples": samples });
    if !series.exemplars.is_empty() {
        json["exemplars"] = series.exemplars.iter().map(exemplar_json).collect();
    }
    json
}

fn exemplar_json(exemplar: &Exemplar) -> Json {
    json!({
        "labels": attributes_json(&exemplar.labels),
        "value": number_json(exemplar.value),
        "timestampMs": (exemplar.time.0 / 1_000_000).to_string(),
    })
}

/// A number, or the text that protobuf's JSON has for one that JSON has not.
fn number_json(value: f64) -> Json {
    match serde_json::Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
