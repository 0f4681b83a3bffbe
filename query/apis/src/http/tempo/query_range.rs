//! `GET /api/metrics/query_range` and `GET /api/metrics/query`.

use axum::{extract::State, response::Response};
use serde::Serialize;
use serde_json::Value as Json;
use tidings_proto::{UnixNanos, otlp::AnyValue};
use tidings_query::{
    QueryError, QueryService,
    traceql::{
        self,
        metrics_query::{Exemplar, MetricsFound, MetricsSearch, Range, Series},
    },
};
use tidings_traceql::{Metrics, Root, Static, Value, parse};

use super::{
    TempoError,
    search_response::metrics_json,
    tempo_parameters::{TempoParams, invalid},
};
use crate::http::encoding::{self, LazyList};

pub(super) const EXEMPLARS_DEFAULT: usize = 100;
pub(super) const EXEMPLARS_MAX: usize = 1_000;
pub(super) const SERIES_DEFAULT: usize = 1_000;
pub(super) const SERIES_MAX: usize = 10_000;

/// Returns series over time.
pub(super) async fn query_range(
    State(service): State<QueryService>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let (text, exemplars) = asked(&params)?;
    let (start, end) = params.bounds(service.now())?;
    let range = Range::steps(start, end, params.step()?)?;
    let series_max = params.bound("maxSeries", SERIES_DEFAULT, SERIES_MAX)?;
    // Answers are large, so the thread of the query writes them and counts their bytes.
    let written = service.ask(move |reader| {
        let (metrics, exemplars) = metrics_of(&text, exemplars)?;
        let search = MetricsSearch { metrics, range, exemplars, series_max };
        let found = traceql::metrics_query::metrics(reader, &search)?;
        let series = LazyList(|| found.series.iter().map(|series| line(series, &range)));
        encoding::encode_json(&MetricsAnswer::new(&found, series), reader.limits.answer_bytes_max())
    });
    Ok(encoding::json_response(written.await?))
}

/// Returns one value for each series.
pub(super) async fn query(
    State(service): State<QueryService>,
    params: TempoParams,
) -> Result<Response, TempoError> {
    let (text, _) = asked(&params)?;
    let (start, end) = params.bounds(service.now())?;
    let range = Range::instant(start, end);
    let series_max = params.bound("maxSeries", SERIES_DEFAULT, SERIES_MAX)?;
    let written = service.ask(move |reader| {
        let (metrics, _) = metrics_of(&text, 0)?;
        let search = MetricsSearch { metrics, range, exemplars: 0, series_max };
        let found = traceql::metrics_query::metrics(reader, &search)?;
        let series = LazyList(|| {
            found.series.iter().map(|series| Instant {
                labels: LazyList(|| labels(&series.labels)),
                value: Number::new(series.values.first().copied().unwrap_or_default()),
            })
        });
        encoding::encode_json(&MetricsAnswer::new(&found, series), reader.limits.answer_bytes_max())
    });
    Ok(encoding::json_response(written.await?))
}

/// The query, which can also have Prometheus's parameter name, and the number of exemplars.
fn asked(params: &TempoParams) -> Result<(String, usize), TempoError> {
    let Some(text) = params.text("q").or_else(|| params.text("query")) else {
        return Err(invalid("q", "a TraceQL metrics query is missing"));
    };
    let asked = params.bound("exemplars", EXEMPLARS_DEFAULT, EXEMPLARS_MAX)?;
    let exemplars = if params.text("exemplars") == Some("0") { 0 } else { asked };
    Ok((text.to_owned(), exemplars))
}

/// Parses a metrics query with the requested number of exemplars. Compiling patterns takes time, so
/// this runs on a blocking thread.
pub(super) fn metrics_of(text: &str, exemplars: usize) -> Result<(Metrics, usize), QueryError> {
    let query = parse(text)?;
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
            Err(invalid("TraceQL query", reason).0)
        }
    }
}

/// Answer of a metrics query, generic over the form of its series so that nothing is held twice.
#[derive(Serialize)]
struct MetricsAnswer<S> {
    series: S,
    metrics: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

#[derive(Serialize)]
struct TempoSeries<L, S, E> {
    labels: L,
    samples: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemplars: Option<E>,
}

#[derive(Serialize)]
struct Instant<L> {
    labels: L,
    value: Number,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TempoSample {
    timestamp_ms: String,
    value: Number,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExemplarLine<L> {
    labels: L,
    value: Number,
    timestamp_ms: String,
}

#[derive(Serialize)]
struct Label<'a> {
    key: &'a str,
    value: AnyValue,
}

/// A number, or the text of protobuf's JSON for a number that JSON lacks.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(&'static str),
}

impl<S> MetricsAnswer<S> {
    fn new(found: &MetricsFound, series: S) -> Self {
        let status = found.partial.map(|_| "PARTIAL");
        Self { series, metrics: metrics_json(found.stats), status, message: found.partial }
    }
}

impl Number {
    fn new(value: f64) -> Self {
        match value {
            value if value.is_finite() => Self::Finite(value),
            value if value.is_nan() => Self::Other("NaN"),
            value if value > 0.0 => Self::Other("Infinity"),
            _ => Self::Other("-Infinity"),
        }
    }
}

fn line<'a>(series: &'a Series, range: &'a Range) -> impl Serialize + 'a {
    let samples = || {
        let values = series.values.iter().enumerate().filter(|(_, value)| !value.is_nan());
        values.map(|(interval, value)| TempoSample {
            timestamp_ms: millis(range.time_of(interval)),
            value: Number::new(*value),
        })
    };
    let exemplars = || series.exemplars.iter().map(exemplar);
    TempoSeries {
        labels: LazyList(|| labels(&series.labels)),
        samples: LazyList(samples),
        exemplars: (!series.exemplars.is_empty()).then_some(LazyList(exemplars)),
    }
}

fn exemplar(exemplar: &Exemplar) -> impl Serialize {
    ExemplarLine {
        labels: LazyList(|| labels(&exemplar.labels)),
        value: Number::new(exemplar.value),
        timestamp_ms: millis(exemplar.time),
    }
}

/// Names and values in OTLP's form.
pub(super) fn labels(labels: &[(String, Value)]) -> impl Iterator<Item = impl Serialize> {
    labels.iter().map(|(key, value)| Label { key, value: value.to_otlp() })
}

fn millis(time: UnixNanos) -> String {
    (time.0 / 1_000_000).to_string()
}
