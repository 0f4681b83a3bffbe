//! `/jaeger/api/metrics`: the numbers of the Monitor tab, in protobuf's JSON.

use ::http::Uri;
use axum::{
    extract::{Path, State},
    response::Response,
};
use serde::{Serialize, Serializer};

use super::{
    envelope::{Envelope, V1Error, json as written},
    query_parameters,
};
use tidings_proto::rfc_3339;
use tidings_query::{Admission, QueryError, QueryService};

use crate::{
    http::encoding::LazyList,
    jaeger::span_metrics::{self, MetricKind, MetricsSearch, ServiceSeries},
    params::raw::RawParameters,
};

/// Minimum step in milliseconds.
const STEP_MIN_MS: u64 = 1;

/// Answers with one of the metrics, or with the minimum step.
pub(super) async fn metrics(
    State(service): State<QueryService>,
    Path(which): Path<String>,
    uri: Uri,
) -> Result<Response, V1Error> {
    let given = RawParameters::read(&uri)?;
    let pretty = query_parameters::pretty(&given);
    if which == "minstep" {
        return Ok(written(Admission::default(), Envelope::new(STEP_MIN_MS, 0), pretty).await?);
    }
    if !matches!(which.as_str(), "latencies" | "calls" | "errors") {
        return Ok(super::no_such_page().await);
    }
    let asked = query_parameters::metrics(&given, &which, service.now());
    let search = asked.map_err(V1Error::invalid)?;
    let (service, admission) = service.holding_permits();
    let (search, numbers) = service
        .ask(move |reader| {
            let numbers = span_metrics::metrics(reader, &search)?;
            Ok::<_, QueryError>((search, numbers))
        })
        .await?;
    Ok(written(admission, MetricFamily::new(&search, numbers), pretty).await?)
}

/// A family of metrics. Objects have their keys in order, as everywhere in this answer.
#[derive(Serialize)]
struct MetricFamily {
    help: String,
    metrics: Vec<Metric>,
    name: String,
    r#type: &'static str,
}

/// A series of numbers, serialised without a copy.
struct Metric(ServiceSeries);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricJson<L, P> {
    labels: L,
    metric_points: P,
}

#[derive(Serialize)]
struct Label<'a> {
    name: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    gauge_value: Gauge,
    timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gauge {
    double_value: Double,
}

/// A number in protobuf's JSON form: NaN and infinities are strings.
#[derive(Serialize)]
#[serde(untagged)]
enum Double {
    Finite(f64),
    Other(&'static str),
}

impl MetricFamily {
    fn new(search: &MetricsSearch, numbers: Vec<ServiceSeries>) -> Self {
        let (name, what) = match search.which {
            MetricKind::Latencies(part) => ("latencies", format!("{part}th quantile latency")),
            MetricKind::Calls => ("call_rate", "calls/sec".to_owned()),
            MetricKind::Errors => {
                let what = "error rate, computed as a fraction of errors/sec over calls/sec";
                ("error_rate", what.to_owned())
            }
        };
        let (of, by) = if search.by_operation {
            ("service_operation", "service & operation")
        } else {
            ("service", "service")
        };
        Self {
            help: format!("{what}, grouped by {by}"),
            metrics: numbers.into_iter().map(Metric).collect(),
            name: format!("{of}_{name}"),
            r#type: "GAUGE",
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ServiceSeries { service, operation, points } = &self.0;
        let operation = operation.iter().map(|value| Label { name: "operation", value });
        let labels: Vec<Label<'_>> =
            operation.chain([Label { name: "service_name", value: service }]).collect();
        let point = |(time, value): &(i64, f64)| Point {
            gauge_value: Gauge { double_value: Double::new(*value) },
            timestamp: rfc_3339(*time),
        };
        let metric_points = LazyList(|| points.iter().map(point));
        MetricJson { labels, metric_points }.serialize(serializer)
    }
}

impl Double {
    fn new(value: f64) -> Self {
        match value {
            f64::INFINITY => Self::Other("Infinity"),
            f64::NEG_INFINITY => Self::Other("-Infinity"),
            value if value.is_nan() => Self::Other("NaN"),
            value => Self::Finite(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Metric, ServiceSeries};

    #[test]
    fn numbers_that_json_has_not_are_texts() {
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
        let points = values.into_iter().map(|value| (0, value)).collect();
        let metric = Metric(ServiceSeries { service: "shop".to_owned(), operation: None, points });
        let written = serde_json::to_value(&metric).unwrap();
        let points = written["metricPoints"].as_array().unwrap().iter();
        let values: Vec<_> = points.map(|point| &point["gaugeValue"]["doubleValue"]).collect();
        let expected = [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(0.5)];
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
    }
}
