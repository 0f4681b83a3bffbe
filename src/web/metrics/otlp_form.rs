//! The metrics as OTLP: the same table, names and labels as the text has.
//!
//! Counters and histograms are cumulative since the process started. The name of a counter lacks
//! `_total`, because Prometheus's exporters add it; so a collector in between changes no name.

use tidings_proto::{
    UnixNanos,
    otlp::{
        CUMULATIVE, ExportMetricsServiceRequest, GaugePoints, HistogramDataPoint, HistogramPoints,
        InstrumentationScope, KeyValue, MetricMessage, MetricPoints, NumberDataPoint, NumberValue,
        Resource, ResourceMetrics, ScopeMetrics, SumPoints,
    },
};
use tidings_storage::TIME_BOUNDS;

use super::{Measured, MetricDescription, MetricKind, Sample, SampleValue, metrics_table::METRICS};
use crate::VERSION;

/// Times of the points: counters and histograms count from `start` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PointTimes {
    pub(super) start: UnixNanos,
    pub(super) now: UnixNanos,
}

/// Returns the resource of the telemetry that this process sends about itself.
pub(crate) fn own_resource(instance: &str) -> Resource {
    let attributes = vec![
        KeyValue::new("service.name", "tidings"),
        KeyValue::new("service.version", VERSION),
        KeyValue::new("service.instance.id", instance),
    ];
    Resource { attributes, ..Resource::default() }
}

/// Builds the request with every metric and its current values.
pub(super) fn request(
    measured: &Measured,
    instance: &str,
    times: PointTimes,
) -> ExportMetricsServiceRequest {
    let metrics =
        METRICS.iter().map(|metric| message(metric, (metric.read)(measured), times)).collect();
    let scope = InstrumentationScope {
        name: "tidings".to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }];
    let resource = Some(own_resource(instance));
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn message(metric: &MetricDescription, samples: Vec<Sample>, times: PointTimes) -> MetricMessage {
    let samples = samples.into_iter();
    let aggregation_temporality = CUMULATIVE;
    let data = match metric.kind {
        MetricKind::Counter => MetricPoints::Sum(SumPoints {
            data_points: samples.filter_map(|sample| number(metric, sample, times)).collect(),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricKind::Gauge => {
            // A gauge has no start.
            let times = PointTimes { start: UnixNanos(0), ..times };
            let points = samples.filter_map(|sample| number(metric, sample, times));
            MetricPoints::Gauge(GaugePoints { data_points: points.collect() })
        }
        MetricKind::Histogram => MetricPoints::Histogram(HistogramPoints {
            data_points: samples.filter_map(|sample| histogram(metric, sample, times)).collect(),
            aggregation_temporality,
        }),
    };
    MetricMessage {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: unit(metric.name).to_owned(),
        data: Some(data),
    }
}

/// Returns the unit that a name ends in.
fn unit(name: &str) -> &'static str {
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

fn attributes(metric: &MetricDescription, labels: &[String]) -> Vec<KeyValue> {
    metric
        .labels
        .iter()
        .zip(labels)
        .map(|(key, value)| KeyValue::new(*key, value.as_str()))
        .collect()
}

fn number(
    metric: &MetricDescription,
    sample: Sample,
    times: PointTimes,
) -> Option<NumberDataPoint> {
    let value = match sample.value {
        SampleValue::Count(count) => NumberValue::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        SampleValue::Number(number) => NumberValue::Double(number),
        SampleValue::Times(_) => return None,
    };
    Some(NumberDataPoint {
        start_time_unix_nano: times.start.0,
        time_unix_nano: times.now.0,
        value: Some(value),
        attributes: attributes(metric, &sample.labels),
    })
}

fn histogram(
    metric: &MetricDescription,
    sample: Sample,
    times: PointTimes,
) -> Option<HistogramDataPoint> {
    let SampleValue::Times(counts) = sample.value else { return None };
    Some(HistogramDataPoint {
        start_time_unix_nano: times.start.0,
        time_unix_nano: times.now.0,
        count: counts.count(),
        sum: Some(counts.sum_seconds),
        bucket_counts: counts.buckets.to_vec(),
        explicit_bounds: TIME_BOUNDS.to_vec(),
        attributes: attributes(metric, &sample.labels),
    })
}
